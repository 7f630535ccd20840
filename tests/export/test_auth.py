#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who a client over TCP is: passwords and tokens, the files that hold them, and what is refused."""
import base64
import json
import os
import re

import server
from server import H, Server, contains, equal, refused, run_tests, to_temporary_directory, until
from identity import ROUNDS, hash_of

TOKEN = "0123456789abcdef-right"
OTHER = "0123456789abcdef-other"
# name:password of the tests that are not about hashes
ALICE = ("alice", "right")


def write(name, *lines, mode=0o600):
    """A file of lines (bytes: as they are); returns its path."""
    with open(name, "wb") as f:
        f.write(b"".join(x if isinstance(x, bytes) else x.encode() + b"\n" for x in lines))
    os.chmod(name, mode)
    return os.path.abspath(name)


def users(*pairs, scheme="$6$"):
    return write("users", *(f"{u}:{hash_of(p, scheme)}" for u, p in pairs))


def basic(user, password):
    if isinstance(password, str):
        password = password.encode()
    return {"Authorization": "Basic " + base64.b64encode(user.encode() + b":" + password).decode()}


def bearer(token):
    return {"Authorization": "Bearer " + token}


def who(s, headers=None, path="/peer", connection=None):
    """(status, authenticated, user) as the handler sees them; 429 is waited out, as a slow machine has more."""
    def ask():
        nonlocal status, body
        status, _, body = s.get(path, headers=headers, connection=connection)
        return status != 429

    status, body = 0, b""
    until(ask, "an answer other than 429")
    m = re.search(r"auth=(\d) user=(.*) member", body.decode())
    return (status, m.group(1) == "1", m.group(2)) if m else (status, None, None)


def handled(s, headers):
    """How many requests the handler has seen, with this one."""
    return json.loads(s.text("/stats", headers=headers))["handled"]


IN = {u: (200, True, u) for u in ("alice", "bob", "token")}
ANYBODY = (200, False, "")
OUT = (401, None, None)


# ---- passwords ----

def test_every_scheme_of_hashes():
    for scheme in ROUNDS:
        with Server(basic=users(ALICE, ("bob", "else"), scheme=scheme), require=1) as s:
            equal(who(s, basic(*ALICE)), IN["alice"], scheme)
            equal(who(s, basic("bob", "else")), IN["bob"], scheme)
            for user, password in (("alice", "Right"), ("alice", "else"), ("alice", ""), ("Alice", "right"),
                                   ("carol", "right")):
                equal(who(s, basic(user, password)), OUT, (scheme, user, password))


def test_what_is_no_safe_hash_is_refused():
    good = {scheme: hash_of("geheim", scheme) for scheme in ("$6$", "$2b$", "$y$")}
    bad = ["geheim", "", "*", "!", "x", hash_of("geheim", ""), hash_of("geheim", "$1$"),
           hash_of("geheim", "$sha1"), hash_of("geheim", "$md5"), hash_of("geheim", "$3$"),
           "{SHA}Z2VoZWlt", "$apr1$abcdefgh$0123456789012345678901", "$2b$", "$y$", "$6$", "$6$geheim",
           "$99$geheim$geheim", "$argon2id$v=19$m=65536,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$CWOrkoo7oJBQ",
           good["$2b$"].replace("$2b$", "$2x$")]
    bad += [h[:-1] for h in good.values()] + [h + "x" for h in good.values()]
    bad += ["!" + h for h in good.values()] + [h.replace("$", "$ ", 1) for h in good.values()]
    for text in bad:
        why = refused(basic=write("users", "# people", f"bob:{good['$6$']}", f"alice:{text}"))
        contains(why, f"{os.path.abspath('users')}:3: what follows alice: is no hash that is safe to store; "
                      "make one with: mkpasswd")
        assert "geheim" not in why and (len(text) < 4 or text not in why), why


