# SPDX-License-Identifier: Apache-2.0
"""PowerMonitor: power of GPUs over time. Energy between two times is the difference of running totals that
the sensors counted, so that constant power, fast changes and the edges are right."""
from __future__ import annotations

import bisect
import threading
import time as _time
from collections import deque
from enum import Enum
from typing import Deque, Dict, List, NamedTuple, Optional, Union

from .. import _parts
from ..errors import ErgonError
from ..measure import default_source
from .errors import ZeusGPUNotFoundError

UPDATE_SECONDS = 0.1
KEPT_MAX = 1 << 20  #: samples of a GPU, where no other ceiling is given
START_SECONDS = 10.0  #: for the first sample


class PowerDomain(Enum):
    DEVICE_INSTANT = "device_instant"
    DEVICE_AVERAGE = "device_average"
    MEMORY_AVERAGE = "memory_average"


class PowerSample(NamedTuple):
    timestamp: float  #: Unix time
    watts: Optional[float]
    joules: Optional[float]  #: running total


class PowerMonitor:
    """Samples GPUs until stop(). gpu_indices: as in ZeusMonitor. update_period: seconds between samples.
    max_samples_per_gpu: the newest so many are kept. power_domains: device_instant is what there is."""

    def __init__(self, gpu_indices: Optional[List[int]] = None, update_period: Optional[float] = None,
                 max_samples_per_gpu: Optional[int] = None,
                 power_domains: Optional[List[Union[PowerDomain, str]]] = None) -> None:
        if gpu_indices is not None and not gpu_indices:
            raise ValueError("`gpu_indices` must be either `None` or non-empty")
        if power_domains is not None and not power_domains:
            raise ValueError("`power_domains` must be either `None` or non-empty")
        self.measurement_domains = [PowerDomain.DEVICE_INSTANT]
        for domain in power_domains or ():
            if PowerDomain(domain) not in self.measurement_domains:
                raise ValueError(f"Power domain {PowerDomain(domain).value} is not supported: "
                                 "device_instant is")
        self.source = default_source()
        gpus = _parts.of_source(self.source).gpus
        self.gpu_indices = list(gpu_indices) if gpu_indices is not None else list(range(len(gpus)))
        if not self.gpu_indices:
            raise ValueError("At least one GPU index must be specified")
        for i in self.gpu_indices:
            if not 0 <= i < len(gpus):
                raise ZeusGPUNotFoundError(f"GPU {i} is not there: {len(gpus)} can be measured")
        self._devices = {i: gpus[i].device for i in self.gpu_indices}
        self.update_period = UPDATE_SECONDS if update_period is None else float(update_period)
        if not self.update_period > 0:
            raise ValueError("the update period is longer than 0 s")
        kept = KEPT_MAX if max_samples_per_gpu is None else max_samples_per_gpu
        self._samples: Dict[int, Deque[PowerSample]] = {i: deque(maxlen=kept) for i in self.gpu_indices}
        self._lock = threading.Lock()
        self._stop, self._first = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="ergon-power-monitor")
        self._thread.start()
        self._first.wait(START_SECONDS)

    def stop(self) -> None:
        """Ends sampling; what was sampled can still be asked."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _sample(self) -> None:
        now = self.source.totals()
        by_device = {key.device: r for key, r in now.readings.items()
                     if key.component == "gpu" and not r.account.held and key.provenance in _parts.GIVEN}
        with self._lock:
            for i, device in self._devices.items():
                reading, samples = by_device.get(device), self._samples[i]
                if reading is not None and (not samples or now.unix_seconds > samples[-1].timestamp):
                    samples.append(PowerSample(now.unix_seconds, reading.watts, reading.joules))

    def _run(self) -> None:
        due = _time.monotonic()
        while True:
            try:
                self._sample()
            except ErgonError:
                pass  # nothing is known of this moment
            self._first.set()
            due = max(due + self.update_period, _time.monotonic())
            if self._stop.wait(due - _time.monotonic()):
                try:
                    self._sample()
                except ErgonError:
                    pass
                return

    def _kept(self, gpu: int) -> List[PowerSample]:
        with self._lock:
            return list(self._samples[gpu])

    # ---- questions ----

    def get_energy(self, start_time: float, end_time: float) -> Optional[Dict[int, float]]:
        """Joules between two Unix times, by index; None where no sample is of that time."""
        found = {}
        for i in self.gpu_indices:
            counted = [s for s in self._kept(i) if s.joules is not None]
            if len(counted) < 2 or end_time <= counted[0].timestamp or start_time >= counted[-1].timestamp:
                return None
            found[i] = _total_at(counted, end_time) - _total_at(counted, start_time)
        return found

    def get_power(self, time: Optional[float] = None) -> Optional[Dict[int, float]]:
        """Watts at a Unix time, of the nearest sample; None for the latest."""
        found = {}
        for i in self.gpu_indices:
            known = [s for s in self._kept(i) if s.watts is not None]
            if not known:
                return None
            at = known[-1].timestamp if time is None else time
            nearest = min(known, key=lambda s: abs(s.timestamp - at))
            found[i] = nearest.watts or 0.0
        return found

    def get_power_timeline(self, power_domain: Union[PowerDomain, str], gpu_index: Optional[int] = None,
                           start_time: Optional[float] = None, end_time: Optional[float] = None
                           ) -> "Dict[int, list[tuple[float, float]]]":
        """(Unix time, watts) by index."""
        domain = PowerDomain(power_domain)
        if domain not in self.measurement_domains:
            raise ValueError(f"Power domain {domain.value} is not being monitored. "
                             f"Monitored domains: {[d.value for d in self.measurement_domains]}")
        chosen = self.gpu_indices if gpu_index is None else [i for i in self.gpu_indices if i == gpu_index]
        return {i: [(s.timestamp, s.watts) for s in self._kept(i) if s.watts is not None
                    and (start_time is None or s.timestamp >= start_time)
                    and (end_time is None or s.timestamp <= end_time)] for i in chosen}

    def get_all_power_timelines(self, gpu_index: Optional[int] = None, start_time: Optional[float] = None,
                                end_time: Optional[float] = None
                                ) -> "Dict[str, Dict[int, list[tuple[float, float]]]]":
        return {domain.value: self.get_power_timeline(domain, gpu_index, start_time, end_time)
                for domain in self.measurement_domains}


def _total_at(samples: List[PowerSample], time: float) -> float:
    """The running total at a time between two samples; at the ends, that of the first or last."""
    at = bisect.bisect_left([s.timestamp for s in samples], time)
    if at == 0:
        return samples[0].joules or 0.0
    if at == len(samples):
        return samples[-1].joules or 0.0
    a, b = samples[at - 1], samples[at]
    share = (time - a.timestamp) / (b.timestamp - a.timestamp)
    return (a.joules or 0.0) + share * ((b.joules or 0.0) - (a.joules or 0.0))
