#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line: exit statuses, nearest names, bad numbers, help, output that cannot be written."""
import os
import re
import subprocess

from cli import ERGON, VERBS, contains, equal, ergon, run_tests


def wrong(words, *parts):
    r = ergon(*words)
    equal(r.returncode, 2, words)
    equal(r.stdout, "", words)
    for part in parts:
        contains(r.stderr, part)
    assert r.stderr.startswith("ergon: "), r.stderr


def test_unknown_long_option_names_the_nearest():
    wrong(["run", "--josn", "true"], "unknown option --josn", "did you mean --json?")
    wrong(["run", "--allow-estimate", "true"], "did you mean --allow-estimates?")
    wrong(["run", "--repeats=3", "true"], "unknown option --repeats;", "did you mean --repeat?")
    wrong(["stat", "--cvs"], "did you mean --csv?")
    wrong(["sensors", "--al"], "did you mean --all?")
    wrong(["doctor", "--jsno"], "did you mean --json?")
    wrong(["version", "--hlep"], "did you mean --help?")
    wrong(["run", "--zzzzzzzzzzzzzzzzzzz", "true"], "did you mean --")


def test_hidden_options_are_not_proposed():
    assert "--clock?" not in ergon("run", "--clok", "x", "true").stderr


def test_unknown_letter():
    wrong(["run", "-I", "5", "true"], "unknown option -I", "did you mean -i (--interval)?")
    wrong(["stat", "-c"], "unknown option -c", "did you mean -n (--count)?")
    wrong(["sensors", "-x"], "unknown option -x", "did you mean -h (--help)?")


def test_unknown_verb():
    wrong(["snesors"], "unknown verb 'snesors'", "did you mean 'sensors'?")
    wrong(["--josn"], "unknown option --josn")
    wrong(["help", "rnu"], "did you mean 'run'?")


def test_bad_numbers_name_value_and_range():
    for bad in ("abc", "", "1x", "-5", "ms", "0x10", " "):
        wrong(["run", "-i", bad, "true"], "--interval", f"'{bad}'", "1 to 3600000")
    for bad in ("0", "3600001", "2h", "99999999999999999999999"):
        wrong(["run", "--interval", bad, "true"], "--interval", f"'{bad}'", "out of range")
    for bad in ("0", "10001", "18446744073709551616"):
        wrong(["run", "-n", bad, "true"], "--repeat", f"'{bad}'", "out of range", "1 to 10000")
    wrong(["stat", "-n", "3.5"], "--count", "'3.5'", "no whole number")


def test_values_and_flags():
    wrong(["run", "--json=yes", "true"], "takes no value")
    wrong(["run", "-i"], "-i needs a value")
    wrong(["run", "--select"], "--select needs a value")
    wrong(["run", "--root=", "true"], "the value is empty")
    wrong(["run", "--json", "--csv", "true"], "exclude each other")
    wrong(["stat", "--json", "--csv"], "exclude each other")
    wrong(["run"], "no command given")
    wrong(["run", "--"], "no command given")
    wrong(["sensors", "extra"], "unexpected word 'extra'")


def test_settings():
    wrong(["run", "--set", "nonsense", "true"], "no DRIVER.OPTION=VALUE")
    wrong(["run", "--set", "rpal.x=1", "true"], "no driver 'rpal'", "did you mean rapl?")
    wrong(["run", "--set", "cpu_model.idle_wats=1", "true"], "did you mean idle_watts?")


def test_bad_selection():
    r = ergon("sensors", "--select", "nothing_of_this_name")
    equal(r.returncode, 2)
    contains(r.stderr, "nothing_of_this_name")


def test_options_end_at_the_command():
    """What follows the command is the command's, also where it looks like ours."""
    for words in (["echo", "--json", "-i", "x"], ["--", "echo", "--json", "-i", "x"]):
        r = ergon("run", *words)
        equal((r.returncode, r.stdout), (0, "--json -i x\n"), words)


def test_missing_root_is_a_failure():
    r = ergon("sensors", "--root", "/nonexistent/root")
    equal(r.returncode, 1)
    contains(r.stderr, "/nonexistent/root")


def test_help_of_every_verb():
    for verb in VERBS:
        a, b = ergon(verb, "--help"), ergon("help", verb)
        equal(a.returncode, 0, verb)
        equal(a.stdout, b.stdout, verb)
        contains(a.stdout, f"Usage: ergon {verb}")
        contains(a.stdout, "Exit status:")
        assert all(len(line) <= 80 for line in a.stdout.splitlines()), verb
    for words in (["--help"], ["-h"], ["help"]):
        r = ergon(*words)
        equal(r.returncode, 0)
        for verb in VERBS:
            contains(r.stdout, f"\n  {verb} ")
        assert "docs" not in r.stdout


def test_no_verb_is_a_usage_error():
    r = ergon()
    equal((r.returncode, r.stdout), (2, ""))
    contains(r.stderr, "Usage: ergon VERB")


def test_version():
    outs = {ergon(*w).stdout for w in (["version"], ["--version"], ["-V"], ["run", "--version"])}
    equal(len(outs), 1)
    assert outs.pop().startswith("ergon ")


def test_help_drivers_lists_options():
    r = ergon("help", "drivers")
    equal(r.returncode, 0)
    contains(r.stdout, "rapl: ")
    contains(r.stdout, "--set cpu_model.idle_watts=NUMBER")


def test_sim_table_and_sim_agree():
    """`ergon sim` reads its own words; the table documents them."""
    table = ergon("sim", "--help").stdout
    own = ergon("sim", "node", "--help").stdout
    equal(*(set(re.findall(r"--[a-z]+", text)) - {"--help", "--root"} for text in (table, own)))


def test_full_disk_is_told():
    for words in (["--help"], ["version"], ["help", "drivers"], ["sensors"], ["doctor"],
                  ["sensors", "--json"], ["docs", "bash"]):
        with open("/dev/full", "w") as full:
            r = subprocess.run([ERGON, *words], stdout=full, stderr=subprocess.PIPE, text=True)
        equal(r.returncode, 1, words)
        contains(r.stderr, "No space left on device")


def test_closed_reader_is_quiet():
    read, write = os.pipe()
    os.close(read)
    r = subprocess.run([ERGON, "help", "drivers"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    equal((r.returncode, r.stderr), (0, ""))


run_tests(globals())
