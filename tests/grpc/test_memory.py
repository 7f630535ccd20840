#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The gRPC server when one allocation fails, for each of them in turn: the call or the connection may be
lost, and nothing else is; argv is test_server and the preloaded library of tests/fault."""
import concurrent.futures
import os
import signal
import sys

from rig import OK, RST, Server, equal, message, run_tests, temp_dir

LIBRARY = os.path.abspath(sys.argv[2])
ECHO, CHAT = "/test.T/Echo", "/test.T/Chat"
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


class Failing(Server):
    """test_server with its Nth allocation failing (0: none)."""

    def __init__(self, nth, report):
        super().__init__(queue=4, env={"LD_PRELOAD": LIBRARY, "FAIL_KIND": "memory",
                                       "FAIL_NTH": str(nth), "FAIL_REPORT": report})


def visit(s):
    """One of everything; what fails is not asked for again."""
    with s.client(window=200000) as c:
        c.call(ECHO, b"x" * 3000)
        c.call("/test.T/Fail", b"5 1")
        c.call("/test.T/Nix")
        c.call("/test.T/Burst", b"9 5000 0")
        stream = c.request("/test.T/Stream", b"0 100 1000")
        c.step()
        c.frame(RST, 0, stream, b"\0\0\0\x08")
        stream = c.open(CHAT)
        c.data(stream, message(b"a" * 5000) + message(b"b"))
        c.data(stream, b"", end=True)
        c.answer(stream)
        stream = c.open(REFLECT)
        c.data(stream, message(b"\x22\x15grpc.health.v1.Health") + message(b"\x3a\0"), end=True)
        c.answer(stream)
        c.call("/grpc.health.v1.Health/Check")


def run(nth):
    """calls, hits, memory and descriptors held, exit status"""
    with temp_dir() as where:
        report = os.path.join(where, "report")
        try:
            with Failing(nth, report) as s:
                try:
                    visit(s)
                except (AssertionError, OSError):
                    pass  # his connection ended
                good = False
                for _ in range(2):  # the one that fails may be of this client, if it was not of that one
                    with s.client() as c:
                        a = c.call(ECHO, b"next")
                        good = a.status == OK
                        equal(a.messages if good else [b"next"], [b"next"], "OK and no answer:")
                    if good:
                        break
                assert good, f"allocation {nth}: {a}"
                s.process.send_signal(signal.SIGTERM)
                out, err = s.process.communicate(timeout=30)
                equal((s.process.returncode, err), (0, ""), f"allocation {nth}: {out}")
        except AssertionError as e:
            if "not ready" not in str(e):
                raise
        with open(report) as f:
            return tuple(int(n) for n in f.read().split())


def test_each_allocation_fails_once():
    calls, hits, memory, descriptors = run(0)
    equal(hits, 0)
    assert 100 < calls < 3000, calls
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(1, calls + 1)))
    never = [n for n, r in enumerate(results, 1) if r[1] != 1]
    assert len(never) < calls // 10, f"these were not reached: {never}"
    # A session of nghttp2 is left on purpose, see eg_grpc_conn_free(): an allocation or two of each answer.
    left = [(n, r) for n, r in enumerate(results, 1) if r[2] > memory]
    assert len(left) <= 20, f"held at the end, where {memory} are without a failure: {left}"
    equal([r for r in results if r[3] > descriptors], [], "descriptors at the end")


if __name__ == "__main__":
    signal.alarm(280)
    run_tests(globals())
