# SPDX-License-Identifier: Apache-2.0
"""Energy and power of windows for a Prometheus push gateway, by Zeus's names, labels and buckets. Needs
prometheus_client (`pip install ergon[prometheus]`). Windows are measured by a thread, not by a process."""
from __future__ import annotations

import abc
import math
import threading
import warnings
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..errors import ErgonError
from ..measure import begin
from .frameworks import sync_execution as sync_execution_fn
from .monitor import Measurement, ZeusMonitor
from .power import PowerMonitor

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, push_to_gateway
except ImportError as error:  # pragma: no cover
    raise ImportError("ergon.zeus.metric needs prometheus_client: pip install 'ergon[prometheus]'") from error

LABELS = ["window", "index"]
KINDS = (("gpu", "GPU"), ("cpu", "CPU"), ("dram", "DRAM"))


class Metric(abc.ABC):
    """What can be begun and ended."""

    @abc.abstractmethod
    def begin_window(self, name: str, sync_execution: bool = True) -> None: ...

    @abc.abstractmethod
    def end_window(self, name: str, sync_execution: bool = True) -> None: ...


def _energies(m: Measurement) -> Dict[str, Dict[int, float]]:
    """What was measured: what could not be is left out."""
    found = {"gpu": m.gpu_energy, "cpu": m.cpu_energy or {}, "dram": m.dram_energy or {}}
    return {kind: {i: joules for i, joules in values.items() if not math.isnan(joules)}
            for kind, values in found.items()}


def _has(monitor: ZeusMonitor, kind: str) -> bool:
    if kind == "gpu":
        return bool(monitor.gpu_indices)
    return bool(monitor.cpu_indices) and (kind == "cpu" or monitor.has_dram)


class EnergyHistogram(Metric):
    """The energy of each window in a histogram, pushed at its end."""

    def __init__(self, cpu_indices: List[int], gpu_indices: List[int], pushgateway_url: str, job: str,
                 gpu_bucket_range: Sequence[float] = [50.0, 100.0, 200.0, 500.0, 1000.0],
                 cpu_bucket_range: Sequence[float] = [10.0, 50.0, 100.0, 500.0, 1000.0],
                 dram_bucket_range: Sequence[float] = [5.0, 10.0, 20.0, 50.0, 150.0]) -> None:
        buckets = {"gpu": gpu_bucket_range, "cpu": cpu_bucket_range, "dram": dram_bucket_range}
        for kind, label in KINDS:
            if not buckets[kind]:
                raise ValueError(f"{label} bucket range cannot be empty. Please provide a valid range or "
                                 "omit the argument to use defaults.")
        self.cpu_indices, self.gpu_indices = cpu_indices, gpu_indices
        self.pushgateway_url, self.job = pushgateway_url, job
        self.registry = CollectorRegistry()
        self.energy_monitor = ZeusMonitor(cpu_indices=cpu_indices, gpu_indices=gpu_indices)
        self._buckets = buckets
        self._histograms = {
            kind: Histogram(f"energy_monitor_{kind}_energy_joules", f"{label} energy consumption", LABELS,
                            buckets=buckets[kind], registry=self.registry)
            for kind, label in KINDS if _has(self.energy_monitor, kind)}

    def begin_window(self, name: str, sync_execution: bool = True) -> None:
        self.energy_monitor.begin_window(f"__EnergyHistogram_{name}", sync_execution=sync_execution)

    def end_window(self, name: str, sync_execution: bool = True) -> None:
        m = self.energy_monitor.end_window(f"__EnergyHistogram_{name}", sync_execution=sync_execution)
        labels = dict(KINDS)
        for kind, values in _energies(m).items():
            for i, joules in values.items():
                self._histograms[kind].labels(window=name, index=i).observe(joules)
                self._check(labels[kind], i, joules, self._buckets[kind])
        push_to_gateway(self.pushgateway_url, job=self.job, registry=self.registry)

    @staticmethod
    def _check(label: str, i: int, joules: float, buckets: Sequence[float]) -> None:
        if joules > max(buckets):
            warnings.warn(f"{label} {i} energy {joules} exceeds the maximum bucket value of {max(buckets)}",
                          stacklevel=3)
        if joules < min(buckets):
            warnings.warn(f"{label} {i} energy {joules} exceeds the minimum bucket value of {min(buckets)}",
                          stacklevel=3)


