# SPDX-License-Identifier: Apache-2.0
"""What the accounts gained between two snapshots: the result of a window that no agent kept. The same rules
as ergon_page_since(): of accounts that were counted at the begin, never more than was counted in between,
never negative, and what is missing is said."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Tuple

from .model import AccountKey, Entry, Measurement, Reading, Snapshot, weakest

COVERAGE = 2.4  #: standard deviations in a half-width (docs/decisions/0004-coverage-factor.md)
NORMAL_95 = 1.959964
SHORT_SECONDS = 10.0  #: below: short_measurement_duration
SINCE_SLACK = 1e-3  #: two stamps of one birth differ by rounding at most


@dataclass(frozen=True)
class SensorFacts:
    relative: float = 0.0  #: of the energy, half-width of 95 %
    watts: float = 0.0
    resolution_joules: float = 0.0
    update_seconds: float = 0.0
    method: Optional[str] = None
    citation: Optional[str] = None  #: of the accuracy class


def uncertainty(facts: Optional[SensorFacts], joules: float, held: float,
                seconds: float) -> Optional[Tuple[float, float]]:
    """Of the accuracy class, and of all else: gain errors of one interface add up, the rest does not."""
    if facts is None or not facts.relative and not facts.watts:
        return None
    accuracy = COVERAGE / NORMAL_95 * max(facts.relative * joules, facts.watts * seconds)
    resolution = COVERAGE * facts.resolution_joules / math.sqrt(6)
    mean_watts = joules / seconds if seconds > 0 else 0.0
    update = COVERAGE * mean_watts * facts.update_seconds / math.sqrt(6)
    return accuracy, math.hypot(math.hypot(resolution, update), COVERAGE * held / math.sqrt(3))


class _Sum:
    def __init__(self) -> None:
        self.microjoules: Optional[int] = None
        self.held = 0
        self.rest = 0.0
        self.by_source: Dict[str, float] = {}
        self.known = True
        self.provenances: List[str] = []

    def add(self, entry: Entry, parts: Optional[Tuple[float, float]]) -> None:
        self.microjoules = (self.microjoules or 0) + (entry.microjoules or 0)
        self.held += entry.estimated_microjoules
        if entry.microjoules or entry.provenance != "estimated":  # what was held earlier is not in this sum
            self.provenances.append(entry.provenance or "estimated")
        if parts is None:
            self.known = False
        else:
            self.by_source[entry.source] = self.by_source.get(entry.source, 0.0) + parts[0]
            self.rest = math.hypot(self.rest, parts[1])

    @property
    def uncertainty(self) -> Optional[float]:
        return math.hypot(self.rest, *self.by_source.values()) if self.known else None


def _born_again(first: Reading, last: Reading) -> bool:
    a, b = first.since_unix_seconds, last.since_unix_seconds
    return a is not None and b is not None and abs(a - b) > SINCE_SLACK


def _seconds(first: Snapshot, last: Snapshot) -> float:
    """By the interval clock. Over a restart of the machine that is another one, and Unix time tells: it is
    behind then, and counters have begun anew."""
    unix = last.unix_seconds - first.unix_seconds
    boot = (last.time_ns - first.time_ns) / 1e9
    reset = any(r.resets > first.readings[k].resets for k, r in last.readings.items() if k in first.readings)
    return max(0.0, unix) if boot < 0 or reset and unix > boot + 1 else boot


def _gained(first: Optional[Reading], last: Reading) -> int:
    return (last.microjoules or 0) - (first.microjoules or 0 if first is not None else 0)


def _entry(key: AccountKey, first: Optional[Reading], last: Reading, counted: bool, seconds: float,
           facts: Optional[SensorFacts], flags: List[str]) -> Tuple[Entry, Optional[Tuple[float, float]]]:
    gained = _gained(first, last)
    held = gained if last.account.held else 0
    gap = last.gap_seconds - (first.gap_seconds if first is not None else 0.0)
    parts = uncertainty(facts, gained / 1e6, held / 1e6, seconds)
    return Entry(
        key.device, key.component, key.provenance, last.source, last.boundary, last.account.channel,
        last.account.role if last.account.role != "absent" or first is None else first.account.role,
        counted, gained, held, None if parts is None else math.hypot(*parts),
        gained / 1e6 / seconds if seconds > 0 else None, facts.method if facts else None, None,
        max(0.0, gap), tuple(flags), None if parts is None else parts[0]), parts


def delta(first: Snapshot, last: Snapshot, facts: Mapping[str, SensorFacts], *,
          recovered: bool = False) -> Measurement:
    """A Measurement without name and units, from `first` to `last`. An account that did not answer at the
    begin has energy of earlier in its next reading: it is left out; recovered=True takes it with the rest."""
    seconds = _seconds(first, last)
    total, entries = _Sum(), []
    reasons: Dict[str, None] = {}  # in order, each once
    flags: Dict[str, None] = {}
    if seconds < SHORT_SECONDS:
        flags["short_measurement_duration"] = None
    counted = {key: r for key, r in first.readings.items() if r.account.counted}
    for key, before in first.readings.items():
        after = last.readings.get(key)
        if before.microjoules is None:
            if before.account.counted and not before.account.held and \
                    (after is None or after.microjoules is None):
                reasons[f"{key.device} {key.component} has never been read"] = None
            continue
        own: List[str] = []
        if after is None or after.microjoules is None or _born_again(before, after) or \
                _gained(before, after) < 0:
            if before.account.counted:
                flags["device_lost"] = None
                reasons[f"the account of {key.device} {key.component} did not go on"] = None
            continue
        if _silent(before) and not recovered:
            if before.account.counted:
                flags["gap"] = None
                reasons[f"{key.device} {key.component} did not answer when the window began"] = None
            continue
        if _silent(before) or after.gap_seconds - before.gap_seconds > 0:
            own.append("gap")
        if after.resets > before.resets:
            own.append("reset")
        if after.account.role == "absent" and before.account.role != "absent":
            own.append("device_lost")
        elif before.account.counted and _silent(after) and "gap" not in own:
            own.append("gap")
        entry, parts = _entry(key, before, after, before.account.counted, seconds,
                              facts.get(after.account.channel or ""), own)
        entries.append(entry)
        if before.account.counted:
            total.add(entry, parts)
            for flag in own:
                flags[flag] = None
                if flag != "reset":
                    reasons[f"energy of part of the time is not known ({flag}, {key.device} "
                            f"{key.component})"] = None
    # What is counted in place of another one may hold its energy as well: a node its packages.
    swapped = any(key in last.readings and not last.readings[key].account.counted for key in counted)
    for key, after in last.readings.items():
        if not after.account.counted or after.microjoules is None or _known(first, key):
            continue
        if not _newborn(after, first, counted) or swapped and not after.account.held:
            reasons[f"{key.device} {key.component} is counted only since the window began"] = None
            continue
        if not after.account.held:
            reasons[f"{key.device} {key.component} had its first reading inside the window"] = None
        entry, parts = _entry(key, None, after, True, seconds, facts.get(after.account.channel or ""), [])
        entries.append(entry)
        total.add(entry, parts)
    if total.held:
        flags["held"] = None
    if total.microjoules is None:
        reasons["no account that makes the node's total goes through the window"] = None
    return Measurement(
        name="", backend=last.backend, seconds=seconds, begin_unix_seconds=first.unix_seconds,
        end_unix_seconds=last.unix_seconds, begin_ns=first.time_ns, end_ns=last.time_ns,
        microjoules=total.microjoules,
        estimated_microjoules=total.held, uncertainty_joules=total.uncertainty if entries else None,
        provenance=weakest(total.provenances),
        watts=total.microjoules / 1e6 / seconds if total.microjoules is not None and seconds > 0 else None,
        entries=tuple(entries), flags=tuple(flags), partial=bool(reasons),
        reason="; ".join(reasons) or None)


def _known(snapshot: Snapshot, key: AccountKey) -> bool:
    reading = snapshot.readings.get(key)
    return reading is not None and reading.microjoules is not None


def _silent(reading: Reading) -> bool:
    """It did not answer at that moment."""
    return not reading.account.held and reading.status not in (None, "ok", "reset")


def _newborn(reading: Reading, first: Snapshot, counted: Mapping[AccountKey, Reading]) -> bool:
    """All its joules are of this window: it began in it, or holds joules of one that was counted."""
    if reading.since_unix_seconds is not None:
        return reading.since_unix_seconds >= first.unix_seconds - SINCE_SLACK
    return reading.account.held and any(
        key.device == reading.account.device and key.component == reading.account.component
        for key in counted)
