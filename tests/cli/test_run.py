#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ergon run` on a captured machine whose counter the command itself moves: exact joules, exit
statuses, the command's own output, and each form of the report."""
import csv
import html.parser
import io
import json
import math
import os
import subprocess

from cli import ERGON, Machine, contains, equal, run_tests

NUMBER = (int, float)
CHANNEL = {"name": str, "driver": str, "source": str, "component": str, "boundary": str,
           "provenance": str, "samples": int, "gap_seconds": NUMBER, "flags": list, "role": str}
KNOWN = {"joules": NUMBER, "estimated_joules": NUMBER, "uncertainty_joules": NUMBER,
         "mean_watts": NUMBER, "max_watts": NUMBER}


def check_schema(d):
    """The stable part of ergon.run/1, as docs/json.md says it."""
    equal(d["schema"], "ergon.run/1")
    assert isinstance(d["command"], list) and all(isinstance(w, str) for w in d["command"])
    equal(d["scope"], "machine")
    assert isinstance(d["seconds"], NUMBER) and isinstance(d["exit"], int)
    if d["total"] is not None:
        for key in ("joules", "uncertainty_joules"):
            assert isinstance(d["total"][key], NUMBER), key
        assert d["total"]["provenance"] in ("measured", "modeled", "estimated")
        assert d["total"]["channels"], "a total of nothing"
        names = {c["name"] for c in d["channels"]}
        assert set(d["total"]["channels"]) <= names
    for c in d["channels"]:
        for key, kind in CHANNEL.items():
            assert isinstance(c[key], kind), (c["name"], key, c[key])
        for key, kind in KNOWN.items():
            assert c[key] is None or isinstance(c[key], kind), (c["name"], key, c[key])
    for g in d["diagnostics"]:
        for key in ("code", "driver", "detail", "cure"):
            assert isinstance(g[key], str), key
        assert g["detail"] and g["code"]


def test_exit_statuses():
    m = Machine().add_rapl()
    plain = m.path("plain")
    open(plain, "w").close()
    for words, want in ((["true"], 0), (["false"], 1), (["sh", "-c", "exit 77"], 77),
                        (["/nonexistent/command"], 127), (["no-such-command-here"], 127),
                        ([plain], 126), ([m.root], 126),
                        (["sh", "-c", "kill -TERM $$"], 143), (["sh", "-c", "kill -KILL $$"], 137),
                        (["sh", "-c", "kill -SEGV $$"], 139)):
        equal(m.run("--", *words).returncode, want, words)


def test_a_command_that_does_not_start_leaves_no_report():
    m = Machine().add_rapl()
    for words, why in ((["no-such-command-here"], "No such file or directory"),
                       ([m.root], "Permission denied")):
        r = m.run("--json", "-o", m.path("out.json"), "--report", m.path("out.html"), *words)
        contains(r.stderr, f"cannot run '{words[0]}': {why}")
        equal(sorted(os.listdir(m.dir.name)), ["root"])


def test_joules_are_exact():
    m = Machine().add_rapl()
    r, d, text = m.run_json("--", *m.work("1003200000"))
    equal(r.returncode, 0)
    check_schema(d)
    contains(text, '"joules": 3.2,')
    equal(d["total"]["joules"], 3.2)
    equal(d["total"]["channels"], ["rapl/package-0"])
    equal(d["total"]["provenance"], "measured")
    package, core = d["channels"]
    equal((package["role"], package["joules"], package["estimated_joules"]), ("total", 3.2, 0))
    equal((core["role"], core["of"], core["joules"]), ("part", "rapl/package-0", 0))
    assert math.isclose(package["mean_watts"], 3.2 / d["seconds"], rel_tol=0.02)
    assert 0.1 <= d["seconds"] < 30
    assert d["total"]["uncertainty_joules"] > 0
    contains(d["flags"], "short_measurement_duration")


def test_wrap_inside_the_run():
    m = Machine().add_rapl()
    with open(m.counter, "w") as f:
        f.write("262143000000\n")
    _, d, _ = m.run_json("--", *m.work("1000000"))
    equal(d["channels"][0]["wraps"], 1)
    step = d["total"]["joules"] - (262143.328850 - 262143 + 1)
    assert 0 <= step < 0.0001, step  # the modulus is the range and one step


def test_without_any_sensor():
    m = Machine()
    r, d, _ = m.run_json("--", "sh", "-c", "exit 3")
    equal(r.returncode, 3)
    check_schema(d)
    equal((d["total"], d["channels"], d["exit"]), (None, [], 3))
    named = {g["driver"] for g in d["diagnostics"]}
    assert {"rapl", "perf_rapl", "nvml", "hwmon", "battery", "cpu_model"} <= named, named
    r = m.run("--", "true")
    contains(r.stderr, "no energy was measured")
    contains(r.stderr, "cure: ")
    assert " J" not in r.stderr.split("\n")[0]


