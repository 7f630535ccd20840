# SPDX-License-Identifier: Apache-2.0
"""Energy of systems on a chip, in millijoules, None where the chip does not tell it."""
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, List, Optional

from ..model import Entry, Measurement


@dataclass
class SoCMeasurement:
    """What chips have in common."""

    def __sub__(self, other: Any) -> "SoCMeasurement":
        if type(other) is not type(self):
            raise TypeError(f"only another {type(self).__name__} can be subtracted")
        return type(self)(**{f.name: _minus(getattr(self, f.name), getattr(other, f.name))
                             for f in fields(self)})

    def zero_all_fields(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                setattr(self, f.name, [0] * len(value) if isinstance(value, list) else 0)


def _minus(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    return [x - y for x, y in zip(a, b)] if isinstance(a, list) else a - b


@dataclass
class AppleSiliconMeasurement(SoCMeasurement):
    cpu_total_mj: Optional[int] = None
    efficiency_cores_mj: Optional[List[int]] = None
    performance_cores_mj: Optional[List[int]] = None
    efficiency_cluster_mj: Optional[List[int]] = None
    performance_cluster_mj: Optional[List[int]] = None
    efficiency_core_manager_mj: Optional[int] = None
    performance_core_manager_mj: Optional[int] = None
    dram_mj: Optional[int] = None
    gpu_mj: Optional[int] = None
    gpu_sram_mj: Optional[int] = None
    ane_mj: Optional[int] = None


@dataclass
class JetsonMeasurement(SoCMeasurement):
    cpu_energy_mj: Optional[float] = None
    gpu_energy_mj: Optional[float] = None
    total_energy_mj: Optional[float] = None


def kind(source: str, component: str) -> Optional[str]:
    """Which chip an account belongs to: "apple", "jetson" or None."""
    if source == "powermetrics":
        return "apple"
    return "jetson" if source == "hwmon" and component == "soc" else None


def of_measurement(m: Measurement) -> Optional[SoCMeasurement]:
    """The chip's part of a measurement; None where there is no such chip."""
    apple = {e.component: e.microjoules for e in m.entries if e.source == "powermetrics"}
    if apple:
        def mj(component: str) -> Optional[int]:
            microjoules = apple.get(component)
            return None if microjoules is None else round(microjoules / 1000)
        return AppleSiliconMeasurement(cpu_total_mj=mj("package"), dram_mj=mj("dram"), gpu_mj=mj("gpu"),
                                       ane_mj=mj("ane"))
    module = next((e for e in m.entries if kind(e.source, e.component) == "jetson"), None)
    if module is None:
        return None
    rails = [e for e in m.entries if e.component == "rail" and e.source == module.source]
    return JetsonMeasurement(cpu_energy_mj=_rail(rails, "CPU"), gpu_energy_mj=_rail(rails, "GPU"),
                             total_energy_mj=_mj(module))


def _mj(entry: Optional[Entry]) -> Optional[float]:
    return None if entry is None or entry.microjoules is None else entry.microjoules / 1000


def _rail(rails: List[Entry], what: str) -> Optional[float]:
    """The rail of this part alone: one that feeds CPU and GPU tells neither."""
    names = {"CPU", "GPU", "SOC"}
    own = [e for e in rails if what in e.device.upper()
           and not any(other in e.device.upper() for other in names - {what})]
    return _mj(own[0]) if len(own) == 1 else None
