# SPDX-License-Identifier: Apache-2.0
"""ZeusMonitor. A window is one of the process's source (ergon.default_source()): the agent, its energy page,
or libergon in this process."""
from __future__ import annotations

import math
import os
import threading
import time as _time
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Dict, List, Optional, TextIO, Tuple, Union

from .. import _parts
from .._fork import in_child
from .._parts import Figure
from ..errors import ErgonError, Unavailable
from ..measure import begin, default_source
from ..model import Measurement as Whole
from ..source import NullSource, Source, Window
from .errors import ZeusCPUNoPermissionError, ZeusGPUNotFoundError
from .frameworks import sync_execution as sync_execution_fn
from .soc import SoCMeasurement, kind, of_measurement

Framework = str

ZERO = ("The energy consumption of one or more GPUs was measured as zero. The window was shorter than the "
        "time in which the GPU's counter moves. With `approx_instant_energy` it gets power x time.")


@dataclass
class Measurement:
    """What a window used: seconds, and joules by index. NaN: it could not be measured."""

    time: float
    gpu_energy: Dict[int, float]
    cpu_energy: Optional[Dict[int, float]] = None
    dram_energy: Optional[Dict[int, float]] = None

    soc_energy: Optional[SoCMeasurement] = None

    #: The same with uncertainty, provenance, method and flags; None of a cancelled window.
    ergon: ClassVar[Optional[Whole]] = None

    @cached_property
    def total_energy(self) -> float:
        """Joules of the GPUs alone, as with Zeus. `ergon.joules` is that of the machine."""
        return sum(self.gpu_energy.values())


@dataclass
class _State:
    """An open window."""

    time: float
    window: Window


