#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sensors that are not there, may not be read, show garbage, vanish or hang, as a user of the
shipped program meets them: it says what is wrong and what helps, ends as its command did, and
invents no joule. And a fake NVML each of whose calls fails in turn."""
import json
import os
import shutil
import subprocess
import sys
import time

from fault import ERGON, LIMIT, PACKAGE, SOAK, Machine, Run, Skip, check_joules, run_tests, together, \
    write

FAKE_NVML = os.path.abspath(sys.argv[2])
NOBODY = 65534


def run_json(machine, *command, name="out.json", env=None):
    r = Run(machine, ["run", "--json", "-o", machine.path(name), "--", *command], env)
    with open(machine.path(name)) as f:
        return r, json.load(f)


def said(report, code, driver=None):
    return [d for d in report["diagnostics"]
            if d["code"] == code and driver in (None, d["driver"])]


def test_no_sensor():
    m = Machine(scenario=None)
    r, report = run_json(m, "sh", "-c", "exit 7")
    assert r.rc == 7, r
    assert report["total"] is None and report["channels"] == [], report
    assert "joules" not in json.dumps(report), report
    built = [d["name"] for d in Run(m, ["sensors", "--json"]).report()["drivers"] if d["built"]]
    assert len(built) >= 8 and {d["driver"] for d in report["diagnostics"]} >= set(built), report
    r = Run(m, ["run", "--", "true"])
    assert r.rc == 0 and "rapl" in r.err and "cure" in r.err, r
    r = Run(m, ["stat", "-n", "1", "--json"])
    assert r.rc == 1 and r.out == "" and "nothing can be measured" in r.err, r
    r = Run(m, ["doctor"])
    assert r.rc == 0 and "Nothing" in r.out, r


def as_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def test_unreadable_sensor_as_another_user():
    if os.geteuid() != 0:
        raise Skip("needs root to become another user")
    m = Machine()
    shutil.copy(ERGON, m.path("ergon"))
    os.chmod(m.path("ergon"), 0o755)
    zone = os.path.join(m.root, os.path.dirname(PACKAGE))
    for folder, _, files in os.walk(zone):
        if "energy_uj" in files:
            os.chmod(os.path.join(folder, "energy_uj"), 0o400)
    kw = {"program": m.path("ergon"), "preexec_fn": as_nobody}
    for verb in (["doctor"], ["sensors"], ["run", "--select", "rapl", "--", "true"]):
        r = Run(m, verb, **kw)
        assert r.rc == 0, r
        text = r.out + r.err
        assert "Permission denied" in text or "sensor_blocked" in text, r
        assert "chgrp" in text and "energy_uj" in text, r
    r = Run(m, ["run", "--json", "--select", "rapl", "--", "true"], **kw)
    report = json.loads(r.err)
    assert r.rc == 0 and report["total"] is None, r
    blocked = said(report, "sensor_blocked", "rapl")
    assert blocked and all(d["cure"] for d in blocked), report["diagnostics"]
    # What may be read is still measured.
    report = json.loads(Run(m, ["run", "--json", "--", "true"], **kw).err)
    assert said(report, "sensor_blocked", "rapl"), report
    assert report["total"] and "perf_rapl/package-0" in report["total"]["channels"], report
    # And with the right it is there again.
    report = json.loads(Run(m, ["run", "--json", "--select", "rapl", "--", "true"]).err)
    assert report["total"]["channels"], report


GARBAGE = ["", "\n", "nan\n", "-5\n", "0x1000\n", "12 34\n", "1e9\n", "100000000x\n", b"\0\0\0\0",
           "184467440737095516160\n", "9" * 5000, b"\xff\xfe\n"]


def test_garbage_in_a_file():
    for text in GARBAGE:
        m = Machine()
        path = os.path.join(m.root, PACKAGE)
        write(path, text)
        r = Run(m, ["sensors", "--json"])
        assert r.rc == 0, r
        check_joules(r, r.report(), repr(text))
        # From the start, and from the middle on.
        for command in (["true"], ["cp", m.path("bad"), path]):
            if command[0] == "cp":
                write(path, "100000000\n")
                write(m.path("bad"), text)
            r, report = run_json(m, *command)
            assert r.rc == 0, r
            check_joules(r, report, repr(text))
            assert "rapl/package-0" not in (report["total"] or {"channels": []})["channels"] or \
                any(c["name"] == "rapl/package-0" and "gap" in c["flags"]
                    for c in report["channels"]), f"{text!r}: {report}"
            assert [d for d in report["diagnostics"] if d["driver"] == "rapl"], \
                f"{text!r}: not a word: {report}"


def test_file_that_vanishes():
    m = Machine()
    zone = os.path.join(m.root, "sys/devices/virtual/powercap/intel-rapl")
    r, report = run_json(m, "sh", "-c", f"rm -r {zone}; exit 3")
    assert r.rc == 3, r
    check_joules(r, report, "the zones vanish")
    assert report["total"], report
    r, report = run_json(m, "true")
    assert r.rc == 0 and not [c for c in report["channels"] if c["driver"] == "rapl"], report
    assert [d for d in report["diagnostics"] if d["driver"] == "rapl"], report["diagnostics"]


HANGING = """[scenario]
title = reads hang from the second second on
[machine]
cpus = 2
[rapl intel-rapl:0]
name = package-0
range = 262143328850
power = 100W
event = 2s hang for 60s
"""


def unmount(path):
    subprocess.run(["umount", "-l", path], stderr=subprocess.DEVNULL, check=False)


def start(machine, words, out):
    verb, *rest = words
    with open(machine.path(out), "wb") as f:
        return subprocess.Popen([ERGON, verb, "--root", machine.root, *rest], stdout=f,
                                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def await_json(path):
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        try:
            with open(path) as f:
                return json.load(f)
        except (OSError, ValueError):
            time.sleep(0.02)
    raise AssertionError(f"{path}: no report within {LIMIT} s")


def test_hanging_read():
    # A worker that hangs for good is left behind with its memory, on purpose.
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    m = Machine(scenario=None)
    write(m.path("hang.scn"), HANGING)
    sim = subprocess.Popen([ERGON, "sim", "node", "--fuse", "--dir", m.root, "--scenario",
                            m.path("hang.scn")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + LIMIT
        while sim.poll() is None and not os.path.ismount(m.root) and time.monotonic() < until:
            time.sleep(0.02)
        if sim.poll() is not None:
            raise Skip(f"FUSE does not work here: {sim.stderr.read().decode().strip()}")
        started = time.monotonic()
        run = start(m, ["run", "--json", "-o", m.path("out.json"), "--", "sh", "-c",
                        "sleep 3; exit 7"], "unused")
        report = await_json(m.path("out.json"))
        assert said(report, "sensor_timeout", "rapl"), report["diagnostics"]
        for c in report["channels"]:
            joules = (c["joules"] or 0) + c["estimated_joules"]
            assert joules <= 100 * (time.monotonic() - started), report
            assert c["joules"] is None or c["gap_seconds"] > 0 or "held" in c["flags"], report
        # Now the very first read hangs: a verb still tells what it found.
        sensors = start(m, ["sensors", "--json"], "sensors.json")
        report = await_json(m.path("sensors.json"))
        assert said(report, "sensor_timeout", "rapl"), report
        # A thread that the kernel holds in a read of FUSE keeps its process until it is answered.
        sim.terminate()
        assert run.wait(LIMIT) == 7
        assert sensors.wait(LIMIT) == 0
    finally:
        sim.terminate()
        try:
            sim.wait(10)
        except subprocess.TimeoutExpired:
            unmount(m.root)
            sim.kill()
            sim.wait()
        if os.path.ismount(m.root):
            unmount(m.root)


GPU_WATTS = 300
NVML_CODES = [1, 2, 3, 4, 6, 9, 15, 16, 18, 21, 999]
NVML_VERBS = [["run", "--json", "--select", "nvml", "--", "sleep", "0.03"],
              ["stat", "-n", "2", "-i", "20", "--json", "--select", "nvml"],
              ["sensors", "--json", "--select", "nvml"]]


def nvml_run(machine, words, nth, code):
    script = machine.path(f"script-{words[0]}-{nth}-{code}")
    t0 = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 10 ** 9
    write(script, f"t0 {t0}\ndriver 580.65.06\ngpu\ncounter 10\npower {GPU_WATTS}W\nbase 123456\n"
                  f"gpu\narch 4\ncounter none\npower {GPU_WATTS}W\n"
                  + (f"nth {nth} {code}\n" if nth else ""))
    r = Run(machine, words, {"ERGON_FAKE_NVML": script})
    os.unlink(script)
    return r


def nvml_check(words, nth, code, r):
    where = f"{words[0]}, NVML call {nth} answers {code}"
    assert r.rc in (0, 1), f"{where}: {r}"
    if r.rc == 1:
        assert "ergon: " in r.err and r.out == "", f"{where}: {r}"
        return 0
    report = r.report(r.err if words[0] == "run" else r.out)
    # The counter moves in steps of 10 ms.
    check_joules(r, report, where, GPU_WATTS * 1.02 + 3.1 / r.seconds)
    if words[0] == "stat":
        return 0
    gpus = [c for c in report["channels"] if c.get("joules", c.get("watts")) is not None]
    assert len(gpus) == 2 or said(report, "sensor_error") or \
        [d for d in report["diagnostics"] if d["driver"] == "nvml"], \
        f"{where}: {len(gpus)} GPUs and not a word: {report}"
    return len(gpus) == 2


def test_each_call_of_nvml_fails():
    m = Machine(scenario=None)
    os.makedirs(os.path.join(m.root, "usr/lib"))
    shutil.copy(FAKE_NVML, os.path.join(m.root, "usr/lib/libnvidia-ml.so.1"))
    for words in NVML_VERBS:
        clean = nvml_run(m, words, 0, 0)
        assert clean.rc == 0, clean
        assert nvml_check(words, 0, 0, clean) or words[0] == "stat", clean
        # Each of the calls with one code after the other; with ERGON_SOAK with all of them.
        todo = [(n, c) for n in range(1, 141)
                for c in (NVML_CODES if SOAK else [NVML_CODES[n % len(NVML_CODES)]])]
        runs = together(lambda t: nvml_run(m, words, *t), todo)
        whole = sum(nvml_check(words, n, c, r) for (n, c), r in zip(todo, runs))
        print(f"# {words[0]}: {len(todo)} runs, each with one failing call; both GPUs whole in "
              f"{whole}")


run_tests(globals())
