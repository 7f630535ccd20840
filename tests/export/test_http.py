#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP server: messages good and bad, limits, clients that are slow, many, or gone."""
import concurrent.futures
import gzip
import os
import resource
import signal
import socket
import threading

from server import (H, NO_QUARANTINE, Server, WAIT_S, contains, equal, read_answer, read_end, recv, run_tests,
                    settled, to_temporary_directory, until)


# ---- messages ----

def test_what_the_handler_sees():
    with Server() as s:
        equal(s.text("/echo/a%20b%C3%A9?q=1%202+3%26&q=no&x"),
              "GET /echo/a b\u00e9 q=1 2 3& x=(none) len=0 body=")
        equal(s.text("/echo?x=1"), "GET /echo q=(none) x=(none) len=0 body=")
        equal(s.text("/echo?q"), "GET /echo q= x=(none) len=0 body=")
        equal(s.text("/echo", headers={"X-TEST": "y"}), "GET /echo q=(none) x=y len=0 body=")
        equal(s.text("/echo", method="POST", body="a=b"),
              "POST /echo q=(none) x=(none) len=3 body=a=b")
        equal(s.text("/echo", method="DELETE"), "DELETE /echo q=(none) x=(none) len=0 body=")
        equal(s.text("/echo", method="POST", body="a=b",
                     headers={"Content-Type": "application/x-www-form-urlencoded"}),
              "POST /echo q=(none) x=(none) len=3 body=a=b")


def test_headers_of_an_answer():
    with Server() as s:
        status, headers, body = s.get("/echo")
        equal(status, 200)
        equal(sorted(k.lower() for k in headers),
              ["cache-control", "content-length", "content-type", "date"])
        equal(headers["Cache-Control"], "no-store")
        equal(int(headers["Content-Length"]), len(body))
        status, _, body = s.get("/status?code=204")
        equal((status, body), (204, b""))


