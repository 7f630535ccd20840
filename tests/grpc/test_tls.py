#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gRPC server with TLS, client certificates and tokens: who is let in, and as whom; grpcio and a raw
client as peers, certificates by the openssl command."""
import os
import signal
import socket
import ssl
import subprocess

import grpc

from rig import (NO_ERROR, OK, UNAUTHENTICATED, UNIMPLEMENTED, WAIT_S, WINDOW, Client, Server, equal,
                 run_tests, temp_dir, until)

ECHO, PEER, OPEN = "/test.T/Echo", "/test.T/Peer", "/test.T/Open"
TOKEN = "0123456789abcdef-first"


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


class Certificates:
    """An authority, the server's pair, a client's pair, and a stranger's, in a directory."""

    def __init__(self, where):
        self.where = where
        self.authority("ca")
        self.signed("server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
                    "extendedKeyUsage=serverAuth")
        self.signed("client", "ca", "extendedKeyUsage=clientAuth", cn="meter-reader")
        self.signed("wrong", "ca", "extendedKeyUsage=serverAuth")
        self.authority("foreign")
        self.signed("stranger", "foreign", "extendedKeyUsage=clientAuth")

    def path(self, name):
        return os.path.join(self.where, name)

    def authority(self, name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "2", "-subj", f"/CN={name}", "-keyout", self.path(name + ".key"),
                "-out", self.path(name + ".crt"))

    def signed(self, name, by, extensions, cn=None):
        with open(self.path(name + ".ext"), "w") as f:
            f.write(extensions + "\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                f"/CN={cn or name}", "-keyout", self.path(name + ".key"),
                "-out", self.path(name + ".csr"))
        openssl("x509", "-req", "-days", "2", "-in", self.path(name + ".csr"),
                "-CA", self.path(by + ".crt"), "-CAkey", self.path(by + ".key"), "-CAcreateserial",
                "-extfile", self.path(name + ".ext"), "-out", self.path(name + ".crt"))
        os.chmod(self.path(name + ".key"), 0o600)

    def options(self, ca=False):
        return {"tls_listen": "127.0.0.1:0", "cert": self.path("server.crt"),
                "key": self.path("server.key"), **({"ca": self.path("ca.crt")} if ca else {})}

    def context(self, client=None, alpn=("h2",)):
        c = ssl.create_default_context(cafile=self.path("ca.crt"))
        if alpn:
            c.set_alpn_protocols(list(alpn))
        if client:
            c.load_cert_chain(self.path(client + ".crt"), self.path(client + ".key"))
        return c

    def channel(self, address, client=None):
        def read(name):
            with open(self.path(name), "rb") as f:
                return f.read()
        pair = (read(client + ".key"), read(client + ".crt")) if client else (None, None)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(read("ca.crt"), *pair),
                                   options=[("grpc.use_local_subchannel_pool", 1)])


DIR = temp_dir()
CERTS = Certificates(DIR.name)


def tokens(*lines):
    path = os.path.join(DIR.name, "tokens")
    with open(path, "w") as f:
        f.write("# a comment\n\n" + "".join(line + "\n" for line in lines))
    os.chmod(path, 0o600)
    return path


def secure(s, client=None, **kw):
    return Client(s.tls_address, tls=CERTS.context(client), **kw)


def peer(c, **change):
    return c.call(PEER, **change).messages[0].decode().split(" ", 1)[1]


# ---- TLS ----

def test_grpcio_over_tls():
    with Server(**CERTS.options()) as s, CERTS.channel(s.tls_address) as ch:
        echo, stream = ch.unary_unary(ECHO), ch.unary_stream("/test.T/Burst")
        equal(echo(b"hi", timeout=WAIT_S), b"hi")
        equal(echo(bytes(65536), timeout=WAIT_S), bytes(65536))
        equal([len(m) for m in stream(b"2 4000000 0", timeout=WAIT_S)], [4000000] * 2)
        equal(ch.unary_unary(PEER)(b"", timeout=WAIT_S).decode().split(" ", 1)[1],
              "auth=0 user= tls=1")
        ticks = ch.unary_stream("/test.T/Stream")(b"200 210 1000", timeout=WAIT_S)
        equal(len(list(ticks)), 200)


def test_both_listeners_at_once():
    with Server(**CERTS.options()) as s, s.client() as plain, secure(s) as tls:
        equal((peer(plain), peer(tls)), ("auth=0 user= tls=0", "auth=0 user= tls=1"))
    with Server(plain=False, **CERTS.options()) as s, secure(s) as tls:
        equal((s.address, tls.call(ECHO, b"x").messages), ("", [b"x"]))


