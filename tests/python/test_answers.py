# SPDX-License-Identifier: Apache-2.0
"""What the sources of the Python package make of agents that are not there, not for us, or answer nonsense."""
import json
import os
import shutil
import socket
import stat
import subprocess
import threading

from rig_python import (NS, PACKAGE, Place, Skip, both, check, ergon, run_tests)
from ergon import _delta, _fork
from ergon.errors import ProtocolError, Unavailable

def test_nothing_here_says_what_helps():
    with Place() as place:
        os.environ.update(ERGON_SOCKET=place.path("no.sock"), ERGON_PAGE=place.path("no-page"),
                          ERGON_LIBRARY=place.path("no.so"))
        try:
            for call in (ergon.connect, lambda: ergon.measure("x").start()):
                try:
                    call()
                    raise AssertionError("connected to nothing")
                except Unavailable as error:
                    assert "ergon agent" in str(error) and "no.sock" in str(error), error
                    assert "no-page" in str(error) and "no.so" in str(error), error
            for backend in ("agent", "page", "library"):
                try:
                    ergon.connect(backend=backend)
                    raise AssertionError(backend)
                except Unavailable:
                    pass
            os.environ["ERGON_BACKEND"] = "null"
            source = ergon.connect()
            with ergon.measure("off", source=source) as m:
                m.units("x", 2)
            assert m.joules is None and m.backend == "null" and not m.partial
            assert m.joules_per_unit == {"x": None}
            assert source.totals().joules is None and source.accounts() == []
        finally:
            for name in ("SOCKET", "PAGE", "LIBRARY", "BACKEND"):
                os.environ.pop("ERGON_" + name, None)


def test_looking_for_an_agent_again_and_again_leaves_nothing():
    """What is registered for forked children stays for the life of the process."""
    calls, old = [], os.register_at_fork
    os.register_at_fork = lambda **_: calls.append(1)
    try:
        for _ in range(300):
            try:
                ergon.connect("/nonexistent/ergon.sock")
                raise AssertionError("connected to nothing")
            except Unavailable:
                pass
    finally:
        os.register_at_fork = old
    assert not calls and len(_fork._methods) < 200, (len(calls), len(_fork._methods))


def test_a_socket_that_is_not_for_us():
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        path = place.path("private")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        os.chmod(path, stat.S_IRUSR)
        os.chmod(place.dir, 0o755)
        package = place.path("package")
        shutil.copytree(PACKAGE, package)
        r = subprocess.run(["/usr/bin/python3", "-c", "import sys; sys.path.insert(0, sys.argv[2])\n"
                            "sys.dont_write_bytecode = True\nimport ergon\n"
                            "try: ergon.connect(sys.argv[1])\n"
                            "except ergon.AccessDenied as e: print(e)", path, package],
                           user=65534, group=65534, extra_groups=[], capture_output=True, text=True,
                           timeout=60)
        listener.close()
        assert "group" in r.stdout, r


