# SPDX-License-Identifier: Apache-2.0
"""libergon in this process, by ctypes: for machines without an agent, where this user may read the sensors.
Totals count from the moment it was opened."""
from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import errno
import itertools
import os
import threading
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from . import sync as _sync
from ._fork import in_child
from .errors import AccessDenied, ErgonError, Unavailable
from .model import Account, AccountKey, Entry, Measurement, Number, Reading, Snapshot, joules_of
from .source import Source, Window, boot_ns

SONAME = "libergon.so.0"
COUNTED = "total"


class _Options(ctypes.Structure):
    _fields_ = [("size", c_size_t), ("root", c_char_p), ("select", c_char_p), ("backend", c_char_p),
                ("interval_ns", c_uint64), ("allow_estimates", c_int)]


def _signatures() -> Dict[str, Tuple[Any, List[Any]]]:
    p, out = c_void_p, POINTER(c_void_p)
    text, u64 = c_char_p, c_uint64
    signatures: Dict[str, Tuple[Any, List[Any]]] = {
        "ergon_version": (text, []),
        "ergon_error_text": (text, [c_int]),
        "ergon_open": (c_int, [POINTER(_Options), out]),
        "ergon_close": (None, [p]),
        "ergon_channels": (c_int, [p, out]),
        "ergon_channel_list_get_size": (c_size_t, [p]),
        "ergon_channel_list_get": (p, [p, c_size_t]),
        "ergon_channel_list_free": (None, [p]),
        "ergon_channel_get_accuracy_ppm": (c_uint32, [p]),
        "ergon_channel_read": (c_int, [p, text, out]),
        "ergon_reading_get_power_uw": (c_int, [p, POINTER(u64)]),
        "ergon_reading_get_time_ns": (u64, [p]),
        "ergon_reading_get_status": (text, [p]),
        "ergon_reading_free": (None, [p]),
        "ergon_diagnostics": (c_int, [p, out]),
        "ergon_diagnostic_list_get_size": (c_size_t, [p]),
        "ergon_diagnostic_list_get": (p, [p, c_size_t]),
        "ergon_diagnostic_list_free": (None, [p]),
        "ergon_window_begin": (c_int, [p, text, out]),
        "ergon_window_end": (c_int, [p, text, out]),
        "ergon_window_cancel": (c_int, [p, text]),
        "ergon_window_peek": (c_int, [p, out]),
        "ergon_totals": (c_int, [p, out]),
        "ergon_result_free": (None, [p]),
        "ergon_result_has_total": (c_int, [p]),
        "ergon_result_get_mean_uw": (c_int, [p, POINTER(u64)]),
        "ergon_result_get_flag": (text, [p, c_size_t]),
        "ergon_result_get_channel_count": (c_size_t, [p]),
        "ergon_result_get_channel_uj": (c_int, [p, c_size_t, POINTER(u64)]),
        "ergon_result_get_channel_flag": (text, [p, c_size_t, c_size_t]),
        "ergon_result_get_total_provenance": (text, [p]),
    }
    for name in ("name", "device", "component", "source", "boundary", "provenance", "quantity"):
        signatures[f"ergon_channel_get_{name}"] = (text, [p])
    for name in ("code", "driver", "subject", "detail", "cure"):
        signatures[f"ergon_diagnostic_get_{name}"] = (text, [p])
    for name in ("duration_ns", "begin_unix_ns", "end_unix_ns", "total_uj", "total_estimated_uj",
                 "total_uncertainty_uj"):
        signatures[f"ergon_result_get_{name}"] = (u64, [p])
    for name in ("name", "component", "source", "boundary", "role", "provenance"):
        signatures[f"ergon_result_get_channel_{name}"] = (text, [p, c_size_t])
    for name in ("estimated_uj", "uncertainty_uj", "gap_ns", "samples"):
        signatures[f"ergon_result_get_channel_{name}"] = (u64, [p, c_size_t])
    return signatures


def library_places() -> List[str]:
    named = os.environ.get("ERGON_LIBRARY")
    if named:
        return [named]
    found = ctypes.util.find_library("ergon")
    return [SONAME] + ([found] if found and found != SONAME else [])


