# SPDX-License-Identifier: Apache-2.0
"""The agent as a source. A window is one of the agent's, and the totals at its begin are kept here as well:
where the agent was killed in between, or the window expired, what the ledger's accounts gained since
then is the result. They go on over restarts, and tell what was not measured."""
from __future__ import annotations

import http.client
import json
import os
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, TypeVar, cast

from . import sync as _sync
from ._delta import SensorFacts, delta
from ._http import Client, Lost, problem
from .errors import AccessDenied, ErgonError, ProtocolError, Unavailable
from .model import Account, AccountKey, Entry, Event, EventChannel, Measurement, Number, Reading, Snapshot
from .source import Source, Window, clip_name

SYSTEM_SOCKET = "/run/ergon/ergon.sock"
T = TypeVar("T")
JOULES_MAX = (1 << 64) // 1000000
NUMBER_MAX = 1e300
LOOK_SECONDS = 0.1  #: between looks for a renewal
LINE_MAX = 4 << 20  #: of an event stream
#: Flags that say that energy of the window is missing in its value.
MISSING = ("gap", "device_lost")


def socket_places() -> List[str]:
    """Where agents keep their sockets: the machine's, the user's; only that of the environment if set."""
    named = os.environ.get("ERGON_SOCKET")
    if named:
        return [named]
    own = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return [SYSTEM_SOCKET, os.path.join(own, "ergon", "ergon.sock")]


def micro(value: Any) -> Optional[int]:
    """Whole microjoules of a number of joules in JSON; None for null."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or not 0 <= value <= JOULES_MAX:
        raise ProtocolError("the agent gave what is no energy")
    return int((Decimal(value) * 1000000).to_integral_value())


def number(value: Any) -> Optional[float]:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ProtocolError("the agent gave what is no number")
    found = float(value)
    if not abs(found) <= NUMBER_MAX:
        raise ProtocolError("the agent gave a number that is not finite")
    return found


def _promised(found: Optional[T], what: str) -> T:
    if found is None:
        raise ProtocolError(f"the agent left out {what}")
    return found


def needed(value: Any) -> float:
    """A number that the API promises."""
    return _promised(number(value), "a number")


def whole(value: Any) -> int:
    """A count or a time in nanoseconds."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise ProtocolError("the agent gave what is no count")
    return value


def word_or_none(value: Any) -> Optional[str]:
    if value is not None and not isinstance(value, str):
        raise ProtocolError("the agent gave what is no text")
    return value


def word(value: Any) -> str:
    """A text that the API promises."""
    return _promised(word_or_none(value), "a text")


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ProtocolError("the agent gave what is neither true nor false")
    return value


def _words(value: Any) -> Tuple[str, ...]:
    return tuple(word(one) for one in value or ())


def parse(what: Callable[..., T], *args: Any) -> T:
    """Whatever is wrong with an answer is a ProtocolError."""
    try:
        return what(*args)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ProtocolError(f"an answer of the agent is not what its API says "
                            f"({type(error).__name__}: {error})") from error


def snapshot(totals: Mapping[str, Any], power: Optional[Mapping[str, Any]], interval: Optional[float],
             max_age: Optional[float] = None) -> Snapshot:
    """A Snapshot of /totals, with the watts of /power where they are there."""
    watts: Dict[str, Optional[float]] = {}
    total_watts = None
    if power:
        watts = {word(ch["name"]): number(ch["watts"]) for ch in power["channels"]}
        total_watts = number((power.get("total") or {}).get("watts"))
    readings = {}
    for a in totals["accounts"]:
        key = AccountKey(word(a["device"]), word(a["component"]), word(a["provenance"]))
        role, held, channel = word(a["role"]), truth(a["held"]), word_or_none(a["channel"])
        account = Account(key, word(a["source"]), word(a["boundary"]), channel, role, role == "total", held)
        readings[key] = Reading(
            account, micro(a["joules"]), None if held or channel is None else watts.get(channel),
            number(a["uncertainty_joules"]), word_or_none(a["status"]), (), number(a["age_seconds"]),
            needed(a["gap_seconds"]), whole(a["resets"]), needed(a["recovered_joules"]),
            number(a["since_unix_seconds"]))
    total = totals["total"] or {}
    age = number(totals["age_seconds"])
    return Snapshot("agent", whole(totals["boot_ns"]), needed(totals["unix_seconds"]), readings, age,
                    word(totals["access"]), interval, micro(total.get("joules")),
                    number(total.get("estimated_joules")), number(total.get("uncertainty_joules")),
                    total_watts, word_or_none(total.get("provenance")),
                    word_or_none(total.get("boundary")),
                    age is not None and max_age is not None and age > max_age)


