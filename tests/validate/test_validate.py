# SPDX-License-Identifier: Apache-2.0
"""`ergon validate` on simulated machines in shared time: who is compared with whom, what each says beside
the truth, and what is said of one that is off, that wraps, or that dies. argv[3]: a fake NVML."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import ERGON, Place, Sim, ergon, run_tests  # noqa: E402

FAKE_NVML = os.path.abspath(sys.argv[3])


def machine(*sections):
    return "[machine]\ncpus = 4\n" + "\n".join(sections) + "\n"


def rapl(power, *more):
    return "\n".join(("[rapl intel-rapl:0]", "name = package-0", f"power = {power}", *more))


def perf(power, *more):
    return "\n".join(("[perf power]", "type = 21", "cpumask = 0", "[perf power energy-pkg 0]", "config = 2",
                      f"power = {power}", *more))


def validate(scenario, *words, code=0, text=False, env=None):
    """The report as JSON, or as a text; and the truth of its window by sensor."""
    with Place() as place:
        sim = place.add(Sim(place, scenario, clock=True))
        if not text:
            words += ("--json",)
        env = dict(os.environ, **(env(sim) if env else {}))
        offset = sim.time.unix() - sim.time.now()
        sim.time.close()  # while this program shares the clock and is awake, time stands still
        sim.time = None
        r = ergon("validate", "--root", sim.root, "--clock", sim.clock, *words, code=code, env=env)
        assert r.stderr == "", r.stderr
        if text:
            return r.stdout
        out = json.loads(r.stdout)
        span = [round(float(out.get(k) or 0) * 1e9) - offset for k in
                ("begin_unix_seconds", "end_unix_seconds")]
        out["truth"] = sim.truth(*span) if out["comparisons"] else {}
        return out


def only(out):
    """The one comparison and its one pair."""
    assert len(out["comparisons"]) == 1, out["comparisons"]
    c = out["comparisons"][0]
    assert len(c["pairs"]) == 1, c
    return c, c["pairs"][0]


def near(got, want, ratio):
    assert abs(got / want - 1) <= ratio, (got, want)


def test_perf_and_powercap_agree():
    out = validate("perf-power")
    assert out["schema"] == "ergon.crosscheck/1" and out["agree"] is True
    assert 10 <= out["seconds"] < 10.2
    seen = {(c["device"], c["component"]) for c in out["comparisons"]}
    assert seen == {(f"cpu-{i}", c) for i in (0, 1) for c in ("package", "dram")}
    for c in out["comparisons"]:
        a, b = c["interfaces"]
        assert (a["driver"], a["reference"], b["driver"], b["reference"]) == \
            ("rapl", True, "perf_rapl", False)
        assert a["method"] == b["method"] == "counter" and a["accuracy"]["relative"] == 0.05
        assert "Khan" in a["accuracy"]["citation"] and 0 < a["overhead"]["read_cpu_seconds"] < 0.01
        p, = c["pairs"]
        assert p["one_sensor"] and p["verdict"] == "agree" and p["bias"]["parts"] == 10
        assert p["joint_uncertainty_joules"] < 1e-3 * a["joules"]  # their gain error is one and the same
        near(b["joules"], a["joules"], 1e-4)
    near(out["comparisons"][0]["interfaces"][0]["joules"], out["truth"]["rapl intel-rapl:0"], 2e-4)
    assert out["cpu_seconds"] > 0 and len(out["channels"]) == 8


def test_a_biased_interface_is_reported():
    """2 % is far inside both classes of 5 %, and far outside what one sensor by two ways allows."""
    out = validate(machine(rapl("100W"), perf("100W", "gain = +2%")), code=1)
    c, p = only(out)
    assert p["verdict"] == "disagree" and out["agree"] is False
    near(p["difference_percent"], 2, 0.01)
    near(p["difference_joules"], 0.02 * c["interfaces"][0]["joules"], 0.01)
    near(p["bias"]["watts"], 2, 0.01)
    d, = [d for d in out["diagnostics"] if d["code"] == "crosscheck"]
    assert d["driver"] == "perf_rapl" and d["subject"] == "package-0" and d["cure"]
    text = validate(machine(rapl("100W"), perf("100W", "gain = +2%")), code=1, text=True)
    assert "DISAGREE: perf_rapl/package-0 is 20.0" in text and "1 disagree" in text, text


def test_a_small_bias_is_seen_too():
    for gain, verdict in (("+0.01%", "agree"), ("-0.3%", "disagree")):
        out = validate(machine(rapl("100W"), perf("100W", f"gain = {gain}")),
                       code=verdict == "disagree")
        _, p = only(out)
        assert p["verdict"] == verdict, (gain, p)


def test_wraps_inside_the_window():
    """A range of 50 J at 100 W: twenty wraps in the window of one of the two, none in the other."""
    out = validate(machine(rapl("100W", "range = 50000000", "start = 40000000"), perf("100W")))
    c, p = only(out)
    wraps = {x["name"]: x["wraps"] for x in out["channels"]}
    assert wraps["rapl/package-0"] >= 19 and wraps["perf_rapl/package-0"] == 0
    near(c["interfaces"][0]["joules"], out["truth"]["rapl intel-rapl:0"], 1e-3)
    assert p["verdict"] == "agree"


def test_a_sensor_that_dies_in_the_middle():
    for event in ("4s vanish", "4s garbage nonsense"):
        out = validate(machine(rapl("100W", f"event = {event}"), perf("100W")), code=1)
        c, p = only(out)
        print("#", event, p["verdict"], p["compared_seconds"], p["difference_percent"])
        assert p["verdict"] == "incomplete", (event, p)
        assert 2.5 < p["compared_seconds"] < 5
        # Where both spoke they agree, to what one sensor allows.
        assert abs(p["difference_joules"]) <= p["joint_uncertainty_joules"]
        dead = [i for i in c["interfaces"] if i["driver"] == "rapl"][0]
        assert dead["gap_seconds"] > 1 or dead["estimated_joules"] > 0, dead
        assert set(dead["overhead"].values()) == {None}  # one that may hang is not read again
    # A counter that comes back has counted on: nothing is lost.
    out = validate(machine(rapl("100W", "event = 4s vanish for 2s"), perf("100W")))
    assert only(out)[1]["verdict"] == "agree"
    # A gauge has not: the time without it is left out.
    out = validate(machine("[hwmon 0]\nname = power_meter\n[hwmon 0 power1]\naverage = 1s\npower = 20W\n"
                           "event = 14s vanish for 5s\n[battery BAT0]\npower = 20W"), "-d", "30", code=1)
    _, p = only(out)
    assert p["verdict"] == "incomplete" and 8 < p["compared_seconds"] < 28, p
    # Off where both spoke is a disagreement all the same.
    out = validate(machine(rapl("100W", "event = 4s vanish"), perf("100W", "gain = +3%")), code=1)
    assert only(out)[1]["verdict"] == "disagree"


def test_a_reset_is_not_compared():
    out = validate(machine(rapl("100W", "event = 5s reset"), perf("100W")), code=1)
    _, p = only(out)
    assert p["verdict"] == "incomplete" and 7 < p["compared_seconds"] < 10, p


def test_the_whole_machine():
    """Its meter and its batteries, which share the load: integrated power, and another class."""
    node = ("[hwmon 0]\nname = power_meter\n[hwmon 0 power1]\naverage = 1s\nupdate = 1s\npower = {}\n"
            "[battery BAT0]\npower = 12W\n[battery BAT1]\npower = 8W\n").format
    out = validate(machine(node("20W")), "-d", "30")
    c, p = only(out)
    assert (c["component"], c["device"]) == ("machine", "node")
    assert len(p["channels"]) == 2 and p["verdict"] == "agree" and not p["one_sensor"]
    assert {i["method"] for i in c["interfaces"]} == {"integrated_power"}
    near(c["interfaces"][1]["joules"], 20 * out["seconds"], 0.001)
    # The same meter of another machine.
    _, p = only(validate(machine(node("40W")), "-d", "30", code=1))
    assert p["verdict"] == "disagree"
    near(p["difference_percent"], -50, 0.01)


def test_nothing_to_read_is_no_failure():
    """A battery on the charger shows nothing, all the time."""
    out = validate(machine("[hwmon 0]\nname = power_meter\n[hwmon 0 power1]\naverage = 1s\npower = 20W\n"
                           "[battery BAT0]\npower = 12W\nevent = 0s charge\n"))
    _, p = only(out)
    assert p["verdict"] == "unseen" and p["difference_joules"] is None and out["agree"] is None


def test_a_socket_beside_its_dies():
    """powercap tells the dies apart, perf shows the socket: the sum is compared."""
    dies = "".join(f"[rapl intel-rapl:{d}]\nname = package-0-die-{d}\npower = {60 + d}W\nstart = {d}00000\n" for d in (0, 1))
    text = "[machine]\ncpus = 16\npackages = 1\ndies = 2\nvendor = AuthenticAMD\nfamily = 25\n" + dies
    out = validate(text + perf("121W"))
    c, p = only(out)
    sides = sorted(len(i["channels"]) for i in c["interfaces"])
    assert sides == [1, 2] and p["verdict"] == "agree" and not p["one_sensor"], c
    near(c["interfaces"][0]["joules"], 121 * out["seconds"], 1e-3)
    near(c["interfaces"][1]["joules"], 121 * out["seconds"], 1e-3)


def test_a_model_beside_what_it_models():
    scenario = machine(rapl("100W"), "[proc]\nutilization = 0.5")
    calm = ["--allow-estimates", "--set", "cpu_model.idle_watts=80", "--set", "cpu_model.full_watts=120"]
    assert validate(scenario)["comparisons"] == []
    out = validate(scenario, *calm)
    for c in out["comparisons"]:
        model = [i for i in c["interfaces"] if i["driver"] == "cpu_model"][0]
        assert model["provenance"] == "estimated" and not model["reference"]
        assert model["method"] == "estimation"


def gpu(sim, *lines):
    """The fake library in the machine, with this GPU; its environment."""
    os.makedirs(sim.root + "/usr/lib")
    shutil.copy(FAKE_NVML, sim.root + "/usr/lib/libnvidia-ml.so.1")
    script = os.path.join(os.path.dirname(sim.root), "nvml")
    with open(script, "w") as f:
        f.write("\n".join((f"t0 {1000 * 10 ** 9}", "driver 580.65.06", "gpu", *lines, "")))
    return {"ERGON_FAKE_NVML": script, "ERGON_FAKE_CLOCK": sim.clock}


def test_a_gpu_counter_beside_its_power():
    def env(*lines):
        return lambda sim: gpu(sim, *lines)
    power = "power sine mean=300W amplitude=100W period=7s"
    out = validate(machine(rapl("40W")), env=env("counter 100", power))
    c, p = only(out)
    a, b = c["interfaces"]
    assert (a["channels"], b["channels"]) == (["nvml/gpu-0"], ["nvml/gpu-0-power"])
    assert (a["method"], b["method"]) == ("counter", "integrated_power")
    assert p["verdict"] == "agree" and p["one_sensor"]
    assert abs(p["difference_percent"]) < 1, p
    assert validate(machine(rapl("40W")), "--set", "nvml.power_check=false",
                    env=env("counter 100", power))["comparisons"] == []
    # No counter: one way only, nothing to compare.
    assert validate(machine(rapl("40W")), env=env("counter none", power))["comparisons"] == []


def test_fewer_than_two_interfaces():
    out = validate(machine(rapl("100W")))
    assert out["comparisons"] == [] and out["agree"] is None and out["seconds"] == 0
    begin = time.monotonic()
    assert "no component of this machine is seen by two interfaces" in \
        validate(machine(rapl("100W")), text=True)
    assert time.monotonic() - begin < 60
    assert "Nothing can be measured here" in validate("no-sensor", text=True)
    # A choice of drivers is a choice of what is compared.
    assert validate("perf-power", "--select", "rapl")["comparisons"] == []
    assert len(validate("perf-power", "--select", "dram")["comparisons"]) == 2


def test_text_for_people():
    text = validate("perf-power", "--duration", "2s", text=True)
    for part in ("cpu-0 package\n", "agree: perf_rapl/package-0 is ", "as both read one sensor",
                 "accuracy class 5.0 %", "us CPU a read", "4 compared: 4 agree, 0 disagree, 0 incomplete"):
        assert part in text, (part, text)


def test_usage():
    for words in (["-d", "0"], ["-d", "x"], ["-i", "0"], ["extra"], ["--csv"]):
        r = ergon("validate", *words, code=2)
        assert r.stdout == "" and r.stderr
    assert "seconds" in ergon("validate", "-d", "0", code=2).stderr


def test_an_interrupt_ends_it_early():
    """What was measured until then is reported."""
    with Place() as place:
        sim = place.add(Sim(place, "perf-power"))
        p = subprocess.Popen([ERGON, "validate", "--root", sim.root, "--json", "-d", "600"],
                             stdout=subprocess.PIPE,  # whoever starts the tests may ignore it
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        time.sleep(1.5)
        p.send_signal(signal.SIGINT)
        out = json.loads(p.communicate(timeout=60)[0])
        assert p.returncode == 0 and 0 < out["seconds"] < 60 and len(out["comparisons"]) == 4, out


if __name__ == "__main__":
    run_tests(globals())
