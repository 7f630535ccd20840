# SPDX-License-Identifier: Apache-2.0
"""The real Zeus 0.16 of the registry (tools/python-peers), unchanged, with ZEUSD_SOCK_PATH or ZEUSD_HOST_PORT
naming the agent: what it measures is the truth within 0.5 %."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "pycompat"))
from rig_compat import Skip, environment, peers  # noqa: E402
from rig_zeusd import (CPUS, FAKE_NVML, Machine, Place, end, gpu, near, run_tests, tokens,  # noqa: E402
                       tokens_only, until)

CLIENT = """
import contextlib, json, os, sys
names = {}
with contextlib.redirect_stdout(sys.stderr):
    import zeus.monitor, zeus.utils.zeusd
print("ready", flush=True)
for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        exec(json.loads(line), names)
    print("answer " + json.dumps(names.get("answer")), flush=True)
"""


class Zeus:
    """A process with the real Zeus, on whose machine /sys is that of the simulator."""

    def __init__(self, place, m, **env):
        python = peers()
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        mounts = ["unshare", *user, "--mount", "--propagation", "private"]
        if subprocess.run([*mounts, "true"], capture_output=True).returncode:
            raise Skip("mounts of its own are not allowed here")
        with open(place.path("client.py"), "w") as f:
            f.write(CLIENT)
        self.log = open(place.path("zeus.log"), "w+")
        self.process = subprocess.Popen(
            [*mounts, "sh", "-c", 'mount --bind "$1" /sys && exec "$2" "$3"', "sh", m.sim.root + "/sys",
             python, place.path("client.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            cwd=place.dir, env=environment(HOME=place.dir, **env))
        place.add(self)
        self._line("ready")

    def _line(self, begin):
        for line in self.process.stdout:
            if line.startswith(begin):
                return line[len(begin):]
        self.process.wait(30)
        self.log.seek(0)
        raise AssertionError(self.log.read()[-3000:])

    def do(self, text):
        """Runs it; gives what it left in `answer`."""
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()
        return json.loads(self._line("answer "))

    def close(self):
        end(self.process, self.process.stdin.close)
        self.log.close()


MONITOR = """
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor()
answer = [[type(c).__name__ for c in monitor.cpus.cpus], monitor.cpu_indices, monitor.gpu_indices]
"""


def test_a_window_over_the_socket_is_the_truth():
    with Place() as place:
        m = Machine(place)
        m.sleep(3)
        zeus = Zeus(place, m, ZEUSD_SOCK_PATH=m.socket)
        kinds, cpus, gpus = zeus.do(MONITOR)
        assert kinds == ["ZeusdRAPLCPU"] * 2 and cpus == [0, 1] and gpus == [], (kinds, cpus, gpus)
        for seconds in (1.0, 2.5, 30.0):
            begin = m.sim.time.now()
            zeus.do('monitor.begin_window("w")')
            m.sleep(seconds)
            end = m.sim.time.now()
            got = zeus.do('m = monitor.end_window("w"); answer = [m.cpu_energy, m.dram_energy]')
            true = m.sim.truth(begin, end)
            for joules, name in ((got[0]["0"], "rapl intel-rapl:0"), (got[0]["1"], "rapl intel-rapl:1"),
                                 (got[1]["0"], "rapl intel-rapl:0:0")):
                print(f"# {seconds} s, {name}: Zeus by the agent {joules:.4f} J, truth {true[name]:.4f} J")
                near(joules, true[name], 0.005, name)
            assert set(got[1]) == {"0"}


def test_each_call_over_tcp_with_a_token():
    with Place() as place:
        token = "a-token-that-is-long-enough"
        tokens(place, token)
        m = Machine(place, config=tokens_only(place),
                    gpus=[gpu(0, "300W"), gpu(1, "200W")])
        m.sleep(3)
        until("what the cards tell",
              lambda: m.ask("/gpu/get_power_limit", tcp=True, token=token).status == 200)
        zeus = Zeus(place, m, ZEUSD_HOST_PORT=m.host_port, ZEUSD_TOKEN=token)
        known = zeus.do("""
from zeus.utils.zeusd import ZeusdClient, ZeusdConfig, require_capabilities
c = ZeusdClient()
require_capabilities(c, read_gpu=True, read_cpu=True, gpu_ids=[0, 1], cpu_ids=[0, 1])
answer = [c.gpu_ids, [g.name for g in c.gpus], c.cpu_ids, c.dram_available, c.auth_required, c.auth_error,
          sorted(c.granted_scopes), c.can_read_gpu, c.can_read_cpu, c.can_control_gpu]
""")
        assert known == [[0, 1], ["NVIDIA H200"] * 2, [0, 1], [True, False], True, None,
                         ["cpu-read", "gpu-read"], True, True, False], known
        read = "answer = [c.get_gpu_energy([0, 1]), {k: [v.cpu_energy_uj, v.dram_energy_uj] for k, v in " \
               "c.get_cpu_energy().items()}, c.get_time()]"
        begin = m.sim.time.now()
        gpus, cpus, t0 = zeus.do(read)
        m.sleep(10)
        end = m.sim.time.now()
        gpus2, cpus2, t1 = zeus.do(read)
        true = m.sim.truth(begin, end)
        near(gpus2["0"] - gpus["0"], 3e6, 0.005, "GPU 0")
        near(gpus2["1"] - gpus["1"], 2e6, 0.005, "GPU 1")
        near((cpus2["0"][0] - cpus["0"][0]) / 1e6, true["rapl intel-rapl:0"], 0.005, "CPU 0")
        near((cpus2["0"][1] - cpus["0"][1]) / 1e6, true["rapl intel-rapl:0:0"], 0.005, "DRAM 0")
        assert cpus["1"][1] is None and abs(t1 - t0 - (end - begin) / 1e9) < 0.01
        power, cpu_power, limit, constraints, mode = zeus.do("""
