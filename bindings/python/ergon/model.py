# SPDX-License-Identifier: Apache-2.0
"""What was measured: immutable values. Energy is kept in whole microjoules, as the agent counts it; the
`joules` beside it are for people. What is not known is None, never 0."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Tuple, Union

Number = Union[int, float]

#: From the strongest to the weakest; a sum is as good as its weakest part.
PROVENANCES = ("measured", "modeled", "estimated")


def weakest(words: Iterable[Optional[str]]) -> Optional[str]:
    """The weakest provenance among them; None where one of them is not known, or there is none."""
    rank = -1
    for word in words:
        if word not in PROVENANCES:
            return None
        rank = max(rank, PROVENANCES.index(word))
    return PROVENANCES[rank] if rank >= 0 else None


def joules_of(microjoules: Optional[int]) -> Optional[float]:
    return None if microjoules is None else microjoules / 1e6


class AccountKey(NamedTuple):
    """Names an account for ever: neither a driver's change nor a restart changes it."""

    device: str
    component: str
    provenance: str


@dataclass(frozen=True)
class Account:
    """A running total of the agent. Accounts may contain each other, so only `counted` ones are added."""

    key: AccountKey
    source: str = ""
    boundary: str = ""
    channel: Optional[str] = None
    role: str = "absent"
    counted: bool = False  #: it makes the node's total; no two of these overlap
    held: bool = False  #: joules held over lost readings of another account

    @property
    def device(self) -> str:
        return self.key.device

    @property
    def component(self) -> str:
        return self.key.component

    @property
    def provenance(self) -> str:
        return self.key.provenance


@dataclass(frozen=True)
class Reading:
    """What an account held at one moment."""

    account: Account
    microjoules: Optional[int] = None  #: since `since_unix_seconds`; never falls
    watts: Optional[float] = None
    uncertainty_joules: Optional[float] = None  #: half-width of the 95 % interval
    status: Optional[str] = None
    flags: Tuple[str, ...] = ()
    age_seconds: Optional[float] = None
    gap_seconds: float = 0.0  #: time since the account began that was not measured
    resets: int = 0
    recovered_joules: float = 0.0
    since_unix_seconds: Optional[float] = None

    @property
    def joules(self) -> Optional[float]:
        return joules_of(self.microjoules)

    @property
    def source(self) -> str:
        return self.account.source

    @property
    def boundary(self) -> str:
        return self.account.boundary


@dataclass(frozen=True)
class Snapshot:
    """All accounts at one moment."""

    backend: str
    time_ns: int  #: CLOCK_BOOTTIME of the agent or the library
    unix_seconds: float
    readings: Mapping[AccountKey, Reading]
    age_seconds: Optional[float] = None
    access: str = "full"
    interval_seconds: Optional[float] = None
    microjoules: Optional[int] = None  #: of the node: the counted accounts
    estimated_joules: Optional[float] = None
    uncertainty_joules: Optional[float] = None
    watts: Optional[float] = None
    provenance: Optional[str] = None
    boundary: Optional[str] = None
    stale: bool = False  #: who wrote it does so no more
    session: Optional[str] = None  #: names the process that counted, where that is known

    @property
    def joules(self) -> Optional[float]:
        return joules_of(self.microjoules)

    def energy(self) -> Dict[AccountKey, Optional[float]]:
        """Joules by account."""
        return {key: reading.joules for key, reading in self.readings.items()}

    def __getitem__(self, key: Tuple[str, str, str]) -> Reading:
        return self.readings[AccountKey(*key)]

    def to_dict(self) -> Dict[str, Any]:
        return {
            "backend": self.backend, "access": self.access, "time_ns": self.time_ns,
            "unix_seconds": self.unix_seconds, "age_seconds": self.age_seconds, "stale": self.stale,
            "joules": self.joules, "estimated_joules": self.estimated_joules,
            "uncertainty_joules": self.uncertainty_joules, "watts": self.watts,
            "provenance": self.provenance, "boundary": self.boundary,
            "accounts": [
                {"device": k.device, "component": k.component, "provenance": k.provenance,
                 "source": r.source, "boundary": r.boundary, "channel": r.account.channel,
                 "role": r.account.role, "counted": r.account.counted, "joules": r.joules,
                 "watts": r.watts, "uncertainty_joules": r.uncertainty_joules, "status": r.status,
                 "flags": list(r.flags), "age_seconds": r.age_seconds, "gap_seconds": r.gap_seconds}
                for k, r in self.readings.items()],
        }


