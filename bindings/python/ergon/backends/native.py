# SPDX-License-Identifier: Apache-2.0
"""Ergon itself as a backend, by the agent, its page or libergon; and the one that measures nothing."""
from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, Optional

from .. import _parts
from .._delta import SensorFacts
from ..errors import ErgonError
from ..measure import begin, default_source
from ..model import Entry, Measurement
from ..source import NullSource, Source, Window, connect
from .model import COUNTER, ESTIMATION, POLLING, Capability, Info, Metrics, Value, power

METHOD = {"counter": COUNTER, "integrated_power": POLLING}
ACCURACY_PERCENT = 5.0  #: RAPL and NVML counters (contracts: accuracy class of a source)
COMPONENT = {"gpu": "gpu", "package": "cpu", "dram": "dram"}


class NullBackend:
    """Measures nothing, always there."""

    name = "null"

    def is_available(self) -> bool:
        return True

    def start_tracking(self) -> Any:
        return NullSource().begin("null")

    def stop_tracking(self, handle: Any) -> Metrics:
        m = handle.end()
        return Metrics(duration_sec=m.elapsed_seconds, energy_backend_name=self.name,
                       reason="measurement is switched off")

    def get_info(self) -> Info:
        return Info(self.name)


class ErgonBackend:
    """Ergon. gpu_indices: GPUs as a framework counts them; None for all that it sees. source: None for that
    of the process (kind "auto"), or of one kind: "agent", "page", "library"."""

    def __init__(self, gpu_indices: Optional[List[int]] = None, *, source: Optional[Source] = None,
                 kind: str = "auto", name: str = "ergon", sync_execution: bool = True) -> None:
        self._gpu_indices = gpu_indices
        self._given = source
        self._kind = kind
        self._name = name
        self._sync = sync_execution
        self._opened: Optional[Source] = None
        self._parts: Optional[_parts.Parts] = None
        self._facts: Mapping[str, SensorFacts] = {}
        self._why: Optional[str] = None

    @property
    def name(self) -> str:
        return self._name

    def source(self) -> Source:
        """Where it reads. Raises Unavailable."""
        if self._given is not None:
            return self._given
        if self._kind == "auto":
            return default_source()
        if self._opened is None:
            self._opened = connect(backend=self._kind)
        return self._opened

    def is_available(self) -> bool:
        try:
            accounts = self.source().accounts()
        except ErgonError as error:
            self._why = str(error)
            return False
        self._why = None if accounts else "nothing can be measured here: `ergon doctor` says why"
        self._parts = _parts.find(accounts)
        for i in self._gpu_indices or ():
            if not 0 <= i < len(self._parts.gpus):
                self._why = f"GPU {i} is not there: {len(self._parts.gpus)} can be measured"
        return self._why is None

    def why_not(self) -> Optional[str]:
        return self._why

    def prepare(self) -> None:
        """Looks once what there is, so that an index keeps its device when another one is lost."""
        if self._parts is None:
            self._parts = _parts.of_source(self.source())
        if not self._facts:
            self._facts = getattr(self.source(), "facts", dict)()

    def start_tracking(self) -> Window:
        self.prepare()
        return begin(self.source(), self._name, sync=self._sync)

    def stop_tracking(self, handle: Window) -> Metrics:
        return self.metrics(handle.end())

    def get_info(self) -> Info:
        try:
            source = self.source()
            accounts = source.accounts()
        except ErgonError:
            return Info(self._name)
        parts = _parts.find(accounts)
        return Info(self._name, getattr(source, "version", None), _capabilities(accounts, parts),
                    tuple(sorted({a.source for a in accounts if a.source})), COUNTER, ACCURACY_PERCENT)

    # ---- figures ----

    def metrics(self, m: Measurement) -> Metrics:
        """Of a measurement of ours."""
        parts = self._parts or _parts.Parts()
        chosen = range(len(parts.gpus)) if self._gpu_indices is None else self._gpu_indices
        gpus = {i: _parts.figure(m, parts.gpus[i].device, "gpu") for i in chosen if i < len(parts.gpus)}
        cpu = _parts.sum_figures(_parts.figure(m, device, "package") for device in parts.cpus)
        dram = _parts.sum_figures(_parts.figure(m, device, "dram") for device in parts.drams if device)
        gpu = _parts.sum_figures(gpus.values())
        seconds = m.elapsed_seconds if m.seconds is None else m.seconds
        per_gpu: Dict[int, float] = {i: one.joules for i, one in gpus.items() if one is not None}
        methods = {e.method for e in m.entries if e.counted and e.method}
        return Metrics(
            total_energy_j=m.joules, gpu_energy_j=gpu.joules if gpu else None,
            cpu_energy_j=cpu.joules if cpu else None, ram_energy_j=dram.joules if dram else None,
            gpu_power_w=power(gpu.joules if gpu else None, seconds),
            cpu_power_w=power(cpu.joules if cpu else None, seconds), duration_sec=seconds,
            gpu_energy_per_device_j=per_gpu or None, dram_energy_j=dram.joules if dram else None,
            energy_backend_name=self._name,
            energy_measurement_method=METHOD.get(methods.pop()) if len(methods) == 1 else
            "mixed" if methods else ESTIMATION if m.provenance == "estimated" else None,
            uncertainty_j=m.uncertainty_joules, provenance=m.provenance, flags=m.flags, reason=m.reason,
            values=tuple(_values(m, parts, self._facts)), measurement=m)


