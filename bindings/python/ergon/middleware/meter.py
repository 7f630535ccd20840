# SPDX-License-Identifier: Apache-2.0
"""Sharing the energy of an account among requests.

Between two samples of the account its power is taken to be even; at each moment it is shared in equal parts
by the requests in flight then, and is nobody's where there is none. In sums: let V be the integral of
1 / (requests in flight) over time, while there are any, and P the energy of an interval over its length.
A request is charged P (V at its end - V at its begin), so one that is shorter than the counter's step
gets its share, requests that overlap never count a joule twice, and all shares and what is nobody's make
the energy of the account.

A sample tells of the past, up to a second where it comes from the energy page or the coarse view, so V is
kept for all moments since the last one. Requests are settled in a thread of the meter's own: a handler never
waits for a reading. While no sample comes, they wait for the next; after HOLD_SECONDS, or where too many
wait, they and the energy of that time have no figure, and what comes later is counted anew from then. Where a
sensor did not answer all the time, what is known of the energy is nobody's, and the requests have no figure.
"""
from __future__ import annotations

import bisect
import contextvars
import threading
import time
import warnings
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from .._delta import delta
from .._fork import in_child
from ..errors import ErgonError
from ..model import Number, Snapshot
from ..source import Source, boot_ns, connect

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)
INTERVAL_MIN = 0.1  #: seconds; finer only where it is asked for (oversample=True)
HOLD_SECONDS = 60.0  #: that requests wait for a sample
WAITING_MAX = 65536  #: requests that do
SERIES_MAX = 256  #: label sets of the histogram
ROUTE_MAX = 128  #: characters of a route
UNITS_MAX = 64
RECENT_SECONDS = 300.0  #: over which joules per request are told
RETRY_SECONDS = 5.0  #: between looks for a source that is away
CLOCK_SLACK_NS = 50_000_000  #: an age in an answer is rounded, and may be of a moment before it
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
OTHER = "other"
UNSHARED = ("gap", "reset", "device_lost")  #: flags of energy that does not belong to the time it is told for

Labels = Tuple[str, str, str]
Connect = Callable[[], Source]


class Request:
    """One request in flight."""

    __slots__ = ("meter", "labels", "began_ns", "began_v", "ended_ns", "ended_v", "joules", "whole")

    def __init__(self, meter: "RequestMeter", began_ns: int, began_v: float, whole: bool) -> None:
        self.meter = meter
        self.labels: Labels = (OTHER, OTHER, "5xx")
        self.began_ns, self.began_v = began_ns, began_v
        self.ended_ns: Optional[int] = None
        self.ended_v = 0.0
        self.joules = 0.0
        self.whole = whole  # all of it lies between samples

    def units(self, unit: str, n: Number = 1) -> None:
        self.meter.units(unit, n)


_current: "contextvars.ContextVar[Optional[Request]]" = contextvars.ContextVar("ergon_request", default=None)


def current_request() -> Optional[Request]:
    return _current.get()


def count(unit: str, n: Number = 1) -> None:
    """Counts units of work of the request that is being handled; nothing outside of one."""
    request = _current.get()
    if request is not None:
        request.units(unit, n)


@dataclass
class Histogram:
    counts: List[int]
    sum: float = 0.0
    count: int = 0


@dataclass
class Ledger:
    """What the meter tells. joules = the histograms' sums + nonrequest + inflight, at each moment."""

    joules: Optional[float] = None  #: of the account since the first sample; None before it
    nonrequest_joules: float = 0.0
    inflight_joules: float = 0.0  #: charged to requests that have not been observed yet
    requests: int = 0
    unmeasured: int = 0  #: of them without a figure
    units: Dict[str, float] = field(default_factory=dict)
    histograms: Dict[Labels, Histogram] = field(default_factory=dict)
    joules_per_request: Optional[float] = None  #: of the last minutes


