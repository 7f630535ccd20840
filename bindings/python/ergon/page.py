# SPDX-License-Identifier: Apache-2.0
"""The energy page: totals of all accounts in shared memory, read without asking anybody. Layout and lock are
those of docs/energy-page.md. The page moves once an agent's interval, so a window here begins and ends
on ticks of the agent; its times say which.

A page comes from outside and is trusted in nothing: header and records are copied and checked when it is
opened, of the mapping only numbers are used, at places that the checks put inside it."""
from __future__ import annotations

import mmap
import os
import platform
import stat
import struct
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from . import sync as _sync
from ._delta import SensorFacts, delta
from .errors import AccessDenied, ErgonError, ProtocolError, Unavailable
from .model import PROVENANCES, Account, AccountKey, Measurement, Number, Reading, Snapshot, weakest
from .source import Source, Window, boot_ns

SYSTEM_PAGE = "/run/ergon/energy"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
MAGIC = b"ERGPAGE\0"
HEADER_SIZE, RECORD_MIN, LINE_MIN = 256, 512, 64
ACCOUNTS_MAX = 1 << 20
PASSES_MAX = 64  #: over all lines in search of one tick
TRIES_MAX = 4096  #: of one lock; an agent that died in the middle of a write leaves it odd for ever
RUNNING = 1
STATUSES = ("ok", "no_data", "stale", "denied", "error", "reset")

# Native where that is little-endian: then a word of 8 bytes is one load, never half of an old and a new one.
_ORDER = "@" if sys.byteorder == "little" else "<"
_WORD = struct.Struct(_ORDER + "Q")
_TICK = struct.Struct(_ORDER + "QQQQ")  # sequence, boot ns, Unix ns, ticks
_LINE = struct.Struct(_ORDER + "QQQQQQQII")
_ORDERED = platform.machine() in ("x86_64", "AMD64", "i686", "i386")  # loads stay in order by themselves
_fence_lock = threading.Lock()


def _fence() -> None:
    """What was read before is read before what is read after: a lock taken twice, where the processor does
    not see to it."""
    if not _ORDERED:
        with _fence_lock:
            pass
        with _fence_lock:
            pass


class Torn(Unavailable):
    """The agent died in the middle of a write, or is in one for longer than a write takes."""


def page_places() -> List[str]:
    named = os.environ.get("ERGON_PAGE")
    return [named] if named else [SYSTEM_PAGE, f"/run/user/{os.getuid()}/ergon/energy"]


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")


def _is_other_boot(boot_id: str) -> bool:
    """Of a machine that has restarted since; False where that is not known."""
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            ours = file.read().strip()
    except OSError:
        return False
    return bool(boot_id and ours) and boot_id != ours


@dataclass(frozen=True)
class PageAccount:
    account: Account
    accuracy: float  #: half-width of 95 % of its energy, as a part of it; 0 unknown
    watts: float = 0.0  #: the same, where this times the time is more; 0 none


