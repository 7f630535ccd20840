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
waits for a reading. A step (from one sample to the next) whose energy is not known, or not known to be of all
of the time, or that is too long, is not shared: what is known of it is non-request energy, and every request
in flight in it is unmeasured: it has no figure, and what it was charged before is non-request energy too.

The middleware of the Node package does the same with the same numbers (tests/middleware).
"""
from __future__ import annotations

import bisect
import contextvars
import threading
import time
import warnings
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Set, Tuple

from .._delta import delta
from .._fork import in_child
from ..errors import ErgonError
from ..model import Number, Snapshot
from ..source import Source, boot_ns, connect

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)
INTERVAL_MIN = 0.1  #: seconds; finer only where it is asked for (oversample=True)
LONGEST_STEP = 60.0  #: seconds; a longer time between two samples is not shared
PENDING_MAX = 1 << 18  #: begins and ends that wait for a sample
ROUTES_MAX = 100  #: pairs of method and route
LABEL_MAX = 128  #: characters of a route, or of a unit
UNITS_MAX = 32
BUCKETS_MAX = 64
HISTORY_MAX = 4096  #: samples that joules per request look back over
WINDOW_SECONDS = 300.0  #: over which they are told
STALE_SECONDS = 5.0  #: without a sample, at least: then energy has no series
RETRY_SECONDS = 5.0  #: between looks for a source that is away
CLOCK_SLACK_NS = 50_000_000  #: an age in an answer is rounded, and may be of a moment before it
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
OTHER = "other"

Labels = Tuple[str, str, str]
Connect = Callable[[], Source]


class Request:
    """One request in flight."""

    __slots__ = ("meter", "labels", "began_ns", "began_v", "ended_ns", "ended_v", "joules", "whole")

    def __init__(self, meter: "RequestMeter", began_ns: int, began_v: float) -> None:
        self.meter = meter
        self.labels: Labels = (OTHER, OTHER, OTHER)
        self.began_ns, self.began_v = began_ns, began_v
        self.ended_ns: Optional[int] = None
        self.ended_v = 0.0
        self.joules = 0.0
        self.whole = True  # every step that it is in was shared

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
    known: bool = False  #: there was a sample lately
    nonrequest_joules: float = 0.0
    inflight_joules: float = 0.0  #: charged to requests that have not been observed yet
    requests: int = 0
    unmeasured: int = 0  #: of them without a figure
    settled: int = 0  #: of them that wait for no sample any more
    unknown_seconds: float = 0.0  #: time that was not shared
    units: Dict[str, float] = field(default_factory=dict)
    histograms: Dict[Labels, Histogram] = field(default_factory=dict)
    joules_per_request: Optional[float] = None  #: of the last minutes


class RequestMeter:
    """Charges requests. source: a Source; None: connect() in the meter's thread, again and again until there
    is one. interval: seconds between samples, 1 to 5 for most. window: seconds that joules per request look
    back. longest_step: seconds; a longer time between two samples is not shared. max_routes: pairs of method
    and route. max_pending: begins and ends that wait for a sample. Thread-safe; a forked child begins
    anew."""

    def __init__(self, source: Optional[Source] = None, *, interval: float = 1.0, oversample: bool = False,
                 buckets: Sequence[float] = BUCKETS, window: float = WINDOW_SECONDS,
                 longest_step: float = LONGEST_STEP, max_routes: int = ROUTES_MAX,
                 max_pending: int = PENDING_MAX, connect: Connect = connect) -> None:
        if not (interval >= INTERVAL_MIN or oversample and interval > 0):
            raise ValueError(f"an interval below {INTERVAL_MIN} s costs more than it tells; oversample=True "
                             "asks for it all the same")
        self.interval = float(interval)
        self.buckets = tuple(float(b) for b in buckets)
        if len(self.buckets) > BUCKETS_MAX or not all(
                a < b < float("inf") for a, b in zip((0.0, *self.buckets), self.buckets)):
            raise ValueError(f"buckets are at most {BUCKETS_MAX} rising numbers of joules")
        if not (window > 0 and longest_step > 0 and max_routes >= 1 and max_pending >= 1):
            raise ValueError("window, longest_step, max_routes and max_pending are positive")
        self._window_ns, self._longest_ns = int(window * 1e9), int(longest_step * 1e9)
        self._stale_ns = int(max(STALE_SECONDS, 3 * self.interval) * 1e9)
        self._max_routes, self._max_pending = max_routes, max_pending
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
        self._got_ns = 0  # when it came
        self._lost = False  # this step will not be shared
        # Moments since the last sample at which the number in flight changed: V there, the number after.
        self._t: List[int] = []
        self._v: List[float] = []
        self._n_after: List[int] = []
        self._based = 0  # of them that stand for what was before
        self._now_ns, self._now_v = boot_ns(), 0.0
        self._active: Dict[int, Request] = {}
        self._waiting: List[Request] = []
        self._dropped: Deque[Tuple[Request, Labels]] = deque()
        self._pairs: Set[Tuple[str, str]] = set()
        self._history: Deque[Tuple[int, float, int]] = deque(maxlen=HISTORY_MAX)  # time, joules, settled
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
            self._make_room()
            self._advance(boot_ns())
            request = Request(self, self._now_ns, self._now_v)
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
        self._make_room()
        self._advance(boot_ns())
        request.ended_ns, request.ended_v = self._now_ns, self._now_v
        del self._active[id(request)]
        self._mark()
        request.labels = self._bounded(labels)
        self._ledger.requests += 1
        self._waiting.append(request)

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
            unit = str(unit)[:LABEL_MAX]
            name = unit if unit in units or len(units) < UNITS_MAX else OTHER
            units[name] = units.get(name, 0) + n

    def _bounded(self, labels: Labels) -> Labels:
        """Method and route, or `other` where there are too many pairs of them."""
        pair = labels[:2]
        if pair not in self._pairs and len(self._pairs) >= self._max_routes:
            pair = (OTHER, OTHER)
        self._pairs.add(pair)
        return (*pair, labels[2])

    def _make_room(self) -> None:
        if len(self._t) - self._based >= self._max_pending:
            self._give_up()

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
            if self._last is None or boot_ns() - self._last_ns > self._longest_ns:
                self._give_up()  # whatever comes will not be shared
        if first:
            warnings.warn(f"ergon: {error}; requests are served, without figures for this time",
                          RuntimeWarning)

    def _give_up(self) -> None:
        """This step will not be shared: what waits has no figure, and what is in flight will have none."""
        self._lost = True
        for request in (*self._waiting, *self._active.values()):
            self._doom(request)
        self._advance(boot_ns())
        self._ledger.unmeasured += len(self._waiting)
        self._ledger.settled += len(self._waiting)
        self._waiting.clear()
        self._forget(self._now_ns)

    def _doom(self, request: Request) -> None:
        if request.whole:  # what it was charged before is nobody's now
            self._ledger.nonrequest_joules += request.joules
            request.whole, request.joules = False, 0.0

    def _forget(self, t_ns: int) -> None:
        """Changes up to t_ns are not needed any more."""
        v = self._at(t_ns)
        i = bisect.bisect_right(self._t, t_ns)
        n = self._n_after[i - 1] if i else None
        del self._t[:i], self._v[:i], self._n_after[:i]
        self._based = 0
        if n is not None:  # how many were in flight at t_ns
            self._t.insert(0, t_ns)
            self._v.insert(0, v)
            self._n_after.insert(0, n)
            self._based = 1
        self._last_v = v

    def _take(self, now: Snapshot, t_ns: int) -> None:
        with self._lock:
            self._end_dropped()
            self._advance(boot_ns())
            last, last_ns, ledger = self._last, self._last_ns, self._ledger
            self._warned = False
            if last is not None and now.time_ns == last.time_ns:
                return  # nothing new
            joules, whole = (None, False) if last is None else step(last, now, self._longest_ns)
            shared = whole and not self._lost
            if last is not None:
                t_ns = max(t_ns, last_ns)
            ledger.joules = (ledger.joules or 0.0) + (joules or 0.0)
            if shared and joules is not None:
                self._charge(joules, last_ns, t_ns)
            else:
                if last is not None:
                    ledger.unknown_seconds += (t_ns - last_ns) / 1e9
                ledger.nonrequest_joules += joules or 0.0
                for request in (*self._waiting, *self._active.values()):
                    if request.began_ns < t_ns:
                        self._doom(request)
            self._forget(t_ns)
            self._settle_ended(t_ns)
            self._last, self._last_ns, self._lost, self._got_ns = now, t_ns, False, self._now_ns
            if not shared:
                self._history.clear()  # joules per request are about time that is known
            self._history.append((t_ns, ledger.joules, ledger.settled))
            while self._history[0][0] < t_ns - self._window_ns:
                self._history.popleft()

    def _charge(self, joules: float, from_ns: int, to_ns: int) -> None:
        charged = 0.0
        if to_ns > from_ns:
            power = joules / ((to_ns - from_ns) / 1e9)
            v0, v1 = self._last_v, self._at(to_ns)
            shares = [(request, power * max(0.0, min(request.ended_v, v1) - max(request.began_v, v0)))
                      for request in self._waiting]
            shares += [(request, power * max(0.0, v1 - max(request.began_v, v0)))
                       for request in self._active.values()]
        else:  # no time between them: who was in flight then
            there = [request for request in (*self._waiting, *self._active.values())
                     if request.began_ns <= from_ns]
            shares = [(request, joules / len(there)) for request in there]
        for request, share in shares:
            if request.whole:  # until a request ends nobody is told whose it is
                request.joules += share
                charged += share
        self._ledger.nonrequest_joules += max(0.0, joules - charged)

    def _settle_ended(self, t_ns: int) -> None:
        """Requests that ended up to t_ns are told."""
        left: List[Request] = []
        for request in self._waiting:
            if request.ended_ns is not None and request.ended_ns > t_ns:
                left.append(request)
                continue
            self._ledger.settled += 1
            if request.whole:
                self._observe(request)
            else:
                self._ledger.unmeasured += 1
        self._waiting = left

    def _observe(self, request: Request) -> None:
        histograms = self._ledger.histograms
        h = histograms.get(request.labels)
        if h is None:
            h = histograms[request.labels] = Histogram([0] * (len(self.buckets) + 1))
        h.counts[bisect.bisect_left(self.buckets, request.joules)] += 1
        h.sum += request.joules
        h.count += 1

    # ---- what it tells ----

    def ledger(self) -> Ledger:
        """A copy of what is known now."""
        with self._lock:
            own = self._ledger
            known = self._last is not None and boot_ns() - self._got_ns <= self._stale_ns
            rate = None
            if known:
                (_, first_joules, first), (_, last_joules, last) = self._history[0], self._history[-1]
                rate = (last_joules - first_joules) / (last - first) if last > first else None
            inflight = sum(r.joules for r in (*self._waiting, *self._active.values()) if r.whole)
            return replace(own, known=known, inflight_joules=inflight, units=dict(own.units),
                           histograms={labels: Histogram(list(h.counts), h.sum, h.count)
                                       for labels, h in own.histograms.items()}, joules_per_request=rate)

    def describe(self) -> Dict[str, str]:
        source, last = self._source, self._last
        return {"scope": "node", "method": "equal share of those in flight",
                "backend": source.kind if source else "",
                "provenance": (last.provenance if last else None) or "",
                "boundary": (last.boundary if last else None) or ""}

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)
        if self._given is None and self._source is not None:
            self._source.close()


def step(last: Snapshot, now: Snapshot, longest_ns: int) -> Tuple[Optional[float], bool]:
    """Joules between two samples, None where nothing is known of them; and whether they are those of all of
    the time, and of no more than can be shared."""
    gained = delta(last, now, {}, recovered=True)
    if gained.microjoules is None or "device_lost" in gained.flags or _counted(last) != _counted(now):
        return None, False  # another ledger, or other accounts: the numbers cannot be compared
    whole = not gained.partial and "reset" not in gained.flags and \
        0 < now.time_ns - last.time_ns <= longest_ns
    return gained.microjoules / 1e6, whole


def _counted(snapshot: Snapshot) -> Set[str]:
    return {r.account.channel or key.device for key, r in snapshot.readings.items()
            if r.account.counted and not r.account.held}


def clean(route: Optional[str], method: str, status: Optional[int], aborted: bool) -> Labels:
    """Labels of bounded cardinality. status None: no answer was begun, so the server says 500."""
    route = str(route)[:LABEL_MAX] if route else OTHER
    method = method if method in METHODS else OTHER
    if aborted:
        return route, method, "aborted"
    status = 500 if status is None else status
    return route, method, f"{status // 100}xx" if 100 <= status <= 599 else OTHER


def any_meter(meter: Optional[RequestMeter], options: Dict[str, Any]) -> RequestMeter:
    if meter is not None and options:
        raise TypeError("options of a meter go to the one that is given")
    return RequestMeter(**options) if meter is None else meter
