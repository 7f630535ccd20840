# SPDX-License-Identifier: Apache-2.0
"""The sources of the Python package against the shipped agent on a simulated machine: windows against the
truth, agents that die in the middle, users without rights, the page, and what is not there."""
import json
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace

from rig_python import (MACHINE, NS, PACKAGE, Agent, Place, Sim, Skip, boot_ns, check, ergon, near,
                        run_tests, times, until)
from ergon import _delta, _fork, page as page_module
from ergon.errors import ProtocolError, Unavailable, WindowClosed

LAPTOP = """[scenario]
title = psys over a package
[machine]
cpus = 2
[rapl intel-rapl:0]
name = psys
max-power = 20000W
power = 35W
[rapl intel-rapl:1]
name = package-0
max-power = 20000W
power = 20W
"""


def both(place, *words, scenario=MACHINE, clock=False, **kw):
    """clock: in shared time, which the test moves by sim.time.sleep()."""
    sim = place.add(Sim(place, scenario, clock=clock))
    return sim, place.add(Agent(place, sim, *words, **kw))


def test_windows_against_the_truth():
    """Nested and overlapping ones; the parts; the total is not the sum of the entries."""
    with Place() as place:
        sim, agent = both(place, clock=True)
        with ergon.connect(agent.socket) as source:
            assert source.kind == "agent" and source.access == "full"
            outer = source.begin("outer", units={"tokens": 3})
            sim.time.sleep(0.3)
            first = source.begin("first")
            sim.time.sleep(1.1)
            second = source.begin("second")
            sim.time.sleep(0.5)
            running = first.peek()
            first_m = first.end()
            outer.units("tokens", 4)
            sim.time.sleep(0.6)
            second_m, outer_m = second.end(), outer.end(units={"requests": 2})
        for m in (first_m, second_m, outer_m):
            print(f"# {m}: {100 * check(sim, m):+.3f} %")
            assert m.provenance == "measured" and not m.partial and m.backend == "agent"
            assert m.edges == "sample" and "short_measurement_duration" in m.flags
            counted = [e for e in m.entries if e.counted]
            assert sum(e.microjoules for e in counted) == m.microjoules
            assert len(counted) == 3 and len(m.entries) == 4
            assert abs(m.components["package"] + m.components["dram"] - m.joules) < 1e-9
            assert m.components["core"] > 0 and abs(m.watts * m.seconds - m.joules) < 0.01 * m.joules
        assert running.running and running.microjoules <= first_m.microjoules
        assert outer_m.units == {"tokens": 7, "requests": 2}
        assert outer_m.joules_per_unit["tokens"] == outer_m.joules / 7
        try:
            first.end()
            raise AssertionError("ended twice")
        except WindowClosed:
            pass


def test_totals_are_exact():
    with Place() as place:
        _, agent = both(place)
        with ergon.connect(agent.socket) as source:
            now = source.totals(fresh=False)
            doc = agent.local("/api/v1/totals").json
            if doc["seq"] and abs(doc["boot_ns"] - now.time_ns) > 0:  # a tick in between
                now, doc = source.totals(fresh=False), agent.local("/api/v1/totals").json
            assert now.joules == doc["total"]["joules"]
            for a in doc["accounts"]:
                reading = now[a["device"], a["component"], a["provenance"]]
                assert reading.microjoules == round(a["joules"] * 1e6) and reading.source == "rapl"
                assert reading.account.counted == (a["role"] == "total")
            until("power", lambda: source.totals().watts)
            now = source.totals()
            assert now.watts and all(r.watts is not None for r in now.readings.values())
            assert set(now.energy()) == set(now.readings) and len(source.accounts()) == len(doc["accounts"])
            json.dumps(now.to_dict())


def test_a_whole_and_its_part_are_not_added():
    with Place() as place:
        sim, agent = both(place, scenario=LAPTOP, clock=True)
        with ergon.connect(agent.socket) as source:
            window = source.begin()
            sim.time.sleep(1)
            m = window.end()
        assert abs(m.watts - 35) < 0.1, m
        assert abs(m.components["package"] / m.seconds - 20) < 0.1 and m.components["psys"] == m.joules


