# SPDX-License-Identifier: Apache-2.0
"""Which backends there are, and which one a setting means. Others are added by register(), or by a package
with an entry point in the group `ergon.backends` that names a class or function giving a backend."""
from __future__ import annotations

import difflib
import inspect
import logging
import threading
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..errors import ErgonError
from .model import Backend
from .native import ErgonBackend, NullBackend
from .peers import CodeCarbonBackend, NvmlBackend, ZeusBackend

log = logging.getLogger("ergon.backends")

GROUP = "ergon.backends"
Factory = Callable[..., Backend]

_lock = threading.RLock()
_factories: Dict[str, Factory] = {}
_loaded = False

#: Best first; what others register comes after Ergon's own, before estimates.
ORDER = ("ergon", "zeus", "nvml")
LAST = ("codecarbon", "null")
#: Never chosen by "auto": other ways to what one above is.
NAMED_ONLY = ("agent", "page", "library", "nvml-power")


class UnknownBackend(ErgonError, KeyError):
    """No backend has this name."""

    def __str__(self) -> str:
        return str(self.args[0])


class BackendUnavailable(ErgonError):
    """The backend that was named cannot measure here."""


def _builtin() -> Dict[str, Factory]:
    own: Dict[str, Factory] = {"ergon": _ergon("auto", "ergon")}
    for kind in ("agent", "page", "library"):
        own[kind] = _ergon(kind, kind)
    own["zeus"] = lambda **o: ZeusBackend(**_only(o, "gpu_indices", "approx_instant_energy",
                                                  "sync_execution"))
    own["nvml"] = lambda **o: NvmlBackend(**_only(o, "gpu_indices"))
    own["nvml-power"] = lambda **o: NvmlBackend(polled=True, **_only(o, "gpu_indices"))
    own["codecarbon"] = lambda **o: CodeCarbonBackend(**_only(o, "measure_power_secs", "tracking_mode"))
    own["null"] = lambda **_: NullBackend()
    return own


def _ergon(kind: str, name: str) -> Factory:
    return lambda **o: ErgonBackend(kind=kind, name=name, **_only(o, "gpu_indices", "source",
                                                                  "sync_execution"))


def _only(options: Mapping[str, Any], *names: str) -> Dict[str, Any]:
    return {name: options[name] for name in names if name in options}


def _load() -> Dict[str, Factory]:
    global _loaded
    with _lock:
        if not _loaded:
            _loaded = True
            for name, factory in _builtin().items():
                _factories.setdefault(name, factory)
            for point in _entry_points():
                if point.name in _factories:
                    log.warning("the backend %r of %s is left out: there is one of that name", point.name,
                                point.value)
                else:
                    _factories[point.name] = _of_entry_point(point)
        return _factories


def _entry_points() -> List[Any]:
    from importlib import metadata
    found: Any = metadata.entry_points()
    points = found.select(group=GROUP) if hasattr(found, "select") else found.get(GROUP, [])  # 3.9
    return list(points)


def _of_entry_point(point: Any) -> Factory:
    """Of a class or function without arguments; what it raises is a backend that is not available."""
    def make(**_: Any) -> Backend:
        try:
            return point.load()()  # type: ignore[no-any-return]
        except Exception as error:
            raise BackendUnavailable(f"the backend {point.name!r} of {point.value} cannot be made: {error}",
                                     "mend or remove the package that brings it") from error
    return make


def register(name: str, factory: Factory, *, replace: bool = False) -> None:
    """Adds a backend. factory: a class, or a function that gives one; it may take the options of get()."""
    if not isinstance(name, str) or not name or name == "auto":
        raise ValueError(f"{name!r} is no name for a backend")
    with _lock:
        known = _load()
        if name in known and not replace:
            raise ValueError(f"there is a backend {name!r}; replace=True takes its place")
        known[name] = factory


def unregister(name: str) -> None:
    with _lock:
        _load().pop(name, None)


def names() -> List[str]:
    """Names of the backends, best first, those that measure nothing here too."""
    known = list(_load())
    others = [n for n in known if n not in ORDER + LAST + NAMED_ONLY]
    return [n for n in (*ORDER, *others, *LAST, *NAMED_ONLY) if n in known]


