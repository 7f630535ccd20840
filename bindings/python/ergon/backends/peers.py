# SPDX-License-Identifier: Apache-2.0
"""Other meters that are installed, as backends: Zeus, CodeCarbon, and NVML by the package nvidia-ml-py. None
is imported before it is asked for."""
from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import logging
import os
import sys
import threading
import time
import warnings
from typing import Any, Dict, List, Optional, Tuple

from .. import _parts
from .model import COUNTER, ESTIMATION, POLLING, Capability, Info, Metrics, Value, power, sum_known

KWH_JOULES = 3.6e6
COUNTER_PERCENT, POLLED_PERCENT = 5.0, 15.0
CODECARBON_PERCENT, ESTIMATE_PERCENT = 15.0, 30.0
NVML_WATTS = 5.0  #: what NVIDIA states, +-
POLL_SECONDS = 0.1


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)  # of old versions


def _version(package: str) -> Optional[str]:
    from importlib import metadata
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


class _Peer:
    """What the adapters share: an installed package that may turn out to measure nothing here."""

    name = ""
    package = ""
    module = ""

    def __init__(self) -> None:
        self._why: Optional[str] = None
        self._ready = False

    def _prepare(self) -> Optional[str]:
        """Does what takes long; gives what is missing."""
        raise NotImplementedError

    def is_available(self) -> bool:
        if self._ready:
            return True
        if importlib.util.find_spec(self.module) is None:
            self._why = f"{self.package} is not installed: pip install 'ergon[{self.name.split('-')[0]}]'"
            return False
        try:
            with contextlib.redirect_stdout(sys.stderr):  # what they print at import is no output of ours
                self._why = self._prepare()
        except Exception as error:  # whatever a peer raises: it is not available
            self._why = f"{self.package} does not start here: {type(error).__name__}: {error}"
        self._ready = self._why is None
        return self._ready

    def why_not(self) -> Optional[str]:
        return self._why

    def prepare(self) -> None:
        if not self.is_available():
            raise RuntimeError(self._why)


class ZeusBackend(_Peer):
    """Zeus: GPUs by NVML, CPU and DRAM by RAPL. Its readers start processes that import the program's main
    module again, so a script needs `if __name__ == "__main__":`."""

    name = "zeus"
    package = module = "zeus"

    def __init__(self, gpu_indices: Optional[List[int]] = None, *, approx_instant_energy: bool = True,
                 sync_execution: bool = True) -> None:
        super().__init__()
        self._gpu_indices = gpu_indices
        self._approx = approx_instant_energy
        self._sync = sync_execution
        self._monitor: Any = None
        self._keys = itertools.count()

    def _prepare(self) -> Optional[str]:
        zeus: Any = importlib.import_module("zeus.monitor")
        monitor = zeus.ZeusMonitor(gpu_indices=self._gpu_indices, approx_instant_energy=self._approx)
        if not (monitor.gpu_indices or monitor.cpu_indices or monitor.soc_is_present):
            return "Zeus sees nothing here that it can measure"
        if not monitor.gpu_indices:
            monitor.approx_instant_energy = False
        # Its wrap watchers start with the first read and take a second each.
        monitor.begin_window("prepare", sync_execution=False)
        monitor.end_window("prepare", sync_execution=False, cancel=True)
        self._monitor = monitor
        return None

    def _sync_now(self) -> bool:
        """It fails without a framework; where none is there, nothing is queued."""
        return self._sync and importlib.util.find_spec(self._monitor.sync_with) is not None

    def start_tracking(self) -> Any:
        self.prepare()
        key = f"ergon-{os.getpid()}-{next(self._keys)}"
        self._monitor.begin_window(key, sync_execution=self._sync_now())
        return key

    def stop_tracking(self, handle: Any) -> Metrics:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a zero, which the figures show
            m = self._monitor.end_window(handle, sync_execution=self._sync_now())
        values = [Value(component, int(i), float(joules), COUNTER)
                  for component, found in (("gpu", m.gpu_energy), ("cpu", m.cpu_energy), ("dram",
                                                                                          m.dram_energy))
                  for i, joules in (found or {}).items()]
        sums = {c: sum_known({v.device or 0: v.joules for v in values if v.component == c})
                for c in ("gpu", "cpu", "dram")}
        known = [joules for joules in sums.values() if joules is not None]
        return Metrics(
            total_energy_j=sum(known) if known else None, gpu_energy_j=sums["gpu"], cpu_energy_j=sums["cpu"],
            ram_energy_j=sums["dram"], dram_energy_j=sums["dram"], duration_sec=m.time,
            gpu_power_w=power(sums["gpu"], m.time), cpu_power_w=power(sums["cpu"], m.time),
            gpu_energy_per_device_j=dict(m.gpu_energy) or None, energy_backend_name=self.name,
            energy_measurement_method=COUNTER, provenance="measured", values=tuple(values))

    def get_info(self) -> Info:
        found = {Capability.FRAMEWORK_SYNC, Capability.GPU_ENERGY, Capability.GPU_ENERGY_PER_DEVICE,
                 Capability.GPU_POWER, Capability.CPU_ENERGY, Capability.DRAM_ENERGY, Capability.SOC_ENERGY}
        return Info(self.name, _version("zeus"), frozenset(found), ("nvml", "amd_smi", "rapl"), COUNTER,
                    COUNTER_PERCENT)


