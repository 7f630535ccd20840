# SPDX-License-Identifier: Apache-2.0
"""The energy page as the Python package reads it: beside the agent, libergon and a kill, damaged, torn."""
import os
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import replace

from rig_python import (NS, Agent, Place, boot_ns, both, check, ergon, run_tests, until)
from ergon import page as page_module
from ergon.errors import ProtocolError, Unavailable

def test_the_page():
    """Its windows lie on the agent's ticks, and are exact for them."""
    with Place() as place:
        sim, agent = both(place, "--interval", "100ms")
        with ergon.connect(page=agent.page) as source, ergon.connect(agent.socket) as other:
            assert source.kind == "page" and not source.totals().stale
            window = source.begin("page")
            beside = other.begin()
            time.sleep(1.5)
            m = window.end()
            beside_m = beside.end()
            print(f"# {m}: {100 * check(sim, m):+.3f} %")
            assert m.edges == "tick" and m.provenance == "measured" and 0 < m.joules < 2 * beside_m.joules
            now = source.totals()
            assert now.watts > 0 and now.age_seconds < 5
            events = source.events(0.01)
            assert next(events).joules <= next(events).joules
            short = source.begin("short")
            short_m = short.end()
            if short_m.joules is None:  # no tick came in between
                assert short_m.partial and "below_counter_period" in short_m.flags


def test_a_page_reads_as_libergon_does():
    with Place() as place:
        _, agent = both(place)
        until("a tick", lambda: agent.metrics(local=True))
        agent.process.send_signal(19)  # stopped: the page stands still
        try:
            with ergon.connect(page=agent.page) as source:
                now = source.totals()
            page = page_module.EnergyPage(agent.page)
            with open(agent.page, "rb") as f:
                data = f.read()
            records, at = struct.unpack_from("<QQ", data, 40)
            for i, account in enumerate(page.accounts):
                uj = struct.unpack_from("<Q", data, at + 64 * i + 8)[0]
                if struct.unpack_from("<I", data, at + 64 * i + 60)[0] & 1:
                    assert now[account.account.key].microjoules == uj
        finally:
            agent.process.send_signal(18)


def test_a_page_tells_accuracy_in_watts_and_late_readings():
    """Of a card's counter that is good for some watts at best, and that is read now and then."""
    with Place() as place:
        _, agent = both(place, "--interval", "100ms")
        with open(agent.page, "r+b") as f:  # records do not change while the agent runs
            records = struct.unpack_from("<Q", f.read(64), 40)[0]
            f.seek(records + 392)
            f.write(struct.pack("<Q", 50 * 10 ** 6))
        with ergon.connect(page=agent.page) as source:
            key = source.page.accounts[0].account.key
            window = source.begin("watts")
            time.sleep(0.5)
            m = window.end()
            entry = next(e for e in m.entries if e.channel == source.page.accounts[0].account.channel)
            assert entry.uncertainty_joules >= 0.999 * 2.4 / 1.96 * 50 * m.seconds, entry
            now = source.totals()
            late = replace(now, readings=dict(now.readings))
            late.readings[key] = replace(now.readings[key], age_seconds=now.age_seconds + 3)
            facts = source.facts(now, late)[source.page.accounts[0].account.channel]
            assert abs(facts.update_seconds - 3) < 1e-6 and facts.watts == 50, facts


def test_a_page_over_a_kill():
    with Place() as place:
        sim, agent = both(place, "--interval", "100ms")
        with ergon.connect(page=agent.page) as source:
            window = source.begin("over a kill")
            time.sleep(0.5)
            agent.kill()
            agent = place.add(Agent(place, sim, "--interval", "100ms"))
            time.sleep(0.6)
            m = window.end()
            assert m.partial and "another agent" in m.reason, m
            check(sim, m)
            window = source.begin("ended")
            time.sleep(0.5)
            assert agent.stop() == 0
            m = window.end()
            assert m.partial and "stopped" in m.reason
            if m.joules is not None:
                check(sim, m)
            try:
                source.begin("stale")
                raise AssertionError("begun on a page that has ended")
            except Unavailable:
                pass


