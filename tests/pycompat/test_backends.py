# SPDX-License-Identifier: Apache-2.0
"""ergon.backends: the registry, settings, cross-validation, other people's backends (M3 to M8, M18, M20)."""
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig_compat import HEAD, PACKAGE, Place, Shared, environment, near, peers, raises, run_tests, zone  # noqa
import ergon  # noqa: E402
import rig_compat as rig  # noqa: E402
from ergon import backends  # noqa: E402
from ergon.backends import Capability, Info, Metrics, Settings, Value, side_by_side  # noqa: E402
from ergon.backends import crosscheck  # noqa: E402
from ergon.backends.crosscheck import CrossValidated  # noqa: E402
from ergon.llenergymeasure import ErgonBackend, select_energy_sampler  # noqa: E402

MACHINE = HEAD + zone("package-0", "120W") + zone("dram", "10W", at="intel-rapl:0:0")
# A machine whose CPU is seen by two interfaces.
TWICE = MACHINE.replace("cpus = 4", "cpus = 2") + """[perf power]
type = 9
cpumask = 0
[perf power energy-pkg 0]
config = 2
power = 120W
"""


class Meter:
    """Somebody's backend: so many watts of CPU 0."""

    def __init__(self, name="meter", watts=120.0, uncertain=5.0, fails=None, **_):
        self.name, self.watts, self.uncertain, self.fails = name, watts, uncertain, fails
        self.open = 0

    def is_available(self):
        return self.fails != "available"

    def why_not(self):
        return "no cable: plug it in" if self.fails == "available" else None

    def start_tracking(self):
        if self.fails == "start":
            raise OSError("unplugged")
        self.open += 1
        return ergon.source.boot_ns()

    def stop_tracking(self, handle):
        if self.fails == "stop":
            raise OSError("unplugged")
        self.open -= 1
        return Metrics(total_energy_j=1.0, duration_sec=(ergon.source.boot_ns() - handle) / 1e9,
                       energy_backend_name=self.name, values=(Value("cpu", 0, self.joules(handle)),))

    def joules(self, handle):
        return self.watts * (ergon.source.boot_ns() - handle) / 1e9

    def get_info(self):
        return Info(self.name, "1", frozenset({Capability.CPU_ENERGY}), ("cable",), "hardware_counter",
                    self.uncertain)


def test_metrics_of_ergon():
    with Place() as place:
        m = Shared(place, MACHINE)
        backend = ErgonBackend()
        assert backend.name == "ergon" and backend.is_available()
        handle = backend.start_tracking()
        m.sleep(2)
        r = backend.stop_tracking(handle)
        near(r.duration_sec, 2, 0.001, "seconds")
        near(r.total_energy_j, 260, 0.002, "total")
        near(r.cpu_energy_j, 240, 0.002, "cpu")
        near(r.ram_energy_j, 20, 0.005, "memory")
        assert r.dram_energy_j == r.ram_energy_j and r.gpu_energy_j is None and r.per_gpu_j is None
        near(r.cpu_power_w, 120, 0.002, "watts")
        assert r.energy_measurement_method == "hardware_counter" and r.energy_backend_name == "ergon"
        assert r.emissions_kg_co2 is None and r.energy_per_token_j is None and r.uncertainty_j > 0
        near(r.per_token(130).energy_per_token_j, 2, 0.01, "a token")
        assert r.total_j == r.total_energy_j and r.samples == []
        info = backend.get_info()
        assert info.version and info.accuracy_percent == 5 and info.method == "hardware_counter"
        assert {Capability.CPU_ENERGY, Capability.DRAM_ENERGY} <= info.capabilities
        assert Capability.GPU_ENERGY not in info.capabilities
        json.dumps(r.to_dict()), json.dumps(info.to_dict())
        missing = ErgonBackend(gpu_indices=[0])
        assert not missing.is_available() and "GPU 0 is not there" in missing.why_not()