def measurement(doc: Mapping[str, Any], **common: Any) -> Measurement:
    """A Measurement of a WindowResult."""
    entries = []
    for ch in doc["channels"]:
        joules, held = micro(ch["joules"]), micro(ch["estimated_joules"]) or 0
        entries.append(Entry(
            word(ch["device"]), word(ch["component"]), word_or_none(ch["provenance"]), word(ch["source"]),
            word(ch["boundary"]), word(ch["name"]), word(ch["role"]), ch["role"] == "total",
            (held or None) if joules is None else joules + held, held,
            number(ch["uncertainty_joules"]), number(ch["mean_watts"]), word_or_none(ch["method"]),
            whole(ch["samples"]), needed(ch["gap_seconds"]), _words(ch["flags"]),
            number((ch.get("uncertainty") or {}).get("accuracy_joules"))))
    total = doc["total"] or {}
    flags = _words(doc["flags"])
    missing = [flag for flag in MISSING if flag in flags]
    reason = None
    if not total:
        reason = "no channel that makes the node's total was measured"
    elif doc["state"] == "expired":
        reason = "the window expired before it was ended"
    elif missing:
        reason = "energy of part of the time is not known (" + ", ".join(missing) + ")"
    return Measurement(
        seconds=needed(doc["seconds"]), begin_unix_seconds=needed(doc["begin_unix_seconds"]),
        end_unix_seconds=needed(doc["end_unix_seconds"]), begin_ns=whole(doc["begin_boot_ns"]),
        end_ns=whole(doc["end_boot_ns"]), microjoules=micro(total.get("joules")),
        estimated_microjoules=micro(total.get("estimated_joules")) or 0,
        uncertainty_joules=number(total.get("uncertainty_joules")),
        provenance=word_or_none(total.get("provenance")),
        watts=number(total.get("mean_watts")), max_watts=number(total.get("max_watts")),
        entries=tuple(entries), flags=flags, partial=reason is not None, reason=reason, **common)


class AgentWindow(Window):
    def __init__(self, source: "AgentSource", name: Optional[str], units: Optional[Mapping[str, Number]],
                 sync: _sync.Which) -> None:
        super().__init__(source, name, units, sync)
        self._agent = source
        self._id: Optional[str] = None
        status, doc = source.client.ask("POST", "/windows", {"name": clip_name(self.name)})
        if status == 201:
            self._id = str(doc["id"])
            # Of the same sample, or of one that somebody else has had taken since: what comes of them
            # tells its own times.
            try:
                self._first = source.totals(fresh=False, power=False)
            except ErgonError:
                self._forget()
                raise
        elif status in (429, 503):  # too many of them: the totals alone will do
            self._first = source.renewed()
        else:
            raise source.refused(status, doc)
        self._began = time.monotonic()

    def _common(self, end: bool) -> Dict[str, Any]:
        coarse = self._first.access != "full"
        return dict(name=self.name, backend="agent", elapsed_seconds=self.elapsed_seconds,
                    units=dict(self._units), access=self._first.access,
                    edges="renewal" if coarse else "sample", running=not end)

    def _read(self, end: bool) -> Measurement:
        common = self._common(end)
        deadline = time.monotonic() + self._agent.patience
        pause = 0.01
        while True:
            try:
                return self._try(end, common)
            except (Lost, _Busy) as error:
                if time.monotonic() + pause > deadline:
                    return self.nothing(f"the agent is away: {error}", access=common["access"],
                                        edges=common["edges"], running=not end)
                time.sleep(pause)
                pause = min(2 * pause, 0.5)
            except ErgonError as error:
                return self.nothing(str(error), access=common["access"], edges=common["edges"],
                                    running=not end)

    def _try(self, end: bool, common: Dict[str, Any]) -> Measurement:
        client = self._agent.client
        if self._id is not None:
            status, doc = client.ask("POST" if end else "GET",
                                     f"/windows/{self._id}" + ("/end" if end else ""))
            if status == 200:
                return parse(lambda: measurement(doc, **common))
            if status in (429, 500, 503):
                raise _Busy(problem(doc)[1] or f"the agent answered {status}")
            result = doc.get("result")
            if status == 410 and isinstance(result, dict) and result.get("state") == "ended":
                return parse(lambda: measurement(result, **common))  # the first answer was lost
            if status not in (404, 410):
                raise self._agent.refused(status, doc)
        return self._from_totals(common)

    def _from_totals(self, common: Dict[str, Any]) -> Measurement:
        last = self._agent.renewed()
        found = delta(self._first, last, self._agent.facts())
        return replace(found, **common)

    def _forget(self) -> None:
        if self._id is not None:
            try:
                self._agent.client.ask("DELETE", f"/windows/{self._id}")
            except ErgonError:
                pass  # it expires by itself


