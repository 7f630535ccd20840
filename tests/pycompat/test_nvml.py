# SPDX-License-Identifier: Apache-2.0
"""GPUs by the fake NVML: nvidia-ml-py beside libergon in one process (M16), the real Zeus beside ours (D6 to
D10), and which GPU an index means. Real time."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig_compat import (FAKE_NVML, Gateway, Place, boot_ns, environment, near, peers,  # noqa: E402
                        run_tests, say)

PREAMBLE = """
import json, os, sys, time, threading
def boot(): return time.clock_gettime(time.CLOCK_BOOTTIME)
def answer(**what): print("answer " + json.dumps(what), flush=True)
T0 = %r
"""


def gpu(name, power, counter="counter 20", more=""):
    n = gpu.n = getattr(gpu, "n", 0) + 1
    return (f"gpu\nname {name}\nuuid GPU-{n:08x}-0000-0000-0000-000000000000\narch 9\n{counter}\n"
            f"power {power}\n{more}")


def run(script, *gpus, env=None, code=0, timeout=120):
    """A Python program on a machine with these GPUs; gives what it answered."""
    with Place() as place:
        os.symlink(FAKE_NVML, place.path("libnvidia-ml.so.1"))
        t0 = boot_ns()
        with open(place.path("gpus"), "w") as f:
            f.write(f"t0 {t0}\ndriver 580.65.06\n" + "".join(gpus))
        with open(place.path("program.py"), "w") as f:
            f.write(PREAMBLE % (t0 / 1e9) + script)
        r = subprocess.run(
            [peers(), place.path("program.py")], capture_output=True, text=True, timeout=timeout,
            cwd=place.dir, env=environment(HOME=place.dir, LD_LIBRARY_PATH=place.dir,
                                           ERGON_FAKE_NVML=place.path("gpus"), **(env or {})))
        assert r.returncode == code, (r.returncode, r.stderr[-3000:])
        found = {}
        for line in r.stdout.splitlines():
            if line.startswith("answer "):
                found.update(json.loads(line[7:]))
        return found


def test_m16_pynvml_beside_libergon():
    """Two init and shutdown pairs in a process, in each order; a third party's shutdown while a thread
    reads."""
    r = run("""
import ergon, pynvml
def joules(source):
    window = source.begin("w"); time.sleep(0.5); m = window.end()
    return m.joules, m.seconds, m.partial
source = ergon.connect(library=True)
pynvml.nvmlInit(); pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
both = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
pynvml.nvmlShutdown(); pynvml.nvmlShutdown()
ours_after_theirs = joules(source)
pynvml.nvmlInit()
source.close()
theirs_after_ours = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
source = ergon.connect(library=True)
stop, errors, reads = threading.Event(), [], [0]
def read():
    while not stop.is_set():
        try: source.totals(); reads[0] += 1
        except Exception as e: errors.append(repr(e))
threads = [threading.Thread(target=read) for _ in range(2)]
for t in threads: t.start()
for _ in range(20):
    pynvml.nvmlInit(); time.sleep(0.01); pynvml.nvmlShutdown()
stop.set()
for t in threads: t.join()
calm = joules(source)
pynvml.nvmlShutdown()          # the last of theirs
last = joules(source)
answer(both=both, ours=ours_after_theirs, theirs=theirs_after_ours, errors=errors, reads=reads[0], calm=calm,
       last=last)
""", gpu("Fake H200", "300W"))
    say(f"M16: {r['reads']} reads while the other party went through 20 sessions")
    assert r["both"] > 0 and r["theirs"] > r["both"] and not r["errors"] and r["reads"] > 0, r
    for what in ("ours", "calm", "last"):
        joules, seconds, partial = r[what]
        assert not partial, (what, r[what])
        assert abs(joules - 300 * seconds) <= 300 * 0.045, (what, r[what])  # two steps of 20 ms and a little


def test_m16_one_shutdown_too_many_is_mended():
    """Somebody who ends sessions that are not his: Ergon begins its own again."""
    r = run("""