def test_a_file_of_users():
    h = hash_of("right", "$6$")
    name = "u" * 63
    path = write("users", b"\r\n# people\r\n  \t\r\n \talice:" + h.encode() + b" \r\n", f"{name}:{h}",
                 f"\u00fcse:{h}", f"with blank:{h}", b"#bob:no hash\nlast:" + h.encode())
    with Server(basic=path, require=1) as s:
        for user in ("alice", name, "\u00fcse", "with blank", "last"):
            status, _, body = s.get("/peer", headers=basic(user, "right"))
            equal(status, 200, user)
            contains(body.decode(), f"auth=1 user={user} ")
        equal(who(s, basic("#bob", "right")), OUT)
    for line, sentence in ((h, "want USER:HASH"), ("alice", "want USER:HASH"), (":" + h, "want USER:HASH"),
                           (f"{name}u:{h}", "longer than 63 bytes"), (f"token:{h}", "stands for bearer tokens"),
                           (f"bob:{h}", "user bob is there twice")):
        contains(refused(basic=write("users", f"bob:{h}", line)), "users:2: ")
        contains(refused(basic="users"), sentence)
    lines = [f"u{i}:{h}" for i in range(64)]
    with Server(basic=write("users", *lines), require=1) as s:
        equal(who(s, basic("u63", "right")), (200, True, "u63"))
    contains(refused(basic=write("users", *lines, f"u64:{h}")), "more than 64 users")


def test_passwords_of_all_kinds():
    kinds = ["a:b", ":", "::x", " ", " a ", "p\u00e4ss\u20acw\u00f6rt\U0001f511", "x" * 255, "a\tb\x7f"]
    pairs = [(f"u{i}", password) for i, password in enumerate(kinds)]
    with Server(basic=users(*pairs), require=1) as s:
        for user, password in pairs:
            equal(who(s, basic(user, password)), (200, True, user), password)
    with Server(basic=users(("alice", ""), ("bob", "a"), ("long", "x" * 255)), require=1) as s:
        equal(who(s, basic("alice", "")), IN["alice"], "an empty password, since it was set")
        equal(who(s, basic("bob", b"a\0b")), OUT, "NUL does not end a password")
        equal(who(s, basic("bob", b"a\0")), OUT)
        equal(who(s, basic("long", "x" * 256)), OUT, "longer than what is looked at")
        equal(who(s, basic("bob", "x" * 5000)), OUT)
        equal(who(s, basic("u" * 5000, "a")), OUT)
        equal(who(s, basic("bob", "\u00e4".encode("latin-1"))), OUT)
        equal(who(s, basic("bob", "a")), IN["bob"])


def encoded(text):
    return base64.b64encode(text).decode()


def test_headers_that_are_none():
    with Server(basic=users(ALICE), tokens=write("tokens", TOKEN), require=1) as s:
        pair = encoded(b"alice:right")
        for good in ("Basic " + pair, "basic " + pair, "BASIC   " + pair):
            equal(who(s, {"Authorization": good}), IN["alice"], good)
        for bad in ("", "Basic", "Basic ", pair, "Basic" + pair, "Basic\t" + pair, "Basic !!!!", "Basic " + pair[:-1],
                    "Basic " + pair + "=", "Basic " + pair + "A", "Basic =" + pair, "Basic " + pair + " " + pair,
                    "Basic " + pair + ", Basic " + pair, "Basic " + encoded(b"alice"), "Basic " + encoded(b":right"),
                    "Basic " + encoded(b":"), "Basic " + encoded(b"alice:right\n"), "Basic alice:right",
                    "Basic " + pair.rstrip("=") + "-_==", 'Digest username="alice"', "Negotiate " + pair,
                    "Bearer " + pair, "Bearer alice:right", "Basic " + TOKEN, "Token " + TOKEN, TOKEN,
                    "Bearer=" + TOKEN):
            equal(who(s, {"Authorization": bad}), OUT, bad)
        equal(handled(s, basic(*ALICE)), 4, "the handler saw no other")


def test_two_authorization_headers():
    with Server(basic=users(ALICE), tokens=write("tokens", TOKEN), require=1) as s:
        good = b"Authorization: " + basic(*ALICE)["Authorization"].encode() + b"\r\n"
        token = b"authorization: Bearer " + TOKEN.encode() + b"\r\n"
        bad = b"Authorization: Bearer " + OTHER.encode() + b"\r\n"
        for first, second in ((good, bad), (bad, good), (good, good), (good, token), (token, good),
                              (b"Authorization:\r\n", good)):
            got = s.talk(b"GET /peer HTTP/1.1\r\n" + H + first + second + b"\r\n")
            equal((got[0], got[3]), (400, True), (first, second))
        for one in (good, token):
            equal(s.talk(b"GET /peer HTTP/1.1\r\n" + H + one + b"\r\n")[0], 200)


# ---- tokens ----

