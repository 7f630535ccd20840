# SPDX-License-Identifier: Apache-2.0
"""The six ways to measure, frameworks that are synchronised, logs, and the command line."""
import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
import warnings

from rig_python import MACHINE, PACKAGE, Agent, Place, Sim, check, ergon, run_tests, until
from ergon.errors import ErgonError, WindowClosed


class Here:
    """An agent, and the process's source on it."""

    def __init__(self, *words):
        self.words = words

    def __enter__(self):
        self.place = Place()
        self.sim = self.place.add(Sim(self.place, MACHINE))
        self.agent = self.place.add(Agent(self.place, self.sim, *self.words))
        self.source = ergon.connect(self.agent.socket, patience=0.2)
        ergon.set_default_source(self.source)
        return self

    def __exit__(self, *_):
        ergon.set_default_source(None)
        self.source.close()
        self.place.__exit__()


def test_context_manager():
    with Here() as here:
        with ergon.measure("outer", units={"batches": 1}) as outer:
            assert ergon.current() is outer
            with ergon.measure("inner") as inner:
                time.sleep(1)
                ergon.units("tokens", 10)  # of both
                inner.units("rows", 5)
            assert outer.joules > 0 and outer.measurement.running
        assert ergon.current() is None
        ergon.units("tokens", 1)  # of nothing
        assert outer.measurement.units == {"batches": 1, "tokens": 10}
        assert inner.measurement.units == {"tokens": 10, "rows": 5}
        check(here.sim, inner.measurement)
        assert outer.joules >= inner.joules and outer.seconds >= inner.seconds
        assert inner.provenance == "measured" and inner.joules_per_unit["rows"] == inner.joules / 5
        inner.units("late", 1)  # of a task that outlives its block


def test_the_error_of_the_block_is_kept():
    with Here() as here:
        m = ergon.measure("fails")
        try:
            with m:
                time.sleep(0.05)
                raise KeyError("mine")
        except KeyError:
            pass
        assert m.joules > 0 and here.source.windows() == [] and ergon.current() is None
        try:
            with m:
                here.agent.kill()
                raise KeyError("mine")
        except KeyError:
            pass
        assert m.joules is None and m.partial


def test_a_log_that_cannot_be_written_loses_nothing_else():
    log, null = "/nonexistent/x.csv", ergon.NullSource()

    @ergon.measured(source=null, log=log)
    def f():
        return 42
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert f() == 42 and f.energy.last.name.endswith("f")
        for block in (ergon.measure("m", source=null, log=log), ergon.Tracker(source=null, log=log)):
            try:
                with block:
                    raise KeyError("mine")
            except KeyError:
                pass
    assert ["could not be logged" in str(w.message) for w in caught] == [True], caught
    try:
        ergon.Log(log).write(f.energy.last)
        raise AssertionError("written")
    except OSError:
        pass


def test_by_hand():
    with Here() as here:
        m = ergon.measure("hand")
        for what in (m.stop, m.peek, lambda: m.units("x")):
            try:
                what()
                raise AssertionError("not started")
            except WindowClosed:
                pass
        m.start()
        try:
            m.start()
            raise AssertionError("started twice")
        except ErgonError:
            pass
        time.sleep(1)
        check(here.sim, m.stop())
        first = m.joules
        m.start()
        m.stop()
        assert m.joules < first  # it is used again
        m.start().cancel()
        assert here.source.windows() == []


def test_decorator():
    with Here() as here:
        told = []

        @ergon.measured
        def plain(x, *, y):
            """Doc."""
            time.sleep(0.05)
            return x + y

        @ergon.measured("named", on_measurement=told.append, log=here.place.path("log.csv"))
        def named():
            raise ValueError

        assert plain(1, y=2) == 3 and plain.__doc__ == "Doc." and plain.__name__ == "plain"
        plain(3, y=4)
        assert len(plain.energy.measurements) == 2 and plain.energy.last.joules > 0
        assert plain.energy.last.name.endswith("plain")
        try:
            named()
            raise AssertionError
        except ValueError:
            pass
        assert told[0].name == "named" and named.energy.last is told[0]
        with open(here.place.path("log.csv")) as f:
            assert len(list(csv.DictReader(f))) == 1