def test_registry_and_settings():
    assert backends.list()[0] == "ergon" and {"zeus", "nvml", "codecarbon", "null"} <= set(backends.list())
    backends.register("meter", Meter)
    try:
        raises(ValueError, backends.register, "meter", Meter)
        raises(ValueError, backends.register, "auto", Meter)
        assert backends.get("meter", gpu_indices=[0], unheard_of=1).name == "meter"
        backends.register("bare", lambda: Meter("bare"))
        assert backends.select("bare").backend.name == "bare", "options it does not take"
        backends.unregister("bare")
        found = backends.select("meter")
        assert (found.name, found.why) == ("meter", "named by the setting")
        backends.register("meter", lambda **_: Meter(fails="available"), replace=True)
        assert "no cable: plug it in" in raises(backends.BackendUnavailable, backends.select, "meter")
    finally:
        backends.unregister("meter")
    assert "did you mean 'zeus'" in raises(backends.UnknownBackend, backends.get, "zues")
    assert "did you mean backend" in raises(ValueError, Settings.of, {"backnd": "auto"})
    for off in (None, "null", {"backend": None}):
        found = backends.select(off)
        assert found.name == "null", off
        r = found.backend.stop_tracking(found.backend.start_tracking())
        assert r.total_energy_j is None and r.cpu_energy_j is None and r.reason, "a figure of nothing"
    assert select_energy_sampler(None) is None
    ergon.set_default_source(ergon.NullSource())
    found = backends.select("auto")
    assert found.name == "null" and set(found.passed_over) >= {"ergon", "zeus", "codecarbon"}, found
    with Place() as place:
        Shared(place, MACHINE)
        found = backends.select({"backend": "auto", "tracking_mode": "machine"})
        assert found.name == "ergon" and found.why == "the best that is available", found
        assert select_energy_sampler("auto").name == "ergon"
    ergon.set_default_source(None)


def test_cross_validation():
    with Place() as place:
        m = Shared(place, MACHINE)
        for watts in (121.0, 180.0):
            pair = CrossValidated(ErgonBackend(), Meter(watts=watts))
            # The meter reads a clock of its own: it is told shared time here.
            pair._second.joules = lambda handle, w=watts: w * 2.0
            handle = pair.start_tracking()
            m.sleep(2)
            r = pair.stop_tracking(handle)
            near(r.cpu_energy_j, 240, 0.002, "the primary is the result")
            report = r.cross_validation
            c, = report.comparisons
            assert (c.component, c.device, c.primary, c.other) == ("cpu", 0, "ergon", "meter")
            near(c.difference_percent, (watts / 120 - 1) * 100, 0.05, "difference")
            assert [run.overhead.start_seconds > 0 for run in report.runs] == [True, True]
            json.dumps(r.to_dict())
        for fails in ("start", "stop"):
            pair = CrossValidated(ErgonBackend(), Meter(fails=fails))
            handle = pair.start_tracking()
            m.sleep(1)
            r = pair.stop_tracking(handle)
            near(r.cpu_energy_j, 120, 0.01, "a check that fails")
            assert "unplugged" in r.cross_validation.left_out["meter"] and not r.cross_validation.comparisons


def test_reports():
    """Two meters that disagree are told; a third that does not start is named; the calls cost what they
    cost."""
    right, wrong = Meter("right", 100.0, 2.0), Meter("wrong", 150.0, 2.0)
    report = side_by_side([right, wrong, Meter("lost", fails="start"), Meter("away", fails="available")], 0.3)
    assert report.primary == "right" and report.agrees is False and len(report.diagnostics) == 1
    assert 35 < report.bias_percent("wrong") < 65, report
    assert set(report.left_out) == {"lost", "away"} and report.left_out["away"] == "no cable: plug it in"
    assert (right.open, wrong.open) == (0, 0)
    doc = json.loads(json.dumps(report.to_dict()))
    assert doc["schema"] == "ergon.crosscheck/1" and doc["agree"] is False
    pair, = doc["comparisons"][0]["pairs"]
    assert pair["verdict"] == "disagree" and pair["bias"]["watts"] > 10 and pair["bias"]["parts"] == 1
    assert {d["driver"]: d["code"] for d in doc["diagnostics"]} == \
        {"wrong": "crosscheck", "lost": "sensor_error", "away": "sensor_absent"}, doc
    assert "DISAGREE" in str(report)
    same = side_by_side([right, Meter("other", 101.0, 2.0)], 0.3)
    assert same.agrees is True and not same.diagnostics, same
    assert side_by_side([right], 0.01).agrees is None
    for watts, flags in ((101.0, ()), (150.0, ("crosscheck",))):
        pair = CrossValidated(Meter("right", 100.0, 2.0), Meter("second", watts, 2.0))
        handle = pair.start_tracking()
        time.sleep(0.3)
        assert pair.stop_tracking(handle).flags == flags, watts
    for bad in (0, -1, float("nan"), 1e9):
        raises(ValueError, side_by_side, [right], bad)