def get(name: str, **options: Any) -> Backend:
    """A backend by name, available or not. options: gpu_indices, measure_power_secs, tracking_mode, ...; what
    a backend does not know it is not given."""
    factory = _load().get(name)
    if factory is None:
        near = difflib.get_close_matches(name, names(), 1)
        raise UnknownBackend(f"no backend {name!r}: one of {', '.join(names())}"
                             + (f"; did you mean {near[0]!r}?" if near else ""))
    return factory(**_known(factory, options))


def _known(factory: Factory, options: Mapping[str, Any]) -> Dict[str, Any]:
    """The options that a factory takes."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return dict(options)
    return {name: value for name, value in options.items() if name in parameters}


@dataclass(frozen=True)
class Settings:
    """`energy.*` of a configuration."""

    backend: Optional[str] = "auto"  #: "auto", a name, or None: off
    cross_validate: bool = False
    measure_power_secs: float = 1.0
    tracking_mode: str = "process"
    zeus_approx_instant_energy: bool = True
    zeus_sync_execution: bool = True
    gpu_indices: Optional[Tuple[int, ...]] = None

    @classmethod
    def of(cls, settings: Any) -> "Settings":
        """Of a name, None, a mapping of the keys above, or Settings."""
        if settings is None or isinstance(settings, str):
            return cls(backend=None if settings == "null" else settings)
        if isinstance(settings, cls):
            return settings
        known = {f.name for f in fields(cls)}
        for key in settings:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                raise ValueError(f"no setting energy.{key}" + (f": did you mean {near[0]}?" if near else ""))
        return cls(**settings)

    def options(self) -> Dict[str, Any]:
        options: Dict[str, Any] = {
            "measure_power_secs": self.measure_power_secs, "tracking_mode": self.tracking_mode,
            "approx_instant_energy": self.zeus_approx_instant_energy,
            "sync_execution": self.zeus_sync_execution}
        if self.gpu_indices is not None:
            options["gpu_indices"] = list(self.gpu_indices)
        return options


@dataclass(frozen=True)
class Selection:
    """Which backend it is, and why."""

    backend: Backend
    name: str
    why: str
    passed_over: Mapping[str, str] = field(default_factory=dict)  #: name: reason


def reason(backend: Any) -> str:
    told = getattr(backend, "why_not", lambda: None)()
    return told or "it is not available here"


def select(settings: Any = "auto") -> Selection:
    """The backend that a setting means: "auto" for the best that is available, a name for that one alone,
    None or "null" for none. Raises UnknownBackend, or BackendUnavailable with what helps."""
    chosen = Settings.of(settings)
    if chosen.backend is None or chosen.backend == "null":
        return Selection(NullBackend(), "null", "switched off by the setting")
    options = chosen.options()
    if chosen.backend != "auto":
        backend = get(chosen.backend, **options)
        if not backend.is_available():
            raise BackendUnavailable(f"the backend {chosen.backend!r} was asked for and cannot measure here",
                                     reason(backend))
        return _checked(Selection(backend, chosen.backend, "named by the setting"), chosen)
    passed: Dict[str, str] = {}
    for name in names():
        if name in NAMED_ONLY:
            continue
        try:
            backend = get(name, **options)
            if backend.is_available():
                why = "the best that is available" if name != "null" else "nothing else can measure here"
                if name == "null":
                    log.warning("nothing measures energy here: %s",
                                "; ".join(f"{n}: {r}" for n, r in passed.items()))
                return _checked(Selection(backend, name, why, passed), chosen)
            passed[name] = reason(backend)
        except ErgonError as error:
            passed[name] = str(error)
    return Selection(NullBackend(), "null", "nothing else can measure here", passed)


def _checked(selection: Selection, settings: Settings) -> Selection:
    """With a second backend beside it where cross_validate is set and there is one."""
    if not settings.cross_validate or selection.name == "null":
        return selection
    from .crosscheck import CrossValidated
    passed = dict(selection.passed_over)
    for name in names():
        if name in (selection.name, "null") or name in NAMED_ONLY:
            continue
        try:
            other = get(name, **settings.options())
            if other.is_available():
                return Selection(CrossValidated(selection.backend, other), selection.name,
                                 f"{selection.why}; checked against {name}", passed)
            passed.setdefault(name, reason(other))
        except ErgonError as error:
            passed.setdefault(name, str(error))
    return Selection(selection.backend, selection.name, f"{selection.why}; no second backend is available to "
                     "check it against", passed)
