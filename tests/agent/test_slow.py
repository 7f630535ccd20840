# SPDX-License-Identifier: Apache-2.0
"""A GPU whose library does not answer for some seconds (a fake NVML with NVIDIA's symbols): it is said once,
delays no other sensor and no reader, and its counter tells afterwards what was used meanwhile. Real time."""
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from rig import NS, Agent, Place, Sim, Skip, parse_text, run_tests, until

FAKE = os.path.abspath(sys.argv[3])
MACHINE = """[scenario]
title = a package, and a GPU of the fake library
[machine]
cpus = 2
[file sys/bus/pci/devices/0000:01:00.0/vendor]
text = 0x10de
[file sys/bus/pci/devices/0000:01:00.0/class]
text = 0x030200
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = 100W
"""
UUID = "GPU-11111111-2222-3333-4444-555555555555"
FROM, TO = 3, 5  # calls that begin in these seconds sleep for SLEEP_MS
SLEEP_MS = 3000


def start(place, slow=f"nvmlDeviceGetTotalEnergyConsumption {SLEEP_MS} {FROM} {TO}", ready=True):
    sim = place.add(Sim(place, MACHINE))
    os.makedirs(os.path.join(sim.root, "usr/lib"), exist_ok=True)
    shutil.copy(FAKE, os.path.join(sim.root, "usr/lib/libnvidia-ml.so.1"))  # links stay inside the root
    t0 = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    with open(place.path("nvml"), "w") as f:
        f.write(f"t0 {t0}\ndriver 580.65.06\nslow {slow}\n"
                f"gpu\nname Fake H200\nuuid {UUID}\narch 9\ncounter 20\npower 300W\n")
    return sim, t0, place.add(Agent(place, sim, ready=ready, env={"ERGON_FAKE_NVML": place.path("nvml")},
                                    config="[compat]\ndcgm = true\nall_smi_rows = true\n"))


def value(metrics, name, **labels):
    found = [v for (n, have), v in metrics.items() if n == name and set(labels.items()) <= have]
    assert len(found) <= 1, (name, labels, found)
    return found[0] if found else None


def test_a_hanging_gpu_delays_nobody():
    with Place() as place:
        sim, t0, agent = start(place)
        package, up, waits = [], [], []
        while time.clock_gettime_ns(time.CLOCK_BOOTTIME) < t0 + (TO + 5) * NS:
            asked = time.monotonic()
            m = agent.metrics(local=True)
            waits.append(time.monotonic() - asked)
            at = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - t0) / NS
            package.append((at, value(m, "ergon_energy_joules_total", component="package")))
            up.append((at, value(m, "ergon_sensor_up", component="gpu")))
            time.sleep(0.1)
        # While the library sleeps the package is read as before: 100 W, a value each 0.1 s.
        quiet = [(t, j) for t, j in package if FROM + 0.5 < t < TO + 0.5]
        rate = (quiet[-1][1] - quiet[0][1]) / (quiet[-1][0] - quiet[0][0])
        print(f"# package {rate:.2f} W over {len(quiet)} readings while the GPU slept; longest answer "
              f"{max(waits) * 1e3:.1f} ms of a sleep of {SLEEP_MS} ms")
        assert len({j for _, j in quiet}) == len(quiet) > 10
        assert abs(rate - 100) < 5
        assert max(waits) < SLEEP_MS / 1000 / 2, "a reader waited for the GPU"
        assert any(u == 0 for t, u in up if FROM < t), "it was not seen to be away"
        assert up[-1][1] == 1, "it did not come back"
        log = agent.log()
        assert len(re.findall(r"nvml/gpu-0.*does not answer", log)) == 1, log
        assert len(re.findall(r"nvml/gpu-0.*answers again", log)) == 1, log
        # The counter went on: nothing is missing, nothing is held.
        m = agent.metrics(local=True)
        age = value(m, "ergon_reading_age_seconds", component="gpu")
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        joules = value(m, "ergon_energy_joules_total", component="gpu")
        seconds = (now - t0) / NS - age
        print(f"# gpu: {joules:.1f} J in at most {seconds:.2f} s at 300 W")
        assert 300 * (seconds - 2) <= joules <= 300 * seconds + 6.1
        assert value(m, "ergon_agent_missed_ticks_total") == 0
        assert agent.stop() == 0


