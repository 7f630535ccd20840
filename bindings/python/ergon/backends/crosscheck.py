# SPDX-License-Identifier: Apache-2.0
"""Several backends on one interval: do they tell the same? The first is the result; the others check it. Each
pair is judged by its joint uncertainty, which includes that their intervals do not begin and end at the same
moment."""
from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from ..errors import ErgonError
from ..model import weakest
from .model import COUNTER, ESTIMATION, POLLING, Backend, Metrics, Value

DURATION_MAX = 86400.0
ESTIMATE_PERCENT = 30.0
#: As `ergon` names them.
METHOD_WORDS = {COUNTER: "counter", POLLING: "integrated_power", ESTIMATION: "estimation"}
COMPONENT_WORDS = {"cpu": "package"}
DEFAULT_PERCENT = 10.0  #: of a backend that states none


@dataclass(frozen=True)
class Overhead:
    """What a backend costs by itself: seconds."""

    setup_seconds: float = 0.0
    start_seconds: float = 0.0
    stop_seconds: float = 0.0
    cpu_seconds: float = 0.0  #: of this process, in its start and stop

    def to_dict(self) -> Dict[str, float]:
        """Its start and its stop are one reading each."""
        return {"setup_seconds": self.setup_seconds,
                "read_seconds": (self.start_seconds + self.stop_seconds) / 2,
                "read_cpu_seconds": self.cpu_seconds / 2}


@dataclass(frozen=True)
class Comparison:
    """Two ways to one part. difference: the other's joules less the primary's."""

    component: str
    device: Optional[int]
    primary: str
    other: str
    own: Value
    value: Value
    seconds: float
    joint_uncertainty_joules: float
    edge_joules: float  #: the part of it that is of their begins and ends
    one_sensor: bool = False
    backend: str = ""  #: of the other

    @property
    def primary_joules(self) -> float:
        return self.own.joules

    @property
    def other_joules(self) -> float:
        return self.value.joules

    @property
    def primary_method(self) -> Optional[str]:
        return self.own.method

    @property
    def other_method(self) -> Optional[str]:
        return self.value.method

    @property
    def difference_joules(self) -> float:
        return self.other_joules - self.primary_joules

    @property
    def difference_percent(self) -> Optional[float]:
        return 100 * self.difference_joules / self.primary_joules if self.primary_joules else None

    @property
    def verdict(self) -> str:
        """agree, disagree; or incomplete: one of the two does not know the energy of all of the time."""
        if not (self.own.whole and self.value.whole):
            return "incomplete"
        return "agree" if abs(self.difference_joules) <= self.joint_uncertainty_joules else "disagree"

    @property
    def agrees(self) -> bool:
        return self.verdict == "agree"

    def to_dict(self) -> Dict[str, Any]:
        """One of `pairs` (docs/json.md)."""
        known = self.verdict != "incomplete"
        bias = self.difference_joules / self.seconds if known and self.seconds > 0 else None
        return {"channels": _channels(self.value), "verdict": self.verdict,
                "compared_seconds": self.seconds if known else 0.0,
                "difference_joules": self.difference_joules if known else None,
                "difference_percent": self.difference_percent if known else None,
                "joint_uncertainty_joules": self.joint_uncertainty_joules if known else None,
                "one_sensor": self.one_sensor,
                "bias": {"parts": 0 if bias is None else 1, "watts": bias, "ci95_low": None,
                         "ci95_high": None}}

    def __str__(self) -> str:
        what = self.component if self.device is None else f"{self.component} {self.device}"
        percent = self.difference_percent
        return (f"{what}: {self.primary} {self.primary_joules:.3f} J, {self.other} {self.other_joules:.3f} J"
                + (f" ({percent:+.2f} %)" if percent is not None else "")
                + {"agree": ", agree", "disagree": ", DISAGREE", "incomplete": ", INCOMPLETE"}[self.verdict]
                + f" within {self.joint_uncertainty_joules:.3f} J")


@dataclass
class Run:
    """One backend's interval."""

    name: str
    metrics: Metrics
    began: float  #: by time.monotonic()
    ended: float
    overhead: Overhead
    accuracy_percent: Optional[float] = None
    version: Optional[str] = None
    method: Optional[str] = None
    began_unix: Optional[float] = None
    ended_unix: Optional[float] = None