def test_decorated_generators():
    with Here() as here:
        @ergon.measured
        def gen(n):
            """Sends are doubled."""
            total = 0
            for i in range(n):
                got = yield i
                total += got or 0
            return total

        def outer():
            result = yield from gen(3)
            yield ("result", result)
        g = outer()
        assert next(g) == 0 and len(here.source.windows()) == 1
        assert g.send(5) == 1 and g.send(6) == 2 and g.send(7) == ("result", 18)
        assert len(gen.energy.measurements) == 1 and here.source.windows() == []
        g = gen(3)
        next(g)
        g.close()
        assert len(gen.energy.measurements) == 2 and here.source.windows() == []
        assert gen(1) and len(gen.energy.measurements) == 2  # nothing begins before its first step

        @ergon.measured
        async def agen(n):
            try:
                for i in range(n):
                    await asyncio.sleep(0.01)
                    yield i
            except KeyError:
                yield "caught"

        async def use():
            assert [i async for i in agen(3)] == [0, 1, 2]
            it = agen(3)
            assert await it.asend(None) == 0
            assert await it.athrow(KeyError()) == "caught"
            await it.aclose()
        asyncio.run(use())
        assert len(agen.energy.measurements) == 2 and here.source.windows() == []


def test_a_generator_that_ends_inside_a_later_block():
    with Here():
        @ergon.measured
        def parts():
            yield 1
        generator = parts()
        next(generator)
        with ergon.measure("later") as m:
            assert list(generator) == []
            assert ergon.current() is m
            ergon.units("rows", 3)
        assert m.measurement.units == {"rows": 3}, m.measurement
        assert ergon.current() is None


def test_async():
    """Tasks that overlap: each has its own windows, and the loop is never blocked by the meter."""
    with Here() as here:
        @ergon.measured
        async def step(i, seconds):
            ergon.units("steps", i)
            async with ergon.measure(f"inner {i}") as inner:
                await asyncio.sleep(seconds)
                assert ergon.current() is inner
            return inner

        async def work():
            async with ergon.measure("all") as whole:
                inner = await asyncio.gather(*(step(i, 1 + i / 10) for i in range(10)))
            return whole, inner

        async def cancelled():
            m = ergon.measure("cancelled")

            async def inner():
                async with m:
                    await asyncio.sleep(60)
            task = asyncio.ensure_future(inner())
            while not here.source.windows():
                await asyncio.sleep(0.01)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            await asyncio.sleep(0)
            return m
        whole, inner = asyncio.run(work())
        check(here.sim, whole.measurement)
        for i, m in enumerate(inner):
            check(here.sim, m.measurement)
            assert m.name == f"inner {i}" and m.seconds >= 1 + i / 10
        assert whole.measurement.units == {"steps": 45}
        assert sorted(m.units["steps"] for m in step.energy.measurements) == list(range(10))
        for _ in range(20):  # also while it begins
            m = asyncio.run(cancelled())
            until("its end", lambda: here.source.windows() == [])
            assert m._window is not None and not m._window.open


def test_an_agent_that_goes_away_stops_nothing():
    with Here() as here:
        @ergon.measured
        def work():
            return 7
        here.agent.kill()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert work() == 7 and work() == 7
        assert len(caught) == 1 and "without figures" in str(caught[0].message)
        assert work.energy.last.joules is None and work.energy.last.partial
        assert "could not begin" in work.energy.last.reason


def test_tracker():
    with Here() as here:
        samples, log = [], here.place.path("log.jsonl")

        def on_sample(sample):
            samples.append(sample)
            if len(samples) == 2:
                raise RuntimeError("a callback that fails")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with ergon.Tracker("job", interval=0.1, on_sample=on_sample, log=log) as tracker:
                tracker.start_task("load")
                time.sleep(0.4)
                tracker.start_task("train", units={"steps": 2})
                try:
                    tracker.start_task("train")
                    raise AssertionError("twice")
                except ErgonError:
                    pass
                load = tracker.stop_task("load")
                tracker.units("steps", 3, task="train")
                tracker.units("jobs")
                time.sleep(1)
                train = tracker.stop_task("train")
                tracker.start_task("left open")
        assert len(caught) == 1 and "a callback that fails" in str(caught[0].message)
        assert not tracker.running and not any(t.name == "ergon-job" for t in threading.enumerate())
        check(here.sim, tracker.measurement)
        check(here.sim, train)
        assert [m.name for m in tracker.tasks] == ["load", "train", "left open"]
        assert tracker.measurement.units == {"jobs": 1} and train.units == {"steps": 5}
        assert max(load.joules, train.joules) <= tracker.measurement.joules
        assert len(samples) >= 3 and samples[0].watts is None
        joules = [s.joules for s in samples]
        assert joules == sorted(joules) and all(s.watts >= 0 for s in samples[1:]), samples
        with open(log) as f:
            assert [json.loads(line)["name"] for line in f] == ["load", "train", "left open", "job"]
        for what in (tracker.stop, lambda: tracker.stop_task("none")):
            try:
                what()
                raise AssertionError
            except ErgonError:
                pass
        assert here.source.windows() == []