class EnergyPage:
    """One mapped page. Any number of threads may read it."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode) or found.st_size < HEADER_SIZE:
                    raise ProtocolError(f"{path} is no energy page")
                self._map = mmap.mmap(fd, found.st_size, mmap.MAP_SHARED, mmap.PROT_READ)
            finally:
                os.close(fd)
        except FileNotFoundError as error:
            raise Unavailable(f"no agent keeps an energy page at {path}",
                              "start it with `ergon agent`, or name its page in ERGON_PAGE") from error
        except PermissionError as error:
            raise AccessDenied(f"the energy page {path} is not for this user",
                               "ask to be added to its group (ergon)") from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"the energy page {path} cannot be read ({error})") from error
        self._size = found.st_size
        self._parse(self._map[:HEADER_SIZE])

    def _parse(self, header: bytes) -> None:
        magic, version, header_size, size, n, record, line = struct.unpack_from("<8sIIQIII", header)
        if magic != MAGIC:
            raise ProtocolError(f"{self.path} is no energy page")
        if version != 1:
            raise ProtocolError(f"{self.path} has version {version}; this package knows 1",
                                "upgrade the package ergon")
        records, lines, self.generation, self.pid, _, self.started_ns, interval, _ = struct.unpack_from(
            "<8Q", header, 40)
        if not (header_size >= HEADER_SIZE and size == self._size and n <= ACCOUNTS_MAX
                and record >= RECORD_MIN and line >= LINE_MIN and line % 8 == 0 and lines % 8 == 0
                and records >= header_size and records + n * record <= size
                and lines >= header_size and lines + n * line <= size):
            raise ProtocolError(f"the energy page {self.path} is damaged")
        self.interval_seconds = interval / 1e9
        self._other_boot = _is_other_boot(_text(header[104:144]))
        self.accounts = [self._record(self._map[at:at + RECORD_MIN])
                         for at in range(records, records + n * record, record)]
        self._lines = [lines + i * line for i in range(n)]

    @staticmethod
    def _record(data: bytes) -> PageAccount:
        flags, ppm, uw = struct.unpack_from("<IIQ", data, 384)
        provenance = _text(data[352:368])
        if provenance not in PROVENANCES:
            provenance = "estimated"
        key = AccountKey(_text(data[:96]), _text(data[288:320]), provenance)
        counted = bool(flags & 1)
        return PageAccount(Account(key, _text(data[320:352]), _text(data[368:384]),
                                   _text(data[96:288]) or None, "total" if counted else "other",
                                   counted, bool(flags & 2)), ppm / 1e6, uw / 1e6)

    def _word(self, at: int) -> int:
        return _WORD.unpack_from(self._map, at)[0]  # type: ignore[no-any-return]

    def _locked(self, form: struct.Struct, at: int) -> Optional[Tuple[int, ...]]:
        """Words whose first one is their sequence word; None while somebody writes them."""
        for i in range(TRIES_MAX):
            sequence = self._word(at)
            if not sequence & 1:
                _fence()
                words = form.unpack_from(self._map, at)
                _fence()
                if self._word(at) == sequence:
                    return words
            if i % 64 == 63:
                time.sleep(0)  # the writer may be waiting for this processor
        return None

    def line(self, i: int) -> Tuple[int, ...]:
        """(total uJ, power uW, boot ns, Unix ns, gap ns, since Unix ns, status, flags), all of one moment."""
        words = self._locked(_LINE, self._lines[i])
        if words is not None:
            return words[1:]
        raise Torn(f"the agent of {self.path} is in the middle of a write",
                   "it may have died there; start it")

    def tick(self) -> Tuple[int, ...]:
        """(sequence, boot ns, Unix ns, ticks) of the last sample."""
        words = self._locked(_TICK, 192)
        if words is not None:
            return words
        raise Torn(f"the agent of {self.path} is in the middle of a tick", "it may have died there; start it")

    def lines(self) -> Tuple[Tuple[int, ...], List[Tuple[int, ...]]]:
        """The tick and all lines of it."""
        for _ in range(PASSES_MAX):
            tick = self.tick()
            lines = [self.line(i) for i in range(len(self._lines))]
            _fence()
            if self._word(192) == tick[0]:
                return tick, lines
        raise Torn(f"the agent of {self.path} writes faster than it can be read")

    @property
    def ended(self) -> bool:
        return self._other_boot or self._word(96) != RUNNING

    def age_seconds(self) -> float:
        # Alone and without the lock: it is there also where the writer died in a tick.
        return (boot_ns() - self._word(200)) / 1e9

    @property
    def live(self) -> bool:
        return not self.ended and 0 <= self.age_seconds() <= max(3 * self.interval_seconds, 5.0)

    def close(self) -> None:
        self._map.close()


class Raw(NamedTuple):
    """What a page held at one moment."""

    page: EnergyPage
    tick: Tuple[int, ...]
    lines: List[Tuple[int, ...]]
    now_ns: int
    stale: bool


class PageSource(Source):
    """An energy page. path: the file; None: the default places, the first that is live."""

    kind = "page"

    def __init__(self, path: Optional[str] = None) -> None:
        self._places = [path] if path is not None else page_places()
        self._page = self._find()

    def _find(self) -> EnergyPage:
        failures: List[ErgonError] = []
        for place in self._places:
            try:
                page = EnergyPage(place)
                if page.live:
                    return page
                page.close()
                failures.append(Unavailable(f"the agent of {place} has stopped", "start it"))
            except ErgonError as error:
                failures.append(error)
        # One that is there but not for us tells more than one that is not.
        raise next((f for f in failures if not isinstance(f, Unavailable)), failures[0])

    @property
    def page(self) -> EnergyPage:
        return self._page

    def _refresh(self) -> EnergyPage:
        """The page of now: one that is not live any more is looked for anew."""
        page = self._page
        if not page.live:
            try:
                self._page = page = self._find()
            except ErgonError:
                pass  # the old one's values, which say that they are stale
        return page

    def raw(self) -> "Raw":
        """All lines of now, in microseconds."""
        page = self._refresh()
        return Raw(page, *page.lines(), boot_ns(), not page.live)

    def totals(self, fresh: bool = True, power: bool = True) -> Snapshot:
        return self.snapshot(self.raw())

    @staticmethod
    def snapshot(raw: "Raw") -> Snapshot:
        page, tick, lines, now, stale = raw
        readings: Dict[AccountKey, Reading] = {}
        total = estimated = 0
        known, watts, complete = False, 0.0, True
        provenances, boundaries = [], set()
        for known_as, (uj, uw, t_ns, _, gap_ns, since_ns, status, flags) in zip(page.accounts, lines):
            account = known_as.account
            joules = uj if flags & 1 else None
            power_w = uw / 1e6 if flags & 2 else None
            if joules is None and (account.held or not account.counted):
                continue
            readings[account.key] = Reading(
                account, joules, power_w,
                joules / 1e6 * known_as.accuracy if joules is not None and known_as.accuracy else None,
                STATUSES[status] if status < len(STATUSES) else "error", (),
                max(0.0, (now - t_ns) / 1e9) if t_ns else None, gap_ns / 1e9, 0, 0.0,
                since_ns / 1e9 if since_ns else None)
            if not account.counted:
                continue
            boundaries.add(account.boundary)
            if not account.held:
                complete = complete and power_w is not None and status == 0
                watts += power_w or 0.0
            if joules is not None:
                known, total = True, total + joules
                estimated += joules if account.provenance == "estimated" else 0
                provenances.append(account.provenance)
        return Snapshot("page", tick[1], tick[2] / 1e9, readings, max(0.0, (now - tick[1]) / 1e9), "full",
                        page.interval_seconds, total if known else None, estimated / 1e6 if known else None,
                        None, watts if known and complete else None, weakest(provenances),
                        boundaries.pop() if len(boundaries) == 1 else "mixed" if boundaries else None,
                        stale, f"{page.pid}.{page.started_ns}")

    def facts(self, *snapshots: Snapshot) -> Dict[str, SensorFacts]:
        """By channel; how long before the ticks of these snapshots it was read is its update."""
        return {a.account.channel: SensorFacts(
            relative=a.accuracy, watts=a.watts,
            update_seconds=max((_lag(s, a.account.key) for s in snapshots), default=0.0))
                for a in self._page.accounts if a.account.channel and not a.account.held}

    def _begin(self, name: Optional[str], units: Optional[Mapping[str, Number]], sync: _sync.Which) -> Window:
        return PageWindow(self, name, units, sync)

    def close(self) -> None:
        pass  # other threads and windows may be reading: the mapping goes with its last user

    def describe(self) -> str:
        return f"energy page {self._page.path}"


def _lag(snapshot: Snapshot, key: AccountKey) -> float:
    reading = snapshot.readings.get(key)
    age = reading.age_seconds if reading is not None else None
    return max(0.0, age - (snapshot.age_seconds or 0.0)) if age is not None else 0.0


class PageWindow(Window):
    def __init__(self, source: PageSource, name: Optional[str], units: Optional[Mapping[str, Number]],
                 sync: _sync.Which) -> None:
        super().__init__(source, name, units, sync)
        self._pages = source
        self._raw = source.raw()
        if self._raw.stale:
            raise Unavailable(f"the agent of {source.page.path} has stopped", "start it")
        self._began = time.monotonic()

    def _read(self, end: bool) -> Measurement:
        try:
            first, last = self._pages.snapshot(self._raw), self._pages.totals()
        except ErgonError as error:
            return self.nothing(str(error), edges="tick", running=not end)
        found = delta(first, last, self._pages.facts(first, last))
        found = replace(found, name=self.name, backend="page", elapsed_seconds=self.elapsed_seconds,
                        units=dict(self._units), edges="tick", running=not end)
        reasons = [found.reason] if found.reason else []
        if last.stale:
            reasons.append("the agent has stopped: the energy since its last tick is missing")
        if last.session != first.session:
            reasons.append("another agent took over in between")
        if not found.seconds:
            return replace(found, microjoules=None, uncertainty_joules=None, provenance=None, entries=(),
                           flags=found.flags + ("below_counter_period",), partial=True,
                           reason="; ".join(reasons) or "the agent had no tick inside the window, which is "
                           f"shorter than its interval of {last.interval_seconds:g} s")
        return replace(found, partial=bool(reasons), reason="; ".join(reasons) or None)