def test_head_has_the_length_of_get():
    with Server() as s:
        for path in ("/echo", "/big?n=5000"):
            _, get_headers, body = s.get(path)
            with s.raw() as c:
                c.sendall(b"HEAD %s HTTP/1.1\r\n%s\r\n" % (path.encode(), H) +
                          b"GET /nix HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
                out = read_end(c)
            head, rest = out.split(b"\r\n\r\n", 1)
            assert head.startswith(b"HTTP/1.1 200 "), head
            if path != "/echo":  # its body names the method
                contains(head, b"Content-Length: %d" % len(body))
            assert rest.startswith(b"HTTP/1.1 404 "), "no body after HEAD"


def test_statuses_of_the_handler():
    with Server() as s:
        equal(s.get("/nix")[0], 404)
        status, headers, _ = s.get("/status?code=405")
        equal((status, headers["Allow"]), (405, "GET"))
        equal(s.get("/forget")[0], 500, "a handler that does not answer")


CHUNKED = b"POST /echo HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\n" + H
# name, message, status, closed
MESSAGES = [
    ("no host", b"GET /echo HTTP/1.1\r\n\r\n", 400, True),
    ("two hosts", b"GET /echo HTTP/1.1\r\n" + H + H + b"\r\n", 400, True),
    ("HTTP/1.0", b"GET /echo HTTP/1.0\r\n\r\n", 200, True),
    ("HTTP/0.9", b"GET /echo\r\n\r\n", 400, True),
    ("HTTP/2.0", b"GET /echo HTTP/2.0\r\n" + H + b"\r\n", 505, True),
    ("length and chunked", POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"3\r\nabc\r\n0\r\n\r\n", 400, True),
    ("chunked and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
     b"3\r\nabc\r\n0\r\n\r\n", 400, True),
    ("two lengths", POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, True),
    ("length with a letter", POST + b"Content-Length: 3x\r\n\r\nabc", 400, True),
    ("negative length", POST + b"Content-Length: -3\r\n\r\nabc", 400, True),
    ("signed length", POST + b"Content-Length: +3\r\n\r\nabc", 400, True),
    ("length beyond 64 bits", POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 413, True),
    ("blank before the colon", POST + b"Content-Length : 3\r\n\r\nabc", 400, True),
    ("blank before a name", b"GET /echo HTTP/1.1\r\n Host: a\r\n" + H + b"\r\n", 400, True),
    ("no colon", b"GET /echo HTTP/1.1\r\nHost x\r\n\r\n", 400, True),
    ("coding unknown", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, True),
    ("chunks", CHUNKED + b"3;x=y\r\nabc\r\n0\r\nTrailer: a\r\n\r\n", 200, False),
    ("chunk size no number", CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", 400, True),
    ("chunk longer than it says", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400, True),
    ("chunk beyond 64 bits", CHUNKED + b"ffffffffffffffffff\r\n", 413, True),
    ("body of the limit", POST + b"Content-Length: 65536\r\n\r\n" + b"x" * 65536, 200, False),
    ("body above the limit", POST + b"Content-Length: 65537\r\n\r\n" + b"x" * 65537, 413, True),
    ("announced above the limit", POST + b"Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n",
     413, True),
    ("chunks of the limit", CHUNKED + b"8000\r\n" + b"x" * 32768 + b"\r\n8000\r\n" + b"x" * 32768 +
     b"\r\n0\r\n\r\n", 200, False),
    ("chunks above the limit", CHUNKED + b"8000\r\n" + b"x" * 32768 + b"\r\n8001\r\n" +
     b"x" * 32769 + b"\r\n0\r\n\r\n", 413, True),
    ("expect", POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 200, False),
    ("absolute form", b"GET http://foo:1/echo?q=3 HTTP/1.1\r\n" + H + b"\r\n", 200, False),
    ("absolute form without a path", b"GET HTTP://foo HTTP/1.1\r\n" + H + b"\r\n", 404, False),
    ("absolute form of something else", b"GET ftp://foo/ HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n", 405, True),
    ("asterisk to get", b"GET * HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("connect", b"CONNECT foo:80 HTTP/1.1\r\n" + H + b"\r\n", 405, True),
    ("put", b"PUT /echo HTTP/1.1\r\n" + H + b"Content-Length: 1\r\n\r\nx", 405, True),
    ("patch", b"PATCH /echo HTTP/1.1\r\n" + H + b"\r\n", 405, True),
    ("trace", b"TRACE /echo HTTP/1.1\r\n" + H + b"\r\n", 405, True),
    ("unknown method", b"BREW /echo HTTP/1.1\r\n" + H + b"\r\n", 501, True),
    ("method in small letters", b"get /echo HTTP/1.1\r\n" + H + b"\r\n", 501, True),
    ("NUL in the path", b"GET /echo%00 HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("NUL in the query", b"GET /echo?q=%00 HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("bad escape", b"GET /echo%zz HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("cut escape", b"GET /echo%4 HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("cut escape in the query", b"GET /echo?q=% HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("CR LF in the path", b"GET /echo%0d%0aX:y HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("blank in the path", b"GET /echo a HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("tab in the query", b"GET /echo?a\tb HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("fragment", b"GET /echo#a HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("no slash", b"GET echo HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("parameters", b"GET /echo?" + b"&".join(b"a%d" % i for i in range(64)) + b" HTTP/1.1\r\n" +
     H + b"\r\n", 200, False),
    ("too many parameters", b"GET /echo?" + b"a&" * 65 + b" HTTP/1.1\r\n" + H + b"\r\n", 400, True),
    ("long target", b"GET /echo?" + b"a" * 9000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414, True),
    ("longer target", b"GET /echo?" + b"a" * 40000 + b" HTTP/1.1\r\n" + H + b"\r\n", 414, True),
    ("long header", b"GET /echo HTTP/1.1\r\n" + H + b"A: " + b"a" * 12000 + b"\r\n\r\n", 200, False),
    ("longer header", b"GET /echo HTTP/1.1\r\n" + H + b"A: " + b"a" * 40000 + b"\r\n\r\n", 431, True),
    ("many headers", b"GET /echo HTTP/1.1\r\n" + H + b"A: b\r\n" * 5000 + b"\r\n", 431, True),
    ("empty lines first", b"\r\n\r\nGET /echo HTTP/1.1\r\n" + H + b"\r\n", 200, False),
    ("line feeds alone", b"GET /echo HTTP/1.1\nHost: x\n\n", 200, False),
    ("a body to get", b"GET /echo HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabc", 200, False),
]


def test_messages_good_and_bad():
    with Server() as s:
        wrong = []
        for name, message, status, closed in MESSAGES:
            with s.raw() as c:
                try:
                    c.sendall(message)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # refused before all was said
                got, headers, _, is_closed = read_answer(c)
            if (got, is_closed) != (status, closed):
                wrong.append((name, got, is_closed))
            if status == 405:
                contains(headers, b"Allow: GET, HEAD, POST, DELETE")
        equal(wrong, [])
        equal(s.text("/echo"), "GET /echo q=(none) x=(none) len=0 body=")


def test_an_endless_body_is_cut():
    with Server() as s:
        before = s.stats()["rss"]
        with s.raw() as c:
            sent = 0
            c.sendall(CHUNKED)
            try:
                while sent < 64 << 20:
                    c.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    sent += 65536
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert sent < 64 << 20, "never cut"
        grown = s.stats()["rss"] - before
        assert grown < 4 << 20, f"{grown} bytes more"


def test_bytes_that_are_no_message():
    with Server(idle=1) as s:
        for junk in (bytes(range(256)) * 8, bytes.fromhex("1603010200010001fc0303") + b"a" * 500,
                     b"\n" * 5000, b"\0" * 5000, b"GET " * 5000):
            with s.raw() as c:
                try:
                    c.sendall(junk)
                except ConnectionError:
                    pass
                out = read_end(c)
                assert not out or out.startswith(b"HTTP/1.1 4") or out.startswith(b"HTTP/1.1 5"), out
        equal(s.get("/echo")[0], 200)


def test_pipelining_keeps_the_order():
    with Server() as s, s.raw() as c:
        message = b"".join(b"GET /echo?q=%d HTTP/1.1\r\n%s\r\n" % (i, H) for i in range(50))
        message += POST + b"Content-Length: 3\r\n\r\nabc"
        c.sendall(message + b"GET /echo?q=last HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
        out = read_end(c)
        at = [out.index(b"q=%d x" % i) for i in range(50)] + [out.index(b"body=abc"),
                                                              out.index(b"q=last")]
        equal(at, sorted(at))


def test_keep_alive_and_its_end():
    with Server() as s:
        c = s.connection()
        for i in range(20):
            equal(s.text("/echo", connection=c), "GET /echo q=(none) x=(none) len=0 body=")
        equal(s.stats()["clients"], 2)
        c.close()
        until(lambda: s.stats()["clients"] == 1, "the connection goes")


# ---- compression ----

def test_gzip():
    with Server() as s:
        plain_status, headers, plain = s.get("/big?n=100000")
        equal((plain_status, len(plain), headers["Content-Encoding"]), (200, 100000, None))
        equal(headers["Vary"], "Accept-Encoding")
        for accept in ("gzip", "deflate, gzip;q=0.5", "*", "GZIP"):
            _, headers, body = s.get("/big?n=100000", headers={"Accept-Encoding": accept})
            equal(headers["Content-Encoding"], "gzip", accept)
            equal(headers["Vary"], "Accept-Encoding")
            equal(int(headers["Content-Length"]), len(body))
            assert len(body) < 50000
            equal(gzip.decompress(body), plain)
        for accept in ("gzip;q=0", "identity", "*;q=0", "br"):
            _, headers, body = s.get("/big?n=100000", headers={"Accept-Encoding": accept})
            equal((headers["Content-Encoding"], body), (None, plain), accept)
        for n, want in ((1024, None), (1025, "gzip"), (3000000, "gzip"), (2000, "gzip")):
            _, headers, body = s.get(f"/big?n={n}", headers={"Accept-Encoding": "gzip"})
            equal(headers["Content-Encoding"], want, n)
            equal(len(gzip.decompress(body) if want else body), n)
        equal(s.get("/echo", headers={"Accept-Encoding": "gzip"})[1]["Vary"], None)


# ---- slow clients ----

def drip(c, message, done):
    """A byte now and then, until the server has had enough."""
    try:
        for i in range(len(message)):
            c.sendall(message[i:i + 1])
            if done.wait(0.15):
                return
    except OSError:
        pass


def closes_a_dripping_client(s, start, rest):
    done = threading.Event()
    with s.raw() as c:
        c.sendall(start)
        t = threading.Thread(target=drip, args=(c, rest, done))
        t.start()
        out = read_end(c)
        done.set()
        t.join()
    return out


def test_a_byte_now_and_then_is_too_slow():
    with Server(idle=1) as s:
        cases = [(b"GET /echo HTTP/1.1\r\nHost: x\r\nA: ", b"a" * 1000),
                 (b"", b"GET /" + b"a" * 1000),
                 (POST + b"Content-Length: 2000\r\n\r\n", b"x" * 1000),
                 (CHUNKED + b"f00\r\n", b"x" * 1000),
                 # The same on a connection that has been useful before.
                 (b"GET /echo HTTP/1.1\r\n" + H + b"\r\nGET /echo HTTP/1.1\r\nA: ", b"a" * 1000)]
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            outs = list(pool.map(lambda case: closes_a_dripping_client(s, *case), cases))
        equal([out.count(b"HTTP/1.1") for out in outs], [0, 0, 0, 0, 1])
        equal(s.stats()["clients"], 1)


def test_an_idle_client_is_closed():
    with Server(idle=1) as s:
        with s.raw() as silent, s.raw() as idle:
            idle.sendall(b"GET /echo HTTP/1.1\r\n" + H + b"\r\n")
            equal(read_answer(idle)[0], 200)
            equal((recv(silent), recv(idle)), (b"", b""))


def test_a_reader_that_trickles_is_closed():
    with Server(idle=1) as s, s.raw() as c:
        total = 60 << 20
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.sendall(b"GET /big?n=%d HTTP/1.1\r\n%s\r\n" % (total, H))
        taken, pause = 0, threading.Event()
        while taken < total:
            data = recv(c, 65536)
            if not data:
                break
            taken += len(data)
            pause.wait(0.05)
        assert taken < total, "served to the end"
        equal(s.stats()["clients"], 1)


def test_a_reader_that_stands_still_is_closed():
    with Server(idle=1) as s, s.raw() as c:
        c.sendall(b"GET /big?n=%d HTTP/1.1\r\n%s\r\n" % (60 << 20, H))
        until(lambda: s.stats()["clients"] == 1, "the client that reads nothing goes")


def test_slow_clients_do_not_delay_a_fast_one():
    with Server() as s:
        order = []
        with s.raw() as half, s.raw() as body, s.raw() as reader:
            half.sendall(b"GET /echo?q=slow HTTP/1.1\r\n")
            body.sendall(POST + b"Content-Length: 10\r\n\r\nabc")
            reader.sendall(b"GET /big?n=%d HTTP/1.1\r\n%s\r\n" % (60 << 20, H))
            c = s.connection()
            for i in range(200):
                contains(s.text(f"/echo?q={i}", connection=c), f"q={i} ")
                order.append("fast")
            c.close()
            half.sendall(H + b"\r\n")
            contains(read_answer(half)[2], b"q=slow")
            order.append("half")
            body.sendall(b"defghij")
            contains(read_answer(body)[2], b"abcdefghij")
            order.append("body")
            equal(len(read_answer(reader)[2]), 60 << 20)
            order.append("reader")
        equal(order, ["fast"] * 200 + ["half", "body", "reader"])


# ---- many clients ----

def test_more_clients_than_allowed():
    with Server(clients=16, socket="many.sock") as s:  # what asks for numbers takes no place
        fds = settled(s)
        # The server finds them all at once.
        os.kill(s.process.pid, signal.SIGSTOP)
        connections = [s.raw() for _ in range(200)]
        os.kill(s.process.pid, signal.SIGCONT)
        answered = refused = 0
        for c in connections:
            try:
                c.sendall(b"GET /echo HTTP/1.1\r\n" + H + b"\r\n")
            except ConnectionError:
                pass
        for c in connections:
            status = read_answer(c)[0]
            answered += status == 200
            refused += status == 0
        equal((answered, refused), (16, 184))
        # Those inside go on; a place that becomes free is taken.
        keep = [c for c in connections if is_open(c)]
        equal(len(keep), 16)
        keep[0].sendall(b"GET /stats HTTP/1.1\r\n" + H + b"\r\n")
        contains(read_answer(keep[0])[2], b'"refused":184,"clients":16,')
        for c in connections:
            c.close()
        until(lambda: gets_in(s), "a place becomes free")
        equal(settled(s), fds, "descriptors")


def is_open(c):
    c.setblocking(False)
    try:
        return c.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    finally:
        c.settimeout(WAIT_S)


def gets_in(s):
    try:
        return s.get("/echo")[0] == 200
    except (ConnectionError, OSError):
        return False
    except Exception:  # http.client: closed without an answer
        return False


def test_tcp_clients_do_not_lock_out_local_ones():
    with Server(clients=4, socket="http.sock", preexec_fn=to_temporary_directory) as s:
        with s.raw(), s.raw(), s.raw(), s.raw():
            path = os.path.join(os.readlink(f"/proc/{s.process.pid}/cwd"), "http.sock")
            with socket.socket(socket.AF_UNIX) as u:
                u.settimeout(WAIT_S)
                u.connect(path)
                u.sendall(b"GET /echo HTTP/1.1\r\n" + H + b"\r\n")
                equal(read_answer(u)[0], 200)


def test_a_thousand_connections_one_after_the_other():
    with Server(env=NO_QUARANTINE) as s:
        for _ in range(100):
            s.get("/big?n=20000", headers={"Accept-Encoding": "gzip"})
        fds, before = settled(s), s.stats()["requests"]
        for _ in range(1000):
            equal(s.get("/echo")[0], 200)
        equal(s.stats()["requests"] - before, 1001)
        equal(settled(s), fds)


def test_memory_after_ten_thousand_requests():
    with Server(env=NO_QUARANTINE) as s:
        kinds = [b"GET /echo HTTP/1.1\r\n" + H + b"\r\n",
                 b"GET /big?n=100000 HTTP/1.1\r\nAccept-Encoding: gzip\r\n" + H + b"\r\n",
                 b"GET /big?n=30000 HTTP/1.1\r\n" + H + b"\r\n",
                 POST + b"Content-Length: 4000\r\n\r\n" + b"x" * 4000]

        def ask(c, n):
            for i in range(n):
                c.sendall(kinds[i % len(kinds)])
                equal(read_answer(c)[0], 200)

        with s.raw() as c:
            ask(c, 1000)
            before = s.stats()["rss"]
            ask(c, 10000)
        grown = s.stats()["rss"] - before
        assert grown < 1 << 20, f"{grown} bytes more"


def test_answers_not_taken_have_a_ceiling():
    with Server(env=NO_QUARANTINE) as s:
        readers = []
        statuses = []
        for _ in range(8):
            c = s.raw()
            c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            c.sendall(b"GET /big?n=%d HTTP/1.1\r\n%s\r\n" % (12 << 20, H))
            readers.append(c)
            statuses.append(int(recv(c, 16).split()[1]))
        contains(statuses, 503)
        equal(set(statuses), {200, 503})
        assert 2 <= statuses.count(200) <= 7, statuses
        equal(s.get("/echo")[0], 200)
        for c in readers:
            c.close()
        until(lambda: s.get(f"/big?n={12 << 20}")[0] == 200, "the ceiling is free again")


def test_clients_that_leave_in_the_middle():
    with Server() as s:
        fds = settled(s)
        for i in range(100):
            with s.raw() as c:
                c.sendall(b"GET /big?n=5000000 HTTP/1.1\r\n" + H + b"\r\n")
                if i % 2:
                    recv(c, 1000)
                if i % 3 == 0:  # a reset instead of an end
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        equal(settled(s), fds)


def test_out_of_descriptors():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with Server(preexec_fn=few, idle=2) as s:
        connections = []
        for _ in range(80):
            c = socket.socket()
            c.settimeout(WAIT_S)
            c.connect(("127.0.0.1", s.port))
            connections.append(c)
        for c in connections:
            c.close()
        until(lambda: gets_in(s), "it recovers")
        until(lambda: s.stats()["clients"] == 1)


# ---- later answers and streams ----

def test_a_deferred_answer():
    with Server() as s, s.raw() as c:
        c.sendall(b"GET /defer?q=1 HTTP/1.1\r\n" + H + b"\r\nGET /echo?q=next HTTP/1.1\r\n" + H +
                  b"\r\n")
        until(lambda: s.stats()["handled"] >= 2)
        equal(s.text("/release"), "1")
        equal(read_answer_exactly(c), (200, b"later 1"))
        contains(read_answer_exactly(c)[1], b"q=next ")
        equal(s.stats()["gone_requests"], 0)


def read_answer_exactly(c):
    """One answer and not a byte more, so that a next one can be read."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += recv(c, 1)
    n = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < n:
        body += recv(c, n - len(body))
    return int(head.split()[1]), body


def test_many_deferred_answers():
    with Server() as s:
        clients = [s.raw() for _ in range(100)]
        for i, c in enumerate(clients):
            c.sendall(b"GET /defer?q=%d HTTP/1.1\r\n%s\r\n" % (i, H))
        until(lambda: s.stats()["handled"] >= 100)
        equal(s.text("/release"), "100")
        for i, c in enumerate(clients):
            equal(read_answer_exactly(c), (200, b"later %d" % i))
            c.close()


def test_a_peer_that_leaves_while_it_waits():
    with Server() as s:
        fds = settled(s)
        for i in range(3):
            c = s.raw()
            c.sendall(b"GET /defer?q=1 HTTP/1.1\r\n" + H + b"\r\n")
            until(lambda: s.stats()["handled"] >= 1)
            if i == 1:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            c.close()
            until(lambda: s.stats()["gone_requests"] == i + 1, "gone is said")
        equal(s.text("/release"), "0")
        equal(settled(s), fds)


def test_waiting_takes_longer_than_the_time_out():
    with Server(idle=1) as s, s.raw() as c, s.raw() as st:
        c.sendall(b"GET /defer?q=1 HTTP/1.1\r\n" + H + b"\r\n")
        st.sendall(b"GET /stream HTTP/1.1\r\n" + H + b"\r\n")
        until(lambda: s.stats()["streams"] == 1)
        with s.raw() as idle:  # one that is idle is closed meanwhile, twice
            equal(recv(idle), b"")
        with s.raw() as idle:
            equal(recv(idle), b"")
        s.text("/publish")
        equal(s.text("/release"), "1")
        equal(read_answer_exactly(c), (200, b"later 1"))
        contains(Stream(st).line(), b"0000000000 ")


class Stream:
    """Reads a chunked answer piece by piece."""

    def __init__(self, sock):
        self.file = sock.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline() != b"\r\n":
            pass
        self.buffer = b""

    def line(self):
        """A line, or b"" at the end in order."""
        while b"\n" not in self.buffer:
            n = int(self.file.readline() or b"-1", 16)
            assert n >= 0, "cut"
            data = self.file.read(n + 2)
            if n == 0:
                return b""
            self.buffer += data[:-2]
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line


def open_stream(s, count):
    c = s.raw()
    c.sendall(b"GET /stream HTTP/1.1\r\n" + H + b"\r\n")
    until(lambda: s.stats()["streams"] == count, "the stream opens")
    return c


def test_a_stream():
    with Server() as s:
        c = open_stream(s, 1)
        st = Stream(c)  # the headers come before the first piece
        equal(st.status, 200)
        for i in range(10):
            equal(s.text("/publish"), "1 0")
            equal(st.line()[:10], b"%010d" % i)
        equal(s.text("/publish?times=500&n=100"), "500 0")
        s.text("/close-streams")
        for i in range(500):
            equal(st.line()[:10], b"%010d" % (10 + i))
        equal(st.line(), b"", "its end")
        until(lambda: s.stats()["streams"] == 0)
        equal(s.stats()["gone_streams"], 0, "closed by ourselves")
        # The connection goes on with the next request.
        c.sendall(b"GET /echo HTTP/1.1\r\n" + H + b"\r\n")
        equal(read_answer(c)[0], 200)
        c.close()


def test_a_stream_for_http_1_0_and_for_head():
    with Server() as s, s.raw() as c:
        c.sendall(b"GET /stream HTTP/1.0\r\n\r\n")
        until(lambda: s.stats()["streams"] == 1)
        s.text("/publish?times=2")
        s.text("/close-streams")
        out = read_end(c)
        assert out.endswith(b" xxxxx\n0000000001 xxxxx\n"), out
        with s.raw() as h:
            h.sendall(b"HEAD /stream HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n")
            assert read_end(h).startswith(b"HTTP/1.1 200 ")
        until(lambda: s.stats()["streams"] == 0)


def test_a_stream_whose_reader_leaves():
    with Server() as s:
        fds = settled(s)
        c = open_stream(s, 1)
        c.close()
        until(lambda: s.stats()["gone_streams"] == 1, "without a write")
        c = open_stream(s, 1)
        s.text("/publish?times=1000&n=1000")
        c.close()
        until(lambda: s.stats()["gone_streams"] == 2, "with data on the way")
        equal(s.stats()["streams"], 0)
        equal(s.text("/publish"), "0 0")
        equal(settled(s), fds)


def test_64_streams_one_of_them_stalled():
    with Server(env=NO_QUARANTINE) as s:
        clients = [open_stream(s, i + 1) for i in range(64)]
        equal(s.get("/stream")[0], 503, "one too many")
        equal(s.stats()["refused"], 1)
        stalled, readers = clients[0], [Stream(c) for c in clients[1:]]
        # Rounds until the stalled one's socket and queue are full: the others read each piece.
        rss = serial = dropped = 0
        for round_ in range(2000):
            taken, lost = map(int, s.text("/publish?times=20&n=1000").split())
            equal(taken + lost, 20 * 64)
            assert lost <= 20, "only the stalled one loses"
            for r in readers:
                for i in range(20):
                    equal(r.line()[:10], b"%010d" % (serial + i))
            serial += 20
            dropped += lost
            if lost and not rss:
                rss = s.stats()["rss"]
            if dropped > 200:
                break
        assert dropped > 200, "never full"
        equal(s.stats()["dropped"], dropped)
        grown = s.stats()["rss"] - rss
        assert grown < 1 << 20, f"{grown} bytes more"
        # What the stalled reader missed, it missed in whole pieces.
        s.text("/close-streams")
        st, got = Stream(stalled), []
        while True:
            line = st.line()
            if not line:
                break
            equal(len(line), 1000)
            got.append(int(line[:10]))
        equal(got, sorted(set(got)))
        equal(len(got), serial - dropped)
        for c in clients:
            c.close()


def test_a_stalled_stream_is_closed_in_the_end():
    with Server(idle=1) as s:
        c = open_stream(s, 1)
        until(lambda: s.text("/publish?times=200&n=5000").split()[0] != "200" and
              s.stats()["gone_streams"] == 1, "gone is said")
        equal(s.stats()["streams"], 0)
        c.close()


def test_stopping_with_everything_open():
    with Server() as s:
        streams = [open_stream(s, i + 1) for i in range(3)]
        waiting, half = s.raw(), s.raw()
        waiting.sendall(b"GET /defer?q=1 HTTP/1.1\r\n" + H + b"\r\n")
        half.sendall(b"GET /ec")
        until(lambda: s.stats()["handled"] >= 4)
        s.stop()
        for c in (*streams, waiting, half):
            read_end(c)
            c.close()


if __name__ == "__main__":
    to_temporary_directory()
    run_tests(globals())