p = c.get_cpu_power([1]).power_mw
answer = [c.get_gpu_power().power_mw, {k: [v.cpu_mw, v.dram_mw] for k, v in p.items()}, c.get_power_limit(),
          c.get_power_limit_constraints([0]), c.get_persistence_mode()]
""")
        assert power == {"0": 300000, "1": 200000} and set(cpu_power) == {"1"}, (power, cpu_power)
        near(cpu_power["1"][0], 80000, 0.001, "CPU 1's power")
        assert limit == {
    "0": 700000, "1": 700000} and constraints == {
        "0": [
            350000, 700000]}, (limit, constraints)
        assert set(mode) == {"0", "1"}
        refused = zeus.do("""
from zeus.device.exception import ZeusdError
answer = []
for f in (lambda: c.set_power_limit([0], 100000), lambda: c.set_persistence_mode([0], True),
          lambda: c.set_gpu_locked_clocks([0], 1, 2), lambda: c.reset_gpu_locked_clocks([0]),
          lambda: c.set_mem_locked_clocks([0], 1, 2), lambda: c.reset_mem_locked_clocks([0])):
    try: f(); answer.append("done")
    except ZeusdError as e: answer.append(str(e))
try: c.get_gpu_energy([7]); answer.append("done")
except ZeusdError as e: answer.append(str(e))
""")
        assert all("Ergon only reads" in t for t in refused[:6]), refused
        assert "GPU 7 not found" in refused[6], refused
        wrong = zeus.do("""
answer = []
a = ZeusdClient(ZeusdConfig(host_port=c.endpoint))
answer.append(a.auth_error)
try: ZeusdClient(ZeusdConfig(host_port=c.endpoint, token="not-the-right-one-at-all"))
except Exception as e: answer.append(type(e).__name__)
""")
        assert "no token was provided" in wrong[0] and wrong[1] == "ZeusdConnectionError", wrong


def test_power_is_streamed():
    with Place() as place:
        m = Machine(place, CPUS, gpus=[gpu(0, "square low=100W high=300W period=20s")])
        m.sleep(3)
        zeus = Zeus(place, m, ZEUSD_SOCK_PATH=m.socket)
        zeus.do("""
import time
from zeus.monitor.power_streaming import PowerStreamingClient
from zeus.utils.zeusd import ZeusdConfig
stream = PowerStreamingClient([ZeusdConfig.from_env()])
def look(done):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for r in stream.get_power().values():
            if done(r):
                return [r.gpu_power_w, {k: [v.cpu_w, v.dram_w] for k, v in r.cpu_power_w.items()}]
        time.sleep(0.02)
    raise AssertionError(stream.get_power())
""")
        def seen(what):
            return zeus.do(f"answer = look(lambda r: len(r.cpu_power_w) == 2 and {what})")
        gpus, cpus = seen("r.gpu_power_w")
        first = gpus["0"]
        near(cpus["1"][0], 80.0, 0.001, "CPU 1")
        near(cpus["0"][1], 18.0, 0.001, "DRAM 0")
        m.sleep(10)
        other, _ = seen(f"r.gpu_power_w.get(0) not in (None, {first})")
        assert {first, other["0"]} == {100.0, 300.0}, (first, other)
        zeus.do("stream.stop()")


def test_gpus_beside_nvml():
    """Zeus reads NVIDIA GPUs by NVML itself, and with a zeusd only if that could also set them."""
    for claim in (False, True):
        with Place() as place:
            m = Machine(place, CPUS, gpus=[gpu(0, "300W")],
                        config="[zeusd]\nclaim_control = true\n" if claim else "")
            m.sleep(3)
            os.symlink(FAKE_NVML, place.path("libnvidia-ml.so.1"))
            zeus = Zeus(place, m, ZEUSD_SOCK_PATH=m.socket, LD_LIBRARY_PATH=place.dir, **m.env)
            kinds, cpus, gpus = zeus.do(MONITOR)
            assert kinds == ["ZeusdRAPLCPU"] * 2 and gpus == ([0] if claim else []), (kinds, cpus, gpus)
            zeus.do('monitor.begin_window("w", sync_execution=False)')
            m.sleep(10)
            got = zeus.do('m = monitor.end_window("w", sync_execution=False)\n'
                          'answer = [m.gpu_energy, m.cpu_energy]')
            near(got[1]["1"], 800.0, 0.005, "CPU 1")
            if claim:
                near(got[0]["0"], 3000.0, 0.005, "GPU 0")
                said = zeus.do("""
try: monitor.gpus.set_persistence_mode(0, True); answer = "done"
except Exception as e: answer = f"{type(e).__name__}: {e}"
""")
                assert "Ergon only reads" in said, said


if __name__ == "__main__":
    run_tests(dict(globals()))
