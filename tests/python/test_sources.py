# SPDX-License-Identifier: Apache-2.0
"""The sources of the Python package against the shipped agent on a simulated machine: windows against the
truth, agents that die in the middle, users without rights."""
import json
import os
import shutil
import subprocess
import threading
import time

from rig_python import (MACHINE, PACKAGE, Agent, Place, Sim, Skip, both, check, ergon, near,
                        run_tests, times, until)
from ergon import _delta, page as page_module
from ergon.errors import Unavailable, WindowClosed

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


with open(os.path.join(os.path.dirname(__file__), "..", "scenarios", "lost-counter.scn")) as f:
    LOST = f.read()


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


def test_kept_connections_of_an_agent_before_are_not_told_of():
    with Place() as place:
        sim, agent = both(place)
        with ergon.connect(agent.socket) as source:
            threads = [threading.Thread(target=source.totals) for _ in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert source.client._idle
            agent.kill()
            place.add(Agent(place, sim))
            assert source.totals().joules is not None


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

if __name__ == "__main__":
    run_tests(dict(globals()))