def test_tokens():
    path = write("tokens", "# one a line", "", TOKEN + "\r", "  " + "z" * 255 + " ", "fedcba9876543210")
    with Server(tokens=path, require=1) as s:
        for token in (TOKEN, "z" * 255, "fedcba9876543210"):
            for scheme in ("Bearer ", "bearer ", "BEARER   "):
                equal(who(s, {"Authorization": scheme + token}), IN["token"], scheme + token)
        for token in (OTHER, TOKEN[:-1], TOKEN + "x", TOKEN.upper(), TOKEN[1:], "", "z" * 254, "z" * 256, "z" * 4000,
                      TOKEN + " " + TOKEN, TOKEN + "," + TOKEN, f'"{TOKEN}"', "# one a line", "#", "one",
                      encoded(TOKEN.encode())):
            equal(who(s, bearer(token)), OUT, token)
        equal(who(s, {"X-Authorization": "Bearer " + TOKEN}), OUT)
        equal(who(s, path=f"/peer?access_token={TOKEN}&token={TOKEN}"), OUT, "not in the address")
        equal(who(s, basic("token", TOKEN)), OUT)


def test_a_file_of_tokens():
    for line in ("0123456789abcde", "x" * 256, "0123456789 abcdef", "0123456789\tabcdef"):
        why = refused(tokens=write("tokens", TOKEN, line))
        contains(why, "tokens:2: a token is one word of 16 to 255 bytes; make one with: openssl rand -hex 32")
        assert line not in why, why
    many = [f"{i:032d}" for i in range(64)]
    with Server(tokens=write("tokens", *many), require=1) as s:
        equal(who(s, bearer(many[63])), IN["token"])
    contains(refused(tokens=write("tokens", *many, TOKEN)), "more than 64 tokens")


# ---- answers ----

def test_what_401_says():
    password, token = 'Basic realm="ergon", charset="UTF-8"', 'Bearer realm="ergon"'
    u, t = users(ALICE), write("tokens", TOKEN)
    for options, want in (({"basic": u}, [password]), ({"tokens": t}, [token]),
                          ({"basic": u, "tokens": t}, [password, token])):
        with Server(require=1, **options) as s:
            for credentials in (None, bearer(OTHER), basic("alice", "wrong")):
                for path in ("/peer", "/nix", "/-/ready", "/"):
                    status, headers, body = s.get(path, headers=credentials)
                    equal((status, headers.get_all("WWW-Authenticate"), body), (401, want, b"401 Unauthorized\n"))
            status, headers, body = s.get("/peer", method="HEAD")
            equal((status, headers.get_all("WWW-Authenticate"), body), (401, want, b""))
            equal(handled(s, bearer(TOKEN) if "tokens" in options else basic(*ALICE)), 1)
    with Server(tokens=t) as s:
        status, headers, _ = s.get("/status?code=401")
        equal((status, headers.get_all("WWW-Authenticate")), (401, [token]), "the handler's own 401")


def test_not_required():
    """Who says nothing is anybody; who says something wrong is told so."""
    with Server(basic=users(ALICE), tokens=write("tokens", TOKEN)) as s:
        equal(who(s), ANYBODY)
        equal(who(s, bearer(TOKEN)), IN["token"])
        equal(who(s, basic(*ALICE)), IN["alice"])
        for wrong in (bearer(OTHER), basic("alice", "wrong"), {"Authorization": ""}, {"Authorization": "Digest x"}):
            equal(who(s, wrong), OUT, wrong)
        equal(who(s), ANYBODY)
    with Server() as s:
        equal(who(s, bearer(TOKEN)), ANYBODY, "nothing is configured: nothing is looked at")


def test_the_open_path():
    with Server(tokens=write("tokens", TOKEN), require=1) as s:
        for path in ("/-/healthy", "/-/healthy?x=1", "/%2d/healthy"):
            for credentials in (None, bearer(OTHER), bearer(TOKEN)):
                equal(s.get(path, headers=credentials)[0], 200, (path, credentials))
        for path in ("/-/healthy/", "//-/healthy", "/-/Healthy", "/-/healthyx", "/-/health", "/-/ready",
                     "/-/../-/healthy", "/peer?/-/healthy", "/-/healthy;x", "/-/healthy%20"):
            equal(s.get(path)[0], 401, path)


