#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The front door: test_front_door.py BUILD. ./run measures from any folder, with any folder as
writable, passes on what the command did; tools/deps says what is missing and what to do."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = sys.argv[1]
ERGON = os.path.join(BUILD, "src", "cli", "ergon")
DEPS = os.path.join(ROOT, "tools", "deps")
TOOLS = ("gcc", "meson", "ninja", "pkg-config", "python3", "flock")


def run(*args, cwd="/", **env):
    return subprocess.run([os.path.join(ROOT, "run"), *args], cwd=cwd, text=True,
                          env=dict(os.environ, ERGON_BUILD_DIR=BUILD, **env),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def deps(path, want="run"):
    return subprocess.run(["/bin/sh", DEPS, want], env={"PATH": path}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def fake_tools(folder, *names, text="#!/bin/sh\nexit 0\n"):
    for n in names:
        path = os.path.join(folder, n)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o755)


def link_tools(folder, *names):
    for n in names:
        os.symlink(shutil.which(n), os.path.join(folder, n))


def test_run_measures_the_built_in_workload():
    r = run()
    assert r.returncode == 0, r.stderr
    assert "workload: compressed and hashed" in r.stdout, r.stdout
    assert "allows estimates" in r.stderr, r.stderr
    total = re.search(r"^ergon: ([\d.]+) J .* in ([\d.]+) s.*\[(measured|modeled|estimated)\]", r.stderr,
                      re.M)
    assert total, r.stderr
    assert float(total.group(1)) > 0 and float(total.group(2)) > 2.5, total.group(0)


def test_run_without_a_sensor_says_why_for_each_interface():
    sensors = json.loads(subprocess.run([ERGON, "sensors", "--json"], check=True,
                                        stdout=subprocess.PIPE).stdout)
    r = run("true")
    if any(d["channels"] for d in sensors["drivers"]):
        assert "No sensor of this machine can be read" not in r.stderr, r.stderr
        return
    assert "No sensor of this machine can be read" in r.stderr, r.stderr
    for d in sensors["drivers"]:
        assert re.search(rf"^{d['name']} +{d['state']}", r.stderr, re.M), (d["name"], r.stderr)


def test_run_passes_on_output_and_status():
    r = run("sh", "-c", "echo out; exit 7")
    assert r.returncode == 7, (r.returncode, r.stderr)
    assert r.stdout == "out\n", r.stdout


def test_run_takes_options_of_ergon_run():
    r = run("-n", "2", "--", "true")
    assert r.returncode == 0, r.stderr


def test_run_with_a_missing_command():
    assert run("no-such-command-here").returncode == 127


def test_run_from_another_folder_and_a_path_with_spaces():
    with tempfile.TemporaryDirectory(prefix="a b ") as d:
        os.symlink(ROOT, os.path.join(d, "er gon"))
        r = subprocess.run([os.path.join(d, "er gon", "run"), "pwd"], cwd=d, text=True,
                           env=dict(os.environ, ERGON_BUILD_DIR=BUILD), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert r.returncode == 0, r.stderr
        assert r.stdout.strip() == os.path.realpath(d), "the command runs where the user stands"


def test_deps_is_silent_when_all_is_there():
    with tempfile.TemporaryDirectory() as d:
        fake_tools(d, *TOOLS)
        r = deps(d)
        assert (r.returncode, r.stdout, r.stderr) == (0, "", ""), r


def test_deps_names_what_is_missing_without_root():
    with tempfile.TemporaryDirectory() as d:
        fake_tools(d, *(t for t in TOOLS if t not in ("meson", "ninja")))
        fake_tools(d, "apt-get")
        fake_tools(d, "id", text="#!/bin/sh\necho 1000\n")
        r = deps(d)
        assert r.returncode == 1, r
        assert "apt-get install meson ninja-build" in r.stderr, r.stderr
        assert "root" in r.stderr and "sudo" in r.stderr, r.stderr


def test_deps_without_apt():
    with tempfile.TemporaryDirectory() as d:
        fake_tools(d, *(t for t in TOOLS if t != "ninja"))
        r = deps(d)
        assert r.returncode == 1 and "ninja-build" in r.stderr and "no apt-get" in r.stderr, r


def test_deps_installs_once_and_updates_only_when_needed():
    with tempfile.TemporaryDirectory() as d:
        fake_tools(d, *(t for t in TOOLS if t != "ninja"))
        fake_tools(d, "id", text="#!/bin/sh\necho 0\n")
        fake_tools(d, "sleep")
        link_tools(d, "env", "mktemp", "rm", "cat", "sh", "chmod")
        # An apt-get that installs nothing before an update, as on a fresh image.
        log = os.path.join(d, "log")
        fake_tools(d, "apt-get", text=f'''#!/bin/sh
echo "$DEBIAN_FRONTEND $1" >>"{log}"
case $1 in
update) : >"{d}/updated" ;;
install)
	[ -e "{d}/updated" ] || exit 100
	echo '#!/bin/sh' >"{d}/ninja" && chmod +x "{d}/ninja" ;;
esac
''')
        r = deps(d)
        assert r.returncode == 0, r
        with open(log) as f:
            assert f.read().split("\n")[:-1] == ["noninteractive install", "noninteractive update",
                                                 "noninteractive install"]


def test_deps_says_why_an_install_failed():
    with tempfile.TemporaryDirectory() as d:
        fake_tools(d, *(t for t in TOOLS if t != "ninja"))
        fake_tools(d, "id", text="#!/bin/sh\necho 0\n")
        fake_tools(d, "sleep")
        link_tools(d, "env", "mktemp", "rm", "cat", "sh")
        fake_tools(d, "apt-get", text="#!/bin/sh\necho 'E: no network'\nexit 100\n")
        r = deps(d)
        assert r.returncode == 1 and "E: no network" in r.stderr and "ninja-build" in r.stderr, r


tap.run(globals())
