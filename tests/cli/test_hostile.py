#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a hostile machine, an odd terminal or a careless caller puts before the program: names that
steer terminals, files that are no files, closed descriptors, locales without UTF-8, two reports in
one file, settings of the wrong type, signals that are not for us."""
import json
import os
import signal
import subprocess
import time

from cli import ERGON, SOURCE, Machine, contains, default_signals, equal, ergon, run_tests, write

EVIL = b"e\x1b[31mv\x07i\x9bl\xc2\x9b2J\xe2\x80\xae\x7f\n"


def evil_machine():
    m = Machine().add_rapl()
    for path in ("class/powercap/intel-rapl:1/name", "class/hwmon/hwmon0/name",
                 "class/hwmon/hwmon0/power1_label", "class/dmi/id/product_name"):
        path = os.path.join(m.root, "sys", path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(EVIL)
    write(os.path.join(m.root, "sys/class/powercap/intel-rapl:1/energy_uj"), "1\n")
    write(os.path.join(m.root, "sys/class/hwmon/hwmon0/power1_input"), "5000000\n")
    return m


def raw(*words, **kw):
    return subprocess.run([ERGON, *words], capture_output=True, timeout=60, **kw)


def assert_tame(data, what):
    for c in data.decode():  # UTF-8, or it raises
        o = ord(c)
        assert c in "\n\t" or (o >= 32 and not 0x7f <= o < 0xa0 and not 0x202a <= o <= 0x202e), \
            f"{what}: U+{o:04X} in {data!r}"


def test_no_text_steers_the_terminal():
    m = evil_machine()
    utf8 = {**os.environ, "LC_ALL": "C.UTF-8"}
    for words in (["sensors", "--all"], ["sensors", "--json"], ["doctor"], ["doctor", "--json"],
                  ["stat", "-n", "1", "-i", "10"], ["stat", "-n", "1", "-i", "10", "--json"],
                  ["run", "-o", "-", "true"], ["run", "--json", "-o", "-", "true", EVIL],
                  ["run", "--csv", "-o", "-", "true"], ["run", "-o", "-", "nonesuch\x1b[31m"],
                  [EVIL], ["run", "--" + "\x1b[31m"], ["run", "-o", "/nonesuch/\x1b[31m", "true"]):
        at = 1 if words[0] in ("sensors", "doctor", "stat", "run") else 0
        r = raw(*words[:at], *(["--root", m.root] if at else []), *words[at:], env=utf8)
        assert_tame(r.stderr, words)
        if "--json" in words:
            for line in [r.stdout] if words[0] != "stat" else r.stdout.splitlines():
                json.loads(line)
            assert b"\x1b" not in r.stdout and b"\xc2\x9b" not in r.stdout, words
        else:
            assert_tame(r.stdout, words)
    contains(raw("sensors", "--root", m.root, env=utf8).stdout.decode(), "[31mv")


def test_without_utf8_the_report_is_ascii():
    m = evil_machine()
    m.add_rapl()
    for locale in ("C", "POSIX", "xx_YY.nonesuch"):
        env = {**os.environ, "LC_ALL": locale}
        for words in (["sensors", "--all"], ["doctor"], ["run", "-o", "-", "true"]):
            r = raw(words[0], "--root", m.root, *words[1:], env=env)
            equal(r.returncode, 0)
            assert r.stdout.isascii() and r.stderr.isascii(), (locale, words, r.stdout)
        contains(r.stdout.decode(), "+/- 95 %")
        assert b"?31m" not in r.stdout
    r = raw("run", "--root", m.root, "-o", "-", "true", env={**os.environ, "LC_ALL": "C.UTF-8"})
    contains(r.stdout.decode(), "\u00b1 95 %")


def test_fifos_and_folders_where_files_should_be():
    m = Machine()
    zone = os.path.join(m.root, "sys/class/powercap/intel-rapl:")
    for i, make in enumerate((os.mkfifo, os.mkdir)):
        write(f"{zone}{i}/name", f"package-{i}\n")
        make(f"{zone}{i}/energy_uj")
    os.makedirs(os.path.join(m.root, "proc"))
    for f in ("stat", "cpuinfo", "version"):
        os.mkfifo(os.path.join(m.root, "proc", f))
    os.makedirs(os.path.join(m.root, "sys/class/hwmon/hwmon0"))
    for f in ("name", "power1_input", "energy1_input"):
        os.mkfifo(os.path.join(m.root, "sys/class/hwmon/hwmon0", f))
    os.symlink("loop", os.path.join(m.root, "sys/class/drm"))
    os.symlink("drm", os.path.join(m.root, "sys/class/loop"))
    d = json.loads(ergon("doctor", "--root", m.root, "--json", "--allow-estimates", timeout=20).stdout)
    equal(d["measurable"], [])
    r, report, _ = m.run_json("true", timeout=20)
    equal((r.returncode, report["total"]), (0, None))


def closed(fd, *words):
    """Runs the program with one standard descriptor closed; the others go to files or pipes."""
    return subprocess.run(["sh", "-c", f'exec "$@" {fd}>&-', "sh", ERGON, *words],
                          capture_output=True, text=True, timeout=20)


def test_closed_standard_files():
    m = Machine().add_rapl()
    r = closed(1, "stat", "--root", m.root, "-n", "1", "-i", "10")
    equal(r.returncode, 1)
    contains(r.stderr, "cannot write to standard output: Bad file descriptor")
    equal(closed(1, "--help").returncode, 1)
    out = m.path("out.json")
    r = closed(2, "run", "--root", m.root, "--json", "-o", out, "true")
    equal(r.returncode, 0)
    with open(out) as f:
        equal(json.load(f)["exit"], 0)
    # messages do not land in a file that took the number of a closed one
    r = closed(2, "run", "--root", m.root, "-o", m.path("o"), "nonesuch-command")
    equal((r.returncode, os.path.exists(m.path("o"))), (127, False))
    # the command still finds it closed
    r = closed(2, "run", "--root", m.root, "-o", m.path("o"), "sh", "-c", "ls -l /proc/self/fd/2")
    assert "/dev/null" not in r.stdout, r.stdout


def test_two_reports_in_one_file():
    m = Machine().add_rapl()
    for other in ("r", "./r", os.path.join(m.dir.name, "r")):
        r = m.run("-o", "r", "--report", other, "true", cwd=m.dir.name)
        equal(r.returncode, 2, other)
        contains(r.stderr, "same file")
        equal(sorted(os.listdir(m.dir.name)), ["root"], other)
    r = m.run("-o", "/dev/null", "--report", "/dev/null", "true")
    equal(r.returncode, 0)


def test_settings_of_the_wrong_type():
    m = Machine().add_rapl()
    for bad in ("", "abc", "nan", "inf", "1x"):
        r = m.run("--set", f"cpu_model.idle_watts={bad}", "true")
        equal(r.returncode, 2, bad)
        contains(r.stderr, f"cpu_model.idle_watts: '{bad}' is no number")
    r = m.run("--set", "hwmon.rail_max_watts=1.5", "true")
    equal(r.returncode, 2)
    contains(r.stderr, "no whole number")
    equal(m.run("--set", "hwmon.rail_max_watts=100", "true").returncode, 0)


def test_user_signals_reach_the_command():
    m = Machine().add_rapl()
    for s in (signal.SIGUSR1, signal.SIGUSR2):
        name = s.name[3:]
        p = subprocess.Popen([ERGON, "run", "--root", m.root, "sh", "-c",
                              f"sleep 20 & trap 'kill $!; exit 9' {name}; touch {m.path(name)}; wait"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             preexec_fn=default_signals)
        while not os.path.exists(m.path(name)):
            time.sleep(0.01)
        p.send_signal(s)
        err = p.stderr.readline()
        p.wait(20)
        p.stderr.close()
        equal(p.returncode, 9, name)
        contains(err, "ergon: ")


def test_doctor_probes_each_interface():
    m = Machine().add_rapl()
    d = json.loads(ergon("doctor", "--root", m.root, "--json").stdout)
    seen = {x["name"]: x["interface"] for x in d["drivers"]}
    assert set(seen.values()) <= {"here", "absent", "blocked", None}, seen
    equal((seen["rapl"], seen["hwmon"], seen["battery"]), ("here", "absent", "absent"))
    text = ergon("doctor", "--root", m.root).stdout
    contains(text, "  rapl          here     2 channels\n")
    contains(text, "  battery       absent   sensor_absent\n")
    if os.geteuid() == 0:
        os.chmod(m.dir.name, 0o755)
        os.chmod(os.path.join(m.root, "sys/class/powercap"), 0)
        r = subprocess.run([ERGON, "doctor", "--root", m.root], capture_output=True, text=True,
                           user=65534, group=65534, timeout=20)
        contains(r.stdout, "  rapl          blocked  sensor_blocked\n")


def completions(*words):
    script = f'''. {SOURCE}/completions/ergon.bash
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ergon; printf '%s\\n' "${{COMPREPLY[@]}}"'''
    r = subprocess.run(["bash", "--norc", "-c", script, "bash", *words], capture_output=True,
                       text=True, timeout=20)
    equal(r.stderr, "")
    return r.stdout.split()


def test_completion():
    equal(completions("ergon", "ru"), ["run"])
    equal(completions("ergon", "run", "--repo"), ["--report"])
    contains(completions("ergon", "sim", ""), "node")
    equal(completions("ergon", "sim", "tr"), ["truth"])
    contains(completions("ergon", "run", "--", "tru"), "true")
    contains(completions("ergon", "run", "tru"), "true")
    contains(completions("ergon", "run", "--", "ls", "/et"), "/etc")


run_tests(globals())