class CodeCarbonBackend(_Peer):
    """CodeCarbon. Its memory is a model and its CPU one too where RAPL cannot be read; what is a model is
    told as an estimation, and never as energy of DRAM. It is asked for energy alone: nothing goes to a
    network."""

    name = "codecarbon"
    package = module = "codecarbon"

    def __init__(self, *, measure_power_secs: float = 1.0, tracking_mode: str = "machine") -> None:
        super().__init__()
        self._seconds = measure_power_secs
        self._mode = tracking_mode
        self._next: Any = None

    def _tracker(self) -> Any:
        codecarbon: Any = importlib.import_module("codecarbon")
        logging.getLogger("codecarbon").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its names for arguments change
            tracker = codecarbon.OfflineEmissionsTracker(
                measure_power_secs=self._seconds, save_to_file=False, tracking_mode=self._mode,
                log_level="error", allow_multiple_runs=True, force_carbon_intensity_g_co2e_kwh=0.0)
        tracker.get_detected_hardware()  # a second, once
        return tracker

    def _prepare(self) -> Optional[str]:
        self._next = self._tracker()
        return None

    def start_tracking(self) -> Any:
        self.prepare()
        tracker, self._next = self._next or self._tracker(), None
        tracker.start()
        return tracker

    def _estimates(self, tracker: Any) -> bool:
        modes = [getattr(h, "_mode", None) for h in getattr(tracker, "_hardware", ())]
        return not any(mode in ("intel_rapl", "intel_power_gadget") for mode in modes)

    def stop_tracking(self, handle: Any) -> Metrics:
        handle.stop()
        data = getattr(handle, "final_emissions_data", None)
        if data is None:
            return Metrics(energy_backend_name=self.name, reason="CodeCarbon gave no result")
        estimated = self._estimates(handle)
        cpu, gpu = data.cpu_energy * KWH_JOULES, data.gpu_energy * KWH_JOULES
        values = [Value("cpu", None, cpu, ESTIMATION if estimated else POLLING)]
        if data.gpu_count:
            values.append(Value("gpu", None, gpu, COUNTER))
        return Metrics(
            total_energy_j=data.energy_consumed * KWH_JOULES, gpu_energy_j=gpu if data.gpu_count else None,
            cpu_energy_j=cpu, ram_energy_j=None, duration_sec=data.duration, cpu_power_w=data.cpu_power,
            gpu_power_w=data.gpu_power if data.gpu_count else None, energy_backend_name=self.name,
            energy_measurement_method=ESTIMATION if estimated else POLLING, provenance="estimated",
            values=tuple(values))

    def get_info(self) -> Info:
        return Info(self.name, _version("codecarbon"),
                    frozenset({Capability.CPU_ENERGY, Capability.GPU_ENERGY, Capability.CPU_POWER,
                               Capability.GPU_POWER, Capability.CARBON_EMISSIONS}),
                    ("rapl", "nvml", "amd_smi", "cpu_model"), POLLING, CODECARBON_PERCENT)


