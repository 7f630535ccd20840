#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP server over TLS: certificates and keys good and bad, certificates of clients, reload, and clients
that are slow, many, or speak something else."""
import gzip
import os
import shutil
import ssl
import subprocess
import warnings

from server import (H, NO_QUARANTINE, Server, contains, equal, read_answer, read_end, recv, refused, run_tests,
                    settled, to_temporary_directory, until)
from identity import Authority, openssl
import test_auth
from test_auth import IN, OTHER, OUT, TOKEN, bearer, who, write

GET = b"GET /echo HTTP/1.1\r\n" + H + b"\r\n"
TLS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
OLD_TLS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
warnings.simplefilter("ignore", DeprecationWarning)  # of just these two


def client(authority=None, pair=None, version=None, **attributes):
    """The context of a client that trusts this authority; None: anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        context.load_verify_locations(authority.crt)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if pair:
        context.load_cert_chain(pair.crt, pair.key)
    if version:
        context.minimum_version = context.maximum_version = version
    for name, value in attributes.items():
        setattr(context, name, value)
    return context


def fails(call, *words):
    """The SSL error of a call that must have one."""
    try:
        call(*words).close()
    except ssl.SSLError as why:
        return str(why)
    raise AssertionError("that went well")


def files(pair):
    return {"cert": pair.crt, "key": pair.key}


def copy(pair, name):
    """Puts a pair where the server will look again."""
    shutil.copy(pair.crt, name + ".crt")
    shutil.copy(pair.key, name + ".key")


def shown(connection):
    """The certificate of the server's side of an http connection."""
    return connection.sock.getpeercert(binary_form=True)


# ---- the handshake ----

def test_who_the_server_is():
    for version in TLS:
        with Server(tls=client(CA, version=version), **files(NODE)) as s:
            assert s.url.startswith("https://127.0.0.1:"), s.url
            equal(s.text("/echo?q=1"), "GET /echo q=1 x=(none) len=0 body=")
            with s.secure(name="localhost") as c:
                equal(c.version(), version.name.replace("_", "."))
                c.sendall(GET)
                equal(read_answer(c)[0], 200)
            contains(fails(s.secure, None, "node7.example"), "Hostname mismatch")
            contains(fails(s.secure, client(STRANGER)), "CERTIFICATE_VERIFY_FAILED")
            equal(s.stats()["handled"], 3)