class ZeusMonitor:
    """Time and energy between begin_window(name) and end_window(name); windows nest and overlap by name.

    gpu_indices: as a framework counts them after CUDA_VISIBLE_DEVICES (indices, UUIDs and MIG devices; a
    MIG device stands for its whole GPU); None for all. cpu_indices: packages; None for all that can be
    read. approx_instant_energy: windows shorter than the period of a GPU's counter get power x time.
    log_file: CSV, a row a window, flushed. sync_execution_with: "torch", "jax" or "cupy".

    Raises RuntimeError where CPU packages are named that cannot be read, ValueError where there is no GPU,
    and IndexError where there are fewer than named.
    """

    def __init__(self, gpu_indices: Optional[List[int]] = None, cpu_indices: Optional[List[int]] = None,
                 approx_instant_energy: bool = False, log_file: Union[str, Path, None] = None,
                 sync_execution_with: Framework = "torch") -> None:
        self.approx_instant_energy = approx_instant_energy
        self.sync_with = sync_execution_with
        self.source, why = _source()
        accounts = []
        try:
            accounts = self.source.accounts()
        except ErgonError as error:
            why = error
        self._parts = _parts.find(accounts)
        self.soc_is_present = any(kind(a.source, a.component) for a in accounts)
        gpus, cpus = len(self._parts.gpus), len(self._parts.cpus)
        self.gpu_indices = list(gpu_indices) if gpu_indices is not None else list(range(gpus))
        self.cpu_indices = list(cpu_indices) if cpu_indices is not None else list(range(cpus))
        self._check(gpus, cpus, why)
        self.log_file = self._open_log(log_file)
        self.measurement_states: Dict[str, _State] = {}
        self._begin_anew()
        in_child(self._begin_anew)
        if approx_instant_energy:
            self._watts()  # power is a mean since an earlier read

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()

    def _check(self, gpus: int, cpus: int, why: Optional[ErgonError]) -> None:
        because = f": {why}" if why else ""
        for i in self.gpu_indices:
            if not gpus:
                raise ValueError("No GPUs available." + because)
            if not 0 <= i < gpus:
                raise ZeusGPUNotFoundError(f"GPU {i} is not there: {gpus} can be measured")
        for i in self.cpu_indices:
            if not 0 <= i < cpus:
                raise ZeusCPUNoPermissionError(
                    f"CPU package {i} cannot be read, {cpus} can be{because}",
                    "start `ergon agent`, or leave CPUs out with cpu_indices=[]")

    def _open_log(self, log_file: Union[str, Path, None]) -> Optional[TextIO]:
        if log_file is None:
            return None
        folder = os.path.dirname(log_file)
        if folder:
            os.makedirs(folder, exist_ok=True)
        file = open(log_file, "w", encoding="utf-8")
        columns = ",".join(f"gpu{i}_energy" for i in self.gpu_indices)
        file.write(f"start_time,window_name,elapsed_time,{columns}\n")
        file.flush()
        return file

    @property
    def has_dram(self) -> bool:
        return any(self._parts.drams[i] for i in self.cpu_indices)

    # ---- windows ----

    def begin_window(self, key: str, sync_execution: bool = True, restart: bool = False) -> None:
        """Begins a window. sync_execution: wait for the framework first (where GPUs are measured).
        restart: a window of this name that is open is forgotten; else ValueError."""
        with self._lock:
            old = self.measurement_states.get(key)
            if old is not None and not restart:
                raise ValueError(f"Measurement window '{key}' already exists")
            self.measurement_states.pop(key, None)
        if old is not None:
            old.window.cancel()
        self._sync(sync_execution)
        state = _State(_time.time(), begin(self.source, str(key), sync=False))
        with self._lock:
            if key in self.measurement_states:  # by another thread, meanwhile
                state.window.cancel()
                raise ValueError(f"Measurement window '{key}' already exists")
            self.measurement_states[key] = state

    def end_window(self, key: str, sync_execution: bool = True, cancel: bool = False) -> Measurement:
        """Ends a window. cancel: it is forgotten, and the result is 0 throughout."""
        with self._lock:
            state = self.measurement_states.pop(key, None)
        if state is None:
            raise ValueError(f"Measurement window '{key}' does not exist")
        watts = self._watts() if self.approx_instant_energy and not cancel else {}
        try:
            self._sync(sync_execution)
        except BaseException:
            state.window.cancel()
            raise
        if cancel:
            return self._cancelled(state)
        whole = state.window.end()
        result = self.figures(whole, watts)
        if not self.approx_instant_energy and any(joules == 0.0 for joules in result.gpu_energy.values()):
            warnings.warn(ZERO, stacklevel=2)
        if self.log_file is not None:
            joules = ",".join(str(result.gpu_energy[i]) for i in self.gpu_indices)
            with self._lock:
                self.log_file.write(f"{state.time},{key},{result.time},{joules}\n")
                self.log_file.flush()
        return result

    def reset_windows(self) -> None:
        """Forgets all open windows."""
        with self._lock:
            states = list(self.measurement_states.values())
            self.measurement_states.clear()
        for state in states:
            state.window.cancel()

    def _sync(self, wanted: bool) -> None:
        if wanted and self.gpu_indices:
            sync_execution_fn(self.gpu_indices, sync_with=self.sync_with)

    def _cancelled(self, state: _State) -> Measurement:
        soc = None
        if self.soc_is_present:
            soc = of_measurement(state.window.peek())
            if soc is not None:
                soc.zero_all_fields()
        state.window.cancel()
        return Measurement(time=0.0, gpu_energy={i: 0.0 for i in self.gpu_indices},
                           cpu_energy={i: 0.0 for i in self.cpu_indices}, soc_energy=soc)

    # ---- figures ----

    def _watts(self) -> Dict[int, Optional[float]]:
        """Power of the GPUs now."""
        try:
            readings = self.source.totals().readings
        except ErgonError:
            return {}
        by_device = {key.device: r.watts for key, r in readings.items()
                     if key.component == "gpu" and not r.account.held}
        return {i: by_device.get(self._parts.gpus[i].device) for i in self.gpu_indices}

    def figures(self, whole: Whole, watts: Optional[Dict[int, Optional[float]]] = None) -> Measurement:
        """A Measurement in Zeus's form of one in ours."""
        seconds = whole.elapsed_seconds if whole.seconds is None else whole.seconds
        missing: List[str] = []

        def joules(device: Optional[str], component: str, label: str) -> float:
            one = _parts.figure(whole, device, component) if device else None
            if one is None or one.partial:
                missing.append(label)
            return math.nan if one is None else one.joules

        gpu: Dict[int, float] = {}
        for i in self.gpu_indices:
            device = self._parts.gpus[i].device
            gpu[i] = self._approximated(_parts.figure(whole, device, "gpu"), (watts or {}).get(i), seconds)
            if math.isnan(gpu[i]):
                missing.append(f"GPU {i}")
        cpu = {i: joules(self._parts.cpus[i], "package", f"CPU {i}") for i in self.cpu_indices}
        dram = {i: joules(self._parts.drams[i], "dram", f"DRAM {i}") for i in self.cpu_indices
                if self._parts.drams[i]}
        if missing:
            warnings.warn(f"ergon: the energy of {', '.join(missing)} is not whole"
                          + (f": {whole.reason}" if whole.reason else ""), RuntimeWarning, stacklevel=3)
        result = Measurement(time=seconds, gpu_energy=gpu, cpu_energy=cpu or None, dram_energy=dram or None,
                             soc_energy=of_measurement(whole) if self.soc_is_present else None)
        result.ergon = whole  # type: ignore[misc] # beside the fields, which are those of Zeus
        return result

    @staticmethod
    def _approximated(one: Optional[Figure], watts: Optional[float], seconds: float) -> float:
        """Zeus takes power x time for windows that saw no step of the counter. Those that saw one carry the
        energy of a whole period then, so that the mean comes out too high: all that are shorter get it."""
        if one is None:
            return math.nan
        if watts is not None and (one.microjoules == 0 or "below_counter_period" in one.flags):
            return watts * seconds
        return one.joules


def _source() -> Tuple[Source, Optional[ErgonError]]:
    try:
        return default_source(), None
    except Unavailable as error:
        return NullSource(), error
