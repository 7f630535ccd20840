# SPDX-License-Identifier: Apache-2.0
"""24 simulated hours with random faults: sensors that go and come, a sensor that does not answer, steps
of the wall clock, a full disk, reloads good and bad, and kills. Nothing falls, nothing leaks, memory
stays bounded, and the counters without a fault of their own are exact at the end.

ERGON_SOAK (make soak) multiplies the days."""
import os
import random
import subprocess

from rig import ERGON, NS, SOAK, Agent, Place, Sim, Skip, run_tests, until

HOURS = 24
INTERVAL = "1s"


def machine(rng):
    lines = """[scenario]
title = a day with faults
[machine]
cpus = 4
packages = 2
%s[proc]
utilization = 0.3
[rapl intel-rapl:0]
name = package-0
max-power = 250W
power = sine mean=120W amplitude=80W period=613s
[rapl intel-rapl:0:0]
name = dram
unit = 15.3uJ
max-power = 50W
power = 12W
[rapl intel-rapl:1]
name = package-1
max-power = 250W
power = square low=60W high=180W period=97s
%s[hwmon 0]
name = power_meter
[hwmon 0 power1]
label = chassis
update = 1s
power = sine mean=400W amplitude=100W period=900s
%s"""
    hours = sorted(rng.uniform(0.5, HOURS - 1) for _ in range(12))
    steps = "".join(f"event = {int(h * 3600)}s clock-step {s}\n"
                    for h, s in zip(hours[::4], ("+1h", "-30m", "+2s")))
    lost = "".join(f"event = {int(h * 3600)}s vanish for {rng.randint(5, 400)}s\n" for h in hours[1::4])
    gauge = "".join(f"event = {int(h * 3600)}s vanish for {rng.randint(5, 900)}s\n" for h in hours[2::4])
    return lines % (steps, lost, gauge)


class Day:
    def __init__(self, place, rng):
        self.place, self.rng = place, rng
        self.sim = place.add(Sim(place, machine(rng), clock=True))
        self.tmpfs = None
        os.makedirs(place.path("state"), exist_ok=True)
        if os.geteuid() == 0:
            r = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs",
                                place.path("state")], capture_output=True, text=True)
            if r.returncode == 0:
                self.tmpfs = place.path("state")
        place.add(self)
        self.config = "[energy]\nwal_max_bytes = 131072\n"
        self.last, self.events, self.resident, self.fds = {}, {}, [], []
        self.agent = None
        self.first = self.sim.time.now()
        self.start()

    def close(self):
        if self.agent:
            self.agent.close()
        if self.tmpfs:
            subprocess.run(["umount", self.tmpfs], check=False)

    def count(self, what):
        self.events[what] = self.events.get(what, 0) + 1

    def start(self):
        self.agent = Agent(self.place, self.sim, "--interval", INTERVAL, config=self.config)

    def look(self):
        totals = self.agent.totals()
        for key, joules in self.last.items():
            assert totals.get(key, -1) >= joules, f"{key} fell from {joules} to {totals.get(key)}"
        self.last = totals
        pid = self.agent.process.pid
        with open(f"/proc/{pid}/statm") as f:
            self.resident.append(int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE"))
        self.fds.append(len(os.listdir(f"/proc/{pid}/fd")))

    def kill(self):
        self.agent.kill()
        self.agent.close()
        self.count("kill")
        if self.rng.random() < 0.5:
            self.sim.time.sleep(self.rng.uniform(0, 120))
        self.start()

    def reload(self):
        good = self.rng.random() < 0.5
        said = self.agent.log().count("reloaded")
        with open(self.agent.config, "w") as f:
            f.write(self.config if good else self.config + "nonsense = 1\n")
        self.agent.reload()
        until("the reload", lambda: self.agent.log().count("reloaded") > said)
        self.count("reload" if good else "bad reload")

    def disk_full(self):
        if not self.tmpfs:
            return
        filler = os.path.join(self.tmpfs, "filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        self.sim.time.sleep(self.rng.randint(70, 600))
        self.look()
        os.unlink(filler)
        # The writer takes real time, whatever the simulated clock does.
        def written():
            self.sim.time.sleep(70)
            return [v for (name, labels), v in self.agent.metrics(local=True).items()
                    if name == "ergon_agent_ledger_failing"] == [0]
        until("the log is written again", written)
        self.count("full disk")


def test_a_day_with_faults():
    rng = random.Random(7)
    with Place() as place:
        day = Day(place, rng)
        end = day.first + HOURS * 3600 * NS
        faults = [day.kill, day.reload, day.disk_full]
        while day.sim.time.now() < end:
            day.sim.time.sleep_until(min(end, day.sim.time.now() + rng.randint(60, 2400) * NS), 600)
            day.look()
            rng.choice(faults)()
            day.look()
        now = day.sim.time.now()
        totals = day.agent.totals()
        truth = day.sim.truth(day.first, now)
        for key, sensor in ((("cpu-0", "package", "measured"), "rapl intel-rapl:0"),
                            (("cpu-0", "dram", "measured"), "rapl intel-rapl:0:0")):
            print(f"# {sensor}: {totals[key]:.6f} J, truth {truth[sensor]:.6f} J")
            off_ms = (day.first % 10 ** 6 + now % 10 ** 6) / 1e6
            assert abs(totals[key] - truth[sensor]) <= 0.0002 + 0.25 * off_ms, key
        key = ("cpu-1", "package", "measured")
        assert totals[key] <= truth["rapl intel-rapl:1"] + 0.25
        assert totals["node", "chassis", "measured"] <= truth["hwmon 0 power1"] * 1.001
        print(f"# {HOURS} h at {INTERVAL}: {day.events}; resident "
              f"{min(day.resident) / 2 ** 20:.1f} to {max(day.resident) / 2 ** 20:.1f} MiB, "
              f"{min(day.fds)} to {max(day.fds)} descriptors")
        with open(f"/proc/{day.agent.process.pid}/maps") as f:
            sanitized = "libasan" in f.read()  # keeps what was freed
        assert sanitized or max(day.resident) - min(day.resident) <= 2 * 2 ** 20, "memory grew"
        assert max(day.fds) - min(day.fds) <= 4, "descriptors leak"
        assert day.agent.stop() == 0


if __name__ == "__main__":
    run_tests(globals())