def speak(one, other):
    """A handshake of two contexts without a server: the version they agree on."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [one.wrap_bio(back, there), other.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return sides[0].version()


def test_old_versions_are_refused():
    willing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    willing.load_cert_chain(NODE.crt, NODE.key)
    with Server(tls=client(CA), **files(NODE)) as s:
        for old in OLD_TLS:
            context = client()
            for side in (context, willing):
                side.set_ciphers("ALL:@SECLEVEL=0")
                side.minimum_version = side.maximum_version = old
            assert speak(context, willing) in ("TLSv1", "TLSv1.1"), "this client would"
            try:
                s.secure(context).close()
            except (ssl.SSLError, ConnectionError):
                continue
            raise AssertionError(f"{old} was agreed on")
        equal(s.get("/echo")[0], 200)


def test_application_protocols():
    """Those of a client that knows HTTP/2 do not disturb."""
    for offered in (["h2", "http/1.1"], ["h2"], ["http/1.1"], ["nonsense"]):
        context = client(CA)
        context.set_alpn_protocols(offered)
        with Server(**files(NODE)) as s, s.secure(context) as c:
            assert c.selected_alpn_protocol() in (None, "http/1.1"), offered
            c.sendall(GET)
            equal(read_answer(c)[0], 200)


def answers_nothing(s, message):
    """What a raw client gets that is no TLS."""
    with s.raw() as c:
        c.sendall(message)
        try:
            out = read_end(c)
        except OSError:
            out = b""
        assert b"HTTP/" not in out and b"body=" not in out, out


def test_what_is_no_tls():
    with Server(tls=client(CA), idle=1, **files(NODE)) as s:
        for message in (GET, GET * 100, b"\0" * 1000, b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\x80\x2e\x01\0\x02",
                        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", os.urandom(1000)):
            answers_nothing(s, message)
            equal(s.get("/echo")[0], 200)
    with Server() as s:
        fails(s.secure, client())
        equal(s.get("/echo")[0], 200)


# ---- files ----

def test_certificates_and_keys_that_do_not_fit():
    contains(refused(cert=NODE.crt, key=OTHER_NODE.key),
             f"-22 the key {OTHER_NODE.key} does not belong to the certificate {NODE.crt}")
    openssl("ec", "-in", NODE.key, "-aes256", "-passout", "pass:x", "-out", "locked.key")
    os.chmod("locked.key", 0o600)
    write("empty")
    write("nonsense", "-----BEGIN CERTIFICATE-----", "AAAA", "-----END CERTIFICATE-----")
    openssl("x509", "-in", NODE.crt, "-outform", "der", "-out", "der.crt")
    for cert in (NODE.key, "empty", "nonsense"):
        contains(refused(cert=cert, key=NODE.key), f"-22 {cert} holds no certificate in PEM: ")
    shutil.copy(NODE.crt, "crt.key")
    os.chmod("crt.key", 0o600)
    for key in ("locked.key", "empty", "nonsense", "crt.key"):
        why = refused(cert=NODE.crt, key=key)
        contains(why, f"-22 the key {key} cannot be used: ")
        contains(why, "; it must be PEM, without a password")
    contains(refused(cert="der.crt", key=NODE.key), "der.crt is no text file; is it the right file?")
    for one in ({"cert": NODE.crt}, {"key": NODE.key}):
        contains(refused(**one), "-22 TLS needs both a certificate and its key")
    contains(refused(ca=CA.crt), "-22 an authority for client certificates needs TLS")
    for ca in ("empty", "nonsense", NODE.key):
        contains(refused(ca=ca, **files(NODE)), f"-22 {ca} holds no certificate of an authority in PEM")
    contains(refused(ca="nix", **files(NODE)), "-2 nix cannot be opened")


def test_who_may_read_the_key():
    copy(NODE, "own")
    for mode in (0o644, 0o604, 0o602, 0o660):
        os.chmod("own.key", mode)
        contains(refused(cert="own.crt", key="own.key"), "-13 own.key holds secrets, and ")
    os.chmod("own.crt", 0o644)
    for mode in (0o600, 0o640, 0o400):
        os.chmod("own.key", mode)
        with Server(tls=client(CA), cert="own.crt", key="own.key") as s:
            equal(s.get("/echo")[0], 200)
    os.symlink("own.key", "link.key")
    with Server(tls=client(CA), cert="own.crt", key="link.key") as s:
        equal(s.get("/echo")[0], 200)
    os.chmod("own.key", 0o644)
    contains(refused(cert="own.crt", key="link.key"), "-13 link.key holds secrets, and ")
    contains(refused(cert="own.crt", key="."), "-22 . is no plain file")
    contains(refused(cert=".", key="own.key"), "-22 . is no plain file")
    contains(refused(cert="own.crt", key="nix"), "-2 nix cannot be opened")


def test_a_certificate_out_of_date():
    """It is served (the clock may be wrong, and the agent is not to stay away), and clients refuse it."""
    with Server(**files(CA.issue("old", days=-1))) as s:
        contains(fails(s.secure, client(CA)), "certificate has expired")
        with s.secure(client()) as c:
            c.sendall(GET)
            equal(read_answer(c)[0], 200)


def test_a_chain():
    """A certificate that an authority in between has signed, both in one file."""
    between = Authority(".", "between")
    request = openssl("req", "-new", "-key", between.key, "-subj", "/CN=between")
    write("between.ext", "basicConstraints=critical,CA:true")
    openssl("x509", "-req", "-CA", CA.crt, "-CAkey", CA.key, "-CAcreateserial", "-days", "9", "-extfile",
            "between.ext", "-out", between.crt, text=request)
    leaf = between.issue("leaf")
    with Server(**files(leaf)) as s:
        contains(fails(s.secure, client(CA)), "unable to get local issuer")
    with open(between.crt, "rb") as f:
        chain = f.read()
    with open(leaf.crt, "ab") as f:
        f.write(chain)
    with Server(tls=client(CA), **files(leaf)) as s:
        equal(s.get("/echo")[0], 200)


# ---- certificates of clients ----

def asks(s, context):
    """The name of a client as the handler sees it; None: it was not let in."""
    try:
        with s.secure(context) as c:
            c.sendall(b"GET /peer HTTP/1.1\r\n" + H + b"\r\n")
            status, _, body, _ = read_answer(c)
    except (ssl.SSLError, ConnectionError):
        # With TLS 1.3 the client's side is through before the server has looked.
        return None
    if not status:
        return None
    equal(status, 200)
    contains(body, b"local=0 ")
    contains(body, b"auth=1 ")
    return body.split(b"user=")[1].split(b" member=")[0].decode()


def test_who_the_client_is():
    long = "n" * 63
    good = {
        "prometheus": CA.issue("prometheus", usage="clientAuth"),
        "M\u00fcller & S\u00f6hne": CA.issue("umlaut", "/CN=M\u00fcller & S\u00f6hne"),
        "eins": CA.issue("two", "/O=ergon/CN=eins"),
        long: CA.issue("long", "/CN=" + long),
    }
    for name in ("/", "/O=nobody", "/CN=" + "n" * 64, "/CN=a\tb"):
        pair = CA.issue("unnamed-%d" % len(good), name)
        good["sha256:" + pair.fingerprint()[:32]] = pair
    bad = [None, STRANGER.issue("prometheus2", "/CN=prometheus"), CA.issue("late", days=-1),
           CA.issue("server", usage="serverAuth"), CA.issue("mail", usage="emailProtection")]
    for version in TLS:
        with Server(ca=CA.crt, socket=f"c{version}", **files(NODE)) as s:
            for name, pair in good.items():
                equal(asks(s, client(CA, pair, version)), name)
            before = s.stats()["handled"]
            for pair in bad:
                equal(asks(s, client(CA, pair, version)), None, pair and pair.crt)
            equal(s.stats()["handled"], before + 1, "nothing of theirs was handled")
            until(lambda: s.stats()["clients"] == 1, "they are gone")


def test_a_certificate_and_credentials():
    """Either is enough; a wrong token is wrong in spite of a certificate; the token's name goes first."""
    with Server(ca=CA.crt, tokens=write("tokens", TOKEN), require=1, tls=client(CA, CA.issue("alice")),
                **files(NODE)) as s:
        c = s.connection()
        equal(who(s, connection=c), IN["alice"])
        equal(who(s, bearer(TOKEN), connection=c), IN["token"])
        equal(who(s, bearer(OTHER), connection=c), OUT)
        equal(who(s, connection=c), IN["alice"])
        c.close()
        equal(asks(s, client(CA)), None, "a token does not stand for the certificate")