def load(path: Optional[str] = None) -> Any:
    """libergon with the types of its functions set. Raises Unavailable."""
    failures = []
    for place in [path] if path is not None else library_places():
        try:
            library = ctypes.CDLL(place, use_errno=False)
            for name, (result, arguments) in _signatures().items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            return library
        except (OSError, AttributeError) as error:
            failures.append(str(error))
    raise Unavailable("libergon cannot be loaded (" + "; ".join(failures) + ")",
                      "install libergon, or name its file in ERGON_LIBRARY")


def _str(value: Optional[bytes]) -> str:
    return (value or b"").decode("utf-8", "replace")


class _Channel:
    def __init__(self, lib: Any, ch: int) -> None:
        def text(what: str) -> str:
            return _str(getattr(lib, f"ergon_channel_get_{what}")(ch))
        self.name, self.device, self.component = text("name"), text("device"), text("component")
        self.source, self.boundary, self.provenance = text("source"), text("boundary"), text("provenance")
        self.method = "counter" if text("quantity") == "energy" else "integrated_power"
        self.accuracy = lib.ergon_channel_get_accuracy_ppm(ch) / 1e6


class _Result:
    """A result of libergon, copied and freed."""

    def __init__(self, lib: Any, at: c_void_p, channels: Mapping[str, _Channel]) -> None:
        try:
            self.seconds_ns: int = lib.ergon_result_get_duration_ns(at)
            self.begin_ns: int = lib.ergon_result_get_begin_unix_ns(at)
            self.end_ns: int = lib.ergon_result_get_end_unix_ns(at)
            self.flags = self._flags(lambda i: lib.ergon_result_get_flag(at, i))
            self.total: Optional[int] = None
            self.estimated, self.uncertainty, self.provenance, self.watts = 0, None, None, None
            if lib.ergon_result_has_total(at):
                uw = c_uint64()
                self.total = lib.ergon_result_get_total_uj(at)
                self.estimated = lib.ergon_result_get_total_estimated_uj(at)
                self.uncertainty = lib.ergon_result_get_total_uncertainty_uj(at) / 1e6
                self.provenance = _str(lib.ergon_result_get_total_provenance(at))
                self.watts = uw.value / 1e6 if lib.ergon_result_get_mean_uw(at, byref(uw)) == 0 else None
            self.entries = tuple(self._entry(lib, at, i, channels)
                                 for i in range(lib.ergon_result_get_channel_count(at)))
        finally:
            lib.ergon_result_free(at)

    @staticmethod
    def _flags(get: Any) -> Tuple[str, ...]:
        out: List[str] = []
        for i in itertools.count():
            flag = get(i)
            if flag is None:
                return tuple(out)
            out.append(_str(flag))
        return ()

    def _entry(self, lib: Any, at: c_void_p, i: int, channels: Mapping[str, _Channel]) -> Entry:
        def text(what: str) -> str:
            return _str(getattr(lib, f"ergon_result_get_channel_{what}")(at, i))
        uj = c_uint64()
        known = lib.ergon_result_get_channel_uj(at, i, byref(uj)) == 0
        held = lib.ergon_result_get_channel_estimated_uj(at, i)
        name = text("name")
        ch = channels.get(name)
        role = text("role")
        total = uj.value + held if known else held or None
        seconds = self.seconds_ns / 1e9
        return Entry(
            ch.device if ch else "", text("component"), text("provenance") or None, text("source"),
            text("boundary"), name, role, role == COUNTED, total, held,
            lib.ergon_result_get_channel_uncertainty_uj(at, i) / 1e6 if total is not None else None,
            total / 1e6 / seconds if total is not None and seconds > 0 else None, ch.method if ch else None,
            lib.ergon_result_get_channel_samples(at, i), lib.ergon_result_get_channel_gap_ns(at, i) / 1e9,
            self._flags(lambda f: lib.ergon_result_get_channel_flag(at, i, f)))

    def measurement(self, **common: Any) -> Measurement:
        missing = [flag for flag in ("gap", "device_lost") if flag in self.flags]
        reason = None
        if self.total is None:
            reason = "no channel that makes the node's total was measured"
        elif missing:
            reason = "energy of part of the time is not known (" + ", ".join(missing) + ")"
        return Measurement(
            seconds=self.seconds_ns / 1e9, begin_unix_seconds=self.begin_ns / 1e9,
            end_unix_seconds=self.end_ns / 1e9, microjoules=self.total,
            estimated_microjoules=self.estimated, uncertainty_joules=self.uncertainty,
            provenance=self.provenance, watts=self.watts, entries=self.entries, flags=self.flags,
            partial=reason is not None, reason=reason, **common)