def test_the_agent_is_killed_in_the_middle():
    """The ledger goes on: what the counters gained meanwhile is in the result, to the truth."""
    with Place() as place:
        sim, agent = both(place, clock=True)
        with ergon.connect(agent.socket) as source:
            window = source.begin("over a kill")
            sim.time.sleep(0.7)
            agent.kill()
            sim.time.sleep(0.3)
            place.add(Agent(place, sim))
            sim.time.sleep(0.4)
            so_far = window.peek()
            sim.time.sleep(0.3)
            m = window.end()
            print(f"# {m}: {100 * check(sim, m):+.3f} %")
            assert not m.partial and m.seconds > 1.6 and m.uncertainty_joules > 0
            assert so_far.microjoules < m.microjoules and so_far.running
            assert {e.component for e in m.entries if e.counted} == {"package", "dram"}


def test_the_agent_is_away_at_the_end():
    with Place() as place:
        _, agent = both(place)
        with ergon.connect(agent.socket, patience=0.3) as source:
            window = source.begin("lost", units={"x": 1})
            agent.kill()
            m = window.end()
            assert m.joules is None and m.partial and "away" in m.reason and m.microjoules is None
            assert m.joules_per_unit == {"x": None} and m.watts is None and m.provenance is None
            try:
                source.begin("no")
                raise AssertionError("begun without an agent")
            except Unavailable as error:
                assert "ergon agent" in str(error)


def test_it_comes_back_while_the_end_waits():
    with Place() as place:
        sim, agent = both(place, clock=True)
        with ergon.connect(agent.socket, patience=60) as source:
            window = source.begin("waits")
            sim.time.sleep(0.5)
            agent.kill()
            found = []
            thread = threading.Thread(target=lambda: found.append(window.end()))
            thread.start()
            sim.time.sleep(0.3)
            place.add(Agent(place, sim))
            thread.join(60)
            check(sim, found[0])
            assert not found[0].partial


def test_another_ledger_is_no_result():
    """The agent came back without its state: its totals began anew, and no difference of them is ours."""
    with Place() as place:
        sim, agent = both(place, clock=True)
        with ergon.connect(agent.socket) as source:
            window = source.begin("forgotten")
            sim.time.sleep(0.2)
            agent.kill()
            place.add(Agent(place, sim, state="other"))
            sim.time.sleep(0.2)
            m = window.end()
            assert m.partial and m.joules is None and "did not go on" in m.reason, m
            assert "device_lost" in m.flags


def test_a_counter_that_starts_again_is_partial():
    with Place() as place:
        sim, agent = both(place)
        with ergon.connect(agent.socket) as source:
            time.sleep(2)
            window = source.begin("reset")
            time.sleep(0.5)
            agent.kill()
            # What the counter showed is gone: it stands where it cannot have come by itself.
            sim.close()
            shutil.rmtree(sim.root)
            again = place.add(Sim(place, MACHINE))
            place.add(Agent(place, again))
            time.sleep(0.5)
            m = window.end()
            assert m.partial and "gap" in m.flags and "reset" in m.flags, m
            assert 0 < m.joules < 0.8 * 240 * m.seconds, m  # at least this much, and said to be less


LOST = """[scenario]
title = a counter that cannot be read for 20 s
[machine]
cpus = 2
packages = 2
[rapl intel-rapl:0]
name = package-0
max-power = 20000W
power = 100W
event = 10s vanish for 20s
[rapl intel-rapl:1]
name = package-1
max-power = 20000W
power = 50W
"""


def test_a_window_that_begins_while_a_counter_cannot_be_read():
    """What the counter went on with before is not of this window, by whichever way."""
    with Place() as place:
        sim, agent = both(place, clock=True, scenario=LOST)
        old, page_module.boot_ns = page_module.boot_ns, sim.time.now
        try:
            with ergon.connect(agent.socket) as source, ergon.connect(page=agent.page) as page:
                sim.time.sleep(27)
                windows, first = [source.begin("agent"), page.begin("page")], source.totals()
                sim.time.sleep(6)
                found = [w.end() for w in windows] + [_delta.delta(first, source.totals(), {})]
                for m in found:
                    assert m.partial and "gap" in m.flags, m
                    truth = sim.truth(*times(m))
                    assert m.joules <= sum(truth.values()) * 1.001, (m, truth)
                    assert m.joules >= truth["rapl intel-rapl:1"] * 0.999, (m, truth)
        finally:
            page_module.boot_ns = old


