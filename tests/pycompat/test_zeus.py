# SPDX-License-Identifier: Apache-2.0
"""ergon.zeus on simulated machines: the contract of its interface, part 2.1. Shared time."""
import math
import os
import sys
import threading
import types
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig_compat import HEAD, Gateway, Place, Shared, near, raises, run_tests, until, zone  # noqa: E402
import ergon  # noqa: E402
from ergon import _parts  # noqa: E402
from ergon.model import Account, AccountKey, Entry, Measurement  # noqa: E402
from ergon.zeus import JetsonMeasurement, ZeusMonitor, frameworks, soc  # noqa: E402
import ergon.zeus.metric as metric  # noqa: E402

TWO = (HEAD + zone("package-0", "120W") + zone("dram", "10W", at="intel-rapl:0:0")
       + zone("package-1", "60W", at="intel-rapl:1"))


def test_windows():
    with Place() as place:
        m = Shared(place, TWO)
        monitor = ZeusMonitor(log_file=place.path("log", "zeus.csv"))
        assert (monitor.gpu_indices, monitor.cpu_indices, monitor.soc_is_present) == ([], [0, 1], False)
        monitor.begin_window("outer")
        monitor.begin_window("inner")
        m.sleep(2)
        inner = monitor.end_window("inner")
        m.sleep(1)
        outer = monitor.end_window("outer")
        for r, seconds in ((inner, 2), (outer, 3)):
            near(r.time, seconds, 0.001, "time")
            near(r.cpu_energy[0], 120 * seconds, 0.002, "cpu 0")
            near(r.cpu_energy[1], 60 * seconds, 0.002, "cpu 1")
            near(r.dram_energy[0], 10 * seconds, 0.002, "dram 0")
            assert set(r.dram_energy) == {0} and r.gpu_energy == {} and r.total_energy == 0
            assert r.soc_energy is None and r.ergon.provenance == "measured"
            assert r.ergon.uncertainty_joules > 0
        with open(place.path("log", "zeus.csv")) as f:  # flushed, still open
            lines = f.read().splitlines()
        assert lines[0] == "start_time,window_name,elapsed_time," and len(lines) == 3, lines
        assert lines[1].split(",")[1:] == ["inner", str(inner.time), ""], lines


def test_errors_restart_cancel_reset():
    with Place() as place:
        m = Shared(place, TWO)
        monitor = ZeusMonitor(cpu_indices=[1], log_file=place.path("zeus.csv"))
        monitor.begin_window("k")
        assert raises(ValueError, monitor.begin_window, "k") == "Measurement window 'k' already exists"
        assert raises(ValueError, monitor.end_window, "x") == "Measurement window 'x' does not exist"
        m.sleep(1)
        monitor.begin_window("k", restart=True)
        m.sleep(1)
        r = monitor.end_window("k")
        near(r.cpu_energy[1], 60, 0.01, "restarted")
        assert set(r.cpu_energy) == {1} and r.dram_energy is None
        monitor.begin_window("k")
        c = monitor.end_window("k", cancel=True)
        assert (c.time, c.gpu_energy, c.cpu_energy, c.dram_energy) == (0.0, {}, {1: 0.0}, None)
        monitor.begin_window("a"), monitor.begin_window("b")
        monitor.reset_windows()
        raises(ValueError, monitor.end_window, "a")
        with open(place.path("zeus.csv")) as f:
            assert len(f.readlines()) == 2, "a cancelled window is in the log"
        assert not m.agent.local("/api/v1/windows").json["windows"], "the agent keeps windows nobody ends"
        raises(RuntimeError, ZeusMonitor, cpu_indices=[7])
        raises(ValueError, ZeusMonitor, gpu_indices=[0])