def test_a_forked_child_waits_for_no_thread_of_its_parent():
    """Also where one was in the middle of a window, a log or a tracker at the fork."""
    inside, leave = threading.Event(), threading.Event()

    class Slow(ergon.NullSource):
        def begin(self, *_, **__):
            return Hanging(self, "w", None, False)

    class Hanging(ergon.Window):
        def _read(self, end):
            if not end:
                inside.set()
                leave.wait(60)
            return ergon.Measurement(self.name, "slow")
    with Place() as place:
        log = ergon.Log(place.path("log.csv"))
        tracker = ergon.Tracker(source=Slow(), interval=0.01, on_sample=lambda _: None, log=log)
        tracker.start()
        assert inside.wait(30)
        log._lock.acquire()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                tracker.stop()
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitpid(pid, 0)[1]
        log._lock.release()
        leave.set()
        tracker.stop()
        assert os.waitstatus_to_exitcode(status) == 0, status


IN_HANDLERS = """
import fcntl, os, signal, sys
sys.path.insert(0, sys.argv[1]); sys.dont_write_bytecode = True
import ergon, ergon.log, ergon.measure as _
measure = sys.modules["ergon.measure"]
told, old_connect, old_flock = [], measure.connect, fcntl.flock
tracker = ergon.Tracker(log=sys.argv[2])
def handler(*_):
    told.append(1)
    for what in (ergon.default_source, tracker.stop):
        try: what()
        except ergon.ErgonError as error: pass
signal.signal(signal.SIGUSR1, handler)
def interrupt(): os.kill(os.getpid(), signal.SIGUSR1); sum(range(1000))
class Source(ergon.NullSource):
    def begin(self, *a, **k): interrupt(); return super().begin(*a, **k)
def connect():
    if not told: interrupt()
    return Source()
measure.connect = connect
tracker.start()                         # finding the source, and beginning, are interrupted by stop()
tracker.start_task("t"); tracker.stop_task("t")
if tracker.running: tracker.stop()
tracker.start()
def flock(*a): fcntl.flock = old_flock; old_flock(*a); interrupt()
fcntl.flock = flock
ergon.Log(sys.argv[2])
tracker._log.write(ergon.Measurement("interrupted", "null"))
print(len(told), [line.split(",")[2] for line in open(sys.argv[2])])
"""