def test_more_windows_than_one_may_have():
    with Place() as place:
        sim, agent = both(place, clock=True, config="[access]\nmax_windows = 3\n")
        with ergon.connect(agent.socket) as source:
            windows = [source.begin(f"w{i}") for i in range(8)]
            sim.time.sleep(1)
            for window in windows:
                m = window.end()
                check(sim, m)
                assert not m.partial and m.uncertainty_joules


def test_an_expired_window_has_its_whole_value():
    with Place() as place:
        sim, agent = both(place, clock=True, config='[access]\nwindow_expiry = "1s"\n')
        with ergon.connect(agent.socket) as source:
            window = source.begin("long")
            sim.time.sleep(1.6)
            m = window.end()
            assert m.seconds > 1.55 and not m.partial
            check(sim, m)


def test_an_end_whose_answer_was_lost_has_its_own_time():
    with Place() as place:
        sim, agent = both(place, clock=True)
        with ergon.connect(agent.socket) as source:
            window = source.begin("lost")
            sim.time.sleep(1)
            source.client.ask("POST", f"/windows/{window._id}/end")
            sim.time.sleep(1)
            m = window.end()
            assert m.seconds == 1.0 and not m.partial, m
            check(sim, m)


def test_held_energy_is_in_the_parts_as_in_the_whole():
    from decimal import Decimal
    from ergon import agent as agent_module
    with Place() as place:
        _, agent = both(place)
        made = agent.local("/api/v1/windows", "POST", {"name": "x"}).json
        doc = json.loads(agent.local(f"/api/v1/windows/{made['id']}/end", "POST").text, parse_float=Decimal)
    doc["total"].update(joules=8, estimated_joules=6)
    for channel, (read, held) in zip(doc["channels"], ((2, 1), (None, 5), (None, None))):
        channel.update(joules=read, estimated_joules=held, uncertainty_joules=None, mean_watts=None)
    m = agent_module.measurement(doc, name="x", backend="agent")
    assert [(e.joules, e.estimated_joules) for e in m.entries[:3]] == [(3, 1), (5, 5), (None, 0)]
    assert (m.joules, m.estimated_joules) == (8, 6)


def test_cancel_leaves_nothing():
    with Place() as place:
        _, agent = both(place)
        with ergon.connect(agent.socket) as source:
            window = source.begin("gone")
            assert [w["name"] for w in source.windows()] == ["gone"]
            window.cancel()
            window.cancel()
            assert source.windows() == [] and not window.open
            for what in (window.end, window.peek, lambda: window.units("x")):
                try:
                    what()
                    raise AssertionError("a cancelled window goes on")
                except WindowClosed:
                    pass


def test_threads():
    with Place() as place:
        sim, agent = both(place)
        with ergon.connect(agent.socket) as source:
            found, errors = [], []

            def work(i):
                try:
                    for _ in range(5):
                        with source.begin(f"t{i}") as window:
                            time.sleep(0.25)
                            window.peek()
                        found.append(window.measurement)
                except Exception as error:
                    errors.append(error)
            threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
            whole = source.begin("all")
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            check(sim, whole.end())
            assert not errors, errors
            assert len(found) == 60 and source.windows() == []
            for m in found:
                near(sim, m.joules, *times(m))
            assert len(source.client._idle) <= 8


def test_a_forked_child_asks_by_itself():
    with Place() as place:
        _, agent = both(place)
        with ergon.connect(agent.socket) as source:
            window = source.begin("parent")
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    with source.begin("child") as own:
                        time.sleep(0.1)
                    code = 0 if own.measurement.joules > 0 and window.peek().joules > 0 else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert window.end().joules > 0


def test_without_rights_the_times_are_those_of_the_renewals():
    """uid 65534 is given coarse access: the measurement says so, and is right for the times it tells."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    script = """
