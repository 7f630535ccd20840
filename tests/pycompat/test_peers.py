# SPDX-License-Identifier: Apache-2.0
"""The real Zeus beside ours on the same simulated machine, and its defects of the measurement contract, Part
3: our figure is right; its own is printed, and may become right too. Real time. And what our interfaces have
to share with those of the peers."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig_compat import (HEAD, NS, RANGE, REAL, Meters, Place, environment, late, machine,  # noqa: E402
                        near, peers, run_tests, say, started, truth, zone)


def test_agreement_zeus():
    with Place() as place:
        meters = Meters(place, "zeus.monitor")
        sim = machine(place, meters, HEAD + zone("package-0", "sine mean=120W amplitude=40W period=2s")
                      + zone("dram", "18W", at="intel-rapl:0:0")
                      + zone("package-1", "80W", at="intel-rapl:1"))
        meters.ask(do="zeus_monitors")
        meters.ask(do="zeus", seconds=0.1)  # its watchers start
        r = meters.ask(do="zeus", seconds=3.0)
        ours, zeus = r["ours"], r["zeus"]
        for what, i, name in (("cpu", "0", "intel-rapl:0"), ("cpu", "1", "intel-rapl:1"),
                              ("dram", "0", "intel-rapl:0:0")):
            true, theirs = truth(sim, ours, name), truth(sim, zeus, name)
            say(f"agreement {what} {i}: ours {ours[what][i]:.3f} J (truth {true:.3f}), "
                f"Zeus {zeus[what][i]:.3f} J (truth {theirs:.3f})")
            near(ours[what][i], true, REAL, what)
            near(zeus[what][i], theirs, 0.1, f"Zeus {what}")
        assert set(ours["cpu"]) == set(zeus["cpu"]) and set(ours["dram"]) == set(zeus["dram"])


def test_d1_wrap_after_the_first_begin_and_d2_short_windows_over_a_wrap():
    for wait in (6, 20, 60):
        with Place() as place:
            meters = Meters(place, "zeus.monitor")
            first, second = wait, wait + 8
            sim = machine(place, meters, HEAD + "".join(
                zone(f"package-{k}", "350W", f"range = {RANGE}\nstart = {RANGE - 350000000 * at}\n",
                     f"intel-rapl:{k}") for k, at in enumerate((first, second))))
            t0 = started(sim)
            meters.ask(do="zeus_monitors")
            r = meters.ask(do="zeus", begin_ns=t0 + first * NS - NS * 15 // 100, seconds=3.5714)
            if late(r):
                continue
            ours, zeus = r["ours"], r["zeus"]
            true = truth(sim, ours, "intel-rapl:0")
            say(f"D1 wrap 0.15 s after the first begin: ours {ours['cpu']['0']:.1f} J, truth {true:.1f} J, "
                f"Zeus {zeus['cpu']['0']:.1f} J")
            near(ours["cpu"]["0"], true, REAL, "D1")
            assert not ours["partial"], ours
            windows = meters.ask(do="zeus_short", from_ns=t0 + second * NS - NS, n=20, seconds=0.1)["windows"]
            true = [truth(sim, w["ours"], "intel-rapl:1") for w in windows]
            ours = [w["ours"]["cpu"]["1"] for w in windows]
            worst = max(abs(o - t) for o, t in zip(ours, true))
            theirs = [w["zeus"]["cpu"]["1"] for w in windows]
            say(f"D2 20 windows of 0.1 s over a wrap, 35 J each: ours at most {worst:.2f} J off, "
                f"Zeus {min(theirs):.1f} to {max(theirs):.1f} J")
            # What a simulator that had to wait shows late falls into the next window: no more than that.
            assert min(ours) >= 0 and worst < 350, list(zip(ours, true))
            near(sum(ours), sum(true), 0.1, "D2")
            return
    raise AssertionError("the machine was too busy to keep a time, three times")


def test_d3_psys_is_no_package():
    with Place() as place:
        meters = Meters(place, "zeus.monitor")
        sim = machine(place, meters, HEAD + zone("package-0", "20W")
                      + zone("core", "12W", at="intel-rapl:0:0")
                      + zone("psys", "35W", at="intel-rapl:1"))
        known = meters.ask(do="zeus_monitors")
        r = meters.ask(do="zeus", seconds=2.0)
        true = truth(sim, r["ours"], "intel-rapl:0")
        say(f"D3 package: ours {r['ours']['cpu']}, truth {true:.1f} J; Zeus {r['zeus']['cpu']}")
        assert known["ours_cpus"] == [0] and set(r["ours"]["cpu"]) == {"0"}, known
        near(r["ours"]["cpu"]["0"], true, REAL, "D3")


def test_d5_hexadecimal_zones():
    with Place() as place:
        meters = Meters(place, "zeus.monitor")
        names = [f"intel-rapl:{k:x}" for k in range(12)]
        sim = machine(place, meters, HEAD + "".join(
            zone(f"package-{k}", f"{40 + k}W", at=name) for k, name in enumerate(names)))
        known = meters.ask(do="zeus_monitors")
        r = meters.ask(do="zeus", seconds=1.0)
        true = truth(sim, r["ours"], *names)
        total = sum(r["ours"]["cpu"].values())
        say(f"D5 12 packages: ours {total:.1f} J, truth {true:.1f} J; "
            f"Zeus {known['error'] or known['zeus_cpus']}")
        assert known["ours_cpus"] == list(range(12))
        for k, name in enumerate(names):
            near(r["ours"]["cpu"][str(k)], truth(sim, r["ours"], name), REAL, name)


SIGNATURES = r"""
import contextlib, dataclasses, importlib, inspect, io, json, sys, warnings
warnings.simplefilter("ignore")
with contextlib.redirect_stdout(io.StringIO()):
    import codecarbon, codecarbon.emissions_tracker as ce, codecarbon.output as co
    import zeus.metric, zeus.monitor, zeus.monitor.power as zp
    from zeus.device.soc.apple import AppleSiliconMeasurement
    from zeus.device.soc.jetson import JetsonMeasurement