def test_threads():
    with Place() as place:
        m = Shared(place, TWO)
        monitor, found, won = ZeusMonitor(), {}, []
        barrier = threading.Barrier(8)

        def work(k):
            barrier.wait()
            try:
                monitor.begin_window("same")
                won.append(k)
            except ValueError:
                pass
            monitor.begin_window(f"w{k}")
            barrier.wait()
            barrier.wait()
            found[k] = monitor.end_window(f"w{k}")
        threads = [threading.Thread(target=work, args=(k,)) for k in range(7)]
        for t in threads:
            t.start()
        barrier.wait()
        barrier.wait()
        m.sleep(1)
        barrier.wait()
        for t in threads:
            t.join()
        assert len(won) == 1 and len(found) == 7
        for r in found.values():
            near(r.cpu_energy[0], 120, 0.01, "one of seven")


def test_nothing_to_measure_and_an_agent_that_goes_away():
    ergon.set_default_source(ergon.NullSource())
    monitor = ZeusMonitor()
    monitor.begin_window("w")
    r = monitor.end_window("w")
    assert r.time >= 0 and (r.gpu_energy, r.cpu_energy, r.dram_energy) == ({}, None, None), r
    with Place() as place:
        m = Shared(place, TWO)
        m.source.patience = 0.2
        monitor = ZeusMonitor()
        monitor.begin_window("w")
        m.agent.kill()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            r = monitor.end_window("w")
        assert math.isnan(r.cpu_energy[0]) and math.isnan(r.dram_energy[0]), "an invented figure"
        assert "CPU 0" in str(told[0].message) and r.ergon.partial and r.ergon.joules is None, told


def test_the_framework_is_waited_for():
    """Torch of the test's own; without any, what Zeus says."""
    done = []
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(is_available=lambda: True, synchronize=done.append)
    sys.modules["torch"] = torch
    try:
        frameworks.sync_execution([0, 2])
        assert done == [0, 2]
        torch.cuda.is_available = lambda: False
        assert "CUDA" in raises(RuntimeError, frameworks.sync_execution, [0])
        # Where it fails at the end, nothing is left open.
        ergon.set_default_source(ergon.NullSource())
        monitor = ZeusMonitor()
        monitor.begin_window("w")
        window = monitor.measurement_states["w"].window
        monitor.gpu_indices = [0]
        raises(RuntimeError, monitor.end_window, "w")
        assert not window.open and not monitor.measurement_states
    finally:
        del sys.modules["torch"]
    raises(RuntimeError, frameworks.sync_execution, [0], "no such framework")


def account(device, component, source="nvml", channel=None, provenance="measured", **more):
    return Account(AccountKey(device, component, provenance), source, "component", channel, "total", True,
                   **more)


def test_parts():
    """What index a device has."""
    gpus = [account(f"gpu-GPU-{u}", "gpu", channel=f"nvml/gpu-{k}") for k, u in ((1, "bb-1"), (0, "aa-1"))]
    cpus = [account(f"cpu-{k}", "package", "rapl", f"rapl/package-{k}") for k in (10, 2, 0)]
    intel = [account("pci-1", "gpu", "intel_gpu"), account("pci-1-package", "gpu", "intel_gpu")]
    estimate = account("cpu-11", "package", "cpu_model", provenance="estimated")
    parts = _parts.find(gpus + cpus + intel + [estimate], {})
    assert parts.cpus == ("cpu-0", "cpu-2", "cpu-10") and parts.drams == (None,) * 3
    assert [g.uuid for g in parts.gpus] == ["GPU-aa-1", "GPU-bb-1"], "NVIDIA's alone"
    assert [g.device for g in _parts.all_gpus(intel)] == ["pci-1"], "a part beside its whole"
    amd = [account(f"pci-{k}", "gpu", "amdgpu", f"amdgpu/gpu-{k}") for k in range(3)]
    for environ, numbers in (({"HIP_VISIBLE_DEVICES": "2,0", "CUDA_VISIBLE_DEVICES": "1"}, [2, 0]),
                             ({"CUDA_VISIBLE_DEVICES": "1"}, [1]), ({}, [0, 1, 2])):
        assert [g.number for g in _parts.find(amd, environ).gpus] == numbers, environ


