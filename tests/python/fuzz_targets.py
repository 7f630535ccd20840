# SPDX-License-Identifier: Apache-2.0
"""What the Python package parses of outside bytes, a function each: TARGETS[name](bytes). Only errors of the
package may come out of a parser; a figure that does come out is one that the bytes hold. Used by
test_fuzz.py, which replays the corpus and changed copies, and by fuzz_run.py, which searches
with coverage (make fuzz)."""
import http.client
import io
import json
import math
import os
import socket
import tempfile
import threading
import warnings

import ergon
from ergon import ErgonError, _parts
from ergon._delta import delta
from ergon._http import Client
from ergon.agent import AgentSource, _facts, measurement, parse, snapshot, sse
from ergon.backends.native import ErgonBackend
from ergon.codecarbon import config
from ergon.middleware.meter import step
from ergon.page import EnergyPage, PageSource, Raw
from ergon.source import boot_ns

EVENTS_MAX = 1000
HERE = tempfile.mkdtemp(prefix="eg-fuzz-")
NAMES = ("ERGON_URL", "ERGON_TOKEN", "ERGON_SOCKET", "ERGON_PAGE", "ERGON_LIBRARY", "ERGON_BACKEND",
         "XDG_RUNTIME_DIR", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
warnings.simplefilter("ignore")


def document(data):
    """JSON as the client reads it, or None."""
    return Client("/none", None, None, 1, None)._decode(200, data)


def energy(value):
    """None, or a whole number of microjoules that fits the agent's counter."""
    assert value is None or isinstance(value, int) and 0 <= value < 1 << 64, value


def finite(value):
    assert value is None or isinstance(value, (int, float)) and math.isfinite(value), value


def check_snapshot(found):
    assert found.microjoules is None or found.microjoules >= 0  # a sum, of any number of accounts
    for value in (found.estimated_joules, found.uncertainty_joules, found.watts, found.age_seconds):
        finite(value)
    for key, reading in found.readings.items():
        energy(reading.microjoules)
        for value in (reading.watts, reading.gap_seconds, reading.age_seconds, reading.since_unix_seconds):
            finite(value)
        assert reading.account.key == key
    json.dumps(found.to_dict(), allow_nan=False)


def check_measurement(found):
    assert found.microjoules is None or found.microjoules >= 0
    finite(found.seconds), finite(found.watts)
    for entry in found.entries:
        energy(entry.microjoules)
        finite(entry.uncertainty_joules)
    if found.microjoules is None:
        assert found.partial and found.reason, found
    json.dumps(found.to_dict(), allow_nan=False), str(found)


def check_delta(first, last):
    found = delta(first, last, {})
    check_measurement(found)
    counted = sum(e.microjoules or 0 for e in found.entries if e.counted)
    assert (found.microjoules or 0) == counted, (found.microjoules, counted)
    assert counted <= sum(r.microjoules or 0 for k, r in last.readings.items() if r.account.counted or
                          k in first.readings and first.readings[k].account.counted)
    joules, whole = step(first, last, 60 * 10 ** 9)
    assert joules is None or joules >= 0
    assert joules is not None or not whole


def totals(data):
    doc = document(data)
    found = [parse(snapshot, doc[name], doc.get("power"), 1.0, 5.0) for name in ("first", "last")
             if isinstance(doc.get(name), dict)]
    for one in found:
        check_snapshot(one)
        _parts.find([r.account for r in one.readings.values()], {"CUDA_VISIBLE_DEVICES": "0"})
    if len(found) == 2:
        check_delta(*found)
        check_delta(found[1], found[0])


def window(data):
    doc = document(data)
    found = parse(lambda: measurement(doc, name="x", backend="agent"))
    energy(found.microjoules)
    json.dumps(found.to_dict(), allow_nan=False), str(found)
    backend = ErgonBackend(source=ergon.NullSource())
    backend._parts = _parts.find([r for r in map(account_of, found.entries) if r])
    json.dumps(backend.metrics(found).to_dict(), allow_nan=False)


def account_of(entry):
    from ergon.model import Account, AccountKey
    return Account(AccountKey(entry.device, entry.component, entry.provenance or "estimated"), entry.source,
                   entry.boundary, entry.channel, entry.role, entry.counted)


def sensors(data):
    for facts in parse(_facts, document(data)).values():
        finite(facts.relative), finite(facts.watts), finite(facts.resolution_joules)


def agent_of(data):
    """An AgentSource whose every answer is this document."""
    doc = document(data)
    old, Client.ask = Client.ask, lambda *_, **__: (200, doc)
    try:
        return AgentSource("/none"), doc
    finally:
        Client.ask = old


def index(data):
    source, _ = agent_of(data)
    finite(source.interval_seconds), finite(source.coarse_seconds)
    assert source.describe()


def windows(data):
    doc = document(data)
    source = AgentSource.__new__(AgentSource)
    source._get = lambda path: doc
    for one in source.windows():
        finite(one["begin_unix_seconds"])


def events(data):
    stream = io.BytesIO(data)
    try:
        for i, event in enumerate(sse(stream)):
            finite(event.joules), finite(event.watts), finite(event.unix_seconds)
            for ch in event.channels:
                finite(ch.joules), finite(ch.watts)
            assert i < EVENTS_MAX
    except http.client.IncompleteRead:  # the end of the stream; AgentSource takes it for a lost agent
        pass


class Raw_(Client):
    """A client whose server answers with these bytes, whatever it is asked."""

    def __init__(self, data):
        super().__init__("/none", None, None, 5, None)
        self.data = data

    def open(self):
        ours, theirs = socket.socketpair()
        ours.settimeout(5)

        def send():
            try:
                theirs.sendall(self.data)
                theirs.shutdown(socket.SHUT_WR)
                while theirs.recv(65536):
                    pass
            except OSError:
                pass
            finally:
                theirs.close()
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        connection = http.client.HTTPConnection("localhost")
        connection.sock = ours
        connection.connect = lambda: None
        connection.auto_open = 0
        return connection


def answer(data):
    client = Raw_(data)
    try:
        status, doc = client.ask("GET", "/totals")
        assert isinstance(status, int) and isinstance(doc, dict)
    finally:
        client.close()


def stream(data):
    """Events out of a whole answer."""
    source = AgentSource.__new__(AgentSource)
    source.client = Raw_(data)
    try:
        for i, event in enumerate(source._stream("/events", 0.0)):
            finite(event.joules)
            assert i < EVENTS_MAX
    finally:
        source.client.close()


def page(data):
    path = os.path.join(HERE, "page")
    with open(path, "wb") as f:
        f.write(data)
    one = EnergyPage(path)
    try:
        tick, lines = one.lines()
        found = PageSource.snapshot(Raw(one, tick, lines, boot_ns(), False))
        check_snapshot(found)
        held = sum(line[0] for a, line in zip(one.accounts, lines) if a.account.counted and line[7] & 1)
        assert len({a.account.key for a in one.accounts}) < len(lines) or \
            (found.microjoules or 0) == held, (found.microjoules, held)
        check_delta(found, found)
    finally:
        one.close()


def settings(data):
    text = data.decode("utf-8", "surrogateescape").replace("\0", "")
    with open(os.path.join(HERE, config.FILE), "w", encoding="utf-8", errors="surrogateescape") as f:
        f.write(text)
    old, where = dict(os.environ), os.getcwd()
    try:
        os.chdir(HERE)
        os.environ["HOME"] = HERE
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name in NAMES:
                os.environ[name] = value
        found = config.Settings({})
        found.get("measure_power_secs", 15, float), found.get("save_to_file", True, bool)
        gpus = [_parts.Gpu(f"gpu-GPU-{i}", i, "nvml") for i in range(3)]
        assert set(_parts.visible(gpus, os.environ)) <= set(gpus)
        _parts.visible([_parts.Gpu("gpu-0", 0, "amd_smi")], os.environ)
        sorted(text.split("\n"), key=_parts.natural)
        url = os.environ.get("ERGON_URL")
        if url:
            Client(None, url, os.environ.get("ERGON_TOKEN"), 1, None).open().close()  # opens nothing yet
            os.environ["ERGON_URL"] = ""  # no name is looked up
        if not os.environ.get("ERGON_SOCKET", "/").startswith("/run"):
            os.environ["ERGON_SOCKET"] = HERE + "/none"
        os.environ["ERGON_PAGE"] = os.environ["ERGON_LIBRARY"] = HERE + "/none"
        try:
            ergon.connect().close()
        except ergon.Unavailable:
            pass  # the setting was understood
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(old)


TARGETS = {"totals": totals, "window": window, "sensors": sensors, "index": index, "windows": windows,
           "events": events, "stream": stream, "http": answer, "page": page, "settings": settings}


def one(name, data):
    """True: it was parsed. False: it was refused with an error of the package. Anything else comes out."""
    try:
        TARGETS[name](data)
        return True
    except ErgonError as error:
        assert str(error)
        return False
