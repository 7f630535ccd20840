# SPDX-License-Identifier: Apache-2.0
"""libergon in the process, where there is no agent, on a simulated machine."""
import os
import re
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def with_sanitizer():
    """A library built with gcc's address sanitizer needs its run time loaded before anything else: this
    script is run again so. None where that is not to be had."""
    with open(sys.argv[3], "rb") as f:
        data = f.read()
    if b"__asan_init" not in data and b"__tsan_init" not in data or os.environ.get("ERGON_TEST_PRELOADED"):
        return True
    runtime = re.search(rb"libasan\.so\.[0-9]+", data)
    if not runtime:
        return False
    os.environ.update(LD_PRELOAD=runtime.group().decode(), ERGON_TEST_PRELOADED="1", PYTHONMALLOC="malloc",
                      ASAN_OPTIONS="detect_leaks=0")
    os.execv(sys.executable, [sys.executable, *sys.argv])
    return False


LOADS = with_sanitizer()
sys.path.insert(0, HERE)
from rig_python import LIBRARY, MACHINE, Place, Sim, Skip, check, ergon, run_tests  # noqa: E402
from ergon.errors import Unavailable  # noqa: E402


def connect(place, scenario=MACHINE):
    if not LOADS:
        raise Skip("the library's sanitizer cannot be loaded into Python")
    sim = place.add(Sim(place, scenario))
    return sim, ergon.connect(library=LIBRARY, root=sim.root)


def test_windows_against_the_truth():
    with Place() as place:
        sim, source = connect(place)
        with source:
            assert source.kind == "library" and len(source.accounts()) == 4
            outer = source.begin("same name", units={"x": 2})
            time.sleep(0.2)
            inner = source.begin("same name")
            time.sleep(1)
            so_far = inner.peek()
            inner_m, outer_m = inner.end(), outer.end()
        for m in (inner_m, outer_m):
            print(f"# {m}: {100 * check(sim, m):+.3f} %")
            assert m.backend == "library" and m.edges == "sample"
            assert sum(e.microjoules for e in m.entries if e.counted) == m.microjoules
            assert {e.device for e in m.entries} == {"cpu-0", "cpu-1"} and m.entries[0].method == "counter"
            assert "short_measurement_duration" in m.flags and m.components["core"] > 0
        assert so_far.running and so_far.microjoules <= inner_m.microjoules
        assert outer_m.joules_per_unit == {"x": outer_m.joules / 2}


def test_totals_and_power():
    with Place() as place:
        _, source = connect(place)
        with source:
            source.totals()
            time.sleep(0.5)
            now = source.totals()
            assert now.joules > 0 and now.watts > 0 and now.provenance == "measured" and not now.stale
            assert sum(r.microjoules for r in now.readings.values() if r.account.counted) == now.microjoules
            assert now["cpu-0", "core", "measured"].account.role == "part"
            events = source.events(0.1)
            assert next(events).joules <= next(events).joules


def test_threads_and_cancel():
    with Place() as place:
        sim, source = connect(place)
        with source:
            found = []

            def work():
                with source.begin("t") as window:
                    source.begin("never ended").cancel()
                    time.sleep(1)
                found.append(window.measurement)
            threads = [threading.Thread(target=work) for _ in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert len(found) == 8
            for m in found:
                check(sim, m)


def test_a_forked_child_opens_its_own():
    with Place() as place:
        _, source = connect(place)
        with source:
            window = source.begin("parent")
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    m = window.end()
                    assert m.partial and m.joules is None and "another process" in m.reason, m
                    with source.begin("child") as own:
                        time.sleep(0.3)
                    assert own.measurement.joules > 0
                    source.close()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            time.sleep(0.2)
            assert window.end().joules > 0


def test_a_closed_source():
    with Place() as place:
        _, source = connect(place)
        window = source.begin("open")
        source.close()
        source.close()
        m = window.end()
        assert m.partial and m.joules is None
        for what in (source.begin, source.totals):
            try:
                what()
                raise AssertionError("a closed source")
            except Unavailable:
                pass


def test_it_is_the_last_of_the_three():
    """No agent, no page: libergon. With no sensor either: an error that says why for each driver."""
    with Place() as place:
        sim, source = connect(place)
        source.close()
        os.environ.update(ERGON_SOCKET=place.path("no"), ERGON_PAGE=place.path("no"), ERGON_LIBRARY=LIBRARY)
        try:
            with ergon.connect(root=sim.root) as source:
                assert source.kind == "library"
            try:
                ergon.connect(library=False, root=sim.root)
                raise AssertionError("connected to nothing")
            except Unavailable:
                pass
            empty = place.path("empty")
            os.makedirs(empty + "/sys")
            os.makedirs(empty + "/proc")
            try:
                ergon.connect(root=empty)
                raise AssertionError("an empty machine")
            except Unavailable as error:
                assert "rapl" in str(error), error
            # It was asked for by name: a source without figures.
            with ergon.connect(library=True, root=empty) as source:
                with source.begin("none") as window:
                    pass
                assert window.measurement.joules is None and window.measurement.partial
        finally:
            for name in ("SOCKET", "PAGE", "LIBRARY"):
                os.environ.pop("ERGON_" + name)


if __name__ == "__main__":
    run_tests(dict(globals()))
