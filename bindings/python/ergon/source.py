# SPDX-License-Identifier: Apache-2.0
"""Where energy is read, behind one face: the agent, its energy page, libergon in this process, or nothing."""
from __future__ import annotations

import os
import threading
import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Union

from . import sync as _sync
from .errors import ErgonError, Unavailable, WindowClosed
from .model import Account, Event, EventChannel, Measurement, Number, Snapshot

UNITS_MAX = 64  #: kinds of units in one window
NAME_MAX = 127  #: bytes of a window's name


def check_units(units: Optional[Mapping[str, Number]]) -> Dict[str, Number]:
    out: Dict[str, Number] = {}
    for unit, n in (units or {}).items():
        add_units(out, unit, n)
    return out


def add_units(units: Dict[str, Number], unit: str, n: Number) -> None:
    if not isinstance(unit, str) or not unit:
        raise ValueError("a unit has a name")
    if isinstance(n, bool) or not isinstance(n, (int, float)) or not 0 <= n < float("inf"):
        raise ValueError(f"a number of {unit} is not negative and finite, not {n!r}")
    if unit not in units and len(units) >= UNITS_MAX:
        raise ValueError(f"a window counts at most {UNITS_MAX} kinds of units")
    units[unit] = units.get(unit, 0) + n


def clip_name(name: str) -> str:
    """At most NAME_MAX bytes of UTF-8."""
    return name.encode("utf-8", "replace")[:NAME_MAX].decode("utf-8", "ignore")