class RequestMeter:
    """Charges requests. source: a Source; None: connect() in the meter's thread, again and again until there
    is one. interval: seconds between samples, 1 to 5 for most. Thread-safe; a forked child begins anew."""

    def __init__(self, source: Optional[Source] = None, *, interval: float = 1.0, oversample: bool = False,
                 buckets: Tuple[float, ...] = BUCKETS, connect: Connect = connect) -> None:
        if not (interval >= INTERVAL_MIN or oversample and interval > 0):
            raise ValueError(f"an interval below {INTERVAL_MIN} s costs more than it tells; oversample=True "
                             "asks for it all the same")
        self.interval = float(interval)
        self.buckets = tuple(sorted(float(b) for b in buckets))
        self._given = source
        self._connect = connect
        self._lock = threading.Lock()
        self._poll_lock = threading.Lock()
        self._warned = False
        self._begin_anew()
        in_child(self._forked)

    def _forked(self) -> None:
        """The parent's requests are not ours, and its threads are not here."""
        self._lock, self._poll_lock = threading.Lock(), threading.Lock()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._source = self._given
        self._ledger = Ledger()
        self._last: Optional[Snapshot] = None
        self._last_ns = 0
        self._last_v = 0.0
        # Moments since the last sample at which the number in flight changed: V there, the number after.
        self._t: List[int] = []
        self._v: List[float] = []
        self._n_after: List[int] = []
        self._now_ns, self._now_v = boot_ns(), 0.0
        self._active: Dict[int, Request] = {}
        self._waiting: List[Request] = []
        self._dropped: Deque[Tuple[Request, Labels]] = deque()
        self._recent: List[Tuple[float, float, int]] = []
        self._thread: Optional[threading.Thread] = None
        self._wake = threading.Event()
        self._closed = False

    # ---- requests ----

    def start(self) -> None:
        """Starts the meter's thread, where it does not run; the first request does so too."""
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="ergon-requests", daemon=True)
                self._thread.start()

    def begin(self) -> Request:
        if self._thread is None:
            self.start()
        with self._lock:
            self._end_dropped()
            self._advance(boot_ns())
            request = Request(self, self._now_ns, self._now_v, self._last is not None)
            self._active[id(request)] = request
            self._mark()
            return request

    def end(self, request: Request, labels: Labels) -> None:
        """Once; later calls do nothing."""
        with self._lock:
            self._end_dropped()
            self._end(request, labels)

    def _end(self, request: Request, labels: Labels) -> None:
        if request.ended_ns is not None or request.meter is not self or \
                self._active.get(id(request)) is not request:
            return
        self._advance(boot_ns())
        request.ended_ns, request.ended_v = self._now_ns, self._now_v
        del self._active[id(request)]
        self._mark()
        request.labels = labels
        self._ledger.requests += 1
        self._waiting.append(request)
        if len(self._waiting) > WAITING_MAX:
            self._give_up()

    def drop(self, request: Request, labels: Labels) -> None:
        """end() for __del__, which may run at any moment, also while this very thread is inside: it never
        waits. What finds the meter busy ends with the next request or sample."""
        self._dropped.append((request, labels))
        if self._lock.acquire(False):
            try:
                self._end_dropped()
            finally:
                self._lock.release()

    def _end_dropped(self) -> None:
        while self._dropped:
            self._end(*self._dropped.popleft())

    def units(self, unit: str, n: Number = 1) -> None:
        if isinstance(n, bool) or not isinstance(n, (int, float)) or not 0 <= n < float("inf"):
            raise ValueError(f"a number of {unit} is not negative and finite, not {n!r}")
        with self._lock:
            units = self._ledger.units
            name = unit if unit in units or len(units) < UNITS_MAX else OTHER
            units[name] = units.get(name, 0) + n

    def _advance(self, now: int) -> None:
        """V goes on to now."""
        n = len(self._active)
        if n and now > self._now_ns:
            self._now_v += (now - self._now_ns) / 1e9 / n
        self._now_ns = max(now, self._now_ns)

    def _mark(self) -> None:
        """The number in flight is another one from now on."""
        self._t.append(self._now_ns)
        self._v.append(self._now_v)
        self._n_after.append(len(self._active))

    def _at(self, t_ns: int) -> float:
        """V at a moment since the last sample."""
        i = bisect.bisect_right(self._t, t_ns) - 1
        if i < 0:
            return self._last_v
        n = self._n_after[i]
        return self._v[i] + ((t_ns - self._t[i]) / 1e9 / n if n else 0.0)

    # ---- samples ----

    def _run(self) -> None:
        wake = self._wake
        due = time.monotonic()
        while not self._closed:
            good = self.settle()
            pause = self.interval
            if not good and self._source is None:
                pause = max(pause, RETRY_SECONDS)
            due = max(due + pause, time.monotonic())
            wake.wait(max(0.0, due - time.monotonic()))

    def settle(self) -> bool:
        """Takes a sample and charges what it tells. False: none was to be had."""
        with self._poll_lock:
            try:
                if self._source is None:
                    self._source = self._connect()
                asked_ns = boot_ns()
                now = self._source.totals(fresh=True, power=False)
                got_ns = boot_ns()
                if now.stale or now.microjoules is None:
                    raise ErgonError(f"{self._source.describe()} has no figure now")
                self._take(now, self._moment(now, asked_ns, got_ns))
                return True
            except Exception as error:  # also what the environment says wrongly: requests are served
                self._away(error)
                return False

    def _moment(self, now: Snapshot, asked_ns: int, got_ns: int) -> int:
        """Of the sample, by our own clock: the agent's may be another one's, on another machine. It is ours
        where the answer was made between question and answer, however long that took."""
        age_ns = int((now.age_seconds or 0.0) * 1e9)
        if asked_ns - CLOCK_SLACK_NS <= now.time_ns + age_ns <= got_ns + CLOCK_SLACK_NS:
            return min(now.time_ns, got_ns)
        return got_ns - age_ns

    def _away(self, error: Exception) -> None:
        with self._lock:
            first, self._warned = not self._warned, True
            if self._last is not None and boot_ns() - self._last_ns > HOLD_SECONDS * 1e9:
                self._give_up()
            elif self._last is None:
                self._give_up()
        if first:
            warnings.warn(f"ergon: {error}; requests are served, without figures for this time",
                          RuntimeWarning)

    def _give_up(self) -> None:
        """What waits has no figure, and what is in flight will have none: of the energy since the last sample
        nobody will know whose it was."""
        self._ledger.unmeasured += len(self._waiting)
        for request in self._waiting + list(self._active.values()):
            if request.whole:  # what it was charged before is nobody's now
                self._ledger.nonrequest_joules += request.joules
            request.whole, request.joules = False, 0.0
        self._waiting.clear()
        self._last = None
        self._forget(self._now_ns)

    def _forget(self, t_ns: int) -> None:
        """Changes up to t_ns are not needed any more."""
        v = self._at(t_ns)
        i = bisect.bisect_right(self._t, t_ns)
        n = self._n_after[i - 1] if i else None
        del self._t[:i], self._v[:i], self._n_after[:i]
        if n is not None:  # how many were in flight at t_ns
            self._t.insert(0, t_ns)
            self._v.insert(0, v)
            self._n_after.insert(0, n)
        self._last_v = v

    def _take(self, now: Snapshot, t_ns: int) -> None:
        with self._lock:
            self._end_dropped()
            self._advance(boot_ns())
            last, last_ns = self._last, self._last_ns
            if last is None:
                self._first(now, t_ns)
                return
            if now.time_ns == last.time_ns or t_ns <= last_ns:
                return  # nothing new
            gained = delta(last, now, {}, recovered=True)
            if gained.microjoules is None or any(flag in UNSHARED for flag in gained.flags):
                # Of another ledger, or not the energy of all of this time and of it alone: it is nobody's.
                self._ledger.joules = (self._ledger.joules or 0.0) + (gained.joules or 0.0)
                self._ledger.nonrequest_joules += gained.joules or 0.0
                self._give_up()
                self._first(now, t_ns)
                return
            self._charge(gained.microjoules / 1e6, last_ns, t_ns)
            self._last, self._last_ns, self._warned = now, t_ns, False

    def _first(self, now: Snapshot, t_ns: int) -> None:
        self._last, self._last_ns, self._warned = now, t_ns, False
        if self._ledger.joules is None:
            self._ledger.joules = 0.0
        self._forget(t_ns)
        for request in list(self._active.values()) + self._waiting:
            request.whole = request.began_ns >= t_ns
        self._settle_ended(t_ns)

    def _charge(self, joules: float, from_ns: int, to_ns: int) -> None:
        seconds = (to_ns - from_ns) / 1e9
        power = joules / seconds
        v0, v1 = self._last_v, self._at(to_ns)
        charged = 0.0
        for request in self._waiting:
            share = power * max(0.0, min(request.ended_v, v1) - max(request.began_v, v0))
            request.joules += share
            charged += share if request.whole else 0.0
        for request in self._active.values():
            share = power * max(0.0, v1 - max(request.began_v, v0))
            request.joules += share
            charged += share if request.whole else 0.0
        ledger = self._ledger
        assert ledger.joules is not None
        ledger.joules += joules
        self._forget(to_ns)
        told = self._settle_ended(to_ns)
        # What is in flight still is charged when it ends: until then nobody is told whose it is.
        ledger.nonrequest_joules += max(0.0, joules - charged)
        self._remember(joules, told)

    def _settle_ended(self, t_ns: int) -> int:
        """Requests that ended before t_ns are told. Their number."""
        left: List[Request] = []
        told = 0
        for request in self._waiting:
            if request.ended_ns is not None and request.ended_ns > t_ns:
                left.append(request)
                continue
            told += 1
            if request.whole:
                self._observe(request)
            else:
                self._ledger.unmeasured += 1
        self._waiting = left
        return told

    def _observe(self, request: Request) -> None:
        histograms = self._ledger.histograms
        labels = request.labels
        if labels not in histograms and len(histograms) >= SERIES_MAX:
            labels = (OTHER, OTHER, labels[2])
        h = histograms.get(labels)
        if h is None:
            h = histograms[labels] = Histogram([0] * (len(self.buckets) + 1))
        h.counts[bisect.bisect_left(self.buckets, request.joules)] += 1
        h.sum += request.joules
        h.count += 1

    def _remember(self, joules: float, told: int) -> None:
        now = time.monotonic()
        self._recent.append((now, joules, told))
        while self._recent and now - self._recent[0][0] > RECENT_SECONDS:
            del self._recent[0]

    # ---- what it tells ----

    def ledger(self) -> Ledger:
        """A copy of what is known now."""
        with self._lock:
            own = self._ledger
            requests = sum(r[2] for r in self._recent)
            joules = sum(r[1] for r in self._recent)
            inflight = sum(r.joules for r in self._waiting if r.whole) + \
                sum(r.joules for r in self._active.values() if r.whole)
            return Ledger(own.joules, own.nonrequest_joules, inflight, own.requests, own.unmeasured,
                          dict(own.units),
                          {labels: Histogram(list(h.counts), h.sum, h.count)
                           for labels, h in own.histograms.items()},
                          joules / requests if requests else None)

    def describe(self) -> Dict[str, str]:
        source, last = self._source, self._last
        return {"scope": "node", "method": "equal share of those in flight",
                "backend": source.kind if source else "none",
                "provenance": (last.provenance if last else None) or "none",
                "boundary": (last.boundary if last else None) or "none"}

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)
        if self._given is None and self._source is not None:
            self._source.close()


def clean(route: Optional[str], method: str, status: Optional[int], aborted: bool) -> Labels:
    """Labels of bounded cardinality."""
    route = OTHER if not route else route if len(route) <= ROUTE_MAX else route[:ROUTE_MAX]
    method = method if method in METHODS else OTHER
    if aborted:
        return route, method, "aborted"
    return route, method, f"{status // 100}xx" if status is not None and 100 <= status <= 599 else "5xx"


def any_meter(meter: Optional[RequestMeter], options: Dict[str, Any]) -> RequestMeter:
    if meter is not None and options:
        raise TypeError("options of a meter go to the one that is given")
    return RequestMeter(**options) if meter is None else meter
