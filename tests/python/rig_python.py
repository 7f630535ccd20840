# SPDX-License-Identifier: Apache-2.0
"""What the tests of the Python package share. argv: ergon, the source tree, libergon."""
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import ERGON, NS, SOURCE, Agent, Place, Sim, Skip, end, run_tests, until  # noqa: E402,F401

PACKAGE = os.path.join(SOURCE, "bindings", "python")
LIBRARY = os.path.abspath(sys.argv[3])
for name in ("SOCKET", "PAGE", "LIBRARY", "URL", "TOKEN", "BACKEND"):
    os.environ.pop("ERGON_" + name, None)
sys.path.insert(0, PACKAGE)
sys.dont_write_bytecode = True
import ergon  # noqa: E402

# Power that moves, so that a window at the wrong time is seen; a part, which must not be added. The ceiling
# is high: in real time a simulator that had to wait makes up for it in one step.
MACHINE = """[scenario]
title = two packages, a part of one, memory
[machine]
cpus = 2
packages = 2
[rapl intel-rapl:0]
name = package-0
max-power = 20000W
power = sine mean=100W amplitude=30W period=5s
[rapl intel-rapl:0:0]
name = core
power = 60W
[rapl intel-rapl:0:1]
name = dram
power = 25W
[rapl intel-rapl:1]
name = package-1
max-power = 20000W
power = square low=40W high=80W period=1.7s
"""
TOTAL = ("rapl intel-rapl:0", "rapl intel-rapl:0:1", "rapl intel-rapl:1")


def true_joules(sim, begin_ns, end_ns):
    truth = sim.truth(begin_ns, end_ns)
    return sum(truth[name] for name in TOTAL)


def boot_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_of(unix_seconds):
    """The interval clock at a moment of Unix time."""
    return int(unix_seconds * NS) - (time.time_ns() - boot_ns())


def times(m):
    if m.begin_ns is not None:
        return m.begin_ns, m.end_ns
    return boot_of(m.begin_unix_seconds), boot_of(m.end_unix_seconds)


# In real time a simulator shows what was some milliseconds ago, on a busy machine more. In shared time there
# is nothing of it, and figures are exact.
LATE_SECONDS, MOST_WATTS = 0.3, 240
EXACT = 0.001


def near(sim, joules, begin_ns, end_ns):
    """Joules against the truth of a time; gives the error."""
    true = true_joules(sim, begin_ns, end_ns)
    allowed = EXACT * true + (0 if sim.time else LATE_SECONDS * MOST_WATTS)
    assert abs(joules - true) <= allowed, (joules, true)
    return joules / true - 1


def check(sim, m):
    """The measurement against the truth of its own time; gives the error."""
    error = near(sim, m.joules, *times(m))
    if sim.time:
        assert m.uncertainty_joules is None or abs(error) * m.joules <= m.uncertainty_joules, m
    return error


def both(place, *words, scenario=MACHINE, clock=False, **kw):
    """clock: in shared time, which the test moves by sim.time.sleep()."""
    sim = place.add(Sim(place, scenario, clock=clock))
    return sim, place.add(Agent(place, sim, *words, **kw))