class NvmlBackend(_Peer):
    """NVIDIA GPUs by nvidia-ml-py, in a session of its own: the energy counter, or where there is none, or
    polled=True, their power, polled and added up (trapezoid)."""

    package, module = "nvidia-ml-py", "pynvml"

    def __init__(self, gpu_indices: Optional[List[int]] = None, *, polled: bool = False,
                 interval: float = POLL_SECONDS) -> None:
        super().__init__()
        self.name = "nvml-power" if polled else "nvml"
        self._gpu_indices = gpu_indices
        self._polled = polled
        self._interval = interval
        self._handles: Dict[int, Any] = {}

    def _prepare(self) -> Optional[str]:
        pynvml: Any = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        gpus = [_parts.Gpu(f"gpu-{_text(pynvml.nvmlDeviceGetUUID(h))}", i, "nvml")
                for i, h in enumerate(handles)]
        seen = _parts.visible(gpus, os.environ)  # an index means what it means to a framework, and to Ergon
        for i in self._gpu_indices or ():
            if not 0 <= i < len(seen):
                return f"GPU {i} is not there: NVML shows {len(seen)} to this program"
        chosen = range(len(seen)) if self._gpu_indices is None else self._gpu_indices
        self._handles = {i: handles[seen[i].number] for i in chosen}
        if not self._handles:
            return "NVML knows no GPU here"
        if not self._polled:
            for handle in self._handles.values():
                pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        return None

    def start_tracking(self) -> Any:
        self.prepare()
        return _NvmlRun(self._handles, self._polled, self._interval)

    def stop_tracking(self, handle: Any) -> Metrics:
        per_gpu, seconds, samples = handle.stop()
        method = POLLING if self._polled else COUNTER
        percent = POLLED_PERCENT if self._polled else COUNTER_PERCENT
        values = tuple(Value("gpu", i, joules, method, max(percent / 100 * joules, NVML_WATTS * seconds))
                       for i, joules in per_gpu.items())
        lost = [i for i in self._handles if i not in per_gpu]  # without them there is no sum
        total = None if lost else sum_known(per_gpu)
        return Metrics(total_energy_j=total, gpu_energy_j=total, gpu_power_w=power(total, seconds),
                       duration_sec=seconds, gpu_energy_per_device_j=per_gpu or None,
                       energy_backend_name=self.name, energy_measurement_method=method,
                       provenance="measured", samples=samples, values=values,
                       reason="no energy is known of GPU " + ", ".join(map(str, lost)) if lost else None)

    def get_info(self) -> Info:
        return Info(self.name, _version("nvidia-ml-py"),
                    frozenset({Capability.GPU_ENERGY, Capability.GPU_ENERGY_PER_DEVICE,
                               Capability.GPU_POWER}),
                    ("nvml",), POLLING if self._polled else COUNTER,
                    POLLED_PERCENT if self._polled else COUNTER_PERCENT)


class _NvmlRun:
    def __init__(self, handles: Dict[int, Any], polled: bool, interval: float) -> None:
        self._nvml: Any = importlib.import_module("pynvml")
        self._handles = handles
        self._polled = polled
        self._interval = interval
        self._samples: Dict[int, List[Tuple[float, float]]] = {i: [] for i in handles}
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        if polled:
            self._poll()
            self._thread = threading.Thread(target=self._run, daemon=True, name="ergon-nvml-power")
            self._thread.start()
        else:
            self._first = self._totals()

    def _totals(self) -> Dict[int, int]:
        found = {}
        for i, handle in self._handles.items():
            with contextlib.suppress(self._nvml.NVMLError):  # one that is lost has no figure
                found[i] = self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        return found

    def _poll(self) -> None:
        for i, handle in self._handles.items():
            try:
                watts = self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000
            except self._nvml.NVMLError:
                continue
            self._samples[i].append((time.monotonic(), watts))

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._poll()

    def stop(self) -> Tuple[Dict[int, float], float, List[Any]]:
        if self._thread is None:
            last = self._totals()
            per_gpu = {i: (last[i] - self._first[i]) / 1000 for i in self._handles
                       if i in self._first and i in last and last[i] >= self._first[i]}
            return per_gpu, time.monotonic() - self._began, []
        self._stop.set()
        self._thread.join()
        self._poll()
        per_gpu = {i: sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(s, s[1:]))
                   for i, s in self._samples.items() if len(s) > 1}
        seconds = time.monotonic() - self._began
        return per_gpu, seconds, [(i, *s) for i, found in self._samples.items() for s in found]