def test_tokens_over_tls():
    with Server(tokens=write("tokens", TOKEN), require=1, tls=client(CA), **files(NODE)) as s:
        c = s.connection()
        equal(who(s, connection=c), OUT)
        equal(who(s, bearer(TOKEN), connection=c), IN["token"])
        equal(who(s, connection=c), OUT)
        equal(who(s, bearer(OTHER), connection=c), OUT)
        equal(s.get("/-/healthy", connection=c)[0], 200)
        c.close()
    with Server(tls=client(CA, CA.issue("unasked")), **files(NODE)) as s:
        equal(who(s), test_auth.ANYBODY, "a certificate that nobody asked for")


# ---- reload ----

def test_reload():
    copy(NODE, "now")
    with Server(tls=client(CA), cert="now.crt", key="now.key", socket="s") as s:
        old, new = s.connection(), s.connection()
        equal(s.get("/echo", connection=old)[0], 200)
        first = shown(old)
        copy(OTHER_NODE, "now")
        equal(s.local("/reload"), (200, ""))
        equal(s.get("/echo", connection=new)[0], 200)
        second = shown(new)
        assert first != second, "the new certificate is shown"

        def both_go_on():
            for c, certificate in ((old, first), (new, second)):
                equal(s.get("/big?n=100000", connection=c)[0], 200)
                equal(shown(c), certificate, "the same connection")
            c = s.connection()
            equal(s.get("/echo", connection=c)[0], 200)
            equal(shown(c), second)
            c.close()

        def stays(sentence, words=""):
            status, text = s.local("/reload" + words)
            equal(status, 409)
            contains(text, sentence)
            equal(text.count("\n"), 0, "one sentence")
            both_go_on()

        both_go_on()
        shutil.copy(NODE.key, "now.key")
        stays("the key now.key does not belong to the certificate now.crt")
        write("now.crt", "half a certi")
        stays("now.crt holds no certificate in PEM")
        os.remove("now.crt")
        stays("now.crt cannot be opened")
        copy(NODE, "now")
        os.chmod("now.key", 0o644)
        stays("now.key holds secrets")
        copy(NODE, "now")
        os.chmod("now.key", 0o600)
        stays("TLS cannot be switched on or off while the server runs; restart it", "?tls=0")
        equal(s.local("/reload"), (200, ""))
        old.close()
        equal(s.get("/echo", connection=old)[0], 200)
        equal(shown(old), first)
        new.close()
        old.close()