def test_the_commands_output_is_untouched():
    m = Machine().add_rapl()
    r = subprocess.run([ERGON, "run", "--root", m.root, "-o", m.path("report"), "--", "sh", "-c",
                        "cat; printf 'out\\0\\377'; printf 'err\\0\\376' >&2"],
                       input=b"in\x00\xfd", capture_output=True)
    equal((r.stdout, r.stderr), (b"in\x00\xfdout\x00\xff", b"err\x00\xfe"))
    r = m.run("--", "sh", "-c", "echo out; echo err >&2")
    equal(r.stdout, "out\n")
    assert r.stderr.startswith("err\nergon: "), r.stderr


def test_report_to_standard_output_on_demand():
    m = Machine().add_rapl()
    r = m.run("--json", "-o", "-", "--", "true")
    check_schema(json.loads(r.stdout))


def test_output_file_is_whole_or_not_there():
    m = Machine().add_rapl()
    out = m.path("out.json")
    script = f"test ! -s {out} && echo early; cat {out} 2>/dev/null; ls -A {m.dir.name}"
    r = m.run("--json", "-o", out, "--", "sh", "-c", script)
    contains(r.stdout, "early")
    assert "out.json\n" not in r.stdout.replace(".out.json", ""), r.stdout
    equal(sorted(os.listdir(m.dir.name)), ["out.json", "root"])
    check_schema(json.load(open(out)))
    # An older file stays what it is until the new one is whole.
    with open(out, "w") as f:
        f.write("older")
    os.chmod(out, 0o640)
    r = m.run("--json", "-o", out, "--", "cat", out)
    equal(r.stdout, "older")
    check_schema(json.load(open(out)))
    equal(os.stat(out).st_mode & 0o777, 0o640)
    os.symlink("out.json", m.path("link"))
    m.run("--csv", "-o", m.path("link"), "--", "true")
    assert os.path.islink(m.path("link")) and open(out).read().startswith("record,")


def test_places_that_cannot_be_written():
    m = Machine().add_rapl()
    for option in ("-o", "--report"):
        r = m.run(option, "/nonexistent/dir/out", "--", "touch", m.path("ran"))
        equal(r.returncode, 1)
        contains(r.stderr, "/nonexistent/dir/out")
        assert not os.path.exists(m.path("ran")), "the command ran for nothing"
        r = m.run(option, "/dev/full", "--", "true")
        equal(r.returncode, 1)
        contains(r.stderr, "No space left on device")
    equal(m.run("-o", "/dev/full", "--", "sh", "-c", "exit 9").returncode, 9)


def test_repeats():
    m = Machine().add_rapl()
    script = f"sleep 0.1; n=$(cat {m.path('n')}); echo $((n * 2)) > {m.path('n')}; " \
             f"v=$(cat {m.counter}); echo $((v + n)) > {m.counter}; exit $((n == 2000000 ? 5 : 0))"
    with open(m.path("n"), "w") as f:
        f.write("1000000\n")
    r, d, _ = m.run_json("-n", "3", "--", "sh", "-c", script)
    equal(r.returncode, 5, "the first failure")
    check_schema(d)
    p = d["repeats"]
    equal([x["joules"] for x in p["runs"]], [1, 2, 4])
    equal([x["exit"] for x in p["runs"]], [0, 5, 0])
    equal(d["total"]["joules"], 7, "all runs together")
    mean, sd = 7 / 3, math.sqrt(7 / 3)
    half = 4.302653 * sd / math.sqrt(3)  # Student's t, 2 degrees of freedom
    assert math.isclose(p["joules"]["mean"], mean) and math.isclose(p["joules"]["stddev"], sd)
    assert math.isclose(p["joules"]["ci95_high"], mean + half, rel_tol=1e-6)
    assert math.isclose(p["joules"]["ci95_low"], mean - half, rel_tol=1e-6)
    assert p["seconds"]["n"] == 3 and p["seconds"]["mean"] >= 0.1


def test_text():
    m = Machine().add_rapl()
    r = m.run("--", *m.work("1003200000"))
    lines = r.stderr.splitlines()
    assert lines[0].startswith("ergon: 3.2") and lines[0].endswith("[measured]"), lines[0]
    contains(lines[0], "\u00b1")
    contains(r.stderr, "scope machine: everything that ran meanwhile is included")
    contains(r.stderr, "part of rapl/package-0")
    contains(r.stderr, "short_measurement_duration")
    assert "\033" not in r.stderr and "\r" not in r.stderr, "no terminal, no escapes"
    assert "sensor_absent" not in r.stderr, "with a total, what is absent is no news"


