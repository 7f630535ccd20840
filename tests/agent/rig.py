# SPDX-License-Identifier: Apache-2.0
"""What the tests of the agent share: a simulated machine in real or in shared time, the shipped agent on
it, and its faces. argv[1] is ergon, argv[2] the source tree."""
import http.client
import json
import mmap
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import tap  # noqa: E402

ERGON = os.path.abspath(sys.argv[1])
SOURCE = os.path.abspath(sys.argv[2])
SOAK = max(1, int(os.environ.get("ERGON_SOAK") or 1))
NS = 10 ** 9

run_tests = tap.run
Skip = tap.Skip


def ergon(*words, code=0, timeout=120, **kw):
    r = subprocess.run([ERGON, *map(str, words)], capture_output=True, text=True, timeout=timeout, **kw)
    assert r.returncode == code, (words, r.returncode, r.stdout[-2000:], r.stderr[-4000:])
    return r


def until(what, check, seconds=60):
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.005)


class Place:
    """A temporary directory with a short path: a socket's path has room for 107 bytes."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="eg-")
        self.closing = []

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for thing in reversed(self.closing):
            thing.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def add(self, thing):
        self.closing.append(thing)
        return thing


def end(process, ask=None):
    """Ends a process of the test: asks it, by SIGTERM where nothing else is given, and then makes it."""
    if process.poll() is None:
        (ask or process.terminate)()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ahead():
    """Hardware is never late: in real time the simulator goes before what else this machine runs, where it may."""
    try:
        os.nice(-15)
    except PermissionError:
        pass


class Sim:
    """`ergon sim node` on a scenario (a shipped name, or text). clock: time that the test moves."""

    def __init__(self, place, scenario, clock=False, speed=None, extra=()):
        self.root = place.path("root")
        self.clock = place.path("clock") if clock else None
        self.scenario = scenario
        if "\n" in scenario:
            self.scenario = place.path("machine.scn")
            with open(self.scenario, "w") as f:
                f.write(scenario)
        words = [ERGON, "sim", "node", "--dir", self.root, "--scenario", self.scenario, *extra]
        if clock:
            words += ["--clock", self.clock]
        if speed:
            words += ["--speed", str(speed)]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, preexec_fn=None if clock else ahead)
        until("the machine", lambda: os.path.exists(self.root + "/ERGON-SIM") or self.dead())
        self.time = Clock(self.clock) if clock else None

    def dead(self):
        if self.process.poll() is not None:
            raise AssertionError(self.process.stderr.read())
        return False

    def truth(self, begin_ns, end_ns):
        """True joules of each sensor between two stamps of the interval clock."""
        r = ergon("sim", "truth", "--dir", self.root, "--json", "--from", f"{int(begin_ns)}ns", "--to",
                  f"{int(end_ns)}ns")
        return {c["id"]: c["joules"] for c in json.loads(r.stdout)["channels"] if "joules" in c}

    def close(self):
        if self.time:
            self.time.close()
        end(self.process)


class Clock:
    """One of the programs that share the clock file: while it is awake, time stands still."""
    SLOTS, FIRST = 16, 40

    def __init__(self, path):
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), self.FIRST + 16 * self.SLOTS)
        for i in range(self.SLOTS):
            at = self.FIRST + 16 * i
            if self._get(at) == 0:
                self.at = at
                self._set(at + 8, 0)
                self._set(at, os.getpid())
                return
        raise AssertionError("no slot free")

    def _get(self, at):
        return struct.unpack_from("<Q", self.map, at)[0]

    def _set(self, at, value):
        struct.pack_into("<Q", self.map, at, value)

    def now(self):
        return self._get(8)

    def unix(self):
        return self._get(8) + self._get(24)

    def sleep_until(self, t_ns, seconds=120):
        self._set(self.at + 8, t_ns)
        until(f"the clock to reach {t_ns}", lambda: self.now() >= t_ns, seconds)
        self._set(self.at + 8, 0)

    def sleep(self, seconds):
        self.sleep_until(self.now() + int(seconds * NS))

    def close(self):
        self._set(self.at + 8, 0)
        self._set(self.at, 0)
        self.map.close()
        self.file.close()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Agent:
    """The shipped agent on a simulated machine, in its own state and run directories."""

    def __init__(self, place, sim=None, *words, ready=True, env=None, config=None, state="state",
                 listen="127.0.0.1:0", user=None, group=None, tls=None, grpc="off"):
        self.place = place
        self.tls = tls  # the context of its clients
        self.state = place.path(state)
        self.socket = place.path("run", "ergon.sock")
        self.page = place.path("run", "energy")
        os.makedirs(place.path("run"), exist_ok=True)
        text = config if config is not None else ""
        self.config = place.path("config.toml")
        with open(self.config, "w") as f:
            f.write(text)
        self.words = [ERGON, "agent", "--config", self.config, "--state", self.state, "--socket",
                      self.socket, "--listen", listen] + (["--grpc", grpc] if grpc else [])
        if sim:
            self.words += ["--root", sim.root]
            if sim.clock:
                self.words += ["--clock", sim.clock]
        self.words += list(words)
        self.env = dict(os.environ, ERGON_AGENT_RUN_DIR=place.path("run"), **(env or {}))
        # Who gave up his rights cannot look for leaks: that takes ptrace.
        self.env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        for name in ("NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_USEC", "STATE_DIRECTORY",
                     "RUNTIME_DIRECTORY"):
            if not env or name not in env:
                self.env.pop(name, None)
        self.log_path = place.path(f"log-{len(os.listdir(place.dir))}")
        self.log_file = open(self.log_path, "wb")
        self.process = subprocess.Popen(self.words, stderr=self.log_file, env=self.env, user=user,
                                        group=group, extra_groups=[] if group else None)
        self.url = None
        if ready:
            self.wait_ready()

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def wait_ready(self, seconds=60):
        def look():
            assert self.process.poll() is None, self.log()
            m = re.search(r"metrics at (https?)://([^ /]+)/metrics", self.log())
            return m
        m = until("the agent", look, seconds)
        self.scheme, self.address = m.group(1), m.group(2)
        host, _, port = self.address.rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)
        until("ready", lambda: self.get("/-/ready").status == 200, seconds)

    def _ask(self, connection, method, path, body, headers):
        try:
            connection.request(method, path, body=body, headers=headers or {})
            r = connection.getresponse()
            return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        finally:
            connection.close()

    def get(self, path, headers=None, method="GET", body=None):
        if self.scheme == "https":
            c = http.client.HTTPSConnection(self.host, self.port, timeout=30, context=self.tls)
        else:
            c = http.client.HTTPConnection(self.host, self.port, timeout=30)
        return self._ask(c, method, path, body, headers)

    def local(self, path, method="GET", body=None, headers=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        return self._ask(UnixConnection(self.socket), method, path, body, headers)

    def metrics(self, local=False):
        """{(name, frozenset of labels): value} of the text page."""
        a = self.local("/metrics") if local else self.get("/metrics")
        assert a.status == 200, (a.status, a.body)
        return parse_text(a.text)

    def totals(self):
        """Joules by (device, component, provenance), a fresh sample."""
        out = {}
        for (name, labels), value in self.metrics(local=True).items():
            if name == "ergon_energy_joules_total":
                label = dict(labels)
                out[label["device"], label["component"], label["provenance"]] = value
        return out

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=30):
        self.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        code = self.process.wait(seconds)
        self.stop_seconds = time.monotonic() - started
        return code

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.log_file.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Prometheus:
    """The real one, which scrapes each job every second. jobs: {name: more lines of its configuration}."""

    def __init__(self, place, target, jobs=None):
        program = shutil.which("prometheus")
        if not program:
            raise Skip("prometheus is not installed")
        text = "global: {scrape_interval: 1s, scrape_timeout: 900ms}\nscrape_configs:\n"
        for name, more in (jobs or {"ergon": ""}).items():
            text += f"- job_name: {name}\n  static_configs: [{{targets: ['{target}']}}]\n"
            text += "".join(f"  {line}\n" for line in more.splitlines())
        self.port = free_port()
        config = place.path("prometheus.yml")
        with open(config, "w") as f:
            f.write(text)
        self.log = open(place.path("prometheus.log"), "wb")
        self.process = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={place.path('tsdb')}",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"],
            stdout=self.log, stderr=self.log)
        until("prometheus", self.ready, 60)

    def ready(self):
        assert self.process.poll() is None, "prometheus ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as r:
                return r.status == 200
        except OSError:
            return False

    def query(self, text, at=None):
        words = {"query": text}
        if at is not None:
            words["time"] = f"{at:.3f}"
        return self.ask("query?" + urllib.parse.urlencode(words))["result"]

    def ask(self, what):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}", timeout=10) as r:
            d = json.load(r)
        assert d["status"] == "success", d
        return d["data"]

    def job(self, name):
        """(up, why not) as of its latest scrape; None before the first."""
        for t in self.ask("targets?state=active")["activeTargets"]:
            if t["labels"]["job"] == name and t["health"] != "unknown":
                return t["health"] == "up", t["lastError"]
        return None

    def raw(self, selector, seconds=600):
        """[(time, value)] as they were scraped."""
        found = self.query(f"{selector}[{seconds}s]")
        assert len(found) == 1, (selector, found)
        return [(float(t), float(v)) for t, v in found[0]["values"]]

    def close(self):
        end(self.process)
        self.log.close()


LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:, ?|$)')


def parse_text(text):
    out = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        m = LINE.match(line)
        assert m, f"no sample: {line!r}"
        labels = frozenset(LABEL.findall(m.group(2) or ""))
        key = (m.group(1), labels)
        assert key not in out, f"twice: {line!r}"
        out[key] = float(m.group(3))
    return out


def ledger(state, what="show"):
    return json.loads(ergon("ledger", what, "--state", state, "--json").stdout)