@dataclass(frozen=True)
class Entry:
    """One channel's or account's part in a measurement."""

    device: str
    component: str
    provenance: Optional[str]
    source: str = ""
    boundary: str = ""
    channel: Optional[str] = None
    role: str = "absent"
    counted: bool = False
    microjoules: Optional[int] = None  #: held energy included
    estimated_microjoules: int = 0  #: the held part of it
    uncertainty_joules: Optional[float] = None
    watts: Optional[float] = None
    method: Optional[str] = None  #: "counter" or "integrated_power"
    samples: Optional[int] = None
    gap_seconds: float = 0.0
    flags: Tuple[str, ...] = ()
    accuracy_joules: Optional[float] = None  #: the part of its uncertainty that is of its accuracy class

    @property
    def joules(self) -> Optional[float]:
        return joules_of(self.microjoules)

    @property
    def estimated_joules(self) -> float:
        return self.estimated_microjoules / 1e6

    def to_dict(self) -> Dict[str, Any]:
        return {"device": self.device, "component": self.component, "provenance": self.provenance,
                "source": self.source, "boundary": self.boundary, "channel": self.channel,
                "role": self.role, "counted": self.counted, "joules": self.joules,
                "estimated_joules": self.estimated_joules,
                "uncertainty_joules": self.uncertainty_joules, "watts": self.watts,
                "method": self.method, "samples": self.samples, "gap_seconds": self.gap_seconds,
                "flags": list(self.flags)}


@dataclass(frozen=True)
class Measurement:
    """What was used in a window.

    `joules` is the node's total: accounts that do not overlap. It belongs to the time from
    `begin_unix_seconds` to `end_unix_seconds`, `seconds` long; `edges` says what these lie on: "sample"
    (taken for this window), "renewal" (of the coarse view that other users are given, at most one a second)
    or "tick" (the agent's own interval, of the energy page). `elapsed_seconds` is how long the program was
    in the window. `partial`: the energy of a part of the time is not in it, and `reason` says why.
    """

    name: str
    backend: str
    seconds: Optional[float] = None
    elapsed_seconds: float = 0.0
    begin_unix_seconds: Optional[float] = None
    end_unix_seconds: Optional[float] = None
    begin_ns: Optional[int] = None  #: the same on the agent's interval clock (CLOCK_BOOTTIME)
    end_ns: Optional[int] = None
    microjoules: Optional[int] = None
    estimated_microjoules: int = 0
    uncertainty_joules: Optional[float] = None
    provenance: Optional[str] = None
    watts: Optional[float] = None  #: mean over `seconds`
    max_watts: Optional[float] = None
    entries: Tuple[Entry, ...] = ()
    flags: Tuple[str, ...] = ()
    partial: bool = False
    reason: Optional[str] = None
    units: Mapping[str, Number] = field(default_factory=dict)
    access: str = "full"
    edges: str = "sample"
    running: bool = False  #: the window goes on

    @property
    def joules(self) -> Optional[float]:
        return joules_of(self.microjoules)

    @property
    def estimated_joules(self) -> float:
        return self.estimated_microjoules / 1e6

    @property
    def components(self) -> Dict[str, float]:
        """Joules by component. Components may contain each other (a package its cores), so they are not
        to be added: the sum without overlap is `joules`."""
        out: Dict[str, int] = {}
        for entry in self.entries:
            if entry.role in ("total", "part") and entry.microjoules is not None:
                out[entry.component] = out.get(entry.component, 0) + entry.microjoules
        return {component: microjoules / 1e6 for component, microjoules in out.items()}

    @property
    def joules_per_unit(self) -> Dict[str, Optional[float]]:
        joules = self.joules
        return {unit: joules / n if joules is not None and n else None for unit, n in self.units.items()}

    def to_dict(self) -> Dict[str, Any]:
        return {
            "name": self.name, "backend": self.backend, "access": self.access, "edges": self.edges,
            "seconds": self.seconds, "elapsed_seconds": self.elapsed_seconds,
            "begin_unix_seconds": self.begin_unix_seconds, "end_unix_seconds": self.end_unix_seconds,
            "begin_boot_ns": self.begin_ns, "end_boot_ns": self.end_ns,
            "joules": self.joules, "estimated_joules": self.estimated_joules,
            "uncertainty_joules": self.uncertainty_joules, "provenance": self.provenance,
            "watts": self.watts, "max_watts": self.max_watts, "components": self.components,
            "flags": list(self.flags), "partial": self.partial, "reason": self.reason,
            "units": dict(self.units), "joules_per_unit": self.joules_per_unit,
            "entries": [entry.to_dict() for entry in self.entries],
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    def __str__(self) -> str:
        joules = "no figure" if self.joules is None else f"{self.joules:.3f} J"
        if self.joules is not None and self.uncertainty_joules is not None:
            joules += f" ± {self.uncertainty_joules:.3f}"
        seconds = self.elapsed_seconds if self.seconds is None else self.seconds
        words = [f"{self.name}: {joules} in {seconds:.3f} s"]
        if self.watts is not None:
            words.append(f"{self.watts:.2f} W")
        words += [f"{j:.6g} J/{unit}" for unit, j in self.joules_per_unit.items() if j is not None]
        if self.provenance:
            words.append(self.provenance)
        if self.partial:
            words.append(f"partial: {self.reason}")
        return ", ".join(words)


@dataclass(frozen=True)
class EventChannel:
    name: str
    joules: Optional[float]
    watts: Optional[float]
    status: Optional[str]
    age_seconds: Optional[float]


@dataclass(frozen=True)
class Event:
    """One snapshot of a stream."""

    seq: int
    time_ns: int
    unix_seconds: float
    joules: Optional[float]
    watts: Optional[float]
    channels: Tuple[EventChannel, ...] = ()
    dropped: int = 0  #: events lost since the last one that came