def test_validate_on_the_command_line():
    with Place() as place:
        from rig_compat import Agent, Sim
        sim = place.add(Sim(place, MACHINE))
        agent = place.add(Agent(place, sim))
        env = environment(ERGON_SOCKET=agent.socket)
        r = subprocess.run([sys.executable, "-m", "ergon", "validate", "--duration", "1", "--json"],
                           capture_output=True, text=True, timeout=120, env=env)
        assert r.returncode == 0, r.stderr
        doc = json.loads(r.stdout)
        assert doc["agree"] is None and doc["comparisons"] == [], doc
        joules = sum(ch["joules"] for ch in doc["channels"] if ch["role"] == "total")
        near(joules, 130 * doc["seconds"], 0.05, "joules")
        names = {one["driver"] for one in doc["diagnostics"] if one["code"] == "sensor_absent"}
        assert {"zeus", "codecarbon", "nvml"} <= names and "pip install 'ergon[zeus]'" in r.stdout, doc
        r = subprocess.run([sys.executable, "-m", "ergon", "validate", "--duration", "0.2"],
                           capture_output=True, text=True, timeout=120, env=env)
        assert r.returncode == 0 and "left out: zeus" in r.stdout, r


def test_a_second_interface_of_our_own_is_a_check():
    with Place() as place:
        m = Shared(place, TWICE)
        backend = ErgonBackend()
        handle = backend.start_tracking()
        m.sleep(2)
        r = backend.stop_tracking(handle)
        cpu = [v for v in r.values if v.component == "cpu"]
        assert [v.primary for v in cpu] == [True, False], cpu
        near(cpu[1].joules, 240, 0.01, cpu[1].channel)
        near(r.total_energy_j, 260, 0.002, "added twice")


def keys(a, b, at="", free=("channels",)):
    """Each key of the one is in the other, at every level. free: keys whose members may be fewer in b."""
    if isinstance(a, dict):
        if at.split("[")[0].rpartition(".")[2] in free:
            assert set(b) <= set(a), (at, set(b) - set(a))
        else:
            assert set(a) == set(b), (at, set(a) ^ set(b))
        for key in b:
            keys(a[key], b[key], f"{at}.{key}", free)
    elif isinstance(a, list):
        for i, (one, other) in enumerate(zip(a, b)):
            keys(one, other, f"{at}[{i}]", free)
    else:
        kinds = [type(None)] if None in (a, b) else []
        kinds += [bool] if isinstance(a, bool) else [int, float] if isinstance(a, (int, float)) else [type(a)]
        assert isinstance(b, tuple(kinds)), (at, a, b)


def twice_by_both(scenario, c=True):
    """The report of `ergon validate` (c=False: not asked) and that of ergon.validate(), of one machine."""
    with Place() as place:
        m = Shared(place, scenario)
        m.sleep(1)
        old, crosscheck.time = crosscheck.time, SimpleNamespace(**{**vars(time), "sleep": m.sleep})
        try:
            ours = json.loads(json.dumps(ergon.validate(10, ["ergon"], source=m.source).to_dict()))
        finally:
            crosscheck.time = old
        if not c:
            return None, ours
        m.agent.stop()
        m.sim.time.close()
        m.sim.time = None
        r = subprocess.run([rig.ERGON, "validate", "--json", "-d", "10", "--root", m.sim.root, "--clock",
                            m.sim.clock], capture_output=True, text=True, timeout=120)
        theirs = json.loads(r.stdout)
        assert r.returncode == (0 if theirs["agree"] else 1), r
        return theirs, ours


def test_one_shape_in_c_and_in_python():
    """`ergon.crosscheck/1` key by key, and the same findings on the same machine."""
    for more in ("", "gain = +2%\n"):
        c, python = twice_by_both(TWICE + more)
        keys(c, python)
        assert c["schema"] == python["schema"] == "ergon.crosscheck/1"
        assert c["agree"] is python["agree"] is (not more), (c["agree"], python["agree"])
        assert [d["code"] for d in c["diagnostics"] if d["code"] == "crosscheck"] == \
            [d["code"] for d in python["diagnostics"] if d["code"] == "crosscheck"]
        assert len(c["comparisons"]) == len(python["comparisons"]) == 1
        for a, b in zip(c["comparisons"], python["comparisons"]):
            assert (a["component"], a["device"]) == (b["component"], b["device"])
            for x, y in zip(a["interfaces"], b["interfaces"]):
                for key in ("backend", "version", "channels", "driver", "source", "reference", "method",
                            "provenance", "accuracy"):
                    assert x[key] == y[key], (key, x, y)
                for key in ("joules", "uncertainty_joules"):
                    near(y[key] / python["seconds"], x[key] / c["seconds"], 0.01, key)
                assert all(seconds is None or 0 < seconds < 5 for one in (x, y)
                           for seconds in one["overhead"].values()), (x, y)
            for x, y in zip(a["pairs"], b["pairs"]):
                for key in ("channels", "verdict", "one_sensor"):
                    assert x[key] == y[key], (key, x, y)
                near(y["compared_seconds"], x["compared_seconds"], 0.02, "seconds")
                assert abs(y["difference_percent"] - x["difference_percent"]) < 0.02, (x, y)
                assert 0.3 < y["joint_uncertainty_joules"] / x["joint_uncertainty_joules"] < 3, (x, y)
                assert abs(y["bias"]["watts"] - x["bias"]["watts"]) < 0.05, (x, y)
        print(f"# C {c['comparisons'][0]['pairs'][0]['difference_percent']:.4f} %, Python "
              f"{python['comparisons'][0]['pairs'][0]['difference_percent']:.4f} %")