class LibrarySource(Source):
    """libergon. path: its file; root: a directory that holds sys/ and proc/ as under "/"; select: drivers and
    channels as `ergon run --select`. A forked child opens the sensors anew."""

    kind = "library"

    def __init__(self, path: Optional[str] = None, *, root: Optional[str] = None,
                 select: Optional[str] = None, allow_estimates: bool = False,
                 need_channels: bool = True) -> None:
        self.lib = load(path)
        self.version = _str(self.lib.ergon_version())
        self._options = (root, select, allow_estimates)
        self._names = itertools.count()
        self._closed = False
        self.channels: Dict[str, _Channel] = {}
        self._begin_anew()
        in_child(self._begin_anew)
        with self.use():
            pass
        if need_channels and not self.channels:
            why = self.diagnostics()
            self.close()
            raise Unavailable("libergon finds nothing that can be measured here"
                              + "".join(f"; {d['driver']}: {d['detail']}" for d in why[:4]),
                              next((d["cure"] for d in why if d["cure"]), None))

    def error(self, code: int, what: str) -> ErgonError:
        text = f"{what}: {_str(self.lib.ergon_error_text(code))}"
        if code in (-errno.EACCES, -errno.EPERM):
            return AccessDenied(text, "run `ergon doctor`, which says what to allow")
        return Unavailable(text)

    def _begin_anew(self) -> None:
        self._free = threading.Condition()
        self._calls = 0  #: that are in the library
        self._context: Optional[c_void_p] = None  # a parent's stays the parent's

    @contextlib.contextmanager
    def use(self, wanted: Optional[c_void_p] = None) -> Iterator[c_void_p]:
        """The open context, which is not closed meanwhile. wanted: only that one will do."""
        with self._free:
            if self._closed:
                raise Unavailable("this source is closed")
            if self._context is None and wanted is None:
                self._open()
            if self._context is None or wanted is not None and self._context is not wanted:
                raise Unavailable("the window was begun in another process")
            context = self._context
            self._calls += 1
        try:
            yield context
        finally:
            with self._free:
                self._calls -= 1
                self._free.notify_all()

    def _open(self) -> None:
        root, select, allow = self._options
        options = _Options(ctypes.sizeof(_Options), os.fsencode(root) if root else None,
                           select.encode() if select else None, None, 0, int(allow))
        context = c_void_p()
        r = self.lib.ergon_open(byref(options), byref(context))
        if r < 0:
            raise self.error(r, "libergon cannot open the sensors")
        self._context = context
        self._opened_unix = time.time()
        listed = c_void_p()
        if self.lib.ergon_channels(context, byref(listed)) == 0:
            lib = self.lib
            found = [_Channel(lib, lib.ergon_channel_list_get(listed, i))
                     for i in range(lib.ergon_channel_list_get_size(listed))]
            lib.ergon_channel_list_free(listed)
            self.channels = {ch.name: ch for ch in found}

    def diagnostics(self) -> List[Dict[str, str]]:
        """What could not be measured, why, and what helps."""
        listed, lib = c_void_p(), self.lib
        with self.use() as context:
            if lib.ergon_diagnostics(context, byref(listed)) < 0:
                return []
        try:
            return [{what: _str(getattr(lib, f"ergon_diagnostic_get_{what}")(
                lib.ergon_diagnostic_list_get(listed, i)))
                for what in ("code", "driver", "subject", "detail", "cure")}
                for i in range(lib.ergon_diagnostic_list_get_size(listed))]
        finally:
            lib.ergon_diagnostic_list_free(listed)

    def result(self, at: c_void_p) -> _Result:
        return _Result(self.lib, at, self.channels)

    def totals(self, fresh: bool = True, power: bool = True) -> Snapshot:
        at = c_void_p()
        with self.use() as context:
            r = self.lib.ergon_totals(context, byref(at))
        if r < 0:
            raise self.error(r, "libergon cannot read the sensors")
        now, result = boot_ns(), self.result(at)
        readings: Dict[AccountKey, Reading] = {}
        watts: Optional[float] = 0.0
        for e in result.entries:
            uw, status, age = self._power(e.channel or "") if power else (None, None, None)
            if e.counted and watts is not None:
                watts = None if uw is None else watts + uw
            measured = e.microjoules - e.estimated_microjoules if e.microjoules is not None else None
            ch = self.channels.get(e.channel or "")
            provenance = ch.provenance if ch else e.provenance or "estimated"
            key = AccountKey(e.device, e.component, provenance)
            if key in readings:  # two interfaces to one device: the one that is counted
                if not e.counted:
                    continue
            readings[key] = Reading(
                Account(key, e.source, e.boundary, e.channel, e.role, e.counted), measured, uw,
                e.uncertainty_joules, status, e.flags, age, e.gap_seconds, 0, 0.0, self._opened_unix)
            if e.estimated_microjoules:
                held = AccountKey(e.device, e.component, "estimated")
                readings[held] = Reading(
                    Account(held, e.source, e.boundary, e.channel, e.role, e.counted, True),
                    e.estimated_microjoules)  # it begins with its first joules
        boundaries = {e.boundary for e in result.entries if e.counted}
        return Snapshot("library", now, result.end_ns / 1e9, readings, 0.0, "full", None, result.total,
                        joules_of(result.estimated), result.uncertainty,
                        watts if power and boundaries else None, result.provenance,
                        boundaries.pop() if len(boundaries) == 1 else "mixed" if boundaries else None,
                        session=f"{os.getpid()}.{self._opened_unix}")

    def _power(self, name: str) -> Tuple[Optional[float], Optional[str], Optional[float]]:
        reading, uw = c_void_p(), c_uint64()
        lib = self.lib
        with self.use() as context:
            if lib.ergon_channel_read(context, name.encode(), byref(reading)) < 0:
                return None, "no_data", None
        try:
            known = lib.ergon_reading_get_power_uw(reading, byref(uw)) == 0
            t_ns = lib.ergon_reading_get_time_ns(reading)
            return (uw.value / 1e6 if known else None, _str(lib.ergon_reading_get_status(reading)),
                    max(0.0, (boot_ns() - t_ns) / 1e9) if t_ns else None)
        finally:
            lib.ergon_reading_free(reading)

    def _begin(self, name: Optional[str], units: Optional[Mapping[str, Number]], sync: _sync.Which) -> Window:
        return LibraryWindow(self, name, units, sync)

    def close(self) -> None:
        with self._free:
            self._closed = True
            self._free.wait_for(lambda: self._calls == 0)
            context, self._context = self._context, None
        if context is not None:
            self.lib.ergon_close(context)

    def describe(self) -> str:
        return f"libergon {self.version} in this process, {len(self.channels)} channels"