def _channels(value: Value) -> List[str]:
    return list(value.channels) or ([value.channel] if value.channel else [])


def _interface(run: Run, value: Value, reference: bool) -> Dict[str, Any]:
    """One of `interfaces` (docs/json.md)."""
    channels = _channels(value)
    relative = value.relative
    if relative is None and run.accuracy_percent is not None:
        relative = run.accuracy_percent / 100
    return {"backend": run.name, "version": run.version, "channels": channels,
            "driver": channels[0].partition("/")[0] if channels else None, "source": value.source,
            "reference": reference, "method": METHOD_WORDS.get(value.method or ""),
            "provenance": value.provenance or run.metrics.provenance,
            "joules": value.joules - value.estimated_joules, "estimated_joules": value.estimated_joules,
            "uncertainty_joules": value.uncertainty_joules, "gap_seconds": value.gap_seconds,
            "accuracy": {"relative": relative, "watts": value.watts, "citation": value.citation},
            "overhead": run.overhead.to_dict()}


def _channel(entry: Any) -> Dict[str, Any]:
    """One of `channels`, as far as a measurement tells."""
    joules = entry.joules
    return {"name": entry.channel, "driver": (entry.channel or "").partition("/")[0] or None,
            "source": entry.source, "component": entry.component, "boundary": entry.boundary,
            "provenance": entry.provenance, "device": entry.device, "role": entry.role,
            "joules": None if joules is None else joules - entry.estimated_joules,
            "estimated_joules": None if joules is None else entry.estimated_joules,
            "uncertainty_joules": entry.uncertainty_joules, "mean_watts": entry.watts,
            "method": entry.method, "samples": entry.samples, "gap_seconds": entry.gap_seconds,
            "flags": list(entry.flags)}


def _diagnostic(code: str, driver: str, subject: str, detail: str, cure: str = "") -> Dict[str, Any]:
    return {"code": code, "driver": driver, "subject": subject, "detail": detail, "cure": cure, "count": 1}


@dataclass
class Report:
    duration: float
    runs: List[Run] = field(default_factory=list)
    comparisons: List[Comparison] = field(default_factory=list)
    left_out: Dict[str, str] = field(default_factory=dict)  #: name: why
    failed: Set[str] = field(default_factory=set)  #: those of them that were there and broke

    @property
    def primary(self) -> Optional[str]:
        return self.runs[0].name if self.runs else None

    @property
    def agrees(self) -> Optional[bool]:
        """None: there was nothing to compare."""
        return all(c.agrees for c in self.comparisons) if self.comparisons else None

    @property
    def diagnostics(self) -> List[str]:
        return [f"crosscheck: {c}" for c in self.comparisons if c.verdict == "disagree"]

    def bias_percent(self, name: str) -> Optional[float]:
        """The mean of a backend's differences, weighted by energy."""
        own = [c for c in self.comparisons if c.other == name and c.verdict != "incomplete"]
        energy = sum(c.primary_joules for c in own)
        return 100 * sum(c.difference_joules for c in own) / energy if energy > 0 else None

    def _groups(self) -> List[Dict[str, Any]]:
        runs = {r.name: r for r in self.runs}
        groups: Dict[Tuple[str, Optional[int]], Dict[str, Any]] = {}
        for c in self.comparisons:
            group = groups.get((c.component, c.device))
            if group is None:
                word = COMPONENT_WORDS.get(c.component, c.component)
                device = "all" if c.device is None else c.own.identity or \
                    f"{c.component if c.component == 'gpu' else 'cpu'}-{c.device}"
                group = groups[c.component, c.device] = {
                    "component": word, "device": device,
                    "interfaces": [_interface(runs[c.primary], c.own, True)], "pairs": []}
            group["interfaces"].append(_interface(runs[c.backend], c.value, False))
            group["pairs"].append(c.to_dict())
        return list(groups.values())

    def to_dict(self) -> Dict[str, Any]:
        """`ergon.crosscheck/1` (docs/json.md), the same as `ergon validate --json` writes."""
        first = self.runs[0] if self.runs else None
        m = first.metrics.measurement if first else None
        diagnostics = [_diagnostic("crosscheck", c.other, COMPONENT_WORDS.get(c.component, c.component),
                                   str(c), "find out which is right before you rely on either")
                       for c in self.comparisons if c.verdict == "disagree"]
        diagnostics += [_diagnostic("sensor_error" if name in self.failed else "sensor_absent", name, "", why)
                        for name, why in self.left_out.items()]
        return {
            "schema": "ergon.crosscheck/1", "root": None,
            "seconds": first.metrics.duration_sec if first else 0.0,
            "begin_unix_seconds": m.begin_unix_seconds if m else first.began_unix if first else None,
            "end_unix_seconds": m.end_unix_seconds if m else first.ended_unix if first else None,
            "cpu_seconds": sum(r.overhead.cpu_seconds for r in self.runs) if first else None,
            "interval_seconds": None, "agree": self.agrees, "comparisons": self._groups(),
            "channels": [_channel(e) for e in m.entries] if m else [], "diagnostics": diagnostics}

    def __str__(self) -> str:
        lines = [f"{len(self.runs)} backends side by side for {self.duration:.3f} s"]
        for r in self.runs:
            joules, bias = r.metrics.total_energy_j, self.bias_percent(r.name)
            text = f"{joules:.3f} J" if joules is not None else f"no figure ({r.metrics.reason})"
            accuracy = f"+-{r.accuracy_percent:g} %" if r.accuracy_percent is not None else "accuracy unknown"
            lines.append(f"  {r.name:<14} {text}, {r.method}, {accuracy}; "
                         f"setup {r.overhead.setup_seconds:.3f} s, "
                         f"start {1e6 * r.overhead.start_seconds:.0f} us, "
                         f"stop {1e6 * r.overhead.stop_seconds:.0f} us"
                         + (f"; bias {bias:+.2f} %" if bias is not None else ""))
        lines += [f"  {c}" for c in self.comparisons]
        if not self.comparisons:
            lines.append("  no two of them see the same part")
        lines += [f"  left out: {name}: {why}" for name, why in self.left_out.items()]
        return "\n".join(lines)