class _Loop:
    """Calls `step` each period in a thread, and once more at the end."""

    def __init__(self, period: float, step: Any, name: str) -> None:
        if not period > 0:
            raise ValueError("an update period is longer than 0 s")
        self._period, self._step = period, step
        self._stop = threading.Event()
        self._warned = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            self._once(False)
        self._once(True)

    def _once(self, last: bool) -> None:
        try:
            self._step(last)
        except (OSError, ErgonError, ValueError) as error:  # a gateway that is away stops nothing
            if not self._warned:
                self._warned = True
                warnings.warn(f"ergon: {self._thread.name} could not report: {error}", RuntimeWarning)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


class EnergyCumulativeCounter(Metric):
    """Energy since the begin of a window, in a counter that is pushed every `update_period` seconds and at
    the end. All of the window's energy is in it: there is no time between two of its parts."""

    def __init__(self, cpu_indices: List[int], gpu_indices: List[int], update_period: int,
                 pushgateway_url: str, job: str) -> None:
        self.cpu_indices, self.gpu_indices = cpu_indices, gpu_indices
        self.update_period = update_period
        self.pushgateway_url, self.job = pushgateway_url, job
        self.window_state: Dict[str, _Loop] = {}

    def begin_window(self, name: str, sync_execution: bool = False) -> None:
        if name in self.window_state:
            raise ValueError(f"EnergyCumulativeCounter metric '{name}' already exists.")
        if sync_execution:
            sync_execution_fn(self.gpu_indices)
        monitor = ZeusMonitor(cpu_indices=self.cpu_indices, gpu_indices=self.gpu_indices)
        registry = CollectorRegistry()
        counters = {kind: Counter(f"energy_monitor_{kind}_energy_joules", f"{label} energy consumption",
                                  LABELS,
                                  registry=registry)
                    for kind, label in KINDS if _has(monitor, kind)}
        window = begin(monitor.source, name, sync=False)
        before: Dict[Tuple[str, int], float] = {}

        def step(last: bool) -> None:
            m = monitor.figures(window.end() if last else window.peek())
            for kind, values in _energies(m).items():
                for i, joules in values.items():
                    gained = joules - before.get((kind, i), 0.0)
                    if gained >= 0:  # a value that steps back is added to when it has come back
                        counters[kind].labels(window=name, index=i).inc(gained)
                        before[kind, i] = joules
            push_to_gateway(self.pushgateway_url, job=self.job, registry=registry)

        self.window_state[name] = _Loop(self.update_period, step, f"energy counter {name}")

    def end_window(self, name: str, sync_execution: bool = False) -> None:
        if name not in self.window_state:
            raise ValueError(f"No active monitoring process found for '{name}'.")
        if sync_execution:
            sync_execution_fn(self.gpu_indices)
        self.window_state.pop(name).end()


class PowerGauge(Metric):
    """Power of GPUs in a gauge that is pushed every `update_period` seconds."""

    def __init__(self, gpu_indices: List[int], update_period: int, pushgateway_url: str, job: str) -> None:
        self.gpu_indices = gpu_indices
        self.update_period = update_period
        self.pushgateway_url, self.job = pushgateway_url, job
        self.window_state: Dict[str, Tuple[_Loop, PowerMonitor]] = {}

    def begin_window(self, name: str, sync_execution: bool = False) -> None:
        if name in self.window_state:
            raise ValueError(f"PowerGauge metric '{name}' already exists.")
        if sync_execution:
            sync_execution_fn(self.gpu_indices)
        monitor = PowerMonitor(gpu_indices=self.gpu_indices, max_samples_per_gpu=16)
        registry = CollectorRegistry()
        gauge = Gauge("power_monitor_gpu_power_watts", "Records power consumption for GPU over time", LABELS,
                      registry=registry)

        def step(_: bool) -> None:
            power: Optional[Dict[int, float]] = monitor.get_power()
            for i, watts in (power or {}).items():
                gauge.labels(window=name, index=i).set(watts)
            push_to_gateway(self.pushgateway_url, job=self.job, registry=registry)

        self.window_state[name] = _Loop(self.update_period, step, f"power gauge {name}"), monitor

    def end_window(self, name: str, sync_execution: bool = False) -> None:
        if sync_execution:
            sync_execution_fn(self.gpu_indices)
        loop, monitor = self.window_state.pop(name)
        loop.end()
        monitor.stop()


__all__: List[str] = ["EnergyCumulativeCounter", "EnergyHistogram", "Metric", "PowerGauge"]
