# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the agent on a simulated machine in real time: over wraps of the counter, a
kill -9, a time without an agent, and a restart."""
import time

from rig import SOAK, Agent, Place, Prometheus, Sim, run_tests, until

SECONDS = 24 * SOAK  # before the kill, and again after the restart
# 1,000 J at 100 W: the counter wraps every ten seconds.
MACHINE = """[scenario]
title = a package of 100 W whose counter wraps every ten seconds
[machine]
cpus = 4
[rapl intel-rapl:0]
name = package-0
max-power = 150W
range = 1000000000
start = 995000000
power = 100W
"""
SENSOR = "rapl intel-rapl:0"


def boot_of(unix_seconds):
    """The interval clock at a Unix time: both are read here, side by side."""
    offset = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.time_ns()
    return int(unix_seconds * 1e9) + offset


ENERGY = {
    "own": 'ergon_energy_joules_total{component="package"}',
    "all-smi": 'all_smi_energy_consumed_joules_total{scope="cpu"}',
}
AGE = 'ergon_reading_age_seconds{component="package"}'


def test_increase_over_wraps_kill_and_restart():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE))
        agent = place.add(Agent(place, sim))
        prometheus = place.add(Prometheus(place, agent.address))
        time.sleep(SECONDS)
        killed = time.time()
        agent.kill()
        agent.close()
        time.sleep(3)
        again = place.add(Agent(place, sim, listen=agent.address))
        assert again.address == agent.address
        time.sleep(SECONDS)
        until("a last scrape", lambda: prometheus.query("up")[0]["value"][1] == "1")

        ages = dict(prometheus.raw(AGE))
        for family, selector in ENERGY.items():
            samples = [(t, v) for t, v in prometheus.raw(selector) if t in ages]
            values = [v for _, v in samples]
            assert len(samples) > SECONDS, len(samples)
            assert values == sorted(values), "it fell"
            (t0, v0), (t1, v1) = samples[0], samples[-1]
            # Of five pairs the one in the middle: on a busy machine the simulator may be late for a sample.
            pairs = [(samples[k], samples[-1 - k]) for k in range(5)]
            truths = [sim.truth(boot_of(b[0] - ages[b[0]]), boot_of(e[0] - ages[e[0]]))[SENSOR] for b, e in pairs]
            errors = [(e[1] - b[1]) / x - 1 for (b, e), x in zip(pairs, truths)]
            truth, error = truths[0], sorted(errors)[2]
            print(f"# {family}: {v1 - v0:.3f} J, truth {truth:.3f} J, {100 * error:+.4f} %, "
                  f"{len(samples)} samples over {t1 - t0:.1f} s and {(v1 - v0) / 1000:.1f} wraps")
            assert abs(error) <= 0.001, (family, v1 - v0, truth)
            # At constant power, over the time without an agent as well.
            print(f"# {family}: readings were {min(ages.values()):.4f} to {max(ages.values()):.4f} s old")
            for at, span in ((t1, int(t1 - t0) - 1), (t1, 15), (killed, 15)):
                found = prometheus.query(f"increase({selector}[{span}s])", at)
                got = float(found[0]["value"][1])
                print(f"# {family}: increase over {span} s is {got:.3f} J, "
                      f"{100 * (got / (100 * span) - 1):+.3f} %")
                assert abs(got / (100 * span) - 1) <= 0.005, (family, span, got)
        assert again.stop() == 0, again.log()


if __name__ == "__main__":
    run_tests(globals())