class LibraryWindow(Window):
    def __init__(self, source: LibrarySource, name: Optional[str], units: Optional[Mapping[str, Number]],
                 sync: _sync.Which) -> None:
        super().__init__(source, name, units, sync)
        self._library = source
        self._key = f"python-{next(source._names)}".encode()
        self._at = c_void_p()
        with source.use() as context:
            self._context = context
            r = source.lib.ergon_window_begin(context, self._key, byref(self._at))
        if r < 0:
            raise source.error(r, "libergon cannot begin a window")
        self._began = time.monotonic()

    def _read(self, end: bool) -> Measurement:
        source, at = self._library, c_void_p()
        try:
            with source.use(self._context) as context:
                if end:
                    r = source.lib.ergon_window_end(context, self._key, byref(at))
                else:
                    r = source.lib.ergon_window_peek(self._at, byref(at))
        except Unavailable as error:
            return self.nothing(str(error), running=not end)
        if r < 0:
            return self.nothing(str(source.error(r, "libergon cannot read the window")), running=not end)
        return source.result(at).measurement(
            name=self.name, backend="library", elapsed_seconds=self.elapsed_seconds,
            units=dict(self._units), running=not end)

    def _forget(self) -> None:
        try:
            with self._library.use(self._context) as context:
                self._library.lib.ergon_window_cancel(context, self._key)
        except Unavailable:
            pass  # it went with its context