def test_reload_of_the_clients_authority():
    mine, theirs = client(CA, CA.issue("mine")), client(CA, STRANGER.issue("theirs"))
    shutil.copy(CA.crt, "clients.crt")
    with Server(ca="clients.crt", socket="s", tls=mine, **files(NODE)) as s:
        c = s.connection()
        equal(who(s, connection=c), (200, True, "mine"))
        equal(asks(s, theirs), None)
        shutil.copy(STRANGER.crt, "clients.crt")
        equal(s.local("/reload"), (200, ""))
        equal(asks(s, theirs), "theirs")
        equal(asks(s, mine), None)
        equal(who(s, connection=c), (200, True, "mine"), "began before")
        write("clients.crt", "nothing")
        equal(s.local("/reload")[0], 409)
        equal(asks(s, theirs), "theirs")
        c.close()


def test_hundreds_of_reloads_leak_nothing():
    """Each with a connection that began with what it replaces."""
    copy(NODE, "now")
    with Server(tls=client(CA), ca=CA.crt, cert="now.crt", key="now.key", socket="s", env=NO_QUARANTINE) as s:
        def turn(n):
            for _ in range(n):
                with s.secure(me) as c:
                    c.sendall(GET)
                    equal(read_answer(c)[0], 200)
                    equal(s.local("/reload"), (200, ""))
                    c.sendall(GET)
                    equal(read_answer(c)[0], 200)

        me = client(CA, CA.issue("me"))
        turn(100)
        fds, before = settled(s), s.stats()["rss"]
        turn(500)
        equal(settled(s), fds)
        grown = s.stats()["rss"] - before
        assert grown < 1 << 20, f"{grown} bytes more"


def test_a_reload_in_the_middle_of_a_handshake():
    copy(NODE, "now")
    with Server(tls=client(CA), cert="now.crt", key="now.key", socket="s") as s:
        half = [Slow(s) for _ in range(8)]
        for c in half:
            c.send(100)
        until(lambda: s.stats()["clients"] == len(half) + 1, "all are there")
        for pair in (OTHER_NODE, NODE, OTHER_NODE) * 10:
            copy(pair, "now")
            equal(s.local("/reload"), (200, ""))
        certificates = {c.finish() for c in half}
        equal(len(certificates), 1)
        until(lambda: s.stats()["clients"] == 1, "they are gone")


# ---- answers ----

def test_large_answers_and_gzip():
    for version in TLS:
        with Server(tls=client(CA, version=version), **files(NODE)) as s:
            _, headers, packed = s.get("/big?n=3000000", headers={"Accept-Encoding": "gzip"})
            equal(headers["Content-Encoding"], "gzip")
            plain = s.get("/big?n=3000000")[2]
            equal((len(plain) >= 3000000, gzip.decompress(packed) == plain), (True, True))
            body = "x" * 65536
            equal(s.get("/echo", method="POST", body=body)[2].decode().split("body=")[1], body)


def test_deferred_answers_and_streams():
    for version in TLS:
        with Server(tls=client(CA, version=version), socket=f"s{version}", **files(NODE)) as s:
            waiting, stream, gone = s.secure(), s.secure(), s.secure()
            waiting.sendall(b"GET /defer?q=7 HTTP/1.1\r\n" + H + b"\r\n")
            for c in (stream, gone):
                c.sendall(b"GET /stream HTTP/1.1\r\n" + H + b"\r\n")
            until(lambda: s.stats()["streams"] == 2, "streams are open")
            until(lambda: s.local("/release")[1] == "1", "it waited")
            equal(read_answer(waiting)[2], b"later 7")
            gone.close()
            until(lambda: s.stats()["gone_streams"] == 1, "its reader left")
            equal(s.local("/publish?times=5&n=1000")[1], "5 0")
            got = b""
            while got.count(b"x\n") < 5:
                data = recv(stream)
                assert data, "the stream has ended"
                got += data
            equal(s.local("/close-streams")[0], 200)
            while not got.endswith(b"\r\n0\r\n\r\n"):
                data = recv(stream)
                assert data, "the stream has no end"
                got += data
            for c in (waiting, stream):
                c.close()
            until(lambda: s.stats()["clients"] == 1, "all are gone")


# ---- clients that are slow, many, or leave ----

class Slow:
    """A client's side of a handshake, to be sent by and by."""

    def __init__(self, s):
        self.sock = s.raw()
        self.inward, self.outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = s.tls.wrap_bio(self.inward, self.outward, server_hostname="127.0.0.1")
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        self.left = self.outward.read()
        assert len(self.left) > 100, self.left

    def send(self, n):
        self.sock.sendall(self.left[:n])
        self.left = self.left[n:]

    def finish(self):
        """Goes on to the end; returns the server's certificate."""
        self.send(len(self.left))
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outward.read())
                data = recv(self.sock)
                assert data, "closed"
                self.inward.write(data)
        certificate = self.tls.getpeercert(binary_form=True)
        self.sock.close()
        return certificate


