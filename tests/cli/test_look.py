#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ergon sensors`, `doctor` and `stat` on a captured machine: text, JSON, CSV, and readers that go."""
import csv
import io
import json
import os
import subprocess

from cli import ERGON, Machine, contains, equal, ergon, run_tests

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "house", "drivers")) as listed:
    DRIVERS = {row.split()[0] for row in listed if row.strip() and not row.startswith("#")}
STATES = {"ok", "not_built", "not_selected", "sensor_absent", "sensor_blocked", "sensor_unsupported",
          "sensor_error", "sensor_timeout", "estimator"}


def test_sensors_json():
    m = Machine().add_rapl()
    d = json.loads(ergon("sensors", "--root", m.root, "--json").stdout)
    equal(d["schema"], "ergon.sensors/1")
    equal({x["name"] for x in d["drivers"]}, DRIVERS)
    assert {x["state"] for x in d["drivers"]} <= STATES, d["drivers"]
    state = {x["name"]: x["state"] for x in d["drivers"]}
    equal((state["rapl"], state["nvml"]), ("ok", "sensor_absent"))
    package = next(c for c in d["channels"] if c["name"] == "rapl/package-0")
    equal((package["unit"], package["boundary"], package["provenance"], package["role"]),
          ("joules", "component", "measured", "total"))
    equal(package["resolution_joules"], 0.000062)
    assert abs(package["wrap_joules"] - 262143.32891) < 0.001
    equal((package["watts"], package["status"]), (0, "ok"))
    assert 0.2 <= package["watts_over_seconds"] < 10
    equal(package["plausible_max_watts"], 300)
    for driver in DRIVERS - {"rapl"}:
        if state[driver] != "not_built":
            contains([g["driver"] for g in d["diagnostics"]], driver)


def test_sensors_text():
    m = Machine().add_rapl()
    r = ergon("sensors", "--root", m.root)
    equal((r.returncode, r.stderr), (0, ""))
    for driver in DRIVERS:
        contains(r.stdout, "\n" + driver + " " if driver != "rapl" else "rapl  ")
    contains(r.stdout, "energy counter, step 62 uJ")
    contains(r.stdout, "0.000 W over 0.2 s")
    contains(r.stdout, "The total is made of: rapl/package-0")
    contains(r.stdout, "cure: ")
    more = ergon("sensors", "--root", m.root, "--all").stdout
    contains(more, "origin     sys/class/powercap/intel-rapl:0/energy_uj")


def test_sensors_selected():
    m = Machine().add_rapl()
    d = json.loads(ergon("sensors", "--root", m.root, "--json", "--select", "rapl").stdout)
    state = {x["name"]: x["state"] for x in d["drivers"]}
    equal((state["rapl"], state["nvml"]), ("ok", "not_selected"))


def test_sensors_without_rights():
    m = Machine().add_rapl()
    if os.geteuid() == 0:
        os.chmod(m.dir.name, 0o755)
    os.chmod(m.counter, 0)
    kw = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    r = subprocess.run([ERGON, "sensors", "--root", m.root, "--json"], capture_output=True,
                       text=True, **kw)
    d = json.loads(r.stdout)
    blocked = [g for g in d["diagnostics"] if g["code"] == "sensor_blocked"]
    contains([g["driver"] for g in blocked], "rapl")
    assert all(g["cure"] for g in blocked), blocked


def test_doctor():
    m = Machine().add_rapl()
    d = json.loads(ergon("doctor", "--root", m.root, "--json").stdout)
    equal(d["schema"], "ergon.doctor/1")
    equal(d["measurable"], ["rapl/package-0"])
    equal(d["machine"]["kernel"], None)
    assert set(d) >= {"machine", "process", "drivers", "channels", "diagnostics", "version"}
    r = ergon("doctor", "--root", m.root)
    equal((r.returncode, r.stderr), (0, ""))
    for part in ("Machine\n", "Rights of this process\n", "This build\n", "Interfaces\n"):
        contains(r.stdout, part)
    equal(r.stdout.split("What can be measured here\n")[1], "  rapl/package-0\n")
    empty = Machine()
    none = ergon("doctor", "--root", empty.root)
    contains(none.stdout.split("What can be measured here\n")[1], "Nothing")


def test_stat_json():
    m = Machine().add_rapl()
    r = ergon("stat", "--root", m.root, "-i", "20", "-n", "3", "--json")
    equal((r.returncode, r.stderr), (0, ""))
    lines = [json.loads(x) for x in r.stdout.splitlines()]
    equal(len(lines), 3)
    for d in lines:
        equal(d["schema"], "ergon.stat/1")
        equal((d["joules"], d["total_joules"], d["provenance"]), (0, 0, "measured"))
        equal([(c["name"], c["role"]) for c in d["channels"]],
              [("rapl/package-0", "total"), ("rapl/core-0", "part")])
    seconds = [d["seconds"] for d in lines]
    assert seconds == sorted(seconds) and seconds[0] >= 0.02


def test_stat_csv_and_text():
    m = Machine().add_rapl()
    r = ergon("stat", "--root", m.root, "-i", "20", "-n", "3", "--csv")
    rows = list(csv.DictReader(io.StringIO(r.stdout)))
    equal(len(rows), 3)
    equal((rows[2]["rapl/package-0_watts"], rows[2]["total_joules"]), ("0", "0"))
    r = ergon("stat", "--root", m.root, "-i", "20", "-n", "30")
    lines = r.stdout.splitlines()
    equal(len(lines), 31, "one header where no terminal is")
    equal(lines[0].split(), ["seconds", "package-0", "total", "W", "joules"])
    equal({len(x) for x in lines}, {len(lines[0])}, "aligned")


def test_stat_without_sensors():
    m = Machine()
    r = ergon("stat", "--root", m.root)
    equal((r.returncode, r.stdout), (1, ""))
    contains(r.stderr, "nothing can be measured here")
    contains(r.stderr, "cure: ")


def test_stat_when_its_reader_goes():
    m = Machine().add_rapl()
    p = subprocess.Popen([ERGON, "stat", "--root", m.root, "-i", "5"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    p.stdout.readline()
    p.stdout.close()
    equal((p.wait(timeout=30), p.stderr.read()), (0, ""))


def test_stat_on_a_full_disk():
    m = Machine().add_rapl()
    with open("/dev/full", "w") as full:
        r = subprocess.run([ERGON, "stat", "--root", m.root, "-i", "5"], stdout=full, text=True,
                           stderr=subprocess.PIPE, timeout=30)
    equal(r.returncode, 1)
    contains(r.stderr, "No space left on device")


run_tests(globals())
