# SPDX-License-Identifier: Apache-2.0
"""What the fault tests of the shipped program share: a machine at rest, whose counters never move,
so that every joule of a counter is an invented one; the program with a call that fails; and what
must hold however it ends."""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import tap  # noqa: E402

ERGON = os.path.abspath(sys.argv[1])
SOAK = bool(os.environ.get("ERGON_SOAK"))
LIMIT = 60  # seconds after which a run counts as hung
TOGETHER = 16  # most of them sleep
RAIL_WATTS = 120  # the one gauge

SCENARIO = f"""[scenario]
title = a machine at rest
[machine]
cpus = 4
[perf power]
type = 21
cpumask = 0
[perf power energy-pkg 0]
config = 2
power = 50W
[rapl intel-rapl:0]
name = package-0
range = 262143328850
start = 100000000
max-power = 400W
power = 50W
[rapl intel-rapl:0:0]
name = dram
power = 5W
[hwmon 0]
name = amd_energy
[hwmon 0 energy1]
label = Esocket0
power = 95W
[hwmon 5]
name = pmbus
[hwmon 5 power1]
label = pin
power = {RAIL_WATTS}W
"""
PACKAGE = "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj"


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())


class Machine:
    def __init__(self, scenario=SCENARIO):
        self.dir = tempfile.TemporaryDirectory(prefix="ergon-fault-")
        os.chmod(self.dir.name, 0o755)
        self.root = self.path("root")
        if scenario is None:
            os.makedirs(self.root)
            return
        write(self.path("machine.scn"), scenario)
        subprocess.run([ERGON, "sim", "node", "--dir", self.root, "--scenario",
                        self.path("machine.scn"), "--duration", "0.05s"], check=True,
                       stdout=subprocess.DEVNULL, timeout=LIMIT)

    def path(self, name):
        return os.path.join(self.dir.name, name)


class Run:
    """One run of the program; stdout is its own, or the report that it wrote for --output."""

    def __init__(self, machine, words, env=None, **kw):
        self.words = words
        verb, *rest = words
        started = time.monotonic()
        try:
            p = subprocess.run([kw.pop("program", ERGON), verb, "--root", machine.root, *rest],
                               stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT,
                               env=dict(os.environ, **(env or {})), **kw)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{words} {env}: hangs") from None
        self.seconds = time.monotonic() - started
        self.rc = p.returncode
        self.out = p.stdout.decode("utf-8", "replace")
        self.err = p.stderr.decode("utf-8", "replace")

    def report(self, text=None):
        """Its JSON: one object, or of stat the list of its lines."""
        text = self.out if text is None else text
        if self.words[0] == "stat":
            return [json.loads(line) for line in text.splitlines()]
        return json.loads(text)

    def __str__(self):
        return f"{' '.join(self.words)}: exit {self.rc}\n{self.err[-1500:]}\n{self.out[-1500:]}"


def diagnostics(report):
    return {(d["code"], d["driver"], d["subject"], d["detail"]) for d in report["diagnostics"]}


def values(report):
    """What is known of each channel: joules where they are told, else watts; null: unknown."""
    return {c["name"]: c.get("joules", c.get("watts"))
            for c in report.get("channels", []) if isinstance(c, dict)}


def check_joules(run, report, where, watts=RAIL_WATTS):
    """Nothing but what the sensors showed: 0 of a counter at rest, and of a gauge (or a counter
    that moves) at most its watts for as long as the program lived."""
    for r in report if isinstance(report, list) else [report]:
        for c in r.get("channels", []):
            if not isinstance(c, dict):
                continue
            moves = c["name"].startswith(("hwmon/pmbus", "nvml/"))
            most = watts * run.seconds if moves else 0
            joules = (c.get("joules") or 0) + (c.get("estimated_joules") or 0)
            assert joules <= most, f"{where}: {c['name']} has {joules} J, at most {most}"
            for key in ("watts", "mean_watts", "max_watts"):
                assert moves or not c.get(key), f"{where}: {c['name']} {key} {c[key]}"
        total = r.get("total")
        if isinstance(total, dict):
            counted = [c for c in r["channels"] if c["role"] == "total"]
            whole = sum(c["joules"] + c["estimated_joules"] for c in counted)
            assert abs(total["joules"] - whole) < 1e-5, f"{where}: {total['joules']} J of {whole}"


def together(fn, items):
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        return list(pool.map(fn, items))


run_tests = tap.run
Skip = tap.Skip