import ergon.codecarbon, ergon.codecarbon.tracker, ergon.zeus, ergon.zeus.metric, ergon.zeus.soc
bad, seen = [], 0
def default(p):
    if p.default is inspect.Parameter.empty: return "none"
    return "unset" if type(p.default).__name__ in ("object", "Unset") else repr(p.default)
def shape(f):
    return [(p.name, p.kind.name, default(p)) for p in inspect.signature(f).parameters.values()]
def same(label, theirs, ours):
    global seen
    seen += 1
    if theirs != ours: bad.append([label, str(theirs), str(ours)])
def methods(theirs, ours):
    for name, f in inspect.getmembers(theirs, inspect.isfunction):
        if not name.startswith("_") or name in ("__init__", "__enter__", "__exit__"):
            same(f"{theirs.__name__}.{name}", shape(f), shape(getattr(ours, name, lambda: None)))
methods(zeus.monitor.ZeusMonitor, ergon.zeus.ZeusMonitor)
methods(zeus.monitor.PowerMonitor, ergon.zeus.PowerMonitor)
for name in ("EnergyHistogram", "EnergyCumulativeCounter", "PowerGauge"):
    methods(getattr(zeus.metric, name), getattr(ergon.zeus.metric, name))
def names(c): return [f.name for f in dataclasses.fields(c)]
same("Measurement", names(zeus.monitor.Measurement), names(ergon.zeus.Measurement))
same("Apple", names(AppleSiliconMeasurement), names(ergon.zeus.AppleSiliconMeasurement))
same("Jetson", names(JetsonMeasurement), names(ergon.zeus.JetsonMeasurement))
same("PowerDomain", [d.value for d in zp.PowerDomain], [d.value for d in ergon.zeus.PowerDomain])
for name in ("EmissionsTracker", "OfflineEmissionsTracker"):
    methods(getattr(ce, name), getattr(ergon.codecarbon, name))
methods(ce.TaskEmissionsTracker, ergon.codecarbon.TaskEmissionsTracker)
for name in ("track_emissions", "track_task_emissions"):
    same(name, shape(getattr(ce, name)), shape(getattr(ergon.codecarbon, name)))