def test_each_request_shows_its_own():
    """A connection does not stay logged in, nor does one of its requests become another user's."""
    with Server(basic=users(ALICE), tokens=write("tokens", TOKEN), require=1, socket="s") as s:
        c = s.connection()
        for _ in range(3):
            equal(who(s, bearer(TOKEN), connection=c), IN["token"])
            equal(who(s, connection=c), OUT)
            equal(who(s, basic(*ALICE), connection=c), IN["alice"])
            equal(who(s, bearer(OTHER), connection=c), OUT)
            equal(who(s, connection=c), OUT)
        s.local("/reload?require=0")
        equal(who(s, basic(*ALICE), connection=c), IN["alice"])
        equal(who(s, connection=c), ANYBODY, "nothing is left of alice")
        c.close()
        # In one piece: the second is read with the first.
        get = b"GET /peer HTTP/1.1\r\n" + H
        s.local("/reload?require=1")
        with s.raw() as r:
            r.sendall(get + b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n" + get + b"Connection: close\r\n\r\n")
            out = server.read_end(r)
        equal(re.findall(rb"HTTP/1.1 (\d+)", out), [b"200", b"401"])


def test_a_body_is_not_handled_without_credentials():
    with Server(tokens=write("tokens", TOKEN), require=1) as s:
        c = s.connection()
        for n in (3, 65536):
            equal(s.get("/echo", method="POST", body="x" * n, connection=c)[0], 401)
            status, _, body = s.get("/echo", method="POST", body="y" * n, headers=bearer(TOKEN), connection=c)
            equal((status, body[-1:], len(body) > n), (200, b"y", True))
        c.close()


def test_the_socket_needs_none():
    with Server(tokens=write("tokens", TOKEN), require=1, socket="s") as s:
        for credentials in (None, bearer(OTHER), bearer(TOKEN), basic("alice", "wrong")):
            status, text = s.local("/peer", headers=credentials)
            equal(status, 200)
            contains(text, f"local=1 uid={os.getuid()} ")
            contains(text, "auth=0 user= ")


# ---- guessing ----

def guess(s, user, most=200):
    """How many wrong passwords are looked at before the server wants time; and that answer."""
    c = s.connection()
    try:
        for n in range(most):
            status, headers, body = s.get("/peer", headers=basic(user, f"wrong {n}"), connection=c)
            if status == 429:
                return n, headers, body
            equal(status, 401)
    finally:
        c.close()
    raise AssertionError(f"{most} wrong passwords, and no end")


def test_guessing_is_held_up():
    others = [f"u{i}" for i in range(20)]
    people = users(ALICE, *((u, "else") for u in others))
    with Server(basic=people, tokens=write("tokens", TOKEN), require=1) as s:
        equal(who(s, basic(*ALICE)), IN["alice"])
        tried, headers, body = guess(s, "alice")
        assert tried > 0
        equal((headers["Retry-After"], headers["WWW-Authenticate"], body), ("1", None, b"429 Too Many Requests\n"))
        # Who is known goes on, and so do tokens and the open path.
        equal(s.get("/peer", headers=basic(*ALICE))[0], 200)
        equal(s.get("/peer", headers=bearer(TOKEN))[0], 200)
        equal(s.get("/-/healthy")[0], 200)
        equal(s.get("/peer", headers=bearer(OTHER))[0], 401)
        equal(s.get("/peer")[0], 401)
        # A first login has to wait as well, unless it comes just when there is room.
        for user in others:
            guess(s, "alice")
            status = s.get("/peer", headers=basic(user, "else"))[0]
            if status == 429:
                break
            equal(status, 200)
        equal(status, 429)
        equal(who(s, basic(user, "else")), (200, True, user), "in the end")
        guess(s, user)
        equal(s.get("/peer", headers=basic(user, "else"))[0], 200)


def test_an_unknown_user_looks_like_a_known_one():
    answers = []
    for user in ("alice", "nobody"):
        with Server(basic=users(ALICE), require=1) as s:
            status, headers, body = s.get("/peer", headers=basic(user, "wrong"))  # the first look of all
            answers.append((status, sorted((k, v) for k, v in headers.items() if k != "Date"), body))
            guess(s, user)  # is held up, too
    equal(answers[0], answers[1])
    equal(answers[0][0], 401)


# ---- files ----

def test_who_may_read_the_files():
    for option, line in (("tokens", TOKEN), ("basic", "alice:" + hash_of("right"))):
        for mode in (0o644, 0o604, 0o602, 0o601, 0o666, 0o777, 0o660, 0o620):
            why = refused(**{option: write("f", line, mode=mode)})
            contains(why, f"holds secrets, and {'every user' if mode & 7 else 'its group'} may ")
            contains(why, f"(mode {mode:04o}); run: chmod 0640 {os.path.abspath('f')}")
        for mode in (0o600, 0o640, 0o400, 0o440):
            with Server(require=1, **{option: write("f", line, mode=mode)}) as s:
                equal(s.get("/peer", headers=bearer(TOKEN) if option == "tokens" else basic(*ALICE))[0], 200)


def test_files_that_are_none():
    write("good", TOKEN)
    write("open", TOKEN, mode=0o644)
    os.mkdir("directory")
    os.mkfifo("fifo", 0o600)
    for link, to in (("link", "good"), ("to-open", "open"), ("dangling", "nix"), ("round", "round"),
                     ("to-directory", "directory")):
        os.symlink(to, link)
    with Server(tokens="link", require=1) as s:
        equal(who(s, bearer(TOKEN)), IN["token"], "a link to a good file, as Kubernetes has them")
    contains(refused(tokens="to-open"), "-13 to-open holds secrets, and every user may")
    for path in ("nix", "dangling", "nix/x"):
        contains(refused(tokens=path), f"-2 {path} cannot be opened: ")
    contains(refused(tokens="round"), "-40 round cannot be opened: ")
    for path in ("directory", "to-directory", "fifo", "/dev/null", "/dev/zero"):
        contains(refused(tokens=path), f"-22 {path} is no plain file; name the file itself")
    for name, text in (("empty", b""), ("blank", b"\n \n\t\r\n"), ("comments", b"# a\n  # b")):
        contains(refused(tokens=write(name, text)), "holds no credentials; nobody could be let in")
        contains(refused(basic=name), "holds no credentials; nobody could be let in")
    contains(refused(tokens=write("binary", TOKEN.encode() + b"\0\n")), "is no text file; is it the right file?")
    huge = b"#" + b" " * ((256 << 10) - len(TOKEN) - 2) + b"\n" + TOKEN.encode()
    with Server(tokens=write("huge", huge), require=1) as s:
        equal(who(s, bearer(TOKEN)), IN["token"], "as large as it may be")
    contains(refused(tokens=write("huge", huge + b"\n")), "is larger than 262144 bytes; is it the right file?")


# ---- reload ----

def test_reload():
    tokens, people = write("tokens", TOKEN), users(ALICE)
    with Server(tokens=tokens, basic=people, require=1, socket="s") as s:
        c = s.connection()
        equal(who(s, bearer(TOKEN), connection=c), IN["token"])
        equal(who(s, basic(*ALICE), connection=c), IN["alice"])
        write("tokens", OTHER)
        users(("alice", "new"))
        equal(who(s, bearer(TOKEN), connection=c), IN["token"], "files are read at a reload only")
        equal(s.local("/reload"), (200, ""))
        equal(who(s, bearer(TOKEN), connection=c), OUT)
        equal(who(s, bearer(OTHER), connection=c), IN["token"])
        equal(who(s, basic(*ALICE), connection=c), OUT, "an old password is not remembered")
        equal(who(s, basic("alice", "new"), connection=c), IN["alice"])

        def stays(sentence):
            status, text = s.local("/reload")
            equal(status, 409)
            contains(text, sentence)
            equal(text.count("\n"), 0, "one sentence")
            equal(who(s, bearer(OTHER), connection=c), IN["token"])
            equal(who(s, basic("alice", "new"), connection=c), IN["alice"])
            equal(who(s, bearer(TOKEN), connection=c), OUT)
            equal(who(s, connection=c), OUT)

        # The good one beside a bad one is not taken either.
        write("tokens", TOKEN)
        write("users", "alice:new")
        stays("users:1: what follows alice: is no hash")
        users(("alice", "newer"))
        write("tokens", TOKEN, mode=0o644)
        stays("tokens holds secrets")
        write("tokens", "short")
        stays("tokens:1: a token is one word")
        write("tokens")
        stays("holds no credentials")
        os.remove("tokens")
        stays("tokens cannot be opened")
        write("tokens", TOKEN)
        equal(s.local("/reload"), (200, ""))
        equal(who(s, bearer(TOKEN), connection=c), IN["token"])
        equal(who(s, basic("alice", "newer"), connection=c), IN["alice"])
        c.close()


def test_a_thousand_reloads_leak_nothing():
    with Server(tokens=write("tokens", TOKEN), basic=users(ALICE), require=1, socket="s",
                env=server.NO_QUARANTINE) as s:
        c = server.UnixConnection("s")

        def turn(n):
            for _ in range(n):
                equal(s.get("/reload", connection=c)[0], 200)

        turn(200)
        before = s.stats()
        turn(1000)
        after = s.stats()
        c.close()
        equal(after["fds"], before["fds"])
        grown = after["rss"] - before["rss"]
        assert grown < 1 << 20, f"{grown} bytes more"


if __name__ == "__main__":
    to_temporary_directory()
    run_tests(globals())
