# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the real agent at random moments (T18): nothing that was exported falls, and counter
channels differ from the truth by nothing but their resolution. 100 kills; ERGON_SOAK multiplies them."""
import random
import time

from rig import NS, SOAK, Agent, Place, Sim, ledger, run_tests

KILLS = 100 * SOAK
# Counters that wrap every few hundred seconds at their real power; a gauge; a chassis beside them.
MACHINE = """[scenario]
title = two packages, a wrapping one, and a gauge
[machine]
cpus = 4
packages = 2
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = sine mean=120W amplitude=60W period=37s
[rapl intel-rapl:1]
name = package-1
max-power = 200W
unit = 7000nJ
start = 30000000000
power = 150W
[hwmon 0]
name = power_meter
[hwmon 0 power1]
label = chassis
power = 400W
update = 1s
"""
PACKAGES = {("cpu-0", "package", "measured"): "rapl intel-rapl:0",
            ("cpu-1", "package", "measured"): "rapl intel-rapl:1"}
STEP = 0.000062


def test_a_hundred_kills():
    rng = random.Random(20261125)
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        sim.time.sleep(0.05)
        first = None  # a whole refresh of the sensors, so that only the counter's step is left
        last, gauge, fell = {}, 0, []
        for k in range(KILLS):
            agent = Agent(place, sim)
            if first is None:
                first = sim.time.now()
            for key, joules in agent.totals().items():
                if joules < last.get(key, 0):
                    fell.append((k, key, joules, last[key]))
                last[key] = joules
            # Time runs while the agent is killed: between two ticks, in one, or in a flush.
            sim.time._set(sim.time.at + 8, sim.time.now() + rng.randint(1, 90) * NS)
            time.sleep(rng.random() * 0.02)
            if rng.random() < 0.3:
                for key, joules in agent.totals().items():
                    if joules < last[key]:
                        fell.append((k, key, joules, last[key]))
                    last[key] = joules
            agent.kill()
            agent.close()
            sim.time._set(sim.time.at + 8, 0)
            if rng.random() < 0.5:
                sim.time.sleep(rng.random() * 40)
        assert not fell, fell[:5]

        agent = Agent(place, sim)
        sim.time.sleep_until((sim.time.now() // 10 ** 6 + 1) * 10 ** 6)
        now = sim.time.now()
        totals = agent.totals()
        truth = sim.truth(first, now)
        for key, sensor in PACKAGES.items():
            print(f"# {sensor}: {totals[key]:.6f} J, truth {truth[sensor]:.6f} J in "
                  f"{(now - first) / NS:.3f} s, {KILLS} kills")
            assert abs(totals[key] - truth[sensor]) <= 2 * STEP, (key, totals[key], truth[sensor])
        assert totals["cpu-1", "package", "measured"] > 30064 * 3, "it wrapped on the way"
        # The gauge lost the time that nobody saw, and says so.
        shown = totals["node", "chassis", "measured"]
        gap = next(v for (name, labels), v in agent.metrics(local=True).items()
                   if name == "ergon_gap_seconds_total" and ("component", "chassis") in labels)
        held = totals.get(("node", "chassis", "estimated"), 0)
        seconds = (now - first) / NS
        print(f"# chassis: {shown:.1f} J + gap of {gap:.1f} s, of {seconds:.1f} s at 400 W")
        assert shown <= 400 * seconds + 1e-6
        assert abs(shown + held + 400 * gap - 400 * seconds) <= 400 * 0.01 * KILLS
        assert agent.stop() == 0
        agent.close()
        kept = {(a["device"], a["component"], a["provenance"]): a["joules"]
                for a in ledger(agent.state)["accounts"]}
        for key in PACKAGES:
            assert kept[key] >= totals[key]


if __name__ == "__main__":
    run_tests(globals())