def test_the_session():
    with Server(**CERTS.options()) as s:
        with secure(s) as c:
            equal(c.sock.selected_alpn_protocol(), "h2")
            assert c.sock.version() in ("TLSv1.3", "TLSv1.2")
        old = CERTS.context()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with Client(s.tls_address, tls=old) as c:
            equal((c.sock.version(), c.call(ECHO, b"x").messages), ("TLSv1.2", [b"x"]))


def refused(s, context):
    """No connection, or one that ends without a frame."""
    try:
        with Client(s.tls_address, tls=context) as c:
            return not c.step() and c.eof
    except (ssl.SSLError, ConnectionError):
        return True


def test_without_http2_there_is_nothing():
    with Server(**CERTS.options()) as s:
        for alpn in (None, ("http/1.1",), ("http/1.1", "spdy/3")):
            assert refused(s, CERTS.context(alpn=alpn)), alpn
        with Client(s.tls_address, tls=CERTS.context(alpn=("http/1.1", "h2"))) as c:
            equal(c.call(ECHO, b"x").messages, [b"x"])
        with Client(s.tls_address) as c:  # plain text to the port of TLS
            c.auto_ack = False
            while c.step():
                pass
            equal((c.eof, c.frames), (True, []))
        until(lambda: s.stats()["clients"] == 0, "all gone")


def test_a_handshake_that_stops():
    with Server(**CERTS.options()) as s:
        host, port = s.tls_address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as half, secure(s) as c:
            half.sendall(b"\x16\x03\x01\x02\x00")
            equal(c.call(ECHO, b"x").messages, [b"x"])
            while half.recv(4096):
                pass  # closed after the time for greetings


def test_a_stalled_reader_over_tls():
    with Server(queue=8, **CERTS.options()) as s, secure(s, window=(1 << 31) - 1) as c, \
            secure(s) as quick:
        c.frame(WINDOW, 0, 0, b"\x7f\xff\x00\x00")
        stream = c.request("/test.T/Stream", b"3000 20000 500")
        until(lambda: s.stats()["dropped"] > 100, "stuck")
        equal(quick.call(ECHO, b"x").messages, [b"x"])
        got = [int(m.split()[0]) for m in c.answer(stream).messages]
        equal(got, sorted(set(got)))
        equal(got[-1], 2999, "the newest")
        equal(len(got) + s.stats()["dropped"], 3000)


def test_drain_over_tls():
    with Server(**CERTS.options()) as s, secure(s) as c:
        c.request("/test.T/Slow")
        c.ping()
        s.process.send_signal(signal.SIGTERM)
        equal(c.end(), NO_ERROR)
        out, err = s.process.communicate(timeout=WAIT_S)
        equal((s.process.returncode, out, err), (0, "idle\n", ""))


def test_client_certificates():
    with Server(require=1, **CERTS.options(ca=True)) as s:
        with secure(s, client="client") as c:
            equal(peer(c), "auth=1 user=meter-reader tls=1")
        for stranger in (None, "stranger", "wrong"):
            assert refused(s, CERTS.context(stranger)), stranger
        with CERTS.channel(s.tls_address, client="client") as ch:
            equal(ch.unary_unary(ECHO)(b"x", timeout=WAIT_S), b"x")
        with CERTS.channel(s.tls_address) as ch:
            try:
                ch.unary_unary(ECHO)(b"x", timeout=2)
                raise AssertionError("let in")
            except grpc.RpcError as e:
                assert e.code() in (grpc.StatusCode.UNAVAILABLE,
                                    grpc.StatusCode.DEADLINE_EXCEEDED), e
        with s.client() as c:
            a = c.call(ECHO)
            equal((a.status, a.text), (UNAUTHENTICATED, "a client certificate is needed"))
            equal(c.call(OPEN).status, OK)


# ---- tokens ----

def test_tokens():
    with Server(tokens=tokens(TOKEN, "another-token-of-it"), require=1) as s, s.client() as c:
        for header in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", "Bearer another-token-of-it"):
            equal(peer(c, authorization=header), "auth=1 user=token tls=0", header)
        a = c.call(PEER)
        equal((a.status, a.text),
              (UNAUTHENTICATED, "credentials are needed: authorization: Bearer TOKEN"))
        for header in ("Bearer", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x",
                       f"Bearer {TOKEN[:-1]}", "Bearer " + "x" * 5000, ""):
            a = c.call(PEER, authorization=header)
            equal((a.status, a.text), (UNAUTHENTICATED, "the token is not known"), header[:40])
        # Who is not let in is not told what there is.
        equal(c.call("/test.T/Nix").status, UNAUTHENTICATED)
        equal(c.call("/test.T/Nix", authorization=f"Bearer {TOKEN}").status, UNIMPLEMENTED)
        equal(c.call(OPEN).messages[0].split(b" ", 1)[1], b"auth=0 user= tls=0")
        equal(c.call(OPEN, authorization="Bearer wrong").status, OK, "an open method")