# ---- running ----

class _Contestant:
    def __init__(self, backend: Backend, setup_seconds: float) -> None:
        self.backend = backend
        self.setup_seconds = setup_seconds
        self.handle: Any = None
        self.began_unix = self.ended_unix = 0.0
        self.began = self.ended = self.start_seconds = self.stop_seconds = self.cpu_seconds = 0.0

    def start(self) -> None:
        self.began_unix = time.time()
        cpu, at = time.thread_time(), time.monotonic()
        self.handle = self.backend.start_tracking()
        now = time.monotonic()
        self.start_seconds, self.began = now - at, (now + at) / 2
        self.cpu_seconds = time.thread_time() - cpu

    def stop(self) -> Any:
        cpu, at = time.thread_time(), time.monotonic()
        metrics = self.backend.stop_tracking(self.handle)
        now = time.monotonic()
        self.stop_seconds, self.ended = now - at, (now + at) / 2
        self.cpu_seconds += time.thread_time() - cpu
        self.ended_unix = time.time()
        return metrics

    def run(self, metrics: Any) -> Run:
        info = getattr(self.backend, "get_info", lambda: None)()
        known = metrics if isinstance(metrics, Metrics) else foreign(self.backend.name, metrics)
        return Run(self.backend.name, known, self.began, self.ended,
                   Overhead(self.setup_seconds, self.start_seconds, self.stop_seconds, self.cpu_seconds),
                   getattr(info, "accuracy_percent", None), getattr(info, "version", None),
                   known.energy_measurement_method or getattr(info, "method", None),
                   self.began_unix, self.ended_unix)


def foreign(name: str, metrics: Any) -> Metrics:
    """What somebody else's backend gave, by the names it has in common with ours."""
    def number(*names: str) -> Optional[float]:
        for n in names:
            value = getattr(metrics, n, None)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
        return None
    per_gpu = getattr(metrics, "gpu_energy_per_device_j", None) or getattr(metrics, "per_gpu_j", None)
    cpu = number("cpu_energy_j")
    values = [Value("gpu", int(i), float(joules)) for i, joules in (per_gpu or {}).items()]
    if cpu is not None:
        values.append(Value("cpu", None, cpu))
    return Metrics(total_energy_j=number("total_energy_j", "total_j"), cpu_energy_j=cpu,
                   gpu_energy_j=number("gpu_energy_j"), duration_sec=number("duration_sec") or 0.0,
                   gpu_energy_per_device_j=per_gpu, energy_backend_name=name, values=tuple(values))


