# SPDX-License-Identifier: Apache-2.0
"""A GPU whose library does not answer for some seconds (a fake NVML with NVIDIA's symbols): it is said once,
delays no other sensor and no reader, and its counter tells afterwards what was used meanwhile. Real time."""
import os
import re
import shutil
import signal
import sys
import time

from rig import NS, Agent, Place, Sim, run_tests, until

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


if __name__ == "__main__":
    run_tests(globals())
