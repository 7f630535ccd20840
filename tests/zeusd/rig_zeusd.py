# SPDX-License-Identifier: Apache-2.0
"""What the tests of zeusd's API share: an agent that serves it on a simulated machine, with GPUs of the fake
NVML where wanted, and one who asks it. argv: ergon, the source tree, libergon, the fake NVML, the build."""
import http.client
import os
import re
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import Agent, Answer, Place, Sim, UnixConnection, end, run_tests, until  # noqa: E402,F401

FAKE_NVML = os.path.abspath(sys.argv[4])
HEAD = "[scenario]\ntitle = for clients of zeusd\n[machine]\ncpus = 4\npackages = 2\n"
NVIDIA_PCI = ("[file sys/bus/pci/devices/0000:01:00.0/vendor]\ntext = 0x10de\n"
              "[file sys/bus/pci/devices/0000:01:00.0/class]\ntext = 0x030200\n")
UUID = "GPU-{}1111111-2222-3333-4444-555555555555"


def zone(name, power, at="intel-rapl:0", more=""):
    return f"[rapl {at}]\nname = {name}\nmax-power = 4000W\npower = {power}\n{more}"


CPUS = (HEAD + zone("package-0", "sine mean=120W amplitude=40W period=7s")
        + zone("dram", "18W", at="intel-rapl:0:0") + zone("package-1", "80W", at="intel-rapl:1"))


def gpu(i, power, more=""):
    return f"gpu\nname NVIDIA H200\nuuid {UUID.format(i)}\narch 9\ncounter 10\npower {power}\n{more}"


class Machine:
    """A simulated machine and its agent; real: in real time. `gpus` are lines for the fake NVML."""

    def __init__(self, place, scenario=CPUS, *words, gpus=(), nvml="", real=False, config="", **more):
        self.place = place
        self.sim = place.add(Sim(place, scenario + (NVIDIA_PCI if gpus else ""), clock=not real))
        self.env = {}
        self.words, self.more, self.config = words, more, config
        if gpus:
            lib = os.path.join(self.sim.root, "usr/lib")
            os.makedirs(lib, exist_ok=True)
            shutil.copy(FAKE_NVML, os.path.join(lib, "libnvidia-ml.so.1"))
            self.t0 = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if real else self.sim.time.now()
            with open(place.path("nvml"), "w") as f:
                f.write(f"t0 {self.t0}\ndriver 580.65.06\n{nvml}" + "".join(gpus))
            self.env["ERGON_FAKE_NVML"] = place.path("nvml")
            if not real:
                self.env["ERGON_FAKE_CLOCK"] = self.sim.clock
        self.socket = place.path("zeusd", "zeusd.sock")
        self.start()

    def start(self):
        self.agent = self.place.add(Agent(
            self.place, self.sim, "--zeusd", "127.0.0.1:0", "--zeusd-socket", self.socket, *self.words,
            env=self.env, config=self.config, **self.more))
        self.host_port = re.search(r"ZEUSD_HOST_PORT=(\S+)", self.agent.log()).group(1)

    def sleep(self, seconds):
        self.sim.time.sleep(seconds)

    def connect(self, tcp=False):
        if tcp:
            host, _, port = self.host_port.rpartition(":")
            return http.client.HTTPConnection(host, int(port), timeout=30)
        return UnixConnection(self.socket)

    def ask(self, path, method="GET", tcp=False, token=None):
        c = self.connect(tcp)
        try:
            c.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
            r = c.getresponse()
            return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        finally:
            c.close()

    def good(self, path, **how):
        a = self.ask(path, **how)
        assert a.status == 200 and a.headers["content-type"] == "application/json", (path, a.status, a.body)
        return a.json

    def fails(self, status, path, *texts, **how):
        a = self.ask(path, **how)
        assert a.status == status, (path, a.status, a.body)
        d = a.json
        assert set(d) == {"error", "cure"} and all(isinstance(t, str) and t for t in d.values()), (path, d)
        for text in texts:
            assert text in d["error"], (path, d)
        return a

    def stream(self, path, tcp=False):
        return Events(self.connect(tcp), path)


class Events:
    """Server-sent events as they come."""

    def __init__(self, connection, path):
        connection.request("GET", path)
        self.connection = connection
        self.answer = connection.getresponse()
        assert self.answer.status == 200 and self.answer.headers["content-type"] == "text/event-stream"

    def next(self):
        """The lines of one event; None: the stream has ended."""
        lines = []
        while True:
            line = self.answer.readline()
            if not line:
                return None
            line = line.decode().rstrip("\n")
            if not line and lines:
                return lines
            if line:
                lines.append(line)

    def close(self):
        self.answer.close()
        self.connection.close()


def near(got, truth, tolerance, what):
    assert abs(got - truth) <= tolerance * abs(truth), (what, got, truth)


def tokens(place, token):
    """The file of tokens; secrets are not everybody's to read."""
    fd = os.open(place.path("tokens"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as f:
        f.write(token + "\n")


def tokens_only(place):
    """The configuration where nobody sees anything over TCP without one of them."""
    return f'[zeusd]\ntoken_file = "{place.path("tokens")}"\n[access]\nanonymous = "none"\n'
