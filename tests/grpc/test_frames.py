#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gRPC server with clients that write their own frames: the rules of HTTP/2 and gRPC one by one,
and floods, bombs and half-open connections that it has to survive while others are served."""
import os
import signal
import socket
import struct
import time

from rig import (ACK, CANCEL, CONTINUATION, DATA, DEADLINE_EXCEEDED, END_HEADERS, END_STREAM,
                 ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, GOAWAY, HEADERS, INTERNAL, NO_ERROR, OK,
                 PING, PREFACE, PRIO, PRIORITY, PROTOCOL_ERROR, PUSH, REFUSED_STREAM,
                 RESOURCE_EXHAUSTED, RST, SETTINGS, UNAVAILABLE, UNIMPLEMENTED, WAIT_S, WINDOW,
                 Server, equal, frame, literal, message, run_tests, settings, until)

ECHO = "/test.T/Echo"


def word(n):
    return struct.pack(">I", n)


# ---- requests ----

def test_settings_come_before_the_client_says_anything():
    with Server() as s, s.client(hello=False) as c:
        assert c.step(), "a frame"
        kind, flags, stream, payload = c.frames[0]
        equal((kind, flags, stream), (SETTINGS, 0, 0))
        pairs = dict(struct.iter_unpack(">HI", payload))
        equal(pairs, {3: 64, 6: 16384, 9: 1})


def test_the_answer_of_a_unary_call():
    with Server() as s, s.client() as c:
        a = c.call(ECHO, b"hi")
        equal(a.headers, {":status": "200", "content-type": "application/grpc"})
        equal((a.messages, a.trailers, a.rst), ([b"hi"], {"grpc-status": "0"}, None))
        equal(c.call(ECHO, b"").messages, [b""], "five zero bytes:")


REFUSALS = [
    # change of the header fields; HTTP status, gRPC status
    ({"method": "GET"}, "405", None),
    ({"method": "PUT"}, "405", None),
    ({"content_type": "text/html"}, "415", None),
    ({"content_type": None}, "415", None),
    ({"content_type": "application/grpc-web"}, "415", None),
    ({"content_type": "application/grpc+proto"}, "200", OK),
    ({"content_type": "application/grpc+json"}, "200", OK),
    ({"content_type": "application/grpc;x=y"}, "200", OK),
    ({"te": None}, "200", OK),  # a proxy took it; the C core would answer UNKNOWN
    ({"te": "gzip"}, None, None),  # malformed by RFC 9113, 8.2.2
    ({"connection": "close"}, None, None),
    ({"x-Upper": "a"}, None, None),
    ({"authority": None}, None, None),
    ({"scheme": None}, None, None),
    ({"method": None}, None, None),
    ({"grpc_encoding": "identity"}, "200", OK),
    ({"grpc_encoding": "gzip"}, "200", UNIMPLEMENTED),
    ({"grpc_encoding": "snappy"}, "200", UNIMPLEMENTED),
    ({"grpc_accept_encoding": "gzip, deflate"}, "200", OK),
    ({"grpc_timeout": "5S"}, "200", OK),
    ({"grpc_timeout": "99999999H"}, "200", OK),
    ({"grpc_timeout": "0n"}, "200", DEADLINE_EXCEEDED),
    ({"grpc_timeout": "5x"}, "200", INTERNAL),
    ({"grpc_timeout": "123456789S"}, "200", INTERNAL),
    ({"grpc_timeout": "-1S"}, "200", INTERNAL),
    ({"grpc_timeout": ""}, "200", INTERNAL),
    ({"x-thing-bin": "not*base64"}, "200", OK),
    ({"grpc_trace_bin": "AAAA", "user-agent": "x/1"}, "200", OK),
    ({"authorization": "Bearer x"}, "200", OK),
    ({"x": "y" * 15000}, "200", OK),
    ({"x": "y" * 16384}, "200", RESOURCE_EXHAUSTED),
]


def test_header_fields():
    with Server() as s, s.client() as c:
        for change, http, status in REFUSALS:
            if any(k.lower() != k for k in change):
                stream = c.next_id
                c.next_id += 2
                c.frame(HEADERS, END_HEADERS | END_STREAM, stream,
                        c.encode(c.fields(ECHO)) + literal(b"X-Upper", b"a"))
                a = c.answer(stream)
            else:
                a = c.call(ECHO, b"a", **change)
            equal((a.http, a.status), (http, status), f"{str(change)[:60]} {a}")
            equal(a.rst, PROTOCOL_ERROR if http is None else a.rst, str(change)[:60])
            if status == UNIMPLEMENTED:
                equal(a.headers["grpc-accept-encoding"], "identity")
            if http == "405":
                equal(a.headers["allow"], "POST")
        equal(c.call(ECHO, b"a").messages, [b"a"], "the connection is none the worse:")


def test_paths():
    with Server() as s, s.client() as c:
        for path in ("/", "/test.T/", "/test.T/Ech", "/test.T/Echo2", "/test.T/Echo?x", "//test.T/Echo",
                     "/test.T/%45cho"):
            equal(c.call(path).status, UNIMPLEMENTED, path)
        for path in ("", "test.T/Echo", "*"):
            equal(c.call(path).rst, PROTOCOL_ERROR, path)


def test_requests_in_pieces():
    with Server() as s, s.client() as c:
        stream = c.open(ECHO)
        for b in message(b"in pieces"):
            c.data(stream, bytes([b]))
            c.data(stream, b"")
        c.data(stream, b"", end=True)
        equal(c.answer(stream).messages, [b"in pieces"])
        body = os.urandom(65536)
        stream, whole = c.open(ECHO), message(body)
        for at in range(0, len(whole), 1111):
            c.data(stream, whole[at:at + 1111], end=at + 1111 >= len(whole))
        c.until(lambda: len(c.answers[stream].data) == 65535 - 14, "as far as the window goes")
        c.frame(WINDOW, 0, 0, word(1 << 20))
        c.frame(WINDOW, 0, stream, word(1 << 20))
        equal(c.answer(stream).messages, [body])
        # Padding counts for the windows, and is no content.
        stream = c.open(ECHO)
        c.frame(DATA, END_STREAM | 8, stream, b"\x07" + message(b"padded") + bytes(7))
        equal(c.answer(stream).messages, [b"padded"])


def test_messages_that_are_wrong():
    cases = [
        (message(b"a") + message(b"b"), UNIMPLEMENTED),
        (message(b"a") + b"\0", INTERNAL),
        (message(b"abc")[:-1], INTERNAL),
        (b"\0\0\0", INTERNAL),
        (b"", UNIMPLEMENTED),
        (message(b"a", flag=1), UNIMPLEMENTED),
        (message(b"a", flag=2), INTERNAL),
        (message(b"a", flag=255), INTERNAL),
        (b"\0" + word(65537), RESOURCE_EXHAUSTED),
        (b"\0\xff\xff\xff\xff", RESOURCE_EXHAUSTED),
    ]
    with Server() as s, s.client() as c:
        for data, status in cases:
            for end_apart in (False, True):
                stream = c.open(ECHO)
                c.data(stream, data, end=not end_apart)
                if end_apart:
                    c.data(stream, b"", end=True)
                equal(c.answer(stream).status, status, f"{data[:20]!r}")
        stream = c.open(ECHO, end=True)
        equal(c.answer(stream).status, UNIMPLEMENTED, "headers only")
        equal(c.call(ECHO, b"a").messages, [b"a"])
        equal(s.stats()["begun"], 2, "the last and that of stats: no method saw the others")


def test_a_refused_client_need_not_send_the_rest():
    with Server() as s, s.client() as c:
        stream = c.open(ECHO)
        c.data(stream, b"\0" + word(1 << 20))  # and goes on, as real clients do
        a = c.answer(stream)
        equal(a.status, RESOURCE_EXHAUSTED)
        c.until(lambda: a.rst is not None, "RST_STREAM")
        equal(a.rst, NO_ERROR)
        for _ in range(3):
            c.data(stream, bytes(16384))
        equal(c.call(ECHO, b"a").messages, [b"a"])


def test_a_client_that_never_ends_its_request():
    with Server() as s, s.client() as c:
        stream = c.open(ECHO)
        c.data(stream, message(b"a"))
        c.ping()
        equal(c.answers[stream].headers, None, "not yet answered:")
        c.data(stream, b"", end=True)
        equal(c.answer(stream).messages, [b"a"])
        # Its deadline runs all the same.
        stream = c.open(ECHO, grpc_timeout="50m")
        equal(c.answer(stream).status, DEADLINE_EXCEEDED)


def test_trailers_of_a_client():
    with Server() as s, s.client() as c:
        stream = c.open(ECHO)
        c.data(stream, message(b"a"))
        c.frame(HEADERS, END_HEADERS | END_STREAM, stream, c.encode([("x-end", "1")]))
        equal(c.answer(stream).messages, [b"a"])
        stream = c.open(ECHO)
        c.data(stream, message(b"a"))
        c.frame(HEADERS, END_HEADERS, stream, c.encode([("x-end", "1")]))
        equal(c.answer(stream).rst, PROTOCOL_ERROR, "trailers without an end")


def test_deadlines():
    with Server() as s, s.client() as c:
        for timeout in ("30m", "30000u", "30000000n"):
            a = c.call("/test.T/Slow", grpc_timeout=timeout)
            equal((a.status, a.text), (DEADLINE_EXCEEDED, "the deadline has passed"))
        a = c.call("/test.T/Stream", b"0 10 1000", grpc_timeout="100m")
        equal(a.status, DEADLINE_EXCEEDED)
        assert a.messages
        equal(s.stats()["gone"], 4)


def test_a_deadline_with_closed_windows():
    with Server() as s, s.client(window=10) as c:
        a = c.call("/test.T/Stream", b"0 100 1000", grpc_timeout="100m")
        equal((len(a.data), a.rst, a.status), (10, CANCEL, None), "half a message is out:")
        until(lambda: s.stats()["gone"] == 1, "gone")


# ---- flow control ----

def test_tiny_windows():
    with Server() as s, s.client(window=1) as c:
        stream = c.request("/test.T/Burst", b"3 100 0")
        for n in range(1, 3 * 105 + 1):
            c.until(lambda: len(c.answers[stream].data) == n, f"{n} bytes")
            c.frame(WINDOW, 0, stream, word(1))
        a = c.answer(stream)
        equal([len(m) for m in a.messages], [100] * 3)
        equal(a.status, OK)


def test_windows_of_nothing():
    with Server() as s, s.client(window=0) as c:
        stream = c.request(ECHO, b"a")
        c.until(lambda: c.answers[stream].headers, "headers")
        c.ping()
        equal(c.answers[stream].data, b"")
        # The window grows by a setting, and below nothing by another (RFC 9113, 6.9.2).
        c.frame(SETTINGS, 0, 0, settings(window=3))
        c.until(lambda: len(c.answers[stream].data) == 3, "3 bytes")
        c.frame(SETTINGS, 0, 0, settings(window=0))
        c.frame(WINDOW, 0, stream, word(3))
        c.ping()
        equal(len(c.answers[stream].data), 3, "it owed them")
        c.frame(WINDOW, 0, stream, word(100))
        equal(c.answer(stream).messages, [b"a"])


def test_the_window_of_the_connection():
    with Server() as s, s.client(window=1 << 20) as c:
        a, b = (c.request("/test.T/Burst", b"1 60000 0") for _ in range(2))
        c.until(lambda: sum(len(c.answers[i].data) for i in (a, b)) == 65535, "all of it")
        c.ping()
        assert len(c.answers[a].data) and len(c.answers[b].data), "shared between the streams"
        c.frame(WINDOW, 0, 0, word(1 << 20))
        for i in (a, b):
            equal([len(m) for m in c.answer(i).messages], [60000])


def test_messages_share_frames():
    with Server() as s, s.client(window=0) as c:
        stream = c.request("/test.T/Burst", b"60 210 0")
        c.ping()
        c.frame(WINDOW, 0, stream, word(1 << 20))
        equal(len(c.answer(stream).messages), 60)
        equal(len([f for f in c.frames if f[0] == DATA]), 1, "frames of data")


def test_the_windows_of_the_server_are_kept_open():
    with Server() as s, s.client() as c:
        sent = 0
        for _ in range(40):
            stream = c.request("/test.T/Burst", b"0 0 0" + b" " * 16000)
            sent += 16010
            equal(c.answer(stream).status, OK)
            given = sum(struct.unpack(">I", p)[0] for k, _, i, p in c.frames if k == WINDOW and i == 0)
            assert 65535 + given - sent > 16384, "it may go on"


def test_a_client_that_ignores_the_windows():
    with Server() as s, s.client() as c:
        stream = c.open(ECHO)
        for _ in range(6):
            c.data(stream, message(bytes(16379))[:16384] if _ == 0 else bytes(16384))
        a = c.answer(stream)
        assert a.status in (UNIMPLEMENTED, INTERNAL) or a.rst == FLOW_CONTROL_ERROR, a
        c.frame(WINDOW, 0, 0, word(0x7fffffff))
        c.frame(WINDOW, 0, 0, word(0x7fffffff))
        equal(c.end(), FLOW_CONTROL_ERROR)


def test_a_stalled_stream_keeps_the_newest():
    with Server(queue=5) as s, s.client(window=7) as c:
        stream = c.request("/test.T/Burst", b"100 20 0")
        c.ping()
        c.frame(WINDOW, 0, stream, word(1 << 20))
        got = [int(m.split()[0]) for m in c.answer(stream).messages]
        # All were put in at once, before any could leave.
        equal(got, list(range(95, 100)))
        stream = c.request("/test.T/Stream", b"100 20 1000")
        c.until(lambda: len(c.answers[stream].data) == 7, "the first begins to leave")
        until(lambda: s.stats()["dropped"] == 95 + 94, "drops")
        c.frame(WINDOW, 0, stream, word(1 << 20))
        got = [int(m.split()[0]) for m in c.answer(stream).messages]
        equal(got, [0, 95, 96, 97, 98, 99], "the one that had begun is whole, and the newest:")


# ---- frames that are allowed ----

def test_pings_are_answered():
    with Server() as s, s.client() as c:
        for i in range(100):
            c.ping(struct.pack(">Q", i))
        equal(len(c.acks), 100)
        c.frame(PING, ACK, 0, bytes(8))  # of a ping that nobody sent
        c.ping()


def test_frames_to_be_ignored():
    with Server() as s, s.client(xfe03=1, x99=7) as c:
        c.frame(PRIORITY, 0, 1, word(0) + b"\x10")
        c.frame(PRIORITY, 0, 77, word(1) + b"\xff")
        c.frame(0x77, 0xff, 1, b"what is this")
        c.frame(0x10, 0, 0, word(1) + b"u=0")  # PRIORITY_UPDATE
        stream = c.next_id
        c.next_id += 2
        c.frame(HEADERS, END_HEADERS | PRIO, stream,
                word(0x80000000) + b"\xff" + c.encode(c.fields(ECHO)))
        c.frame(0x77, 0, stream, b"")
        c.data(stream, message(b"a"), end=True)
        equal(c.answer(stream).messages, [b"a"])
        c.frame(SETTINGS, 0, 0, settings(table=0, push=0, streams=0, frame=1 << 20, list=1 << 16))
        equal(c.call(ECHO, b"b").messages, [b"b"])
        c.frame(WINDOW, 0, 1, word(5))  # of a stream that is over
        c.frame(RST, 0, 1, word(CANCEL))
        equal(c.call(ECHO, b"c").messages, [b"c"])


def test_header_blocks_in_pieces():
    with Server() as s, s.client() as c:
        block = c.encode(c.fields(ECHO))
        c.frame(HEADERS, 0, 1, block[:1])
        for b in block[1:6]:
            c.frame(CONTINUATION, 0, 1, bytes([b]))
        c.frame(CONTINUATION, END_HEADERS, 1, block[6:])
        c.next_id = 3
        c.data(1, message(b"a"), end=True)
        equal(c.answer(1).messages, [b"a"])


def test_cancelled_calls():
    with Server() as s, s.client() as c:
        stream = c.request("/test.T/Stream", b"0 100 1000")
        c.until(lambda: c.answers[stream].data, "data")
        c.frame(RST, 0, stream, word(CANCEL))
        until(lambda: s.stats()["gone"] == 1, "gone")
        c.ping()
        n = len(c.frames)
        c.ping(b"87654321")
        equal(len(c.frames), n + 1, "not a frame more than the answer to the ping:")


def test_too_many_streams():
    with Server(streams=3) as s:
        with s.client() as c:
            c.until(lambda: any(f[0] == SETTINGS for f in c.frames), "settings")
            c.ping()  # and the server has our acknowledgement
            streams = [c.request("/test.T/Slow") for _ in range(3)]
            c.ping()
            equal(s.stats()["calls"], 3)
            over = c.request(ECHO)
            a = c.answer(over)
            assert a.rst == REFUSED_STREAM or c.goaway == (PROTOCOL_ERROR, streams[-1]), \
                (a, c.goaway)
        with s.client() as c:  # one that cannot know the setting yet is refused gently
            c.auto_ack = False
            streams = [c.request("/test.T/Slow") for _ in range(3)]
            equal(c.answer(c.request(ECHO)).rst, REFUSED_STREAM)
            c.frame(RST, 0, streams[0], word(CANCEL))
            equal(c.call(ECHO, b"a").messages, [b"a"])


def test_drain():
    with Server() as s, s.client() as c:
        slow = c.request("/test.T/Slow")
        half = c.open(ECHO)
        c.ping()
        s.process.send_signal(signal.SIGTERM)
        for stream in (slow, half):
            a = c.answer(stream)
            equal((a.status, a.text), (UNAVAILABLE, "the server stops"))
        equal(c.end(), NO_ERROR)
        equal(c.goaway[1], half, "the last stream that was looked at")
        out, err = s.process.communicate(timeout=WAIT_S)
        equal((s.process.returncode, out, err), (0, "idle\n", ""))


def test_drain_sends_what_is_queued():
    with Server() as s, s.client(window=0) as c:
        stream = c.request("/test.T/Stream", b"0 50 1000")
        until(lambda: s.stats()["dropped"] > 0, "a full queue")
        s.process.send_signal(signal.SIGTERM)
        c.until(lambda: c.goaway, "GOAWAY")
        c.request(ECHO)  # too late
        c.frame(WINDOW, 0, stream, word(1 << 20))
        a = c.answer(stream)
        equal((len(a.messages), a.status), (64, UNAVAILABLE))
        equal(c.end(), NO_ERROR)
        out, err = s.process.communicate(timeout=WAIT_S)
        equal((s.process.returncode, out, err), (0, "idle\n", ""))


# ---- what must not pass ----

def closes(s, error, send, hello=True, **own):
    """The server closes with that error (None: any, or without a word); others are served."""
    with s.client(hello=hello, **own) as c, s.client() as other:
        send(c)
        got = c.end()
        assert error is None or got in (error if isinstance(error, tuple) else (error,)), \
            f"closed with {got}, not {error}"
        equal(other.call(ECHO, b"other").messages, [b"other"])


def test_no_preface():
    with Server() as s:
        for text in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                     b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", b"\0" * 100, os.urandom(1000),
                     PREFACE + frame(HEADERS, 5, 1, b"\x82"), PREFACE + frame(PING, 0, 0, bytes(8)),
                     PREFACE + frame(SETTINGS, ACK, 0)):
            closes(s, PROTOCOL_ERROR, lambda c: c.send(text), hello=False)


def test_frames_that_break_the_rules():
    cases = [
        ("length of a ping", frame(PING, 0, 0, bytes(7))),
        ("ping of a stream", frame(PING, 0, 1, bytes(8))),
        ("length of settings", frame(SETTINGS, 0, 0, bytes(5))),
        ("settings of a stream", frame(SETTINGS, 0, 1, b"")),
        ("settings acknowledged with content", frame(SETTINGS, ACK, 0, bytes(6))),
        ("window out of range", frame(SETTINGS, 0, 0, settings(window=1 << 31))),
        ("frame size out of range", frame(SETTINGS, 0, 0, settings(frame=1))),
        ("push neither 0 nor 1", frame(SETTINGS, 0, 0, settings(push=2))),
        ("window update of nothing", frame(WINDOW, 0, 0, word(0))),
        ("length of a window update", frame(WINDOW, 0, 0, bytes(3))),
        ("data of no stream", frame(DATA, 0, 0, b"a")),
        ("data of a stream to come", frame(DATA, 0, 9, b"a")),
        ("headers of no stream", frame(HEADERS, 5, 0, b"\x82")),
        ("headers of an even stream", frame(HEADERS, 5, 2, b"\x82")),
        ("header block of rubbish", frame(HEADERS, 5, 1, b"\xff" * 10)),
        ("continuation of nothing", frame(CONTINUATION, 4, 1, b"\x82")),
        ("block cut short by a ping", frame(HEADERS, 0, 1, b"\x82") + frame(PING, 0, 0, bytes(8))),
        ("block cut short by another", frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 4, 3, b"\x82")),
        ("push by a client", frame(PUSH, 4, 1, word(2) + b"\x82")),
        ("reset of a stream to come", frame(RST, 0, 9, word(8))),
        ("length of a reset", frame(RST, 0, 1, bytes(3))),
        ("a frame too long", frame(DATA, 0, 1, bytes(16385))),
        ("padding longer than the frame", frame(HEADERS, 5 | 8, 1, b"\x09\x82")),
        ("length of a goaway", frame(GOAWAY, 0, 0, bytes(7))),
    ]
    with Server() as s:
        for name, data in cases:
            with s.client() as c:
                c.send(data)
                error = c.end()
                assert error, f"{name}: {error}"
        assert s.stats()["protocol_errors"] >= len(cases) - 2


def test_streams_that_go_back():
    with Server() as s, s.client() as c:
        c.call(ECHO, stream=9)
        c.request(ECHO, stream=5)
        c.ping()
        equal((c.answers[5].headers, s.stats()["begun"]), (None, 2), "ignored:")


def flood(c, data, times):
    for _ in range(times):
        if not c.send(data):
            return
        while c.readable(0) and c.step(0):
            pass


def test_floods():
    blank = settings()
    cases = [
        ("pings", frame(PING, 0, 0, bytes(8))),
        ("settings", frame(SETTINGS, 0, 0, blank)),
        ("settings that change", frame(SETTINGS, 0, 0, settings(window=1)) +
         frame(SETTINGS, 0, 0, settings(window=2))),
        ("priorities", frame(PRIORITY, 0, 3, word(0) + b"\x10")),
        ("priorities of many streams", b"".join(frame(PRIORITY, 0, i, word(0) + b"\x10")
                                                for i in range(1, 999, 2))),
        ("window updates", frame(WINDOW, 0, 0, word(1))),
        ("acknowledged settings", frame(SETTINGS, ACK, 0)),
        ("acknowledged pings", frame(PING, ACK, 0, bytes(8))),
    ]
    with Server() as s:
        for name, data in cases:
            times = 2500 * len(frame(0, 0, 0)) // len(data) + 1 if len(data) > 400 else 2500
            try:
                closes(s, PROTOCOL_ERROR if name == "acknowledged settings" else
                       (ENHANCE_YOUR_CALM, None), lambda c: flood(c, data * 20, times // 20 + 1))
            except AssertionError as e:
                raise AssertionError(f"{name}: {e}") from e


def test_a_flood_of_frames_that_mean_nothing():
    with Server() as s, s.client() as c, s.client() as other:
        flood(c, frame(0x99, 0, 0, b"") * 1000, 300)
        equal(other.call(ECHO, b"x").messages, [b"x"])
        c.ping()


def test_floods_of_data_without_content():
    with Server() as s:
        def send(c):
            stream = c.open(ECHO)
            flood(c, frame(DATA, 0, stream) * 20, 100)
        closes(s, (ENHANCE_YOUR_CALM, None), send)


def test_rapid_reset():
    # CVE-2023-44487.
    with Server() as s:
        def send(c):
            for _ in range(400):
                stream = c.request("/test.T/Slow")
                if not c.frame(RST, 0, stream, word(CANCEL)):
                    return
        closes(s, (ENHANCE_YOUR_CALM, None), send)
        assert s.stats()["calls"] == 0


def test_resets_that_the_server_is_made_to_send():
    # CVE-2025-8671: the client breaks a rule of the stream, and the server resets it.
    with Server() as s:
        def send(c):
            for _ in range(400):
                stream = c.request("/test.T/Slow")
                if not c.frame(WINDOW, 0, stream, word(0)):
                    return
        closes(s, None, send)
        equal(s.stats()["calls"], 0)


def test_many_calls_are_no_flood():
    with Server() as s, s.client() as c:
        for _ in range(3000):
            equal(c.call(ECHO, b"a").messages, [b"a"])


def test_pings_and_windows_of_a_reader_are_no_flood():
    # A client that measures the bandwidth sends a ping and two updates for each frame of data.
    with Server() as s, s.client() as c:
        stream = c.request("/test.T/Stream", b"3000 200 100")
        n = 0
        while not c.answers[stream].ended:
            assert c.step(), c.goaway
            if c.frames[-1][0] == DATA and c.frames[-1][3]:
                n = len(c.frames[-1][3])
                c.frame(WINDOW, 0, 0, word(n))
                c.frame(WINDOW, 0, stream, word(n))
                c.frame(PING, 0, 0, bytes(8))
        equal(len(c.answers[stream].messages) + s.stats()["dropped"], 3000)


def test_continuation_flood():
    # CVE-2024-28182.
    with Server() as s:
        def send(c):
            c.frame(HEADERS, 0, 1, b"\x82")
            flood(c, frame(CONTINUATION, 0, 1, literal(b"a", b"b" * 100)), 100)
        closes(s, (PROTOCOL_ERROR, None), send)
        closes(s, (PROTOCOL_ERROR, None), lambda c: (
            c.frame(HEADERS, 0, 1, b"\x82"), flood(c, frame(CONTINUATION, 0, 1) * 10, 300)))


def test_header_bombs():
    with Server() as s:
        def bomb(c):
            # One field of 4000 bytes in the table, then a byte for each use of it.
            c.frame(HEADERS, 0, 1, b"\x40\x01a\x7f" + b"\xa1\x1e" + b"b" * 4000 + b"\xbe" * 10000)
            c.frame(CONTINUATION, 4, 1, b"\xbe" * 10000)
        closes(s, (ENHANCE_YOUR_CALM, None), bomb)

        def large(c):
            c.frame(HEADERS, 0, 1, b"\x82")
            for _ in range(7):
                c.frame(CONTINUATION, 0, 1, b"".join(literal(b"a", b"b" * 100) for _ in range(150)))
            c.frame(CONTINUATION, 4, 1, b"\x82")
        with s.client() as c:
            large(c)
            equal(c.end(), ENHANCE_YOUR_CALM)


def test_a_client_that_does_not_read():
    # Its acknowledgements of pings pile up; it is not read any more, or closed.
    with Server() as s, s.client() as c, s.client() as other:
        c.sock.setblocking(False)
        sent = 0
        end = time.monotonic() + 3
        while time.monotonic() < end and sent < 64 << 20:
            try:
                sent += c.sock.send(frame(PING, 0, 0, bytes(8)) * 1000)
            except BlockingIOError:
                time.sleep(0.01)
            except ConnectionError:
                break
        equal(other.call(ECHO, b"x").messages, [b"x"])
        assert sent < 32 << 20


def test_a_stalled_client_costs_itself_alone():
    with Server() as s:
        stuck = []
        for _ in range(10):
            c = s.client(window=(1 << 31) - 1)
            c.frame(WINDOW, 0, 0, word((1 << 31) - 1 - 65535))
            for _ in range(4):
                c.request("/test.T/Stream", b"0 8000 5000")
            stuck.append(c)
        with s.client(window=1 << 20) as c:
            c.frame(WINDOW, 0, 0, word(1 << 20))
            stream = c.request("/test.T/Stream", b"500 200 1000")
            until(lambda: s.stats()["dropped"] > 1000, "they are stuck")
            equal(len(c.answer(stream).messages), 500)
        heap = s.stats()["heap"]
        assert heap < 32 << 20, heap
        for c in stuck:
            c.close()
        until(lambda: s.stats()["calls"] == 0, "all gone")


def test_half_open_connections():
    with Server(idle_ms=200) as s:
        silent = socket.create_connection(s.address.rsplit(":", 1))
        with s.client(hello=False) as c, s.client() as idle:
            c.auto_ack = False
            c.send(PREFACE)
            equal(idle.end(), NO_ERROR, "idle: told and closed")
            equal(c.end(), None, "without SETTINGS: closed within the time for greetings")
            silent.settimeout(WAIT_S)
            while silent.recv(4096):
                pass
        silent.close()
        equal(s.stats()["clients"], 0)


def test_requests_that_stay_halves_are_bounded():
    with Server() as s, s.client() as c:
        refused = 0
        streams = []
        for _ in range(10):
            stream = c.open("/test.T/Chat")
            for at in range(0, 60000, 15000):
                c.data(stream, (b"\0" + word(65000) if at == 0 else b"") + bytes(15000))
            c.ping()
            streams.append(stream)
        refused = [i for i in streams if c.answers[i].status == RESOURCE_EXHAUSTED]
        equal(len(refused), 6, "256 KiB are four of them:")
        c.frame(RST, 0, [i for i in streams if i not in refused][0], word(CANCEL))
        equal(c.call(ECHO, b"a").messages, [b"a"], "there is room again:")


def test_garbage_between_good_frames():
    import random
    rng = random.Random(4)
    with Server() as s:
        for _ in range(300):
            with s.client() as c:
                for _ in range(rng.randrange(1, 8)):
                    if rng.random() < 0.4:
                        c.request(rng.choice((ECHO, "/test.T/Chat", "/test.T/Stream")), b"0 10 0")
                    else:
                        c.frame(rng.randrange(12), rng.randrange(256), rng.randrange(4),
                                rng.randbytes(rng.choice((0, 1, 4, 5, 8, 40))))
                while c.step(0.002):
                    pass
        until(lambda: s.stats()["calls"] == 0 and s.stats()["clients"] == 0, "all gone")


if __name__ == "__main__":
    signal.alarm(280)
    run_tests(globals())