import ergon, pynvml
source = ergon.connect(library=True)
pynvml.nvmlInit(); pynvml.nvmlShutdown()
try: pynvml.nvmlShutdown()
except pynvml.NVMLError: pass
end = time.monotonic() + 20
m = None
while time.monotonic() < end and (m is None or m.partial or not m.joules):
    window = source.begin("w"); time.sleep(0.5); m = window.end()
first = m.joules, m.seconds, m.flags, m.uncertainty_joules, [e.to_dict() for e in m.entries]
window = source.begin("w"); time.sleep(0.5); m = window.end()
answer(joules=m.joules, seconds=m.seconds, partial=m.partial, first=first)
""", gpu("Fake H200", "300W"))
    say(f"M16: the first window with a figure after one shutdown too many: {r['first'][:4]}")
    assert not r["partial"] and abs(r["joules"] - 300 * r["seconds"]) <= 300 * 0.045, r


def test_m16_order_at_exit():
    """Whoever is left open at the end, and in whichever order: the program ends well."""
    for script in ("import pynvml, ergon; pynvml.nvmlInit(); s = ergon.connect(library=True); s.totals()\n"
                   "import atexit; atexit.register(pynvml.nvmlShutdown)",
                   "import ergon; s = ergon.connect(library=True); s.totals()\n"
                   "import pynvml, atexit; pynvml.nvmlInit(); atexit.register(s.close)",
                   "import ergon, pynvml; pynvml.nvmlInit(); s = ergon.connect(library=True)\n"
                   "w = s.begin('open'); pid = os.fork()\n"
                   "if pid == 0:\n    w2 = s.begin('child'); w2.end(); sys.exit(0)\n"
                   "assert os.waitpid(pid, 0)[1] == 0"):
        run(script, gpu("Fake H200", "300W"))


def test_which_gpu_an_index_means():
    """CUDA_VISIBLE_DEVICES by index, UUID, its beginning and MIG device; the list ends at what is none."""
    a, b, c = (gpu(f"G{k}", f"{100 * k}W", more="mig 2 0 100000\n" if k == 2 else "") for k in (1, 2, 3))
    uuid = [line.split()[1] for text in (a, b, c) for line in text.splitlines() if line.startswith("uuid")]
    script = """
import warnings; warnings.simplefilter("ignore")
from ergon.zeus import ZeusMonitor
out = {}
for name, value in json.loads(os.environ["CASES"]).items():
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if value is not None: os.environ["CUDA_VISIBLE_DEVICES"] = value
    m = ZeusMonitor(); m.begin_window("w", sync_execution=False); time.sleep(0.4)
    r = m.end_window("w", sync_execution=False)
    out[name] = [round(r.gpu_energy[i] / r.time / 100, 0) for i in sorted(r.gpu_energy)]
answer(**out)
"""
    cases = {"all": None, "index": "2,0", "uuid": f"{uuid[2]},{uuid[0]}", "prefix": uuid[1][:12], "none": "",
             "ends": "0,-1,2", "mig": f"MIG-{uuid[1][4:]}-0", "old mig": f"MIG-{uuid[2]}/1/0",
             "both migs": f"MIG-{uuid[1][4:]}-0,MIG-{uuid[1][4:]}-1", "twice": "1,1"}
    r = run(script, a, b, c, env={"CASES": json.dumps(cases)})
    expected = {"all": [1, 2, 3], "index": [3, 1], "uuid": [3, 1], "prefix": [2], "none": [], "ends": [1],
                "mig": [2], "old mig": [3], "both migs": [2], "twice": [2]}
    assert r == expected, (r, expected)


def test_an_index_means_the_same_gpu_to_all_backends():
    """Where a framework is shown some GPUs in an order of its own; and one that is lost leaves no sum."""
    r = run("""