class Window:
    """A running window. Any thread may end it; the first does, later ones get WindowClosed. As a context
    manager it ends with the block, and `measurement` has the result."""

    def __init__(self, source: "Source", name: Optional[str], units: Optional[Mapping[str, Number]],
                 sync: _sync.Which) -> None:
        self.source = source
        self.name = "window" if name is None else str(name)
        self.measurement: Optional[Measurement] = None
        self._units = check_units(units)
        self._sync = sync
        self._lock = threading.RLock()
        self._open = True
        self._pid = os.getpid()
        self._began = time.monotonic()

    # What a source does; called under the lock.
    def _read(self, end: bool) -> Measurement:
        raise NotImplementedError

    def _forget(self) -> None:
        pass

    def _held(self) -> Any:
        """The lock; in a forked child a new one, as a thread that is not here may have had it."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.RLock()
        return self._lock

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def open(self) -> bool:
        return self._open

    def units(self, name: str, n: Number = 1) -> None:
        """Adds work done inside the window, as ("tokens", 1000): the result tells joules per unit."""
        with self._held():
            self._check()
            add_units(self._units, name, n)

    def peek(self) -> Measurement:
        """The value so far; the window goes on."""
        with self._held():
            self._check()
            return self._read(False)

    def end(self, units: Optional[Mapping[str, Number]] = None) -> Measurement:
        """Ends the window and gives what it measured. What became of the agent meanwhile is no exception: a
        measurement that is not whole says `partial`, and has no figure where none can be told."""
        _sync.synchronize(self._sync)
        with self._held():
            self._check()
            for unit, n in (units or {}).items():
                add_units(self._units, unit, n)
            self._open = False
            self.measurement = self._read(True)
            return self.measurement

    def cancel(self) -> None:
        """Forgets the window. Nothing happens to one that is closed."""
        with self._held():
            if self._open:
                self._open = False
                self._forget()

    def _check(self) -> None:
        if not self._open:
            raise WindowClosed(f"the window {self.name!r} has ended or was cancelled")

    def nothing(self, reason: str, **more: Any) -> Measurement:
        """A measurement without a figure."""
        return Measurement(name=self.name, backend=self.source.kind, elapsed_seconds=self.elapsed_seconds,
                           units=dict(self._units), partial=True, reason=reason, **more)

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self.end()


class Source:
    """One place where energy is read. Thread-safe; windows nest and overlap freely."""

    kind = "none"
    why = "it was asked for"  #: it was chosen

    def accounts(self) -> List[Account]:
        """What there is to measure."""
        return [reading.account for reading in self.totals().readings.values()]

    def totals(self, fresh: bool = True, power: bool = True) -> Snapshot:
        """All accounts now. fresh: a sample is taken for it, where this user may. power: with watts."""
        raise NotImplementedError

    def begin(self, name: Optional[str] = None, units: Optional[Mapping[str, Number]] = None,
              sync: _sync.Which = True) -> Window:
        """Begins a window. units: work to begin with. sync: see ergon.sync; also of the window's end."""
        _sync.synchronize(sync)
        return self._begin(name, units, sync)

    def _begin(self, name: Optional[str], units: Optional[Mapping[str, Number]], sync: _sync.Which) -> Window:
        raise NotImplementedError

    def events(self, interval: Optional[float] = None) -> Iterator[Event]:
        """Endless: a snapshot at most every `interval` seconds (None: as often as there is a new one). The
        first comes at once."""
        pause = 1.0 if interval is None else max(0.001, float(interval))
        seq, seen = 0, None
        due = time.monotonic()
        while True:
            now = self.totals()
            if now.time_ns != seen:
                seen = now.time_ns
                seq += 1
                yield event_of(now, seq)
            due = max(due + pause, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        pass

    def describe(self) -> str:
        """One line for people: what is read, and where."""
        return self.kind

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ergon.Source {self.describe()}>"


def event_of(now: Snapshot, seq: int) -> Event:
    return Event(seq=seq, time_ns=now.time_ns, unix_seconds=now.unix_seconds, joules=now.joules,
                 watts=now.watts,
                 channels=tuple(EventChannel(r.account.channel or "/".join(key), r.joules, r.watts, r.status,
                                             r.age_seconds)
                                for key, r in now.readings.items()))


class NullWindow(Window):
    def _read(self, end: bool) -> Measurement:
        return Measurement(name=self.name, backend="null", elapsed_seconds=self.elapsed_seconds,
                           units=dict(self._units), running=not end)


class NullSource(Source):
    """Measurement that is switched off: windows work, and have no figure."""

    kind = "null"

    def accounts(self) -> List[Account]:
        return []

    def totals(self, fresh: bool = True, power: bool = True) -> Snapshot:
        return Snapshot(backend="null", time_ns=boot_ns(), unix_seconds=time.time(), readings={})

    def begin(self, name: Optional[str] = None, units: Optional[Mapping[str, Number]] = None,
              sync: _sync.Which = True) -> Window:
        return NullWindow(self, name, units, False)  # nothing is waited for


def boot_ns() -> int:
    """The interval clock of the agent, of libergon and of the page."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if clock is None else time.clock_gettime_ns(clock)


Where = Union[str, "os.PathLike[str]", bool, None]
BACKENDS = ("auto", "agent", "page", "library", "null")


def connect(socket: Where = None, page: Where = None, library: Where = None, url: Optional[str] = None,
            token: Optional[str] = None, *, backend: Optional[str] = None, root: Optional[str] = None,
            timeout: float = 30.0, patience: float = 5.0, tls: Any = None) -> Source:
    """Finds what measures here: the agent over its Unix socket, else the energy page, else libergon in this
    process.

    socket, page, library: a path; True for the default places; False to leave it out. Where one or more
    are given (not False), only those are tried.
    url, token: the agent's TCP listener ("http://127.0.0.1:9102"), and a bearer token for it.
    backend: one of BACKENDS; "null" switches measurement off. Named but not there is an error.
    root: for libergon, a directory that holds sys/ and proc/ as under "/".
    timeout: seconds that one question to the agent may take. patience: seconds that an agent which
    restarts is waited for.
    The environment: ERGON_SOCKET, ERGON_PAGE, ERGON_LIBRARY, ERGON_URL, ERGON_TOKEN, ERGON_BACKEND.
    Raises Unavailable, which says for each what was wrong and what helps.
    """
    backend = backend or os.environ.get("ERGON_BACKEND") or "auto"
    if backend not in BACKENDS:
        raise ValueError(f"no backend {backend!r}: one of {', '.join(BACKENDS)}")
    if backend == "null":
        return NullSource()
    if url is None and socket is None and not page and not library and backend in ("auto", "agent"):
        url = os.environ.get("ERGON_URL") or None
    places: Dict[str, Where] = {"agent": socket, "page": page, "library": library}
    if url is not None:
        places = {"agent": True}
    elif backend != "auto":
        places = {backend: places[backend] or True}
    elif any(places.values()):
        places = {kind: where for kind, where in places.items() if where}
    else:
        places = {kind: True for kind, where in places.items() if where is not False}
    failures: List[str] = []
    for kind, where in places.items():
        path = None if isinstance(where, bool) or where is None else os.fspath(where)
        try:
            source = _open(kind, path, url, token, root, timeout, patience, tls, alone=len(places) == 1)
            if len(places) > 1:
                source.why = "; ".join([*failures, f"{kind}: {source.describe()}"])
            return source
        except ErgonError as error:
            if len(places) == 1:
                raise
            failures.append(f"{kind}: {error}")
    raise Unavailable("nothing measures energy here (" + "; ".join(failures) + ")" if failures
                      else "every way to measure is left out",
                      "start `ergon agent`, or ask to be added to its group, or use backend=\"null\"")


def _open(kind: str, path: Optional[str], url: Optional[str], token: Optional[str], root: Optional[str],
          timeout: float, patience: float, tls: Any, alone: bool) -> Source:
    if kind == "agent":
        from .agent import AgentSource
        return AgentSource(path, url=url, token=token, timeout=timeout, patience=patience, tls=tls)
    if kind == "page":
        from .page import PageSource
        return PageSource(path)
    from .library import LibrarySource
    return LibrarySource(path, root=root, need_channels=not alone)