def test_answers_that_make_no_sense():
    """Another server at the socket, and one that is hostile: errors of this package, never others."""
    answers = [b"", b"HTTP/1.1 200 OK\r\n\r\nhello", b"garbage\r\n\r\n",
               b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[]",
               b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
               b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
               b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{",
               b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"schema\":\"ergon.api/1\"   }",
               b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300
               + b"\r\n"]
    with Place() as place:
        path = place.path("s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        stop = threading.Event()

        def serve():
            for answer in answers:
                connection, _ = listener.accept()
                connection.recv(65536)
                try:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                connection.close()
            stop.set()
        thread = threading.Thread(target=serve)
        thread.start()
        for answer in answers:
            try:
                ergon.connect(path, timeout=10)
                raise AssertionError(answer)
            except (Unavailable, ProtocolError):
                pass
        thread.join(10)
        listener.close()


def test_an_answer_that_breaks_off_is_asked_for_again():
    """An agent that is killed in the middle of its answer about a window, and comes back."""
    class Cutting:
        """Between us and the agent: what it answers on /end comes in half, once."""

        def __init__(self, path, agent):
            self.agent, self.cut = agent, 0
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen()
            threading.Thread(target=self.serve, daemon=True).start()

        def serve(self):
            while True:
                ours, _ = self.listener.accept()
                threading.Thread(target=self.pass_on, args=(ours,), daemon=True).start()

        def pass_on(self, ours):
            with ours, socket.socket(socket.AF_UNIX) as theirs:
                theirs.connect(self.agent)
                ending = threading.Event()

                def ask():
                    while True:
                        question = ours.recv(65536)
                        if not question:
                            theirs.shutdown(socket.SHUT_RDWR)
                            return
                        if b"/end" in question:
                            ending.set()
                        theirs.sendall(question)
                asking = threading.Thread(target=ask, daemon=True)
                asking.start()
                while True:
                    answer = theirs.recv(65536)
                    if answer and ending.is_set() and not self.cut:
                        self.cut += 1
                        ours.sendall(answer[:-20])
                        answer = b""
                    if not answer:
                        ours.shutdown(socket.SHUT_RDWR)
                        asking.join()
                        return
                    ours.sendall(answer)
    with Place() as place:
        sim, agent = both(place, clock=True)
        between = Cutting(place.path("s"), agent.socket)
        with ergon.connect(place.path("s")) as source:
            window = source.begin("cut")
            sim.time.sleep(1)
            m = window.end()
            assert between.cut == 1 and not m.partial and m.seconds == 1.0, m
            check(sim, m)


def test_every_answer_that_is_cut_or_changed():
    """The parsers of answers, over changed ones: a value, or ProtocolError."""
    import random
    from ergon import agent as agent_module
    from decimal import Decimal
    with Place() as place:
        _, agent = both(place)
        made = agent.local("/api/v1/windows", "POST", {"name": "x"}).json
        docs = [(agent.local("/api/v1/totals").text, lambda d: agent_module.snapshot(d, None, 1.0)),
                (agent.local("/api/v1/sensors").text, agent_module._facts),
                (agent.local(f"/api/v1/windows/{made['id']}/end", "POST").text,
                 lambda d: agent_module.measurement(d, name="x", backend="agent"))]
    rng = random.Random(20261126)
    values = [None, -1, 1e400, "x", [], {}, True, Decimal("NaN"), 10 ** 40, Decimal("-0.5"), [None], {"a": 1}]
    refused = 0
    for text, what in docs:
        for _ in range(1500):
            doc = json.loads(text, parse_float=Decimal)
            node = doc
            while True:  # one node somewhere in it becomes another
                keys = list(node) if isinstance(node, dict) else range(len(node))
                key = rng.choice(list(keys))
                if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
                    node = node[key]
                    continue
                if isinstance(node, dict) and rng.random() < 0.3:
                    del node[key]
                else:
                    node[key] = rng.choice(values)
                break
            try:
                agent_module.parse(what, doc)
            except ProtocolError:
                refused += 1
    print(f"# {refused} of 4500 refused")
    assert refused > 100
    for text in (b"data: {\n\n", b"event: snapshot\ndata: [1]\n\n", b"event: end\ndata: {}\n\n",
                 b"event: snapshot\n"
                 b"data: {\"seq\": 1}\n\n"):
        import io
        try:
            list(agent_module.sse(io.BytesIO(text)))
            raise AssertionError(text)
        except (ProtocolError, OSError, agent_module.http.client.HTTPException):
            pass


def test_differences_of_accounts():
    """The rules of a window without an agent, case by case."""
    from ergon.model import Account, AccountKey, Reading, Snapshot

    def at(seconds, **accounts):
        readings = {}
        for name, value in accounts.items():
            uj, more = value if isinstance(value, tuple) else (value, {})
            more = dict({"since_unix_seconds": 5.0, "status": "ok"}, **more)
            held = more.pop("held", False)
            key = AccountKey("cpu-0", name.split("_")[0], "estimated" if held else "measured")
            account = Account(key, "rapl", "component", "rapl/" + name, more.pop("role", "total"),
                              more.pop("counted", True), held)
            readings[key] = Reading(account, uj, **more)
        return Snapshot("agent", int(seconds * NS), 1000.0 + seconds, readings)

    def delta(first, last):
        return _delta.delta(first, last, {"rapl/package": _delta.SensorFacts(relative=0.06)})
    m = delta(at(0, package=1000000), at(20, package=41000000))
    assert m.joules == 40 and m.watts == 2 and not m.partial and not m.flags
    assert abs(m.uncertainty_joules - 2.4 / 1.96 * 0.06 * 40) < 0.01
    m = delta(at(0, package=(1, {"gap_seconds": 1.0})), at(20, package=(9, {"gap_seconds": 1.5})))
    assert m.microjoules == 8 and m.partial and m.flags == ("gap",)
    m = delta(at(0, package=9), at(20, package=8))  # it fell: that is no total of ours
    assert m.microjoules is None and m.partial
    m = delta(at(0, package=9, dram=1), at(20, package=10))
    assert m.microjoules == 1 and m.partial and "dram" in m.reason and "device_lost" in m.flags
    m = delta(at(0, package=9), at(20, package=10, dram=(7, {"since_unix_seconds": 1010.0})))
    assert m.microjoules == 8 and m.partial  # from its first reading on
    m = delta(at(0, package=9), at(20, package=(10, {"counted": False, "role": "part"}),
                                   chassis=(70, {"since_unix_seconds": 1010.0})))
    assert m.microjoules == 1 and m.partial and "chassis" in m.reason  # which holds the package's again
    m = delta(at(0, package=9), at(20, package=10, dram=(7, {"since_unix_seconds": 5.0})))
    assert m.microjoules == 1 and m.partial  # it was not counted before
    m = delta(at(0, package=9), at(20, package=10,
                                   package_held=(7, {"held": True, "since_unix_seconds": None})))
    assert m.microjoules == 8 and m.estimated_microjoules == 7 and not m.partial
    assert m.provenance == "estimated"
    assert m.flags == ("held",)
    m = delta(at(0, package=9, core=(1, {"counted": False, "role": "part"})),
              at(20, package=10, core=(4, {"counted": False, "role": "part"})))
    assert m.microjoules == 1 and len(m.entries) == 2
    m = delta(at(0, package=9), at(20, package=(10, {"status": "error"})))
    assert m.microjoules == 1 and m.partial and m.flags == ("gap",)
    m = delta(at(0, dram=1, package=(9, {"status": "no_data"})), at(20, dram=3, package=4000))
    assert m.microjoules == 2 and m.partial and m.flags == ("gap",)  # it has energy of before the window
    m = delta(at(0, package=(None, {"status": "no_data"})), at(20, package=(None, {"status": "no_data"})))
    assert m.microjoules is None and m.partial and "never" in m.reason
    m = delta(at(0, package=9, package_held=(7, {"held": True})),
              at(20, package=10, package_held=(7, {"held": True})))
    assert m.microjoules == 1 and m.estimated_microjoules == 0
    assert m.provenance == "measured"  # what was held before the window is none of its joules
    m = delta(at(0, package=9), at(20, package=9))
    assert m.microjoules == 0 and m.provenance == "measured" and not m.partial
    m = delta(at(50, package=9), at(20, package=10))  # the machine restarted: Unix time tells
    assert m.seconds == 0.0 or m.seconds >= 0

if __name__ == "__main__":
    run_tests(dict(globals()))