class _Busy(Unavailable):
    pass


class AgentSource(Source):
    """An agent. path: its Unix socket; None: the default places, the first that answers."""

    kind = "agent"

    def __init__(self, path: Optional[str] = None, *, url: Optional[str] = None, token: Optional[str] = None,
                 timeout: float = 30.0, patience: float = 5.0, tls: Any = None) -> None:
        self.patience = float(patience)
        token = token or os.environ.get("ERGON_TOKEN") or None
        places: List[Optional[str]] = [None]
        if url is None:
            places = [path] if path is not None else [*socket_places()]
        failures: List[ErgonError] = []
        for place in places:
            client = Client(place, url, token, timeout, tls)
            try:
                status, doc = client.ask("GET", "/")
                if status != 200 or doc.get("schema") != "ergon.api/1":
                    raise ProtocolError(f"what answers at {client.where} is no Ergon agent")
                self.client = client
                self.index = doc
                self.access = str(doc["access"])
                self.version = str(doc["version"])
                self.interval_seconds = needed(doc["interval_seconds"])
                self.coarse_seconds = needed(doc["coarse_interval_seconds"])
                return
            except ErgonError as error:
                client.close()
                failures.append(error)
            except (KeyError, TypeError, ValueError) as error:
                client.close()
                failures.append(ProtocolError(f"what answers at {client.where} is no Ergon agent ({error})"))
        # One that is there but not for us tells more than one that is not.
        told = [f for f in failures if not isinstance(f, Lost)] or failures
        if len(told) == 1 or not isinstance(told[0], Lost):
            raise told[0]
        raise Lost("no agent answers at " + " or ".join(str(place) for place in places),
                   "start it with `ergon agent`, or name its socket in ERGON_SOCKET")

    def refused(self, status: int, doc: Any) -> ErgonError:
        code, message, cure = problem(doc)
        kind = _Busy if status in (429, 503) else ProtocolError
        return kind(message or f"{self.client.where} answered {status}", cure)

    def _get(self, path: str) -> Mapping[str, Any]:
        status, doc = self.client.ask("GET", path)
        if status != 200:
            raise self.refused(status, doc)
        return cast(Mapping[str, Any], doc)

    def totals(self, fresh: bool = True, power: bool = True) -> Snapshot:
        totals = self._get("/totals?fresh=1" if fresh else "/totals")
        watts = self._get("/power") if power else None
        full = self.access == "full"
        late = 3 * (self.interval_seconds if full else self.coarse_seconds + self.interval_seconds) + 5
        return parse(snapshot, totals, watts, self.interval_seconds, late)

    def renewed(self) -> Snapshot:
        """Totals of now; for who has coarse access of the next renewal, as those there are lie before now."""
        now = self.totals(fresh=True, power=False)
        asked_ns = now.time_ns + int((now.age_seconds or 0.0) * 1e9)
        deadline = time.monotonic() + self.coarse_seconds + self.interval_seconds + self.patience
        while now.access != "full" and now.time_ns < asked_ns:
            if time.monotonic() > deadline:
                raise _Busy("the agent has not renewed its coarse view")
            time.sleep(LOOK_SECONDS)
            now = self.totals(fresh=False, power=False)
        return now

    def sensors(self) -> Mapping[str, Any]:
        """The channels, drivers and diagnostics as the API gives them."""
        return self._get("/sensors")

    def windows(self) -> List[Dict[str, Any]]:
        """This user's open windows: id, name, begin_unix_seconds, expires_in_seconds."""
        def plain(w: Mapping[str, Any]) -> Dict[str, Any]:
            return {"id": str(w["id"]), "name": str(w["name"]), "begin_boot_ns": whole(w["begin_boot_ns"]),
                    "begin_unix_seconds": needed(w["begin_unix_seconds"]),
                    "expires_in_seconds": needed(w["expires_in_seconds"])}
        doc = self._get("/windows")
        return parse(lambda: [plain(w) for w in doc["windows"]])

    def facts(self) -> Dict[str, SensorFacts]:
        """What the uncertainty of a difference of totals is made of, by channel; empty where not known."""
        try:
            return parse(_facts, self._get("/sensors"))
        except (Lost, AccessDenied, ProtocolError, _Busy):
            return {}

    def _begin(self, name: Optional[str], units: Optional[Mapping[str, Number]], sync: _sync.Which) -> Window:
        return parse(AgentWindow, self, name, units, sync)

    def events(self, interval: Optional[float] = None) -> Iterator[Event]:
        apart = 0.0 if interval is None else max(0.001, float(interval))
        path = "/events" if interval is None else f"/events?interval={apart:.3f}s"
        deadline: Optional[float] = None
        pause = 0.05
        while True:
            try:
                for event in self._stream(path, 3 * apart):
                    deadline, pause = None, 0.05
                    yield event
            except (Lost, _Busy):
                if deadline is not None and time.monotonic() > deadline:
                    raise
            if deadline is None:
                deadline = time.monotonic() + self.patience
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _stream(self, path: str, silence: float) -> Iterator[Event]:
        """Events of one connection; returns when the agent stops in order."""
        client = self.client
        connection = client.open()
        connection.timeout = max(client.timeout, silence)
        try:
            headers = dict(client.headers, Accept="text/event-stream")
            connection.request("GET", client.base + path, headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise self.refused(answer.status, client._decode(answer.status, answer.read(1 << 20)))
            yield from sse(answer)
        except (OSError, http.client.HTTPException) as error:
            raise client.lost(error) from error
        except (ValueError, OverflowError) as error:  # of http.client
            raise ProtocolError(f"what answers at {client.where} does not speak HTTP ({error})") from error
        finally:
            connection.close()

    def close(self) -> None:
        self.client.close()

    def describe(self) -> str:
        return f"agent {self.version} at {self.client.where}, {self.access} access"


def _facts(doc: Mapping[str, Any]) -> Dict[str, SensorFacts]:
    return {word(ch["name"]): SensorFacts(
        relative=needed(ch["accuracy"]["relative"]), watts=needed(ch["accuracy"]["watts"]),
        resolution_joules=number(ch.get("resolution_joules")) or 0.0,
        update_seconds=number(ch["update_seconds"]) or 0.0,
        method="counter" if ch["quantity"] == "energy" else "integrated_power",
        citation=word_or_none(ch["accuracy"].get("citation"))) for ch in doc["channels"]}


def sse(answer: Any) -> Iterator[Event]:
    """Events out of a stream of server-sent events (WHATWG HTML 9.2)."""
    kind, data, size = "", [], 0
    while True:
        raw = answer.readline(LINE_MAX + 1)
        if not raw:
            raise http.client.IncompleteRead(b"")
        size += len(raw)
        if size > LINE_MAX:
            raise ProtocolError(f"an event of the agent is longer than {LINE_MAX} bytes")
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line:
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "event":
                kind = value
            elif field == "data":
                data.append(value)
            continue
        if kind == "end":
            if parse(lambda: str(json.loads("\n".join(data))["reason"])) == "access":
                raise AccessDenied("the agent has taken this user's access away")
            return
        if kind == "snapshot" and data:
            yield parse(_event, "\n".join(data))
        kind, data, size = "", [], 0


def _event(text: str) -> Event:
    doc = json.loads(text, parse_float=Decimal)
    return Event(whole(doc["seq"]), whole(doc["boot_ns"]), needed(doc["unix_seconds"]),
                 number(doc["total_joules"]),
                 number(doc["total_watts"]),
                 tuple(EventChannel(word(ch["name"]), number(ch["joules"]), number(ch["watts"]),
                                    word_or_none(ch["status"]), number(ch["age_seconds"]))
                       for ch in doc["channels"] or ()),
                 whole(doc["dropped"]))
