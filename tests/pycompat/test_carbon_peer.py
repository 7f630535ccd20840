# SPDX-License-Identifier: Apache-2.0
"""The real CodeCarbon beside ours on the same simulated machine, its defects of the measurement contract,
Part 3, and all backends at once: our figure is right; its own is printed, and may become right too. Real
time."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig_compat import (HEAD, NS, RANGE, REAL, Meters, Place, late, machine, near,  # noqa: E402
                        run_tests, say,
                        started, truth, zone)


def test_d4_mirrored_dies():
    with Place() as place:
        meters = Meters(place, "zeus.monitor", "codecarbon")
        sim = machine(place, meters, HEAD + zone("package-0-die-0", "68W") + "".join(
            f"[rapl intel-rapl:{k}]\nname = package-0-die-{k}\nmax-power = 4000W\nmirror = intel-rapl:0\n"
            for k in (1,)))
        meters.ask(do="zeus_monitors")
        r = meters.ask(do="zeus", seconds=2.0)
        true = truth(sim, r["ours"], "intel-rapl:0")
        c = meters.ask(do="codecarbon", seconds=2.0, measure_power_secs=0.5)
        carbon_true = truth(sim, c["ours"], "intel-rapl:0")
        say(f"D4 mirrored dies: ours {r['ours']['cpu']}, truth {true:.1f} J, Zeus {r['zeus']['cpu']}")
        say(f"D4: ours {c['ours']['cpu']:.1f} J, truth {carbon_true:.1f} J, "
            f"CodeCarbon {c['codecarbon']['cpu']:.1f} J")
        assert set(r["ours"]["cpu"]) == {"0"}
        near(r["ours"]["cpu"]["0"], true, REAL, "D4")
        near(c["ours"]["cpu"], carbon_true, REAL, "D4")


def test_d11_one_failed_read_and_d12_no_range_and_a_wrap():
    """Two machines at once."""
    for wait in (8, 24, 60):
        with Place() as one, Place() as two:
            failing, wrapping = Meters(one, "codecarbon"), Meters(two, "codecarbon")
            eleven = machine(one, failing, HEAD + zone(
                "package-0", "300W", f"range = {RANGE}\nstart = 100000000000\n"
                f"event = {wait + 2}s garbage x for 1.2s\n"))
            twelve = machine(two, wrapping, HEAD + zone(
                "package-0", "350W", f"range = {RANGE}\nstart = {RANGE - 350000000 * (wait + 3)}\n"
                "event = 0s no-range\n"))
            ask = dict(do="codecarbon", seconds=6.0, measure_power_secs=1)
            failing.send(**ask, begin_ns=started(eleven) + wait * NS)
            wrapping.send(**ask, begin_ns=started(twelve) + wait * NS)
            r, w = failing.answer(), wrapping.answer()
            if late(r) or late(w):
                continue
            true = truth(eleven, r["ours"], "intel-rapl:0")
            say(f"D11 a read that fails: ours {r['ours']['cpu']:.1f} J, truth {true:.1f} J, "
                f"CodeCarbon {r['codecarbon']['cpu']:.1f} J")
            near(r["ours"]["cpu"], true, REAL, "D11")
            true = truth(twelve, w["ours"], "intel-rapl:0")
            say(f"D12 no range and a wrap: ours {w['ours']['cpu']:.1f} J, truth {true:.1f} J of which about "
                f"a second is not known, CodeCarbon {w['codecarbon']['cpu']:.1f} J")
            assert true - 2.5 * 350 <= w["ours"]["cpu"] <= true * (1 + REAL), w["ours"]
            return
    raise AssertionError("the machine was too busy to keep a time, three times")


def test_d13_nested_dram_and_d15_mean_power():
    with Place() as place:
        meters = Meters(place, "codecarbon")
        sim = machine(place, meters, HEAD + zone("package-0", "200W")
                      + zone("core", "90W", at="intel-rapl:0:0")
                      + zone("dram", "40W", at="intel-rapl:0:1"))
        r = meters.ask(do="codecarbon", seconds=5.0, measure_power_secs=1, rapl_include_dram=True)
        ours, theirs = r["ours"], r["codecarbon"]
        true = truth(sim, ours, "intel-rapl:0", "intel-rapl:0:1")
        say(f"D13 package and nested DRAM: ours {ours['cpu']:.1f} J, truth {true:.1f} J, CodeCarbon "
            f"{theirs['cpu']:.1f} J (of {truth(sim, theirs, 'intel-rapl:0', 'intel-rapl:0:1'):.1f})")
        near(ours["cpu"], true, REAL, "D13")
        assert ours["ram"] is None, "counted twice"
        say(f"D15 mean power of 240 W: ours {ours['cpu_power']:.1f} W, CodeCarbon "
            f"{theirs['cpu_power']:.1f} W of the package's 200 W")
        near(ours["cpu_power"], 240, REAL, "D15")
        near(ours["emissions"], ours["total"] / 3.6e6 * 0.1, 1e-6, "emissions")


def test_validate_with_all():
    """M18: all of them at once; the mirrored die is found out."""
    with Place() as place:
        meters = Meters(place, "zeus.monitor", "codecarbon")
        machine(place, meters, HEAD + zone("package-0", "120W") + zone("dram", "20W", at="intel-rapl:0:0"))
        r = meters.ask(do="validate", seconds=3.0)
        for line in r["text"].splitlines():
            say(line)
        doc = r["doc"]
        interfaces = [i for c in doc["comparisons"] for i in c["interfaces"]]
        assert {"ergon", "zeus", "codecarbon"} <= {i["backend"] for i in interfaces}, doc
        assert doc["agree"] is True, doc
        pairs = [(c["component"], {i["backend"] for i in c["interfaces"]}) for c in doc["comparisons"]]
        assert any({"ergon", "zeus", "codecarbon"} <= names for _, names in pairs) or \
            any("zeus" in names for _, names in pairs) and any("codecarbon" in names for _, names in pairs), pairs
        assert not any(c == "dram" and "codecarbon" in names for c, names in pairs), pairs
        assert all(p["verdict"] == "agree" for c in doc["comparisons"] for p in c["pairs"]), doc
        for i in interfaces:
            assert i["version"] and i["method"] and i["accuracy"]["relative"], i
            assert i["overhead"]["read_seconds"] > 0, i
        assert {"nvml", "nvml-power"} <= {d["driver"] for d in doc["diagnostics"]}, doc


if __name__ == "__main__":
    run_tests(dict(globals()))