def test_an_interface_that_is_silent_is_not_compared():
    """Energy that was held or is missing is no disagreement: the pair is incomplete, without a figure."""
    _, doc = twice_by_both(TWICE + "event = 4s vanish\n", c=False)
    pair, = doc["comparisons"][0]["pairs"]
    assert pair["verdict"] == "incomplete" and doc["agree"] is False, pair
    assert pair["difference_joules"] is None and pair["compared_seconds"] == 0 and pair["bias"]["parts"] == 0


POINT = """
import sys
import ergon.backends as b
assert "mine" in b.list() and "broken" in b.list() and b.list().index("mine") < b.list().index("codecarbon")
assert b.select("mine").backend.name == "mine", b.select("mine")
try: b.get("broken")
except b.BackendUnavailable as e: assert "cannot be made" in str(e)
else: raise AssertionError
found = b.select("auto")
assert found.name == "mine" and "ergon" in found.passed_over, found
assert "ergon" == b.get("ergon").name   # a package cannot take a name that is ours
assert not {"zeus", "codecarbon", "pynvml"} & set(sys.modules), "imported before it was asked for"
print("ok")
"""


def test_entry_points():
    """M5: a package brings a backend, and one that is broken stops nothing."""
    with Place() as place:
        info = place.path("site", "brings-1.0.dist-info")
        os.makedirs(info)
        with open(os.path.join(info, "METADATA"), "w") as f:
            f.write("Metadata-Version: 2.1\nName: brings\nVersion: 1.0\n")
        with open(os.path.join(info, "entry_points.txt"), "w") as f:
            f.write("[ergon.backends]\nmine = brings:Mine\nbroken = brings:Nothing\nergon = brings:Mine\n")
        with open(place.path("site", "brings.py"), "w") as f:
            f.write("class Mine:\n    name = 'mine'\n    def is_available(self): return True\n")
        env = environment(ERGON_BACKEND="null")
        env["PYTHONPATH"] = PACKAGE + ":" + place.path("site")
        r = subprocess.run([sys.executable, "-c", POINT], capture_output=True, text=True, timeout=60, env=env)
        assert r.stdout.strip() == "ok", r.stderr


def test_nothing_else_is_imported():
    script = ("import sys; before = set(sys.modules)\n"
              "import ergon.backends, ergon.codecarbon, ergon.llenergymeasure, ergon.zeus\n"
              "new = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
              "assert new == {'ergon'}, new\n"
              "assert callable(ergon.validate)\n")
    r = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
                       env=environment())
    assert r.returncode == 0, r.stderr


def test_any_mix_is_installed_together():
    """M20: ours, Zeus, CodeCarbon and nvidia-ml-py in one process, each by its own name."""
    script = """
import contextlib, io, warnings
warnings.simplefilter("ignore")
with contextlib.redirect_stdout(io.StringIO()):
    import codecarbon, pynvml, zeus.metric, zeus.monitor
    import ergon, ergon.codecarbon, ergon.zeus, ergon.zeus.metric
assert codecarbon.EmissionsTracker is not ergon.codecarbon.EmissionsTracker
assert zeus.monitor.ZeusMonitor is not ergon.zeus.ZeusMonitor
ergon.set_default_source(ergon.NullSource())
for kind in (zeus.monitor.ZeusMonitor, ergon.zeus.ZeusMonitor):
    m = kind([], []); m.begin_window("w"); assert m.end_window("w").time >= 0
with ergon.codecarbon.EmissionsTracker(save_to_file=False, log_level="critical"): pass
print("ok")
"""
    r = subprocess.run([peers(), "-c", script], capture_output=True, text=True, timeout=120,
                       env=environment())
    assert r.stdout.strip() == "ok", r.stderr[-2000:]


if __name__ == "__main__":
    run_tests(dict(globals()))