def test_tokens_that_are_not_required():
    with Server(tokens=tokens(TOKEN)) as s, s.client() as c:
        equal(peer(c), "auth=0 user= tls=0")
        equal(peer(c, authorization=f"Bearer {TOKEN}"), "auth=1 user=token tls=0")
        equal(peer(c), "auth=0 user= tls=0", "a token is of one call:")
        equal(c.call(PEER, authorization="Bearer wrong").status, UNAUTHENTICATED)


def test_a_token_of_grpcio():
    with Server(tokens=tokens(TOKEN), require=1, **CERTS.options()) as s:
        with open(CERTS.path("ca.crt"), "rb") as f:
            creds = grpc.composite_channel_credentials(
                grpc.ssl_channel_credentials(f.read()), grpc.access_token_call_credentials(TOKEN))
        with grpc.secure_channel(s.tls_address, creds) as ch:
            text = ch.unary_unary(PEER)(b"", timeout=WAIT_S).decode()
            equal(text.split(" ", 1)[1], "auth=1 user=token tls=1")


def test_a_token_with_a_certificate():
    with Server(tokens=tokens(TOKEN), **CERTS.options(ca=True)) as s, \
            secure(s, client="client") as c:
        equal(peer(c, authorization=f"Bearer {TOKEN}"), "auth=1 user=token tls=1")
        equal(peer(c), "auth=1 user=meter-reader tls=1")


# ---- configuration ----

def test_reload():
    path = tokens(TOKEN)
    with temp_dir() as where, Server(tokens=path, require=1, **CERTS.options()) as s, \
            secure(s) as old:
        stream = old.request("/test.T/Stream", b"0 10 1000", authorization=f"Bearer {TOKEN}")
        old.until(lambda: old.answers[stream].data, "a message")
        before = old.sock.getpeercert(binary_form=True)
        tokens("a-second-token-now")
        saved = {name: open(CERTS.path(name), "rb").read() for name in ("server.crt", "server.key")}
        CERTS.signed("server", "ca", "subjectAltName=DNS:localhost")
        equal(s.reload(), "reload good")
        with secure(s) as c:
            assert c.sock.getpeercert(binary_form=True) != before, "a new certificate"
            equal(peer(c, authorization="Bearer a-second-token-now"), "auth=1 user=token tls=1")
            equal(c.call(PEER, authorization=f"Bearer {TOKEN}").status, UNAUTHENTICATED)
        n = len(old.answers[stream].data)
        old.until(lambda: len(old.answers[stream].data) > n, "the stream goes on")
        with open(CERTS.path("server.key"), "w") as f:
            f.write("no key\n")
        said = s.reload()
        assert said.startswith("reload ") and "server.key" in said, said
        tokens("short")
        with open(CERTS.path("server.key"), "wb") as f:
            f.write(saved["server.key"])
        with open(CERTS.path("server.crt"), "wb") as f:
            f.write(saved["server.crt"])
        assert "a token is one word" in s.reload()
        with secure(s) as c:
            equal(peer(c, authorization="Bearer a-second-token-now"), "auth=1 user=token tls=1")


def test_configurations_that_are_wrong():
    cert, key = CERTS.path("server.crt"), CERTS.path("server.key")
    cases = [
        ({"require": 1}, "has none to compare with"),
        ({"require": 1, "ca": CERTS.path("ca.crt")}, "has none to compare with"),
        ({"tls_listen": "127.0.0.1:0"}, "needs a certificate and its key"),
        ({"tls_listen": "127.0.0.1:0", "cert": cert}, "needs a certificate and its key"),
        ({"tls_listen": "127.0.0.1:0", "cert": cert, "key": CERTS.path("client.key")},
         "does not belong to the certificate"),
        ({"tls_listen": "127.0.0.1:0", "cert": "/nonexistent", "key": key}, "cannot be opened"),
        ({"tokens": "/nonexistent"}, "cannot be opened"),
        ({"tokens": tokens()}, "holds no credentials"),
        ({"plain": False}, "needs an address"),
        ({"queue": 100000}, "queue of more than"),
    ]
    for options, what in cases:
        try:
            Server(**options)
        except AssertionError as e:
            assert what in str(e), f"{options}: {e}"
        else:
            raise AssertionError(f"{options} was taken")


def test_many_sessions_leave_nothing_behind():
    with Server(**CERTS.options()) as s:
        def visit(n):
            for _ in range(n):
                with secure(s) as c:
                    equal(c.call(ECHO, b"x").messages, [b"x"])

        def quiet():
            stats = s.stats()
            return stats if stats["clients"] == 0 else None
        visit(50)
        before = until(quiet, "all gone")
        visit(300)
        after = until(quiet, "all gone")
        equal(after["fds"], before["fds"])
        assert after["heap"] <= before["heap"] + 65536, (before["heap"], after["heap"])


if __name__ == "__main__":
    signal.alarm(280)
    run_tests(globals())