def trickle(c):
    """A byte of the handshake at a time, until the server has enough of it."""
    c.sock.settimeout(0.3)
    for _ in range(100):
        try:
            c.send(1)
            if c.sock.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_slow_handshakes():
    with Server(tls=client(CA), idle=1, socket="s", **files(NODE)) as s:
        silent = [s.raw() for _ in range(20)]
        half = [Slow(s) for _ in range(20)]
        for c in half:
            c.send(100)
        until(lambda: s.stats()["clients"] == 41, "all are there")
        # While they are there, others are served.
        while s.stats()["clients"] == 41:
            equal(s.get("/echo")[0], 200)
        until(lambda: s.stats()["clients"] == 1, "they are closed")
        for c in [*silent, *(h.sock for h in half)]:
            read_end(c)
            c.close()
        slow = Slow(s)
        assert trickle(slow), "closed although it always sends something"
        slow.sock.close()


def test_thousands_of_handshakes():
    with Server(tls=client(CA), env=NO_QUARANTINE, socket="s", **files(NODE)) as s:
        def turn(n):
            for i in range(n):
                context = contexts[i % len(contexts)]
                with s.secure(context) as c:
                    c.sendall(GET)
                    equal(read_answer(c)[0], 200)

        contexts = [client(CA, version=v) for v in TLS]
        turn(300)
        fds, before = settled(s), s.stats()["rss"]
        turn(2000)
        equal(settled(s), fds)
        grown = s.stats()["rss"] - before
        assert grown < 1 << 20, f"{grown} bytes more"


def test_clients_that_leave_in_the_handshake():
    with Server(tls=client(CA), env=NO_QUARANTINE, socket="s", ca=CA.crt, **files(NODE)) as s:
        def turn(n):
            for i in range(n):
                kind = i % 4
                if kind == 0:
                    s.raw().close()
                elif kind == 1:
                    c = Slow(s)
                    c.send(100)
                    c.sock.close()
                elif kind == 2:  # it does not like the certificate
                    fails(s.secure, strangers)
                else:  # its own certificate is missing
                    equal(asks(s, s.tls), None)

        strangers = client(STRANGER)
        turn(200)
        fds, before = settled(s), s.stats()["rss"]
        turn(1000)
        equal(settled(s), fds)
        grown = s.stats()["rss"] - before
        assert grown < 1 << 20, f"{grown} bytes more"
        equal(s.stats()["requests"], s.stats()["handled"] - 1)


def test_a_client_cannot_have_another_handshake():
    """Each costs the server's thread a signature: on one connection only the first is made."""
    with Server(tls=client(CA), **files(NODE)) as s:
        p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{s.port}", "-tls1_2", "-CAfile", CA.crt,
                              "-legacy_renegotiation"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
        p.stdin.write("R\n")
        p.stdin.flush()
        p.wait(60)  # until the server has closed
        said = p.stderr.read()
        contains(said, "RENEGOTIATING")
        equal(said.count("depth=0 CN = node"), 1, said)
        p.stdin.close()
        p.stderr.close()
        equal(s.get("/echo")[0], 200)


def test_clients_that_leave_without_a_word():
    """After an answer, and in the middle of a request."""
    with Server(tls=client(CA), socket="s", **files(NODE)) as s:
        c = s.secure()
        c.sendall(GET)
        equal(read_answer(c)[0], 200)
        c.close()
        c = s.secure()
        c.sendall(GET[:-2])
        c.close()
        until(lambda: s.stats()["clients"] == 1, "both are gone")
        equal(s.stats()["requests"], s.stats()["handled"] - 1)


def test_stopping_with_everything_open():
    with Server(tls=client(CA), socket="s", **files(NODE)) as s:
        silent, half, idle, waiting, stream = s.raw(), Slow(s), s.secure(), s.secure(), s.secure()
        half.send(100)
        waiting.sendall(b"GET /defer HTTP/1.1\r\n" + H + b"\r\n")
        stream.sendall(b"GET /stream HTTP/1.1\r\n" + H + b"\r\n")
        until(lambda: s.stats()["streams"] == 1 and s.stats()["clients"] == 6, "all are there")
        s.stop()
        for c in (silent, half.sock, idle, waiting, stream):
            c.close()


if __name__ == "__main__":
    to_temporary_directory()
    CA, STRANGER = Authority("."), Authority(".", "stranger")
    NODE, OTHER_NODE = CA.issue("node"), CA.issue("other")
    run_tests(globals())