def test_a_tracker_is_stopped_by_a_handler_of_a_signal():
    """Whatever of ours it interrupts, it does not wait for a lock that its own thread holds."""
    with Place() as place:
        r = subprocess.run([sys.executable, "-c", IN_HANDLERS, PACKAGE, place.path("log.csv")],
                           capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r
        told, _, names = r.stdout.partition(" ")
        assert int(told) >= 4 and "'interrupted', 'tracker'" in names, r


def test_tasks_without_a_tracker_running():
    with Here():
        tracker = ergon.Tracker()
        tracker.start_task("a")
        time.sleep(0.1)
        assert tracker.stop_task("a").joules > 0


def test_log():
    with Place() as place:
        m = ergon.Measurement("a \"name\",\nof two lines", "agent", seconds=1.5, microjoules=1500000,
                              watts=1.0, provenance="measured", units={"x": 3}, flags=("gap", "held"),
                              partial=True, reason="why",
                              entries=(ergon.Entry("cpu-0", "package", "measured", role="total", counted=True,
                                                   microjoules=1500000),))
        csv_path = place.path("log.csv")
        log = ergon.Log(csv_path)
        writers = [threading.Thread(target=lambda: [log.write(m) for _ in range(50)]) for _ in range(4)]
        writers.append(threading.Thread(target=lambda: [ergon.Log(csv_path).write(m) for _ in range(50)]))
        for t in writers:
            t.start()
        for t in writers:
            t.join()
        with open(csv_path, newline="") as f:
            rows = list(csv.DictReader(f))
        assert len(rows) == 250 and all(row == rows[0] for row in rows)
        assert rows[0]["name"] == m.name and rows[0]["joules"] == "1.5" and rows[0]["flags"] == "gap;held"
        assert rows[0]["components"] == "package=1.5" and rows[0]["joules_per_unit"] == "x=0.5"
        assert rows[0]["uncertainty_joules"] == "" and rows[0]["partial"] == "true"
        ergon.Log(place.path("a.json")).write(m)
        ergon.Log(place.path("a.json")).write(m)
        with open(place.path("a.json")) as f:
            docs = [json.loads(line) for line in f]
        assert len(docs) == 2 and docs[0] == m.to_dict() and docs[0]["uncertainty_joules"] is None


# ---- frameworks ----

class Fake:
    """Modules in sys.modules for the time of a test."""

    def __init__(self, **modules):
        self.modules = modules

    def __enter__(self):
        self.old = {name: sys.modules.get(name) for name in self.modules}
        sys.modules.update(self.modules)

    def __exit__(self, *_):
        for name, module in self.old.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def fake_torch(calls, initialized=True, contexts=(True, False, True), fails=False):
    torch = types.ModuleType("torch")

    def synchronize(device=None):
        calls.append(device)
        if fails:
            raise RuntimeError("CUDA error")
    torch.cuda = types.SimpleNamespace(is_available=lambda: True, is_initialized=lambda: initialized,
                                       device_count=lambda: len(contexts), synchronize=synchronize)
    if contexts is not None:
        torch._C = types.SimpleNamespace(_cuda_hasPrimaryContext=lambda i: contexts[i])
    return torch


def test_work_on_an_accelerator_is_finished_first():
    """A fake torch whose queued work is 300 ms long: the window has them."""
    source = ergon.NullSource()
    calls = []
    torch = fake_torch(calls)
    with Fake(torch=torch):
        window = source.begin("x")
        window.end()
        assert calls == []  # a window that measures nothing waits for nothing
        assert ergon.synchronize() == ("torch",) and calls == [0, 2]  # only devices that are in use
    with Here() as here:
        torch.cuda.synchronize = lambda device=None: time.sleep(0.15)
        with Fake(torch=torch):
            with ergon.measure("gpu") as m:
                pass
            assert m.seconds >= 0.3, m
            with ergon.measure("not asked for", sync=False) as m:
                pass
            assert m.seconds < 0.3
        assert here.source.windows() == []


def test_frameworks():
    calls = []
    assert ergon.synchronize() == () or "torch" in sys.modules
    assert not {"torch", "jax", "cupy"} & set(sys.modules)  # and none was imported
    with Fake(torch=fake_torch(calls, initialized=False)):
        assert ergon.synchronize("torch") == ("torch",) and calls == []  # no accelerator is initialised
    jax = types.ModuleType("jax")

    class Array:
        def __add__(self, _):
            return self

        def block_until_ready(self):
            calls.append("ready")
    jax.local_devices = lambda: ["d0", "d1"]
    jax.device_put = lambda value, device: Array()
    cupy = types.ModuleType("cupy")
    device = types.SimpleNamespace(synchronize=lambda: calls.append("cupy"))
    cupy.cuda = types.SimpleNamespace(Device=lambda: device)
    with Fake(jax=jax, cupy=cupy):
        assert ergon.synchronize() == ("jax", "cupy") and calls == ["ready", "ready", "cupy"]
        assert ergon.synchronize(["cupy"]) == ("cupy",) and ergon.synchronize(False) == ()
    try:
        ergon.synchronize("tensorflow")
        raise AssertionError
    except ValueError:
        pass
    with Fake(torch=fake_torch(calls, fails=True)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert ergon.synchronize() == () and ergon.synchronize() == ()
        assert len(caught) == 1 and "CUDA error" in str(caught[0].message)


# ---- the command line ----

def command(*words, env=None, code=0, **kw):
    environment = dict(os.environ, PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1", **(env or {}))
    r = subprocess.run([sys.executable, "-m", "ergon", *words], capture_output=True, text=True, timeout=120,
                       env=environment, **kw)
    assert r.returncode == code, (words, r)
    return r


def test_command_line():
    with Here() as here:
        env = {"ERGON_SOCKET": here.agent.socket}
        log, out = here.place.path("runs.csv"), here.place.path("report.json")
        r = command("run", "--json", "-o", out, "--log", log, "--units", "files=4", "--", "sh", "-c",
                    "echo out; sleep 1; exit 3", env=env, code=3)
        assert r.stdout == "out\n" and r.stderr == ""
        with open(out) as f:
            doc = json.load(f)
        assert doc["name"] == "sh" and doc["joules"] > 50
        assert doc["units"] == {"files": 4}
        r = command("run", "--log", log, "--name", "mine", "true", env=env)
        assert "mine: " in r.stderr and "rapl/package-0" in r.stderr and "not added" in r.stderr
        with open(log) as f:
            assert [row["name"] for row in csv.DictReader(f)] == ["sh", "mine"]
        command("run", "--", "sh", "-c", "kill -9 $$", env=env, code=137)
        command("run", "--", "/no/such/command", env=env, code=127)
        command("run", "--", "/etc/passwd", env=env, code=126)
        command("run", env=env, code=2)
        command("run", "--units", "x=-1", "true", env=env, code=2)
        assert here.source.windows() == []
        doc = json.loads(command("totals", "--json", env=env).stdout)
        assert doc["joules"] > 0 and len(doc["accounts"]) == 4
        assert "the node" in command("totals", env=env).stdout
        assert "the node" in command("power", env=env).stdout
        window = here.source.begin("open")
        assert [w["name"] for w in json.loads(command("windows", "--json", env=env).stdout)] == ["open"]
        assert "open" in command("windows", env=env).stdout
        window.cancel()
        assert "ergon agent" in command("totals", "--socket", here.place.path("no"), code=1).stderr


def test_what_is_wrong_with_an_option_is_told_in_a_line():
    with Here() as here:
        env = {"ERGON_SOCKET": here.agent.socket}
        for words, more in ((("validate", "--duration", "0"), {}), (("totals", "--url", "ftp://x"), {}),
                            (("totals", "--url", "http://h:port"), {}),
                            (("run", "true"), {"ERGON_BACKEND": "none"})):
            r = command(*words, env=dict(env, **more), code=2)
            assert r.stderr.startswith("python -m ergon: ") and r.stderr.count("\n") == 1, r.stderr


def test_signals_that_are_ignored_stay_so():
    """nohup, and commands in the background of a script: the command is started as without us."""
    with Here() as here:
        ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
        r = subprocess.run([sys.executable, "-m", "ergon", "run", "--", "sh", "-c",
                            "grep SigIgn /proc/self/status"], capture_output=True, text=True, timeout=60,
                           env=dict(os.environ, PYTHONPATH=PACKAGE, ERGON_SOCKET=here.agent.socket),
                           preexec_fn=lambda: [signal.signal(s, signal.SIG_IGN) for s in ignored])
        mask = int(r.stdout.split()[1], 16)
        assert all(mask & 1 << s - 1 for s in ignored), r.stdout
        assert not mask & 1 << signal.SIGUSR1 - 1


def test_a_command_runs_also_where_nothing_measures():
    nowhere = {"ERGON_SOCKET": "/nonexistent/s", "ERGON_PAGE": "/nonexistent/p",
               "ERGON_LIBRARY": "/nonexistent/l"}
    r = command("run", "--", "sh", "-c", "exit 5", env=nowhere, code=5)
    assert "no figure" in r.stderr and "ergon agent" in r.stderr
    r = command("run", "--backend", "null", "--", "true", env=nowhere)
    assert "no figure" in r.stderr and "ergon agent" not in r.stderr


def test_signals_are_passed_on():
    with Here() as here:
        ready = here.place.path("ready")
        child = subprocess.Popen([sys.executable, "-m", "ergon", "run", "--", "sh", "-c",
                                  f"trap 'exit 9' TERM; touch {ready}; while :; do sleep 0.05; done"],
                                 env=dict(os.environ, PYTHONPATH=PACKAGE, ERGON_SOCKET=here.agent.socket),
                                 stderr=subprocess.PIPE, text=True)
        until("the command", lambda: os.path.exists(ready))
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 9 and " J" in err, (child.returncode, err)


if __name__ == "__main__":
    run_tests(dict(globals()))