class FakePage:
    """A page by the layout of docs/energy-page.md, written as an agent writes it."""

    def __init__(self, path, n=3, **header):
        self.path, self.n = path, n
        self.data = bytearray(256 + n * 512 + n * 64)
        fields = dict(magic=b"ERGPAGE\0", version=1, header=256, size=len(self.data), count=n, record=512,
                      line=64,
                      records=256, lines=256 + n * 512)
        fields.update(header)
        struct.pack_into("<8sIIQIIIIQQ", self.data, 0, fields["magic"], fields["version"], fields["header"],
                         fields["size"], fields["count"], fields["record"], fields["line"], 0,
                         fields["records"],
                         fields["lines"])
        struct.pack_into("<QQQQQQ", self.data, 56, 1, os.getpid(), time.time_ns(), boot_ns(), NS, 1)
        with open("/proc/sys/kernel/random/boot_id", "rb") as f:
            boot = f.read().strip()
        self.data[104:104 + len(boot)] = boot
        struct.pack_into("<QQQQ", self.data, 192, 2, boot_ns(), time.time_ns(), 1)
        for i in range(n):
            at = 256 + i * 512
            for offset, text in ((0, f"cpu-{i}"), (96, "rapl/x"), (288, "package"), (320, "rapl"),
                                 (352, "measured"), (368, "component")):
                self.data[at + offset:at + offset + len(text)] = text.encode()
            struct.pack_into("<II", self.data, at + 384, 1, 50000)
            struct.pack_into("<QQQQQQQII", self.data, 256 + n * 512 + i * 64, 2, 1000000 * (i + 1), 5000000,
                             boot_ns(), time.time_ns(), 0, NS, 0, 3)
        self.write()

    def write(self):
        with open(self.path, "wb") as f:
            f.write(self.data)


def test_damaged_pages_are_refused():
    with Place() as place:
        path = place.path("page")
        FakePage(path)
        with ergon.connect(page=path) as source:
            assert source.totals().joules == 6.0 and source.totals().watts == 15.0
        for bad in (dict(magic=b"NOTPAGE\0"), dict(version=2), dict(size=1), dict(count=1 << 30),
                    dict(count=1 << 21),
                    dict(record=8), dict(line=8), dict(line=65), dict(records=1 << 62), dict(lines=1 << 63),
                    dict(lines=0), dict(header=64), dict(records=(1 << 64) - 512)):
            FakePage(path, **bad)
            try:
                ergon.connect(page=path)
                raise AssertionError(bad)
            except ProtocolError:
                pass
        with open(path, "wb") as f:
            f.write(b"x")
        os.mkfifo(path + ".fifo")
        for bad in (path, path + ".fifo", place.dir):
            try:
                ergon.connect(page=bad)
                raise AssertionError(bad)
            except (ProtocolError, Unavailable):
                pass


def test_all_lines_are_of_one_tick():
    """A tick between two lines: both are read anew."""
    with Place() as place:
        _, agent = both(place)
        copy = place.path("copy")
        shutil.copy(agent.page, copy)
        with open(copy, "r+b") as f:
            lines = struct.unpack_from("<Q", f.read(64), 48)[0]

            def put(at, value):
                f.seek(at)
                f.write(struct.pack("<Q", value))
                f.flush()

            class Page(page_module.EnergyPage):
                ticked = False

                def line(self, i):
                    found = super().line(i)
                    if i == 0 and not self.ticked:
                        self.ticked = True
                        put(192, self.tick()[0] + 2)
                        for k in range(len(self._lines)):
                            put(lines + 64 * k + 8, 10 ** 15)
                    return found
            page = Page(copy)
            tick, found = page.lines()
            assert len(found) > 1 and {line[0] for line in found} == {10 ** 15}, found
            assert tick[0] == page.tick()[0]


def test_a_page_that_is_torn_is_given_up():
    """Odd sequence words: of a writer that died. Bounded, and said."""
    with Place() as place:
        path = place.path("page")
        fake = FakePage(path)
        page = page_module.EnergyPage(path)
        with open(path, "r+b") as f:
            f.seek(256 + 3 * 512)
            f.write(struct.pack("<Q", 3))
        assert page.line(1)[0] == 2000000
        for what in (lambda: page.line(0), page.lines):
            try:
                what()
                raise AssertionError("a torn line was read")
            except page_module.Torn:
                pass
        fake.write()


def test_no_half_written_line_is_seen():
    """A writer in another process keeps all words of a line equal; a reader never sees two of them differ."""
    with Place() as place:
        path = place.path("page")
        FakePage(path, n=1)
        at = 256 + 512
        writer = subprocess.Popen([sys.executable, "-c", f"""
import mmap, struct, time
with open({path!r}, "r+b") as f: m = mmap.mmap(f.fileno(), 0)
q = struct.Struct("@Q"); seq, v = 2, 0
while True:
    v += 0x0101010101010101 if v < 1 << 62 else -v
    q.pack_into(m, {at}, seq + 1)
    for o in range(8, 56, 8): q.pack_into(m, {at} + o, v)
    q.pack_into(m, {at}, seq + 2); seq += 2
    if seq % 8 == 0: time.sleep(1e-5)  # the reader takes longer than a write
"""])
        try:
            page = page_module.EnergyPage(path)
            until("the writer", lambda: page._word(at) > 100)
            different, torn, end = set(), 0, time.monotonic() + 1.5
            while time.monotonic() < end:
                try:
                    words = page.line(0)[:6]
                except page_module.Torn:
                    torn += 1
                    continue
                assert len(set(words)) == 1, words
                different.add(words[0])
            print(f"# {len(different)} different lines, {torn} times given up")
            assert len(different) > 30
        finally:
            writer.kill()
            writer.wait()

if __name__ == "__main__":
    run_tests(dict(globals()))