def test_csv():
    m = Machine().add_rapl()
    m.run("-n", "2", "--csv", "-o", m.path("out.csv"), "--", *m.work("1003200000"))
    rows = list(csv.DictReader(io.StringIO(open(m.path("out.csv")).read())))
    equal([x["record"] for x in rows], ["total", "channel", "channel", "repeat", "repeat"])
    equal((rows[0]["joules"], rows[0]["provenance"]), ("3.2", "measured"))
    equal((rows[1]["name"], rows[1]["role"]), ("rapl/package-0", "total"))
    equal(rows[3]["joules"], "3.2")
    assert all(None not in x and None not in x.values() for x in rows), "ragged rows"
    empty = Machine()
    r = empty.run("--csv", "--", "true")
    row = next(csv.DictReader(io.StringIO(r.stderr)))
    equal((row["joules"], row["mean_watts"]), ("", ""), "not known is empty")


class Page(html.parser.HTMLParser):
    VOID = {"meta", "br", "line"}

    def __init__(self, text):
        super().__init__()
        self.stack, self.tags, self.attrs, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attrs += [(tag, k, v) for k, v in attrs]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attrs += [(tag, k, v) for k, v in attrs]

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1] == tag, (tag, self.stack)
        self.stack.pop()

    def handle_data(self, data):
        self.text += data


def page(m, *words):
    r = m.run("--report", m.path("out.html"), *words)
    text = open(m.path("out.html"), encoding="utf-8").read()
    p = Page(text)
    equal(p.stack, [], "unclosed")
    for word in ("http", "src=", "href=", "url(", "@import", "<script", "<link", "<img"):
        assert word not in text, word
    return r, p, text


def test_html():
    m = Machine().add_rapl()
    script = "i=0; while [ $i -lt 12 ]; do i=$((i+1)); sleep 0.05; " \
             f"echo $((1000000000 + i * 500000)) > {m.counter}; done; : '<script>alert(1)</script>'"
    r, p, text = page(m, "-i", "20", "--", "sh", "-c", script)
    equal(r.returncode, 0)
    contains(text, "&lt;script&gt;alert(1)&lt;/script&gt;")
    contains(p.text, "measured")
    assert p.tags.count("svg") == 1 and p.tags.count("path") >= 2
    paths = [v for t, k, v in p.attrs if t == "path" and k == "d"]
    assert len(paths[-1]) > 60, paths
    contains(r.stderr, "ergon: ")


def test_html_of_hostile_words():
    m = Machine().add_rapl()
    r, p, text = page(m, "--", "sh", "-c", ":", "\"><svg onload=x>", "'&amp;", "\x01\x7f")
    contains(text, "&quot;&gt;&lt;svg onload=x&gt;")
    contains(text, "&amp;amp;")
    assert not [1 for t, k, v in p.attrs if k == "onload"]
    subprocess.run([ERGON.encode(), b"run", b"--report", m.path("raw.html").encode(), b"--", b"sh",
                    b"-c", b":", b"\xff\xc0\xaf\xed\xa0\x80"], check=True, capture_output=True)
    contains(open(m.path("raw.html"), encoding="utf-8").read(), "\ufffd")


def test_html_without_sensors():
    r, p, text = page(Machine(), "--", "true")
    contains(p.text, "No energy was measured")
    contains(p.text, "hwmon sys/class/hwmon")
    assert "svg" not in p.tags


def test_json_of_hostile_words():
    m = Machine().add_rapl()
    words = ["sh", "-c", ":", "\"\\\b\f\n\r\t\x01\x1f\x7f/\u2028", "\U0001f50b"]
    _, d, _ = m.run_json("--", *words)
    equal(d["command"], words)
    r = subprocess.run([ERGON.encode(), b"run", b"--json", b"-o", b"-", b"--", b"sh", b"-c", b":",
                        b"a\xffb\xe2\x82c"], capture_output=True)
    equal(json.loads(r.stdout.decode("utf-8"))["command"][3], "a\ufffdb\ufffdc")


def test_interval_below_the_sensors_period():
    m = Machine().add_rapl()
    chip = m.root + "/sys/class/hwmon/hwmon0"
    os.makedirs(chip)
    for name, text in (("name", "power_meter"), ("power1_average", "50000000"),
                       ("update_interval", "1000")):
        with open(f"{chip}/{name}", "w") as f:
            f.write(text + "\n")
    _, d, _ = m.run_json("-i", "10", "--", "true")
    slow = [c for c in d["channels"] if c["driver"] == "hwmon"]
    assert slow, "the chip was not found"
    updates = [g for g in d["diagnostics"] if g["code"] == "config" and "renews" in g["detail"]]
    contains([g["driver"] for g in updates], "hwmon")


run_tests(globals())