import sys, json, time
sys.path.insert(0, sys.argv[2]); sys.dont_write_bytecode = True
import ergon
source = ergon.connect(sys.argv[1])
t = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
w = source.begin("coarse"); time.sleep(1.5); m = w.end()
print(json.dumps(dict(m.to_dict(), begin_ns=m.begin_ns, end_ns=m.end_ns, microjoules=m.microjoules)))
"""
    with Place() as place:
        sim, agent = both(place)
        os.chmod(place.dir, 0o755)
        os.chmod(place.path("run"), 0o755)
        package = place.path("package")
        shutil.copytree(PACKAGE, package)
        r = subprocess.run(["/usr/bin/python3", "-c", script, agent.socket, package], user=65534, group=65534,
                           extra_groups=[], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r
        m = json.loads(r.stdout)
        error = near(sim, m["joules"], m["begin_ns"], m["end_ns"])
        print(f"# {m['joules']} J in {m['seconds']} s, {100 * error:+.3f} %, of {m['elapsed_seconds']} s")
        assert m["access"] == "coarse" and m["edges"] == "renewal"
        assert m["seconds"] >= 1 and m["max_watts"] is None
        assert abs((m["end_ns"] - m["begin_ns"]) / 1e9 - m["seconds"]) < 1e-6


class Moving:
    """Simulated time goes on meanwhile."""

    def __init__(self, sim):
        self.sim, self.stop = sim, threading.Event()

    def __enter__(self):
        def move():
            while not self.stop.is_set():
                self.sim.time.sleep(0.2)
                time.sleep(0.01)
        self.thread = threading.Thread(target=move)
        self.thread.start()

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_coarse_windows_by_the_totals_alone_hold_their_work():
    """One more window than the agent keeps, and one through a restart: end at a renewal after their end."""
    with Place() as place:
        sim, agent = both(place, config="[access]\nmax_windows = 1\n", clock=True)
        with ergon.connect(url=f"http://{agent.address}") as source:
            with Moving(sim):
                kept = source.begin("kept")
            for _ in range(2):
                begin_ns = sim.time.now()
                with Moving(sim):
                    window = source.begin("one too many")
                begun_ns = sim.time.now()
                sim.time.sleep(0.1)
                end_ns = sim.time.now()
                with Moving(sim):
                    m = window.end()
                assert begin_ns <= m.begin_ns <= begun_ns and m.end_ns >= end_ns, (begin_ns, begun_ns, m)
                assert m.joules > 0 and m.seconds > 0 and m.edges == "renewal" and not m.partial, m
                check(sim, m)
            agent.kill()
            place.add(Agent(place, sim, listen=agent.address))
            end_ns = sim.time.now()
            with Moving(sim):
                m = kept.end()
            assert m.end_ns >= end_ns and not m.partial, (end_ns, m)
            check(sim, m)


def test_over_tcp_with_a_token():
    with Place() as place:
        token = place.path("token")
        with open(token, "w") as f:
            f.write("a-long-token-0123456789\n")
        os.chmod(token, 0o600)
        _, agent = both(place)
        with ergon.connect(url=f"http://{agent.address}") as source:
            assert source.access == "coarse"
            with source.begin("tcp") as window:
                time.sleep(0.2)
            assert window.measurement.edges == "renewal" and window.measurement.joules > 0
        for bad in ("ftp://x", "http://", "http://u:p@h/"):
            try:
                ergon.connect(url=bad)
                raise AssertionError(bad)
            except ValueError:
                pass


def test_events():
    with Place() as place:
        sim, agent = both(place, "--interval", "200ms")
        with ergon.connect(agent.socket, patience=60) as source:
            seen = []
            for event in source.events(0.2):
                seen.append(event)
                if len(seen) == 4:
                    agent.kill()
                    agent = place.add(Agent(place, sim, "--interval", "200ms"))
                if len(seen) == 8:
                    break
            joules = [event.joules for event in seen]
            assert joules == sorted(joules) and joules[-1] > joules[0], joules
            assert {ch.name for ch in seen[0].channels} >= {"rapl/package-0", "rapl/dram-0"}
            agent.stop()
        assert next(ergon.NullSource().events(0.01)).joules is None


# ---- the page ----

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


# ---- what is not there ----

def test_nothing_here_says_what_helps():
    with Place() as place:
        os.environ.update(ERGON_SOCKET=place.path("no.sock"), ERGON_PAGE=place.path("no-page"),
                          ERGON_LIBRARY=place.path("no.so"))
        try:
            for call in (ergon.connect, lambda: ergon.measure("x").start()):
                try:
                    call()
                    raise AssertionError("connected to nothing")
                except Unavailable as error:
                    assert "ergon agent" in str(error) and "no.sock" in str(error), error
                    assert "no-page" in str(error) and "no.so" in str(error), error
            for backend in ("agent", "page", "library"):
                try:
                    ergon.connect(backend=backend)
                    raise AssertionError(backend)
                except Unavailable:
                    pass
            os.environ["ERGON_BACKEND"] = "null"
            source = ergon.connect()
            with ergon.measure("off", source=source) as m:
                m.units("x", 2)
            assert m.joules is None and m.backend == "null" and not m.partial
            assert m.joules_per_unit == {"x": None}
            assert source.totals().joules is None and source.accounts() == []
        finally:
            for name in ("SOCKET", "PAGE", "LIBRARY", "BACKEND"):
                os.environ.pop("ERGON_" + name, None)


def test_looking_for_an_agent_again_and_again_leaves_nothing():
    """What is registered for forked children stays for the life of the process."""
    calls, old = [], os.register_at_fork
    os.register_at_fork = lambda **_: calls.append(1)
    try:
        for _ in range(300):
            try:
                ergon.connect("/nonexistent/ergon.sock")
                raise AssertionError("connected to nothing")
            except Unavailable:
                pass
    finally:
        os.register_at_fork = old
    assert not calls and len(_fork._methods) < 200, (len(calls), len(_fork._methods))


def test_a_socket_that_is_not_for_us():
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        path = place.path("private")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        os.chmod(path, stat.S_IRUSR)
        os.chmod(place.dir, 0o755)
        package = place.path("package")
        shutil.copytree(PACKAGE, package)
        r = subprocess.run(["/usr/bin/python3", "-c", "import sys; sys.path.insert(0, sys.argv[2])\n"
                            "sys.dont_write_bytecode = True\nimport ergon\n"
                            "try: ergon.connect(sys.argv[1])\n"
                            "except ergon.AccessDenied as e: print(e)", path, package],
                           user=65534, group=65534, extra_groups=[], capture_output=True, text=True,
                           timeout=60)
        listener.close()
        assert "group" in r.stdout, r


def test_answers_that_make_no_sense():
    """Another server at the socket, and one that is hostile: errors of this package, never others."""
    answers = [b"", b"HTTP/1.1 200 OK\r\n\r\nhello", b"garbage\r\n\r\n",
               b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[]",
               b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
               b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
               b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{",
               b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"schema\":\"ergon.api/1\"   }",
               b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300
               + b"\r\n"]
    with Place() as place:
        path = place.path("s")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        stop = threading.Event()

        def serve():
            for answer in answers:
                connection, _ = listener.accept()
                connection.recv(65536)
                try:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                connection.close()
            stop.set()
        thread = threading.Thread(target=serve)
        thread.start()
        for answer in answers:
            try:
                ergon.connect(path, timeout=10)
                raise AssertionError(answer)
            except (Unavailable, ProtocolError):
                pass
        thread.join(10)
        listener.close()


def test_every_answer_that_is_cut_or_changed():
    """The parsers of answers, over changed ones: a value, or ProtocolError."""
    import random
    from ergon import agent as agent_module
    from decimal import Decimal
    with Place() as place:
        _, agent = both(place)
        made = agent.local("/api/v1/windows", "POST", {"name": "x"}).json
        docs = [(agent.local("/api/v1/totals").text, lambda d: agent_module.snapshot(d, None, 1.0)),
                (agent.local("/api/v1/sensors").text, agent_module._facts),
                (agent.local(f"/api/v1/windows/{made['id']}/end", "POST").text,
                 lambda d: agent_module.measurement(d, name="x", backend="agent"))]
    rng = random.Random(20261126)
    values = [None, -1, 1e400, "x", [], {}, True, Decimal("NaN"), 10 ** 40, Decimal("-0.5"), [None], {"a": 1}]
    refused = 0
    for text, what in docs:
        for _ in range(1500):
            doc = json.loads(text, parse_float=Decimal)
            node = doc
            while True:  # one node somewhere in it becomes another
                keys = list(node) if isinstance(node, dict) else range(len(node))
                key = rng.choice(list(keys))
                if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
                    node = node[key]
                    continue
                if isinstance(node, dict) and rng.random() < 0.3:
                    del node[key]
                else:
                    node[key] = rng.choice(values)
                break
            try:
                agent_module.parse(what, doc)
            except ProtocolError:
                refused += 1
    print(f"# {refused} of 4500 refused")
    assert refused > 100
    for text in (b"data: {\n\n", b"event: snapshot\ndata: [1]\n\n", b"event: end\ndata: {}\n\n",
                 b"event: snapshot\n"
                 b"data: {\"seq\": 1}\n\n"):
        import io
        try:
            list(agent_module.sse(io.BytesIO(text)))
            raise AssertionError(text)
        except (ProtocolError, OSError, agent_module.http.client.HTTPException):
            pass


def test_differences_of_accounts():
    """The rules of a window without an agent, case by case."""
    from ergon.model import Account, AccountKey, Reading, Snapshot

    def at(seconds, **accounts):
        readings = {}
        for name, value in accounts.items():
            uj, more = value if isinstance(value, tuple) else (value, {})
            more = dict({"since_unix_seconds": 5.0, "status": "ok"}, **more)
            held = more.pop("held", False)
            key = AccountKey("cpu-0", name.split("_")[0], "estimated" if held else "measured")
            account = Account(key, "rapl", "component", "rapl/" + name, more.pop("role", "total"),
                              more.pop("counted", True), held)
            readings[key] = Reading(account, uj, **more)
        return Snapshot("agent", int(seconds * NS), 1000.0 + seconds, readings)

    def delta(first, last):
        return _delta.delta(first, last, {"rapl/package": _delta.SensorFacts(relative=0.06)})
    m = delta(at(0, package=1000000), at(20, package=41000000))
    assert m.joules == 40 and m.watts == 2 and not m.partial and not m.flags
    assert abs(m.uncertainty_joules - 2.4 / 1.96 * 0.06 * 40) < 0.01
    m = delta(at(0, package=(1, {"gap_seconds": 1.0})), at(20, package=(9, {"gap_seconds": 1.5})))
    assert m.microjoules == 8 and m.partial and m.flags == ("gap",)
    m = delta(at(0, package=9), at(20, package=8))  # it fell: that is no total of ours
    assert m.microjoules is None and m.partial
    m = delta(at(0, package=9, dram=1), at(20, package=10))
    assert m.microjoules == 1 and m.partial and "dram" in m.reason and "device_lost" in m.flags
    m = delta(at(0, package=9), at(20, package=10, dram=(7, {"since_unix_seconds": 1010.0})))
    assert m.microjoules == 8 and m.partial  # from its first reading on
    m = delta(at(0, package=9), at(20, package=(10, {"counted": False, "role": "part"}),
                                   chassis=(70, {"since_unix_seconds": 1010.0})))
    assert m.microjoules == 1 and m.partial and "chassis" in m.reason  # which holds the package's again
    m = delta(at(0, package=9), at(20, package=10, dram=(7, {"since_unix_seconds": 5.0})))
    assert m.microjoules == 1 and m.partial  # it was not counted before
    m = delta(at(0, package=9), at(20, package=10,
                                   package_held=(7, {"held": True, "since_unix_seconds": None})))
    assert m.microjoules == 8 and m.estimated_microjoules == 7 and not m.partial
    assert m.provenance == "estimated"
    assert m.flags == ("held",)
    m = delta(at(0, package=9, core=(1, {"counted": False, "role": "part"})),
              at(20, package=10, core=(4, {"counted": False, "role": "part"})))
    assert m.microjoules == 1 and len(m.entries) == 2
    m = delta(at(0, package=9), at(20, package=(10, {"status": "error"})))
    assert m.microjoules == 1 and m.partial and m.flags == ("gap",)
    m = delta(at(0, dram=1, package=(9, {"status": "no_data"})), at(20, dram=3, package=4000))
    assert m.microjoules == 2 and m.partial and m.flags == ("gap",)  # it has energy of before the window
    m = delta(at(0, package=(None, {"status": "no_data"})), at(20, package=(None, {"status": "no_data"})))
    assert m.microjoules is None and m.partial and "never" in m.reason
    m = delta(at(0, package=9, package_held=(7, {"held": True})),
              at(20, package=10, package_held=(7, {"held": True})))
    assert m.microjoules == 1 and m.estimated_microjoules == 0
    assert m.provenance == "measured"  # what was held before the window is none of its joules
    m = delta(at(0, package=9), at(20, package=9))
    assert m.microjoules == 0 and m.provenance == "measured" and not m.partial
    m = delta(at(50, package=9), at(20, package=10))  # the machine restarted: Unix time tells
    assert m.seconds == 0.0 or m.seconds >= 0


if __name__ == "__main__":
    run_tests(dict(globals()))