def _merge(values: Sequence[Value]) -> Dict[Tuple[str, Optional[int]], Value]:
    """The primary values by part, and the sum of each component as that of device None."""
    found: Dict[Tuple[str, Optional[int]], Value] = {(v.component, v.device): v for v in values if v.primary}
    for component in {v.component for v in values}:
        parts = [v for (c, d), v in found.items() if c == component and d is not None]
        if parts and (component, None) not in found:
            unsure = [v.uncertainty_joules for v in parts if v.uncertainty_joules is not None]
            methods = {v.method for v in parts}
            found[component, None] = Value(
                component, None, sum(v.joules for v in parts),
                methods.pop() if len(methods) == 1 else None,
                sum(unsure) if len(unsure) == len(parts) else None, whole=all(v.whole for v in parts),
                provenance=weakest(v.provenance for v in parts),
                gap_seconds=max(v.gap_seconds for v in parts),
                estimated_joules=sum(v.estimated_joules for v in parts), relative=parts[0].relative,
                citation=parts[0].citation, channels=tuple(v.channel for v in parts if v.channel))
    return found


def _unsure(value: Value, run: Run) -> float:
    if value.uncertainty_joules is not None:
        return value.uncertainty_joules
    percent = ESTIMATE_PERCENT if value.method == ESTIMATION else run.accuracy_percent
    return abs(value.joules) * (DEFAULT_PERCENT if percent is None else percent) / 100


def _edges(a: Run, b: Run, watts: float) -> float:
    """Energy that may be in the one interval and not in the other: how far their begins and ends lie apart,
    how long the calls took, and what their own stamps say of their length."""
    apart = abs(a.began - b.began) + abs(a.ended - b.ended)
    calls = sum(o.start_seconds + o.stop_seconds for o in (a.overhead, b.overhead)) / 2
    own = [abs(r.metrics.duration_sec - (r.ended - r.began)) for r in (a, b) if r.metrics.duration_sec > 0]
    return abs(watts) * (apart + calls + sum(own))


def compare(primary: Run, other: Run) -> List[Comparison]:
    """Each part that both see."""
    found = []
    mine, theirs = _merge(primary.metrics.values), _merge(other.metrics.values)
    for (component, device), value in theirs.items():
        own = mine.get((component, device))
        if own is None:
            continue
        finer = device is None and any(c == component and d is not None and (c, d) in mine for c, d in theirs)
        if finer and len([1 for c, d in mine if c == component]) == len([1 for c, d in theirs
                                                                         if c == component]):
            continue  # each device is compared already
        found.append(_pair(primary, own, other, value, other.name))
    return found


def _rest(value: Value) -> float:
    """Of its uncertainty, what is not of its accuracy class."""
    accuracy, all_ = value.accuracy_joules or 0.0, value.uncertainty_joules or 0.0
    return math.sqrt(max(0.0, all_ * all_ - accuracy * accuracy))


def _pair(primary: Run, own: Value, other: Run, value: Value, label: str) -> Comparison:
    seconds = primary.metrics.duration_sec
    edge = 0.0 if primary is other else _edges(primary, other, own.joules / (seconds or 1.0))
    one_sensor = primary is other and own.source is not None and own.source == value.source and \
        own.identity == value.identity
    if one_sensor and own.accuracy_joules is not None and value.accuracy_joules is not None:
        # As src/core/compare.c: the gain error of one sensor is in both.
        apart = abs((own.relative or 0.0) - (value.relative or 0.0)) * max(own.joules, value.joules)
        joint = _rest(own) + _rest(value) + max(abs(own.accuracy_joules - value.accuracy_joules), apart)
    else:
        joint = _unsure(own, primary) + _unsure(value, other) + edge
    return Comparison(own.component, own.device, primary.name, label, own, value, seconds, joint, edge,
                      one_sensor, other.name)


def _own_checks(run: Run) -> List[Comparison]:
    """Second interfaces that a backend read itself."""
    mine = _merge(run.metrics.values)
    return [_pair(run, mine[v.component, v.device], run, v, v.channel or run.name)
            for v in run.metrics.values if not v.primary and (v.component, v.device) in mine]


