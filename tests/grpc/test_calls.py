#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gRPC server with Debian's grpcio (the gRPC C core) as its client: calls, deadlines, cancellation,
queues, many clients, the end."""
import concurrent.futures
import os
import resource
import signal
import threading
import time

import grpc

from rig import WAIT_S, Server, equal, run_tests, until

Code = grpc.StatusCode


class Channel:
    """A channel of its own connection, with calls by method name and bytes."""

    def __init__(self, address, **options):
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.use_local_subchannel_pool", 1),
            *((k.replace("_", ".", 1), v) for k, v in options.items())])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def unary(self, method, body=b"", timeout=WAIT_S, **kw):
        return self.channel.unary_unary("/test.T/" + method)(body, timeout=timeout, **kw)

    def stream(self, method, body=b"", timeout=WAIT_S, **kw):
        return self.channel.unary_stream("/test.T/" + method)(body, timeout=timeout, **kw)

    def chat(self, messages, timeout=WAIT_S):
        return self.channel.stream_stream("/test.T/Chat")(messages, timeout=timeout)


def failure(call):
    """The code and the text with which a call ends."""
    try:
        got = call()
        got = got if isinstance(got, bytes) else list(got)
    except grpc.RpcError as e:
        return e.code(), e.details()
    raise AssertionError(f"answered {got!r}")


# ---- calls ----

def test_a_channel_is_ready_before_any_call():
    with Server() as s, Channel(s.address) as c:
        grpc.channel_ready_future(c.channel).result(timeout=WAIT_S)


def test_unary():
    with Server() as s, Channel(s.address) as c:
        for body in (b"", b"x", b"hello" * 1000, os.urandom(65536)):
            equal(c.unary("Echo", body), body)
        text = c.unary("Peer").decode()
        assert text.startswith("127.0.0.1:") and text.endswith(" auth=0 user= tls=0"), text


def test_metadata_of_all_kinds_is_ignored():
    with Server() as s, Channel(s.address) as c:
        equal(c.unary("Echo", b"a", metadata=[("x-any", "thing"), ("y-bin", os.urandom(100)),
                                              ("authorization", "Bearer none is asked for")]), b"a")


def test_a_request_above_the_limit():
    with Server() as s, Channel(s.address) as c:
        equal(failure(lambda: c.unary("Echo", bytes(65537))),
              (Code.RESOURCE_EXHAUSTED, "the request is larger than 64 KiB"))
        equal(failure(lambda: c.unary("Echo", bytes(20 << 20)))[0], Code.RESOURCE_EXHAUSTED)
        equal(c.unary("Echo", b"x"), b"x", "the connection goes on:")
        equal(s.stats()["accepted"], 2, "of which one asks")


def test_statuses_and_their_messages():
    with Server() as s, Channel(s.address) as c:
        for code in Code:
            number = code.value[0]
            if number:
                equal(failure(lambda: c.unary("Fail", b"%d" % number)), (code, ""))
        equal(failure(lambda: c.unary("Fail", b"5 1")), (Code.NOT_FOUND, "50% of\tit \u00fc\n"))
        equal(failure(lambda: c.unary("Fail", b"5 2")), (Code.NOT_FOUND, "x" * 1024))
        equal(failure(lambda: c.stream("Fail", b"9")), (Code.FAILED_PRECONDITION, ""))
        equal(list(c.stream("Fail", b"0")), [], "OK without a message")


def test_unknown_methods():
    with Server() as s, Channel(s.address) as c:
        for method in ("Nix", "", "Echo/", "echo"):
            equal(failure(lambda: c.unary(method))[0], Code.UNIMPLEMENTED, method)


def test_a_method_with_one_message_gets_none_or_two():
    # What grpc/doc/statuscodes.md has for a "request cardinality violation". The C core does so with
    # none; of two it takes the first.
    with Server() as s, Channel(s.address) as c:
        for n in (0, 2, 3):
            call = c.channel.stream_stream("/test.T/Echo")
            equal(failure(lambda: call(iter([b"a"] * n), timeout=WAIT_S))[0], Code.UNIMPLEMENTED)
        equal(list(call(iter([b"a"]), timeout=WAIT_S)), [b"a"])


def test_compressed_requests():
    with Server() as s, Channel(s.address) as c:
        for how in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            equal(failure(lambda: c.unary("Echo", b"a" * 1000, compression=how)),
                  (Code.UNIMPLEMENTED, "the only encoding is identity"))
        equal(c.unary("Echo", b"a" * 1000, compression=grpc.Compression.NoCompression),
              b"a" * 1000)


# ---- streams ----

def numbers(call):
    return [int(m.split()[0]) for m in call]


def test_a_stream_that_ends():
    with Server() as s, Channel(s.address) as c:
        equal(numbers(c.stream("Stream", b"100 210 1000")), list(range(100)))
        equal(numbers(c.stream("Burst", b"50 210 0")), list(range(50)))
        equal(s.stats()["dropped"], 0)


def test_messages_of_all_sizes():
    with Server() as s, Channel(s.address) as c:
        for size in (0, 5, 16378, 16379, 16380, 65535, 1 << 20, 4 << 20):
            got = list(c.stream("Burst", b"2 %d 0" % size))
            equal([len(m) for m in got], [max(size, 2)] * 2, f"size {size}")
        for body in (b"", b"end"):
            equal(failure(lambda: c.unary("Oversize", body)),
                  (Code.RESOURCE_EXHAUSTED, "an answer is larger than 4 MiB"))
        equal(s.stats()["gone"], 1, "the owner of the first was told; that of the second had ended it:")


def test_cancel_and_leave():
    with Server() as s, Channel(s.address) as c:
        call = c.stream("Stream", b"0 210 1000")
        for _ in range(5):
            next(call)
        equal(s.stats()["calls"], 1)
        call.cancel()
        until(lambda: s.stats()["gone"] == 1, "gone")
        equal(s.stats()["calls"], 0)
        equal(c.unary("Echo", b"x"), b"x")
        call = c.stream("Stream", b"0 210 1000")
        next(call)
        c.channel.close()
        until(lambda: (lambda t: t["gone"] == 2 and t["clients"] == 0)(s.stats()), "all gone")


def test_deadlines():
    with Server() as s, Channel(s.address) as c:
        equal(failure(lambda: c.unary("Slow", timeout=0.05))[0], Code.DEADLINE_EXCEEDED)
        got = []
        try:
            for m in c.stream("Stream", b"0 10 1000", timeout=0.2):
                got.append(m)
        except grpc.RpcError as e:
            equal(e.code(), Code.DEADLINE_EXCEEDED)
        assert got, "messages before the deadline"
        until(lambda: s.stats()["gone"] == 2, "both are gone")


def test_chat():
    with Server() as s, Channel(s.address) as c:
        equal(list(c.chat(iter([b"a", b"", b"b" * 65536]))), [b"a", b"", b"b" * 65536])
        equal(list(c.chat(iter([]))), [])
        equal(failure(lambda: c.chat(iter([b"a", bytes(65537)])))[0], Code.RESOURCE_EXHAUSTED)
        hold = threading.Event()

        def talk():
            yield b"first"
            yield b"finish"
            hold.wait(WAIT_S)  # the server is first to end it
        equal(list(c.chat(talk())), [b"first", b"finish"])
        hold.set()
        until(lambda: s.stats()["calls"] == 0, "all over")
        stats = s.stats()
        equal((stats["ended"], stats["gone"]), (2, 1))


def test_a_stalled_reader_keeps_the_newest_and_delays_nobody():
    with Server(queue=8) as s, \
            Channel(s.address, grpc_http2_bdp_probe=0, grpc_http2_lookahead_bytes=65535) as slow, \
            Channel(s.address) as quick:
        stalled = slow.stream("Stream", b"4000 8000 500")
        first = next(stalled)
        equal(numbers(quick.stream("Stream", b"1000 200 1000")), list(range(1000)))
        until(lambda: s.stats()["dropped"] > 100, "drops")
        got = [int(first.split()[0]), *numbers(stalled)]
        equal(got, sorted(set(got)), "in order")
        equal(got[-8:], list(range(3992, 4000)), "the newest are kept")
        assert len(got) < 4000
        stats = s.stats()
        equal(stats["dropped"], 4000 - len(got))


def test_many_streams_of_one_client():
    with Server(streams=100) as s, Channel(s.address) as c:
        calls = [c.stream("Stream", b"20 200 2000") for _ in range(100)]
        for call in calls:
            equal(numbers(call), list(range(20)))


def test_more_calls_than_streams_wait_for_their_turn():
    with Server(streams=4) as s, Channel(s.address) as c, \
            concurrent.futures.ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(lambda: numbers(c.stream("Stream", b"5 100 2000"))) for _ in range(40)]
        for call in calls:
            equal(call.result(WAIT_S), list(range(5)))


def test_many_clients():
    with Server() as s, concurrent.futures.ThreadPoolExecutor(50) as pool:
        def one(_):
            with Channel(s.address) as c:
                equal(c.unary("Echo", b"x"), b"x")
                return numbers(c.stream("Stream", b"20 200 5000"))
        for got in pool.map(one, range(50)):
            equal(got, list(range(20)))
        until(lambda: s.stats()["clients"] == 0, "all have left")


def test_more_clients_than_allowed():
    with Server(clients=3) as s:
        channels = [Channel(s.address) for _ in range(2)]
        for c in channels:
            equal(c.unary("Echo", b"x"), b"x")
        with s.client() as third:
            third.ping()
            with Channel(s.address) as c:
                equal(failure(lambda: c.unary("Echo", timeout=2))[0], Code.UNAVAILABLE)
        with Channel(s.address) as c:
            equal(c.unary("Echo", b"x", wait_for_ready=True), b"x", "a place is free again:")
        for c in channels:
            c.channel.close()
        assert s.stats()["refused"] >= 1


# ---- the end ----

def test_drain():
    with Server() as s, Channel(s.address) as c:
        slow = c.channel.unary_unary("/test.T/Slow").future(b"", timeout=WAIT_S)
        stream = c.stream("Stream", b"0 200 1000")
        next(stream)
        s.process.terminate()
        equal(failure(slow.result), (Code.UNAVAILABLE, "the server stops"))
        equal(failure(lambda: stream), (Code.UNAVAILABLE, "the server stops"))
        out, err = s.process.communicate(timeout=WAIT_S)
        equal((s.process.returncode, err, out), (0, "", "idle\n"))
        equal(failure(lambda: c.unary("Echo", timeout=2))[0], Code.UNAVAILABLE)


def test_drain_with_a_stalled_reader_does_not_take_for_ever():
    with Server() as s, s.client() as a, s.client() as b, s.client() as c:
        for client in (a, b, c):
            client.request("/test.T/Stream", b"0 65536 1000")
        until(lambda: s.stats()["dropped"] > 100, "they are stuck")
        s.stop(want="busy\n")


def test_reconnection_after_the_idle_time():
    with Server(idle_ms=300) as s, Channel(s.address) as c:
        equal(c.unary("Echo", b"a"), b"a")
        until(lambda: s.stats()["clients"] == 0, "closed")
        equal(c.unary("Echo", b"b"), b"b", "and again:")
        stream = c.stream("Stream", b"0 10 100000")
        for _ in range(8):
            next(stream)  # a call is open: not idle, however long
        stream.cancel()


def test_thousands_of_connections_leave_nothing_behind():
    with Server() as s:
        def visit(n):
            for i in range(n):
                with s.client() as c:
                    equal(c.call("/test.T/Echo", b"x" * 100).messages, [b"x" * 100])
                    stream = c.request("/test.T/Stream", b"0 300 0" if i % 2 else b"3 300 0")
                    if i % 3 == 0:
                        c.until(lambda: c.answers[stream].data, "a message")
        visit(100)

        def quiet():
            stats = s.stats()
            return stats if stats["calls"] == 0 and stats["clients"] == 0 else None
        before = until(quiet, "all gone")
        visit(2000)
        after = until(quiet, "all gone")
        equal(after["fds"], before["fds"])
        assert after["heap"] <= before["heap"] + 16384, (before["heap"], after["heap"])


def test_descriptors_run_out():
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
    with Server(preexec_fn=few) as s:
        many = [s.client() for _ in range(40)]
        good = [c for c in many if c.step(0.5)]
        assert 5 < len(good) < 40, len(good)
        used = cpu(s)
        time.sleep(0.5)
        assert cpu(s) - used < 0.25, "it waits, and does not spin"
        for c in good:
            c.close()
        rest = [c for c in many if c not in good]
        for c in rest[:5]:
            equal(c.call("/test.T/Echo", b"x").messages, [b"x"], "accepted later:")
        for c in rest:
            c.close()
        until(lambda: s.stats()["clients"] == 0, "all gone")


def cpu(s):
    with open(f"/proc/{s.process.pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_addresses_that_cannot_be_had():
    with Server() as s:
        for listen, what in ((s.address, "stop the other program or choose another port"),
                             ("nonsense", "write ADDRESS:PORT"), ("name.invalid:1", "no IP address")):
            try:
                Server(plain=False, listen=listen)
            except AssertionError as e:
                assert what in str(e), e
            else:
                raise AssertionError(f"{listen} was taken")
    with Server(plain=False, listen="[::1]:0") as s, Channel(s.address) as c:
        equal(c.unary("Echo", b"6"), b"6")


if __name__ == "__main__":
    signal.alarm(280)
    run_tests(globals())