def test_stop_while_a_driver_opens():
    """Nothing was shown or written yet, so nobody waits for a library that hangs."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with Place() as place:
            _, _, agent = start(place, "nvmlDeviceGetCount_v2 60000", ready=False)
            until("the lock", lambda: os.path.exists(os.path.join(agent.state, "lock")))
            agent.process.send_signal(signal.SIGHUP)
            agent.process.send_signal(number)
            assert agent.process.wait(30) == 0, agent.log()
            assert "did not end within" not in agent.log(), agent.log()


def test_gpu_in_the_compatibility_families():
    with Place() as place:
        sim, t0, agent = start(place)
        until("a GPU reading", lambda: value(agent.metrics(), "ergon_energy_joules_total", component="gpu")
              is not None)
        m = agent.metrics()
        assert value(m, "all_smi_energy_consumed_joules_total", scope="gpu", gpu_index="0",
                     gpu_uuid=UUID) is not None
        assert value(m, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", UUID=UUID) is not None
        until("power", lambda: value(agent.metrics(), "DCGM_FI_DEV_POWER_USAGE", UUID=UUID))
        watts = value(agent.metrics(), "all_smi_gpu_power_consumption_watts", gpu_uuid=UUID)
        assert abs(watts - 300) < 40, watts
        agent.stop()


CHOICES = ("all_smi", "all_smi_rows", "node_exporter", "dcgm", "estimates")
COUNT = 'non-histogram and non-summary metrics should not have "_count" suffix'
CAMEL = "label names should be written in 'snake_case' not 'camelCase'"
# What promtool says of names that are not ours to choose, by the choice that brings them.
WARNINGS = {
    "always": ["ergon_counter_resets_total metric name should not include type 'counter'"],
    "all_smi_rows": [f"all_smi_cpu_{x}_count {COUNT}" for x in ("socket", "core", "thread")],
    "dcgm": [f"DCGM_FI_DEV_POWER_USAGE {CAMEL}", f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION {CAMEL}",
             'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter metrics should have "_total" suffix'],
}


def start_hostile(place):
    """GPUs whose names and UUIDs have what labels must escape, or what is no text at all."""
    sim = place.add(Sim(place, MACHINE + "[proc]\nutilization = 0.5\n"))
    os.makedirs(os.path.join(sim.root, "usr/lib"), exist_ok=True)
    shutil.copy(FAKE, os.path.join(sim.root, "usr/lib/libnvidia-ml.so.1"))
    with open(place.path("nvml"), "wb") as f:
        f.write(b"t0 %d\ndriver 580.65.06\n" % time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        for name, uuid in ((b'Evil "GPU" \\ {a="b"}, \xff\xfe', b"GPU-1"), (b"Same", b'GPU-"q}'),
                           (b"Same", b"GPU-\xff"), (b"N" * 95, b"G" * 90)):
            f.write(b"gpu\nname %s\nuuid %s\narch 9\ncounter 20\npower 300W\n" % (name, uuid))
    agent = place.add(Agent(place, sim, "--allow-estimates", env={"ERGON_FAKE_NVML": place.path("nvml")}))
    until("facts of GPUs", lambda: [k for k in agent.metrics() if k[0] == "ergon_device_info"])
    until("a GPU's power", lambda: [k for k in agent.metrics() if k[0] == "ergon_power_watts" and
                                    ("component", "gpu") in k[1]])
    return agent


def strict(text):
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        raise Skip("prometheus_client is not installed")
    return list(text_string_to_metric_families(text))


def test_every_choice_of_compat():
    with Place() as place:
        agent = start_hostile(place)
        for chosen in itertools.product((False, True), repeat=len(CHOICES)):
            on = [c for c, yes in zip(CHOICES, chosen) if yes]
            with open(agent.config, "w") as f:
                f.write("[compat]\n" + "".join(f"{c} = {str(c in on).lower()}\n" for c in CHOICES))
            seen = agent.log().count("reloaded")
            agent.reload()
            until("the reload", lambda: agent.log().count("reloaded") > seen)
            agent.get("/metrics")  # utilisation wants two readings

            def same_order():  # not at once where a GPU answered for the first time in between
                text, again = agent.get("/metrics").text, agent.get("/metrics").text
                return text if [x.rsplit(" ", 1)[0] for x in text.splitlines()] == \
                    [x.rsplit(" ", 1)[0] for x in again.splitlines()] else None
            text = until(f"an order that stays with {on}", same_order, 10)
            names = {k[0] for k in parse_text(text)}
            assert strict(agent.get("/metrics", {"Accept": "application/openmetrics-text"}).text)
            assert ("all_smi_energy_consumed_joules_total" in names) == ("all_smi" in on), on
            assert ("all_smi_gpu_utilization" in names) == ("all_smi_rows" in on), on
            assert ("node_rapl_package_joules_total" in names) == ("node_exporter" in on), on
            assert ("DCGM_FI_DEV_POWER_USAGE" in names) == ("dcgm" in on), on
            for line in text.splitlines():
                if line.startswith("all_smi_"):
                    assert re.fullmatch(r"all_smi_[^{]{1,248}\{[^}]{1,1024}\} [0-9.]+", line), line
            if shutil.which("promtool"):
                r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True,
                                   timeout=60)
                want = [w for c in ("always", *on) for w in WARNINGS.get(c, ())]
                assert sorted(set((r.stdout + r.stderr).splitlines())) == sorted(want), (on, r)
        assert agent.stop() == 0


if __name__ == "__main__":
    run_tests(globals())
