# SPDX-License-Identifier: Apache-2.0
"""A row of emissions.csv and of a task's file, in CodeCarbon's order. None is not known and is written
empty."""
from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, fields
from typing import Any, Optional


def _minus(a: Optional[float], b: Optional[float]) -> Optional[float]:
    return None if a is None or b is None else a - b


@dataclass
class EmissionsData:
    """Of a run. duration in s; powers, mean, in W; energies in kWh; emissions in kg, their rate in kg/s;
    water in litres; memory in GiB."""

    timestamp: str
    project_name: str
    run_id: str
    experiment_id: str
    duration: float
    emissions: Optional[float] = None
    emissions_rate: Optional[float] = None
    cpu_power: Optional[float] = None
    gpu_power: Optional[float] = None
    ram_power: Optional[float] = None
    cpu_energy: Optional[float] = None
    gpu_energy: Optional[float] = None
    ram_energy: Optional[float] = None
    energy_consumed: Optional[float] = None
    water_consumed: Optional[float] = None
    country_name: Optional[str] = None
    country_iso_code: Optional[str] = None
    region: Optional[str] = None
    cloud_provider: Optional[str] = None
    cloud_region: Optional[str] = None
    os: Optional[str] = None
    python_version: Optional[str] = None
    codecarbon_version: Optional[str] = None
    cpu_count: Optional[int] = None
    cpu_model: Optional[str] = None
    gpu_count: Optional[int] = None
    gpu_model: Optional[str] = None
    longitude: Optional[float] = None
    latitude: Optional[float] = None
    ram_total_size: Optional[float] = None
    tracking_mode: Optional[str] = None
    cpu_utilization_percent: Optional[float] = None
    gpu_utilization_percent: Optional[float] = None
    ram_utilization_percent: Optional[float] = None
    ram_used_gb: Optional[float] = None
    on_cloud: Optional[str] = None
    pue: Optional[float] = None
    wue: Optional[float] = None

    @property
    def values(self) -> "OrderedDict[str, Any]":
        return OrderedDict(asdict(self))

    def compute_delta_emission(self, previous_emission: "EmissionsData") -> None:
        """Makes this what came after `previous_emission`."""
        for name in DELTAS:
            setattr(self, name, _minus(getattr(self, name), getattr(previous_emission, name)))
        rate = self.emissions / self.duration if self.emissions is not None and self.duration > 0 else None
        self.emissions_rate = rate

    def toJSON(self) -> str:  # noqa: N802 (its name there)
        return json.dumps(asdict(self), sort_keys=True, indent=4)


#: What grows while a run goes on.
DELTAS = ("duration", "emissions", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed",
          "water_consumed")


@dataclass
class TaskEmissionsData:
    """Of a task: as of a run, with the task's name in front; without experiment, pue and wue."""

    task_name: str
    of: EmissionsData

    @property
    def values(self) -> "OrderedDict[str, Any]":
        row = OrderedDict([("task_name", self.task_name)])
        row.update((name, value) for name, value in self.of.values.items() if name not in NOT_OF_TASKS)
        return row

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "of":
            raise AttributeError(name)
        return getattr(self.of, name)


NOT_OF_TASKS = ("experiment_id", "pue", "wue")
COLUMNS = [f.name for f in fields(EmissionsData)]
TASK_COLUMNS = ["task_name"] + [name for name in COLUMNS if name not in NOT_OF_TASKS]
