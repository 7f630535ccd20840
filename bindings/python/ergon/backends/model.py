# SPDX-License-Identifier: Apache-2.0
"""What a backend is, and what it tells: anything with name, is_available(), start_tracking() -> handle,
stop_tracking(handle) -> Metrics and get_info() is one."""
from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Protocol, Tuple, runtime_checkable


class Capability(str, Enum):
    GPU_ENERGY = "GPU_ENERGY"
    CPU_ENERGY = "CPU_ENERGY"
    DRAM_ENERGY = "DRAM_ENERGY"
    SOC_ENERGY = "SOC_ENERGY"
    GPU_ENERGY_PER_DEVICE = "GPU_ENERGY_PER_DEVICE"
    GPU_POWER = "GPU_POWER"
    CPU_POWER = "CPU_POWER"
    CARBON_EMISSIONS = "CARBON_EMISSIONS"
    FRAMEWORK_SYNC = "FRAMEWORK_SYNC"


COUNTER, POLLING, ESTIMATION = "hardware_counter", "power_polling", "estimation"
METHODS = (COUNTER, POLLING, ESTIMATION)


@dataclass(frozen=True)
class Info:
    name: str
    version: Optional[str] = None
    capabilities: FrozenSet[Capability] = frozenset()
    hardware: Tuple[str, ...] = ()
    method: Optional[str] = None  #: one of METHODS
    accuracy_percent: Optional[float] = None  #: typical half-width of what it tells

    def to_dict(self) -> Dict[str, Any]:
        return {"name": self.name, "version": self.version,
                "capabilities": sorted(c.value for c in self.capabilities), "hardware": list(self.hardware),
                "method": self.method, "accuracy_percent": self.accuracy_percent}


@dataclass(frozen=True)
class Value:
    """One part of the machine by one way of measuring. device: an index by which backends agree, or None for
    all devices of the component."""

    component: str  #: "gpu", "cpu", "dram", "soc"
    device: Optional[int]
    joules: float
    method: Optional[str] = None
    uncertainty_joules: Optional[float] = None
    channel: Optional[str] = None
    primary: bool = True  #: False: a second interface to what another value of the same backend tells
    # What is known of it beside; of the backends here, by Ergon alone.
    identity: Optional[str] = None  #: the device as Ergon names it
    source: Optional[str] = None
    provenance: Optional[str] = None
    whole: bool = True  #: False: energy of part of the time is held or not known
    estimated_joules: float = 0.0  #: the held part of joules
    gap_seconds: float = 0.0
    accuracy_joules: Optional[float] = None  #: of the uncertainty, the part of the accuracy class
    relative: Optional[float] = None  #: the class itself
    watts: Optional[float] = None
    citation: Optional[str] = None
    channels: Tuple[str, ...] = ()  #: where it is a sum


@dataclass
class Metrics:
    """Energy of one tracked interval. None is not known, never 0; `reason` says why."""

    total_energy_j: Optional[float] = None
    gpu_energy_j: Optional[float] = None
    cpu_energy_j: Optional[float] = None
    ram_energy_j: Optional[float] = None  #: measured: a model of memory is not told as one
    gpu_power_w: Optional[float] = None  #: mean
    cpu_power_w: Optional[float] = None
    duration_sec: float = 0.0
    emissions_kg_co2: Optional[float] = None
    energy_per_token_j: Optional[float] = None
    gpu_energy_per_device_j: Optional[Dict[int, float]] = None
    dram_energy_j: Optional[float] = None
    energy_backend_name: str = ""
    energy_measurement_method: Optional[str] = None
    uncertainty_j: Optional[float] = None  #: of the total, half-width of 95 %
    provenance: Optional[str] = None
    flags: Tuple[str, ...] = ()
    reason: Optional[str] = None
    samples: List[Any] = field(default_factory=list)
    values: Tuple[Value, ...] = ()
    measurement: Optional[Any] = None  #: of Ergon, that these figures are of
    #: What a second backend found on the same interval, where it was asked to look.
    cross_validation: Optional[Any] = None

    # As llenergymeasure's own measurements name them.
    @property
    def per_gpu_j(self) -> Optional[Dict[int, float]]:
        return self.gpu_energy_per_device_j

    @property
    def total_j(self) -> Optional[float]:
        """Of the GPUs where there are any, as that tool's other samplers tell it; else of the machine."""
        return self.total_energy_j if self.gpu_energy_j is None else self.gpu_energy_j

    def per_token(self, tokens: float) -> "Metrics":
        """Sets energy_per_token_j."""
        if tokens > 0 and self.total_energy_j is not None:
            self.energy_per_token_j = self.total_energy_j / tokens
        return self

    def to_dict(self) -> Dict[str, Any]:
        """The named figures, without the parts."""
        names = ("total_energy_j", "gpu_energy_j", "cpu_energy_j", "ram_energy_j", "gpu_power_w",
                 "cpu_power_w",
                 "duration_sec", "emissions_kg_co2", "energy_per_token_j", "gpu_energy_per_device_j",
                 "dram_energy_j", "energy_backend_name", "energy_measurement_method", "uncertainty_j",
                 "provenance", "reason")
        doc: Dict[str, Any] = {name: getattr(self, name) for name in names}
        doc["flags"] = list(self.flags)
        if self.cross_validation is not None:
            doc["cross_validation"] = self.cross_validation.to_dict()
        return doc


@runtime_checkable
class Backend(Protocol):
    """What can fill a measurement. Beside these a backend may have prepare(), which does what takes long
    before a measurement, and why_not(), which says what is_available() misses and what helps."""

    @property
    def name(self) -> str: ...

    def is_available(self) -> bool: ...

    def start_tracking(self) -> Any: ...

    def stop_tracking(self, handle: Any) -> Any: ...

    def get_info(self) -> Info: ...


def power(joules: Optional[float], seconds: float) -> Optional[float]:
    return joules / seconds if joules is not None and seconds > 0 else None


def sum_known(values: Mapping[int, float]) -> Optional[float]:
    return sum(values.values()) if values else None