import ergon, pynvml
from ergon.backends import get, validate
source = ergon.connect(library=True)
os.environ["CUDA_VISIBLE_DEVICES"] = "2,0"
report = validate(1.0, ["ergon", "nvml", "nvml-power"], source=source)
backend = get("nvml", gpu_indices=[5])
there = backend.is_available(), backend.why_not()
backend = get("nvml")
handle = backend.start_tracking(); time.sleep(0.3)
read = pynvml.nvmlDeviceGetTotalEnergyConsumption
def lost(h):
    if h is backend._handles[0]: raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    return read(h)
pynvml.nvmlDeviceGetTotalEnergyConsumption = lost
m = backend.stop_tracking(handle)
answer(watts={x.name: {i: round(j / x.metrics.duration_sec / 100) for i, j in x.metrics.per_gpu_j.items()}
              for x in report.runs}, agrees=report.agrees, text=str(report), there=there,
       total=m.total_energy_j, left=sorted(m.per_gpu_j), reason=m.reason)
""", *(gpu(f"G{k}", f"{100 * k}W") for k in (1, 2, 3)))
    assert r["watts"] == {name: {"0": 3, "1": 1} for name in ("ergon", "nvml", "nvml-power")}, r
    assert r["agrees"], r["text"]
    assert not r["there"][0] and "GPU 5" in r["there"][1], r
    assert r["total"] is None and r["left"] == [1] and "GPU 0" in r["reason"], r


def test_d6_d7_d8_d9_polled_power():
    """Zeus's PowerMonitor beside ours on GPUs without a counter: constant, and two squares; and a window on a
    GPU before Volta."""
    same = "counter none\nring none"
    r = run("""
if __name__ == "__main__":
    import ergon
    from ergon.zeus import PowerMonitor, ZeusMonitor
    import zeus.monitor as z
    ours = PowerMonitor([0, 1, 2], update_period=0.05)
    try: theirs = z.PowerMonitor([0, 1, 2], update_period=0.1)
    except Exception as e: theirs, why = None, repr(e)
    old_ours = ZeusMonitor([3], [])
    try: old_theirs = z.ZeusMonitor([3], [])
    except Exception as e: old_theirs, old_why = None, repr(e)
    time.sleep(0.5)
    unix, at = time.time(), boot()
    old_ours.begin_window("w", sync_execution=False)
    if old_theirs: old_theirs.begin_window("w", sync_execution=False)
    time.sleep(3)
    seven = old_ours.end_window("w", sync_execution=False)
    try: seven_zeus = old_theirs.end_window("w", sync_execution=False).gpu_energy if old_theirs else old_why
    except Exception as e: seven_zeus = repr(e)
    time.sleep(2.2)
    mine = ours.get_energy(unix, unix + 5)
    power = ours.get_power(unix + 1)
    line = ours.get_power_timeline("device_instant", 0, unix, unix + 5)
    ours.stop()
    his = theirs.get_energy(unix, unix + 5) if theirs else why
    if theirs: theirs.stop()
    answer(ours=mine, zeus=his, begin=at - T0, seven=seven.gpu_energy, seven_zeus=seven_zeus,
           seconds=seven.time, power=power, line=len(line[0]))
""", gpu("Fake", "300W", same), gpu("Fake", "square low=100W high=300W period=4s", same),
            gpu("Fake", "square low=70W high=700W period=2s", same),
            gpu("Fake", "300W", same).replace("arch 9", "arch 4"))

    def square(low, high, period):
        def high_until(t):
            whole, rest = divmod(t, period)
            return whole * period / 2 + min(rest, period / 2)
        seconds = high_until(r["begin"] + 5) - high_until(r["begin"])
        phases = (high * seconds + low * (5 - seconds), low * seconds + high * (5 - seconds))
        return min(phases, key=lambda joules: abs(joules - r["ours"][INDEX])), high

    say(f"D6 300 W for 5 s, polled: ours {r['ours']['0']:.1f} J, truth 1500 J, Zeus {r['zeus']['0']:.1f} J"
        if isinstance(r["zeus"], dict) else f"D6: ours {r['ours']['0']:.1f} J, Zeus {r['zeus']}")
    near(r["ours"]["0"], 1500, 0.01, "D6")
    say(f"D7 before Volta, 300 W for {r['seconds']:.2f} s: ours {r['seven']['3']:.1f} J, truth "
        f"{300 * r['seconds']:.1f} J, Zeus {r['seven_zeus']}")
    near(r["seven"]["3"], 300 * r["seconds"], 0.01, "D7")
    for name, INDEX, low, high, period in (("D8", "1", 100, 300, 4.0), ("D9", "2", 70, 700, 2.0)):
        true, _ = square(low, high, period)
        theirs = r["zeus"][INDEX] if isinstance(r["zeus"], dict) else float("nan")
        say(f"{name} square {high}/{low} W, 5 s: ours {r['ours'][INDEX]:.1f} J, truth {true:.1f} J, "
            f"Zeus {theirs:.1f} J")
        near(r["ours"][INDEX], true, 0.05, name)
    assert r["power"]["0"] == 300 and r["line"] > 20, r


def test_power_gauge_and_gpu_histogram():
    with Place() as place:
        gateway = Gateway(place)
        run("""