def _prepared(backends: Sequence[Backend], left_out: Dict[str, str]) -> List[_Contestant]:
    from .registry import reason
    ready = []
    for backend in backends:
        at = time.monotonic()
        try:
            if not backend.is_available():
                left_out[backend.name] = reason(backend)
                continue
            getattr(backend, "prepare", lambda: None)()
        except Exception as error:  # of a peer
            left_out[backend.name] = f"{type(error).__name__}: {error}"
            continue
        ready.append(_Contestant(backend, time.monotonic() - at))
    return ready


def side_by_side(backends: Sequence[Backend], duration: float) -> Report:
    """Runs them on one interval. The first that is available is the primary: it begins last and ends first,
    so that the others' intervals hold its own."""
    if not 0 < duration <= DURATION_MAX:
        raise ValueError(f"a duration is longer than 0 s and at most {DURATION_MAX:.0f} s")
    report = Report(duration)
    started: List[_Contestant] = []
    for contestant in reversed(_prepared(backends, report.left_out)):
        try:
            contestant.start()
            started.insert(0, contestant)
        except Exception as error:
            report.left_out[contestant.backend.name] = f"{type(error).__name__}: {error}"
            report.failed.add(contestant.backend.name)
    time.sleep(duration)
    for contestant in started:
        try:
            report.runs.append(contestant.run(contestant.stop()))
        except Exception as error:
            report.left_out[contestant.backend.name] = f"{type(error).__name__}: {error}"
            report.failed.add(contestant.backend.name)
    if report.runs:
        primary = report.runs[0]
        report.comparisons += _own_checks(primary)
        for other in report.runs[1:]:
            report.comparisons += compare(primary, other)
    return report


class CrossValidated:
    """A backend whose results are checked by a second one (`energy.cross_validate`)."""

    def __init__(self, primary: Backend, second: Backend) -> None:
        self._primary, self._second = primary, second
        self._left_out: Dict[str, str] = {}

    @property
    def name(self) -> str:
        return self._primary.name

    def is_available(self) -> bool:
        return self._primary.is_available()

    def why_not(self) -> Optional[str]:
        return getattr(self._primary, "why_not", lambda: None)()

    def prepare(self) -> None:
        for backend in (self._primary, self._second):
            getattr(backend, "prepare", lambda: None)()

    def get_info(self) -> Any:
        return self._primary.get_info()

    def start_tracking(self) -> Any:
        first, second = _Contestant(self._primary, 0.0), _Contestant(self._second, 0.0)
        try:
            second.start()
        except Exception as error:  # the check never stops the measurement
            self._left_out[self._second.name] = f"{type(error).__name__}: {error}"
            second.handle = None
        first.start()
        return first, second

    def stop_tracking(self, handle: Any) -> Any:
        first, second = handle
        metrics = first.stop()
        run = first.run(metrics)
        report = Report(run.ended - run.began, [run], _own_checks(run), dict(self._left_out),
                        set(self._left_out))
        if second.handle is not None:
            try:
                report.runs.append(second.run(second.stop()))
                report.comparisons += compare(run, report.runs[1])
            except Exception as error:
                report.left_out[second.backend.name] = f"{type(error).__name__}: {error}"
                report.failed.add(second.backend.name)
        if isinstance(metrics, Metrics):
            metrics.cross_validation = report
            metrics.flags += ("crosscheck",) if report.diagnostics else ()
        return metrics


def validate(duration: float = 10.0, backends: Optional[Sequence[Any]] = None, *,
             source: Any = None) -> Report:
    """Runs every backend that can measure here at once, for `duration` seconds, and compares them part by
    part.

    backends: names or backends, the first of which is the primary; None for all that are registered. source:
    where Ergon itself reads. Zeus starts processes that import the main module again: a script that calls
    this beside Zeus needs `if __name__ == "__main__":`.
    """
    from . import registry
    chosen: List[Backend] = []
    options: Dict[str, Any] = {"sync_execution": False, "tracking_mode": "machine"}
    if source is not None:
        options["source"] = source
    left_out: Dict[str, str] = {}
    for one in registry.names() if backends is None else backends:
        if not isinstance(one, str):
            chosen.append(one)
        elif backends is not None or one not in ("null", "agent", "page", "library"):
            try:
                chosen.append(registry.get(one, **options))
            except registry.UnknownBackend:
                raise
            except ErgonError as error:
                left_out[one] = str(error)
    report = side_by_side(chosen, duration)
    report.left_out.update(left_out)
    return report