def _values(m: Measurement, parts: _parts.Parts, facts: Mapping[str, SensorFacts]) -> List[Value]:
    """Each channel that reads a part, those that only check another one too."""
    indices = {"package": {d: i for i, d in enumerate(parts.cpus)},
               "dram": {d: i for i, d in enumerate(parts.drams) if d},
               "gpu": {g.device: i for i, g in enumerate(parts.gpus)}}
    found: List[Value] = []
    for component, devices in indices.items():
        for device, i in devices.items():
            one = _parts.figure(m, device, component)
            if one is None:
                continue
            here = [e for e in m.entries if e.device == device and e.component == component]
            own = [e for e in here if e.role not in _parts.NOT_OWN and e.joules is not None]
            main = max(own, key=lambda e: (e.counted, e.joules or 0.0))
            found.append(_value(COMPONENT[component], i, main, facts, joules=one.joules, method=METHOD.get(
                one.method or ""), uncertainty_joules=one.uncertainty_joules, provenance=one.provenance,
                estimated_joules=sum(e.estimated_joules for e in own), whole=not one.partial and not any(
                    e.gap_seconds or e.estimated_microjoules for e in own)))
            found += [_value(COMPONENT[component], i, e, facts, primary=False) for e in here
                      if e.role == "crosscheck" and e.joules is not None]
    return found


def _value(component: str, device: int, entry: Entry, facts: Mapping[str, SensorFacts],
           **over: Any) -> Value:
    known = facts.get(entry.channel or "")
    fields: Dict[str, Any] = dict(
        joules=entry.joules, method=METHOD.get(entry.method or ""),
        uncertainty_joules=entry.uncertainty_joules, channel=entry.channel, identity=entry.device,
        source=entry.source, provenance=entry.provenance, gap_seconds=entry.gap_seconds,
        estimated_joules=entry.estimated_joules, accuracy_joules=entry.accuracy_joules,
        whole=not entry.gap_seconds and not entry.estimated_microjoules)
    if known is not None:
        fields.update(relative=known.relative, watts=known.watts, citation=known.citation)
    return Value(component, device, **{**fields, **over})


def _capabilities(accounts: Any, parts: _parts.Parts) -> FrozenSet[Capability]:
    found = {Capability.FRAMEWORK_SYNC}
    if parts.gpus:
        found |= {Capability.GPU_ENERGY, Capability.GPU_ENERGY_PER_DEVICE, Capability.GPU_POWER}
    if parts.cpus:
        found |= {Capability.CPU_ENERGY, Capability.CPU_POWER}
    if any(parts.drams):
        found.add(Capability.DRAM_ENERGY)
    if any(a.component == "soc" for a in accounts):
        found.add(Capability.SOC_ENERGY)
    return frozenset(found)