import warnings; warnings.simplefilter("ignore")
from ergon.zeus.metric import EnergyHistogram, PowerGauge
url = os.environ["GATEWAY"]
h = EnergyHistogram([], [0, 1], url, "job"); h.begin_window("w", sync_execution=False)
g = PowerGauge([0, 1], 1, url, "job"); g.begin_window("w"); time.sleep(2.2); g.end_window("w")
h.end_window("w", sync_execution=False)
""", gpu("Fake", "300W"), gpu("Fake", "100W"), env={"GATEWAY": gateway.url})
        found = gateway.samples()
        assert found['energy_monitor_gpu_energy_joules_bucket{index="1",le="1000.0",window="w"}'] == 1, found
        seconds = found['energy_monitor_gpu_energy_joules_sum{index="1",window="w"}'] / 100
        near(found['energy_monitor_gpu_energy_joules_sum{index="0",window="w"}'], 300 * seconds, 0.05,
             "GPU 0")
        gateway.got.pop()
        near(gateway.samples()['power_monitor_gpu_power_watts{index="0",window="w"}'], 300, 0.05, "watts")


def test_d10_short_windows():
    r = run("""
import warnings; warnings.simplefilter("ignore")
if __name__ == "__main__":
    from ergon.zeus import ZeusMonitor
    import zeus.monitor as z
    monitors = {"ours": ZeusMonitor([0], []), "ours approx": ZeusMonitor([0], [], approx_instant_energy=True),
                "Zeus": z.ZeusMonitor([0], []),
                "Zeus approx": z.ZeusMonitor([0], [], approx_instant_energy=True)}
    time.sleep(1.3)
    out = {name: {} for name in monitors}
    for ms in (5, 20, 50, 80, 150):
        for k in range(24):
            for name, m in monitors.items():
                m.begin_window("w", sync_execution=False)
            time.sleep(ms / 1000)
            for name, m in monitors.items():
                e = m.end_window("w", sync_execution=False)
                out[name].setdefault(ms, []).append((e.time, e.gpu_energy[0] / (300 * e.time) - 1))
            time.sleep(0.0137)
    answer(**out)
""", gpu("Fake", "300W", "counter 100"))
    # A busy machine makes some longer than the counter's period; those have its error of an edge.
    r = {name: {ms: [e for seconds, e in found if seconds < 0.095 or ms == "150"] or [0.0]
                for ms, found in one.items()} for name, one in r.items()}
    for name, found in r.items():
        say(f"D10 {name:<11} " + ", ".join(
            f"{ms} ms: error {100 * sum(map(abs, e)) / len(e):.0f} %, bias {100 * sum(e) / len(e):+.0f} %"
            for ms, e in found.items()))
    # Power is a mean over about a second, of which one step of this counter is a tenth.
    for ms in ("5", "20", "50", "80"):
        errors = r["ours approx"][ms]
        assert sum(map(abs, errors)) / len(errors) < 0.12, (ms, errors)


if __name__ == "__main__":
    run_tests(dict(globals()))
