# SPDX-License-Identifier: Apache-2.0
"""What the tests of compatibility share: the peers' interpreter, and processes in which a simulated machine
is the only one there is. argv: ergon, the source tree, libergon, the fake NVML, the build directory."""
import http.server
import json
import os
import re
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "python"))
import rig_python as rig  # noqa: E402
from rig_python import (ERGON, LIBRARY, NS, PACKAGE, SOURCE, Agent, Place, Sim, Skip, boot_ns, end, ergon,  # noqa
                        run_tests, until)

FAKE_NVML = os.path.abspath(sys.argv[4])
BUILD = os.path.abspath(sys.argv[5])
_python = None


def say(text):
    print(f"# {text}", flush=True)


def peers():
    """The interpreter that has the real meters."""
    global _python
    if _python is None:
        r = subprocess.run([os.path.join(SOURCE, "tools", "python-peers"), BUILD], capture_output=True,
                           text=True, timeout=600)
        assert r.returncode in (0, 77), r.stderr[-2000:]
        _python = (r.returncode, r.stdout.strip())
    if _python[0]:
        raise Skip(_python[1])
    return _python[1]


def environment(**more):
    """Without the user's own CodeCarbon settings, agents and frameworks' devices."""
    env = {k: v for k, v in os.environ.items()
           if not k.lower().startswith("codecarbon_") and not k.endswith("_VISIBLE_DEVICES")
           and not k.startswith(("ERGON_", "ZEUSD_"))}
    env.update(PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1", ERGON_LIBRARY=LIBRARY, **more)
    with open(LIBRARY, "rb") as f:
        sanitizer = re.search(rb"libasan\.so\.[0-9]+", f.read())
    if sanitizer:  # its run time has to be there before anything else
        env.update(LD_PRELOAD=sanitizer.group().decode(), PYTHONMALLOC="malloc",
                   ASAN_OPTIONS="detect_leaks=0")
    return env


class Meters:
    """A process with the real meters and ours, whose /sys is that of a simulated machine. It imports what
    takes long before the machine is there, so that times on the machine can be kept."""

    def __init__(self, place, *imports):
        python = peers()
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        mounts = ["unshare", *user, "--mount", "--propagation", "private"]
        if subprocess.run([*mounts, "true"], capture_output=True).returncode:
            raise Skip("mounts of its own are not allowed here")
        home = place.path("home")
        os.makedirs(home, exist_ok=True)
        self.log = open(place.path("meters.log"), "w+")
        self.process = subprocess.Popen(
            [*mounts, python, os.path.join(HERE, "meters.py"), *imports], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=home, env=environment(HOME=home))
        place.add(self)
        assert self._line() == "ready"

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(30)
            self.log.seek(0)
            raise AssertionError(self.log.read()[-3000:])
        return line.strip()

    def send(self, **job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def ask(self, **job):
        self.send(**job)
        return self.answer()

    def answer(self):
        while True:
            line = self._line()
            if line.startswith("answer "):  # peers print as well
                return json.loads(line[7:])

    def close(self):
        end(self.process, self.process.stdin.close)
        self.log.close()


def like_linux(sim):
    """The link that CodeCarbon looks for, which every kernel has."""
    link = os.path.join(sim.root, "sys/class/powercap/intel-rapl/subsystem")
    if not os.path.lexists(link):
        os.symlink("..", link)


def started(sim):
    """The interval clock when the machine was born."""
    with open(os.path.join(sim.root, "ERGON-SIM")) as f:
        for line in f:
            if line.startswith("boot_ns"):
                return int(line.replace("=", " ").split()[1])
    raise AssertionError("no boot_ns")


def late(r):
    """The moment was missed: the machine was busy."""
    return r["late_ms"] > 50


def near(ours, truth, tolerance, what):
    assert abs(ours - truth) <= tolerance * abs(truth), (what, ours, truth)


HEAD = "[scenario]\ntitle = peers\n[machine]\ncpus = 4\n"
RANGE = 262143328850
REAL = 0.05  # a simulator in real time shows what was some milliseconds ago, more where it had to wait


def zone(name, power, more="", at="intel-rapl:0"):
    """The ceiling is high: a simulator that had to wait makes up for it in one step."""
    return f"[rapl {at}]\nname = {name}\nmax-power = 4000W\npower = {power}\n{more}"


def machine(place, meters, scenario):
    sim = place.add(Sim(place, scenario))
    like_linux(sim)
    meters.ask(do="machine", root=sim.root)
    return sim


def truth(sim, figure, *zones):
    t = sim.truth(figure["begin_ns"], figure["end_ns"])
    return sum(t["rapl " + z] for z in zones)


class Shared:
    """A machine and its agent in shared time, and the agent as the source of this process."""

    def __init__(self, place, scenario, *words):
        self.sim = place.add(Sim(place, scenario, clock=True))
        self.agent = place.add(Agent(place, self.sim, *words))
        self.source = rig.ergon.connect(socket=self.agent.socket)
        rig.ergon.set_default_source(self.source)
        place.add(self)

    def sleep(self, seconds):
        self.sim.time.sleep(seconds)

    def close(self):
        rig.ergon.set_default_source(None)
        self.source.close()


class Gateway:
    """A push gateway that keeps what it is given: [(method, path, text)]."""

    def __init__(self, place):
        got = self.got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                got.append((self.command, self.path, text))
                self.send_response(200)
                self.end_headers()

            do_POST = do_DELETE = do_PUT

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        place.add(self)

    def samples(self):
        """{(name, labels): value} of the last push."""
        found = {}
        for line in self.got[-1][2].splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def raises(kind, f, *args, **kwargs):
    """What it says when it raises this."""
    try:
        f(*args, **kwargs)
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind}")
