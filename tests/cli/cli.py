# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program share: starting it, a small captured machine, and TAP."""
import json
import os
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import tap  # noqa: E402

ERGON = os.path.abspath(sys.argv[1])
SOURCE = os.path.abspath(sys.argv[2])
VERBS = ["run", "stat", "sensors", "doctor", "validate", "agent", "config", "ledger", "sim", "help", "version"]


def ergon(*words, **kw):
    """Runs the program; text in, text out."""
    kw.setdefault("timeout", 60)
    return subprocess.run([ERGON, *map(str, words)], capture_output=True, text=True, **kw)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


class Machine:
    """A captured machine: one package of 2^-14 J steps with a core zone, nothing else."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="ergon-cli-")
        self.root = os.path.join(self.dir.name, "root")
        os.makedirs(self.root)

    def add_rapl(self):
        zone = os.path.join(self.root, "sys/class/powercap/intel-rapl:0")
        for path, name in ((zone, "package-0"), (zone + "/intel-rapl:0:0", "core")):
            write(path + "/name", name + "\n")
            write(path + "/energy_uj", "1000000000\n")
            write(path + "/max_energy_range_uj", "262143328850\n")
        write(zone + "/constraint_0_max_power_uw", "200000000\n")
        self.counter = zone + "/energy_uj"
        return self

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def run(self, *words, **kw):
        return ergon("run", "--root", self.root, *words, **kw)

    def run_json(self, *words, **kw):
        r = self.run("--json", "-o", self.path("out.json"), *words, **kw)
        with open(self.path("out.json")) as f:
            text = f.read()
        return r, json.loads(text), text

    def work(self, joules_text, seconds=0.1):
        """A command that takes some time and moves the counter to so many microjoules."""
        return ["sh", "-c", f"sleep {seconds}; echo {joules_text} > {self.counter}"]


def equal(got, want, what=""):
    assert got == want, f"{what} got {got!r}, want {want!r}"


def contains(text, part):
    assert part in text, f"{part!r} not in {text!r}"


def default_signals():
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(s, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


run_tests = tap.run
Skip = tap.Skip
