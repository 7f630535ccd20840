#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shipped program in lock-step with the simulated machine: `ergon run` and `ergon stat` beside
`ergon sim truth`, to one step of the counter. Time passes only while every program sleeps, so all
edges of the usual intervals lie on whole refreshes and resolution is the only error left."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import tap  # noqa: E402

ERGON = os.path.abspath(sys.argv[1])
STEP = 0.000061036  # 2^-14 J, rounded up
REFRESH_NS = 1000000
START_NS = 1000 * 10 ** 9  # interval clock at the start of a machine in lock-step


def ergon(*words):
    r = subprocess.run([ERGON, *map(str, words)], capture_output=True, text=True, timeout=100)
    assert r.returncode == 0, (words, r.returncode, r.stderr)
    return r.stdout


class Machine:
    def __init__(self, scenario):
        self.dir = tempfile.TemporaryDirectory(prefix="ergon-truth-")
        self.root = os.path.join(self.dir.name, "root")
        self.clock = os.path.join(self.dir.name, "clock")
        self.node = subprocess.Popen([ERGON, "sim", "node", "--dir", self.root, "--scenario", scenario,
                                      "--clock", self.clock])
        end = time.monotonic() + 60
        while not os.path.exists(self.root + "/ERGON-SIM"):
            assert self.node.poll() is None and time.monotonic() < end, "the machine does not start"
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.node.send_signal(signal.SIGTERM)
        self.node.wait(timeout=60)
        self.dir.cleanup()

    def run(self, seconds, *words):
        out = os.path.join(self.dir.name, "run.json")
        ergon("run", "--root", self.root, "--clock", self.clock, "--json", "-o", out, *words, "--",
              ERGON, "sim", "sleep", "--clock", self.clock, seconds)
        with open(out) as f:
            return json.load(f)

    def stat(self, *words):
        return [json.loads(line) for line in
                ergon("stat", "--root", self.root, "--clock", self.clock, "--json", *words).splitlines()]

    def truth(self, begin_ns, end_ns):
        """True joules by sensor, between two stamps of the interval clock."""
        text = ergon("sim", "truth", "--dir", self.root, "--json", "--from", f"{begin_ns}ns", "--to",
                     f"{end_ns}ns")
        return {c["id"]: c["joules"] for c in json.loads(text)["channels"] if "joules" in c}


def sensor(name):
    """rapl/package-1 is zone 1, rapl/dram-1 its first sub-zone, in the scenarios used here."""
    component, number = name.removeprefix("rapl/").rsplit("-", 1)
    return f"rapl intel-rapl:{number}" + ("" if component == "package" else ":0")


def check(machine, scenario, d, wraps):
    truth = machine.truth(d["begin_boot_ns"], d["end_boot_ns"])
    # A window that ends with a guard read ends between refreshes; no scenario here is above 350 W.
    off_ns = d["begin_boot_ns"] % REFRESH_NS + d["end_boot_ns"] % REFRESH_NS
    allowed = STEP + 1e-6 + 350 * off_ns * 1e-9
    seen = 0
    for c in d["channels"]:
        if not c["name"].startswith("rapl/"):
            continue
        true = truth[sensor(c["name"])]
        error = c["joules"] - true
        print(f"# {scenario}: {d['seconds']} s: {c['name']}: ours {c['joules']:.6f} J, truth {true:.6f} J, "
              f"error {error * 1e6:.0f} uJ, {c['wraps']} wraps")
        # The range plus one unit is a whole number of microjoules: up to half of one a wrap.
        assert abs(error) <= allowed + 0.5e-6 * c["wraps"], (c["name"], error)
        assert c["gap_seconds"] == 0 and c["resets"] == 0, c
        seen += c["wraps"]
    assert seen == wraps, (seen, wraps)
    assert d["scope"] == "machine", d["scope"]


def test_one_wrap_in_a_minute():
    with Machine("wrap-in") as m:
        check(m, "wrap-in", m.run(60), 1)


def test_small_register_for_five_minutes():
    with Machine("small-range") as m:
        check(m, "small-range", m.run(300), 1)


def test_wraps_every_three_seconds():
    with Machine("wrap-many") as m:
        d = m.run(60)
        ends = (m.truth(START_NS, d[k + "_boot_ns"])["rapl intel-rapl:0"] for k in ("end", "begin"))
        end, begin = (int(e / 1000.000001) for e in ends)
        assert end - begin >= 20
        check(m, "wrap-many", d, end - begin)


def test_a_node_for_an_hour():
    with Machine("node-24h") as m:
        check(m, "node-24h", m.run(3600), 8)


def test_a_node_for_an_hour_at_a_minute():
    with Machine("node-24h") as m:
        check(m, "node-24h", m.run(3600, "-i", "60s"), 8)


def test_idle_process_is_told_as_the_machine():
    """D14: a sleeping command next to a busy machine. Its figure is the machine's, and says so."""
    with Machine("constant-200w") as m:
        d = m.run(4)
        true = m.truth(d["begin_boot_ns"], d["end_boot_ns"])["rapl intel-rapl:0"]
        print(f"# D14 idle command, 4 s: ours {d['total']['joules']:.6f} J, scope {d['scope']}; machine "
              f"{true:.6f} J; peer: CodeCarbon in process mode 801 J, called the process's")
        assert d["scope"] == "machine"
        assert abs(d["total"]["joules"] - true) <= STEP + 1e-6


def check_stat(machine, scenario, lines, count):
    assert len(lines) == count, len(lines)
    totals = [d["total_joules"] for d in lines if d["total_joules"] is not None]
    joules = [d["joules"] for d in lines if d["joules"] is not None]
    assert all(b >= a for a, b in zip(totals, totals[1:])), totals
    assert all(j >= 0 for j in joules), joules
    end_ns = START_NS + round(lines[-1]["seconds"] * 1e9)
    true = sum(e for id, e in machine.truth(START_NS, end_ns).items() if id.startswith("rapl"))
    print(f"# {scenario}: {count} lines: ours {totals[-1]:.6f} J, truth {true:.6f} J")
    return totals[-1], true


def test_stat_never_falls():
    """The clock stands still until the first program sleeps: stat begins at the machine's start."""
    for scenario, steps in (("wrap-short-windows", 1), ("wrap-many", 1), ("node-24h", 4)):
        with Machine(scenario) as m:
            ours, true = check_stat(m, scenario, m.stat("-n", 20), 20)
            assert abs(ours - true) <= steps * (STEP + 1e-6), (scenario, ours, true)


def test_stat_never_falls_over_a_reset():
    for scenario in ("counter-reset", "zone-vanish", "driver-reload"):
        with Machine(scenario) as m:
            lines = m.stat("-n", 20, "--select", "rapl")
            ours, true = check_stat(m, scenario, lines, 20)
            # Missing is at most what flowed in the intervals that say so.
            holes = sum(d["interval_seconds"] for d in lines if "gap" in d["flags"])
            assert true - 150 * holes - 2 * STEP <= ours <= true + STEP, (scenario, ours, true, holes)
            assert all("gap" in d["flags"] for d in lines if d["joules"] is None), lines


tap.run(globals())