same("EmissionsData", names(co.EmissionsData), names(ergon.codecarbon.EmissionsData))
from ergon.codecarbon.data import TASK_COLUMNS
same("TaskEmissionsData", names(co.TaskEmissionsData), TASK_COLUMNS)
same("OutputMethod", [m.value for m in codecarbon.OutputMethod],
     [m.value for m in ergon.codecarbon.OutputMethod])
same("FileOutput", shape(co.FileOutput), shape(ergon.codecarbon.FileOutput))
# What they say when they are used wrongly.
import ergon
ergon.set_default_source(ergon.NullSource())
def says(f):
    try: f()
    except Exception as e: return [type(e).__name__, str(e)]
def misuse(monitor):
    m = monitor(gpu_indices=[], cpu_indices=[])
    m.begin_window("k")
    out = [says(lambda: m.begin_window("k")), says(lambda: m.begin_window("k", restart=True)),
           says(lambda: m.end_window("other"))]
    c = m.end_window("k", cancel=True)
    out.append([c.time, c.gpu_energy, c.cpu_energy, c.dram_energy, c.soc_energy, c.total_energy])
    m.begin_window("a"); m.reset_windows()
    out.append(says(lambda: m.end_window("a")))
    return out
same("errors", misuse(zeus.monitor.ZeusMonitor), misuse(ergon.zeus.ZeusMonitor))
def logged(monitor, path):
    m = monitor(gpu_indices=[], cpu_indices=[], log_file=path)
    m.begin_window("w"); m.end_window("w")
    return [line.count(",") for line in open(path)] + [open(path).readline()]
same("log", logged(zeus.monitor.ZeusMonitor, sys.argv[1] + "/z"),
     logged(ergon.zeus.ZeusMonitor, sys.argv[1] + "/o"))
from zeus.utils.framework import sync_execution as zs
from ergon.zeus.frameworks import sync_execution as os_
for name in ("torch", "jax", "cupy"):
    same(f"without {name}", says(lambda: zs([0], name)), says(lambda: os_([0], name)))
print("answer " + json.dumps({"bad": bad, "seen": seen}))
"""


def test_signatures_columns_and_texts_are_those_of_the_peers():
    """So that a change of theirs is seen."""
    with Place() as place:
        script = place.path("signatures.py")
        with open(script, "w") as f:
            f.write(SIGNATURES)
        r = subprocess.run([peers(), script, place.dir], capture_output=True, text=True, timeout=120,
                           env=environment(HOME=place.dir), cwd=place.dir)
        assert r.returncode == 0, r.stderr[-3000:]
        answer = json.loads(next(line for line in r.stdout.splitlines() if line.startswith("answer "))[7:])
        say(f"{answer['seen']} signatures, lists of fields and texts compared")
        assert not answer["bad"], "\n".join(map(str, answer["bad"]))
        assert answer["seen"] > 40, answer


def test_llenergymeasure_takes_our_backend():
    """By its own protocol, loaded without what it needs to run models."""
    script = """
import dataclasses, importlib.util, os, sys
import ergon, ergon.llenergymeasure as e
place = importlib.util.find_spec("llenergymeasure").submodule_search_locations[0]
def load(name):
    spec = importlib.util.spec_from_file_location(
        "their_" + name, os.path.join(place, "energy", name + ".py"))
    module = importlib.util.module_from_spec(spec); sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
base, nvml = load("base"), load("nvml")
backend = e.ErgonBackend(gpu_indices=[0])
assert isinstance(backend, base.EnergySampler) and backend.name == "ergon"
ergon.set_default_source(ergon.NullSource())
m = backend.stop_tracking(backend.start_tracking())
for f in dataclasses.fields(nvml.EnergyMeasurement):
    getattr(m, f.name)
assert m.total_j is None and m.per_gpu_j is None and not backend.is_available()
print("fits")
"""
    r = subprocess.run([peers(), "-c", script], capture_output=True, text=True, timeout=60, env=environment())
    assert r.stdout.strip() == "fits", r.stderr[-2000:]


if __name__ == "__main__":
    run_tests(dict(globals()))