def entry(device, component, microjoules, **more):
    values = dict(provenance="measured", role="total", counted=True, channel="c")
    values.update(more)
    return Entry(device=device, component=component, microjoules=microjoules, **values)


def test_figures_of_a_part():
    """Held readings are in it, a model's estimate and a second interface are not."""
    m = Measurement("w", "agent", entries=(
        entry("cpu-0", "package", 7, role="crosscheck", counted=False),
        entry("cpu-0", "package", 100, provenance="estimated", estimated_microjoules=40),
        entry("cpu-1", "package", 60), entry("cpu-1", "package", 5, provenance="estimated", channel=None,
                                             estimated_microjoules=5),
        entry("cpu-2", "package", 50, provenance="estimated"), entry("cpu-3", "package", None)))
    assert [_parts.figure(m, f"cpu-{k}", "package") and _parts.figure(m, f"cpu-{k}", "package").microjoules
            for k in range(4)] == [100, 65, None, None]
    assert _parts.sum_figures([_parts.figure(m, "cpu-0", "package"), None]) is None, "half a sum"


def test_chips():
    m = Measurement("w", "library", entries=(
        entry("node", "soc", 3_000_000, source="hwmon"),
        entry("node-rail-ina-VDD_CPU", "rail", 1_000_000, source="hwmon", role="part"),
        entry("node-rail-ina-VDD_CPU_GPU_CV", "rail", 2_000_000, source="hwmon", role="part")))
    jetson = soc.of_measurement(m)
    assert jetson == JetsonMeasurement(1000.0, None, 3000.0), jetson
    assert jetson - JetsonMeasurement(400.0, None, 1000.0) == JetsonMeasurement(600.0, None, 2000.0)
    apple = soc.of_measurement(Measurement("w", "library", entries=(
        entry("node", "package", 5_000_000, source="powermetrics"),
        entry("node", "ane", 1_000_000, source="powermetrics"))))
    assert (apple.cpu_total_mj, apple.ane_mj, apple.gpu_mj) == (5000, 1000, None)
    apple.zero_all_fields()
    assert (apple.cpu_total_mj, apple.gpu_mj) == (0, None)


def test_histogram_and_counter():
    with Place() as place:
        m, gateway = Shared(place, TWO), Gateway(place)
        h = metric.EnergyHistogram([0, 1], [], gateway.url, "job")
        h.begin_window("train")
        m.sleep(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            h.end_window("train")
        found = gateway.samples()
        assert gateway.got[-1][1] == "/metrics/job/job"
        assert found['energy_monitor_cpu_energy_joules_bucket{index="0",le="500.0",window="train"}'] == 1
        assert found['energy_monitor_cpu_energy_joules_bucket{index="0",le="100.0",window="train"}'] == 0
        near(found['energy_monitor_cpu_energy_joules_sum{index="1",window="train"}'], 120, 0.01, "sum")
        near(found['energy_monitor_dram_energy_joules_sum{index="0",window="train"}'], 20, 0.01, "dram")
        raises(ValueError, metric.EnergyHistogram, [0], [], gateway.url, "job", cpu_bucket_range=[])

        c = metric.EnergyCumulativeCounter([0], [], 0.05, gateway.url, "count")
        c.begin_window("all")
        raises(ValueError, c.begin_window, "all")
        for _ in range(3):
            m.sleep(1)
            n = len(gateway.got)
            until("a push", lambda: len(gateway.got) > n + 1, 30)
        m.sleep(0.5)
        c.end_window("all")
        near(gateway.samples()['energy_monitor_cpu_energy_joules_total{index="0",window="all"}'], 420, 0.01,
             "a counter that leaves the ends out")
        assert "No active monitoring process" in raises(ValueError, c.end_window, "all")
        raises(IndexError, metric.PowerGauge([0], 1, gateway.url, "power").begin_window, "w")


if __name__ == "__main__":
    run_tests(dict(globals()))
