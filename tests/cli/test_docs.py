#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generated documentation is what the program writes now, and other programs can read it."""
import glob
import os
import re
import shutil
import subprocess
import sys

from cli import ERGON, SOURCE, VERBS, contains, equal, ergon, run_tests, Skip


def test_nothing_is_stale():
    r = subprocess.run([sys.executable, SOURCE + "/src/cli/gen-docs.py", "--check", ERGON, SOURCE],
                       capture_output=True, text=True)
    equal((r.returncode, r.stdout), (0, ""))


def test_the_check_can_fail():
    import tempfile
    with tempfile.TemporaryDirectory() as other:
        shutil.copytree(SOURCE + "/man", other + "/man")
        shutil.copytree(SOURCE + "/completions", other + "/completions")
        os.makedirs(other + "/docs")
        shutil.copy(SOURCE + "/docs/cli.md", other + "/docs")
        with open(other + "/man/ergon-run.1", "a") as f:
            f.write("x\n")
        r = subprocess.run([sys.executable, SOURCE + "/src/cli/gen-docs.py", "--check", ERGON, other],
                           capture_output=True, text=True)
        equal(r.returncode, 1)
        assert r.stdout.startswith("man/ergon-run.1: stale"), r.stdout


def test_every_page_is_there_and_installed():
    pages = {os.path.basename(p) for p in glob.glob(SOURCE + "/man/*.[15]")}
    equal(pages, {"ergon.1", "ergon.toml.5", "energy-monitor.1"} | {f"ergon-{v}.1" for v in VERBS})
    listed = set(re.findall(r"'([^']+\.[15])'", open(SOURCE + "/man/meson.build").read()))
    equal(listed, pages)


def test_mandoc_finds_nothing():
    if not shutil.which("mandoc"):
        raise Skip("mandoc is not installed")
    for page in glob.glob(SOURCE + "/man/*.[15]"):
        r = subprocess.run(["mandoc", "-Tlint", page], capture_output=True, text=True)
        equal((r.returncode, r.stdout), (0, ""))
        r = subprocess.run(["mandoc", "-Tascii", page], capture_output=True, text=True)
        contains(re.sub(".\b", "", r.stdout), "EXIT STATUS" if page.endswith("1") else "ERGON_SECTION_KEY")


def completed(line, program="ergon"):
    """What bash offers for a command line, the last word being completed."""
    words = line.split(" ")
    script = (f"source {SOURCE}/completions/{program}.bash; COMP_WORDS=({' '.join(words[:-1])} "
              f"'{words[-1]}'); COMP_CWORD={len(words) - 1}; "
              f"_{program.replace('-', '_')}; "
              "printf '%s\\n' \"${COMPREPLY[@]}\"")
    r = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=SOURCE)
    equal(r.stderr, "", line)
    return set(r.stdout.split())


def test_bash_completion():
    equal(completed("ergon s"), {"stat", "sensors", "sim"})
    equal(completed("ergon run --re"), {"--repeat", "--report"})
    equal(completed("ergon help d"), {"doctor", "drivers"})
    contains(completed("ergon run --root s"), "src")
    contains(completed("ergon run tru"), "true")
    assert "--clock" not in completed("ergon run --")
    for verb in VERBS:
        contains(completed(f"ergon {verb} --h"), "--help")
    equal(completed("energy-monitor --co", "energy-monitor"), {"--collection-interval-ms"})


def test_zsh_completion_parses():
    if not shutil.which("zsh"):
        raise Skip("zsh is not installed")
    for name in ("_ergon", "_energy-monitor"):
        r = subprocess.run(["zsh", "-n", f"{SOURCE}/completions/{name}"], capture_output=True, text=True)
        equal((r.returncode, r.stderr), (0, ""))


def test_json_is_documented():
    """Every key that the program writes is a word of docs/json.md."""
    import json
    text = open(SOURCE + "/docs/json.md").read()
    keys = set()

    def collect(v):
        if isinstance(v, dict):
            keys.update(k for k in v if not k.startswith("CAP_"))
            for x in v.values():
                collect(x)
        elif isinstance(v, list):
            for x in v:
                collect(x)

    from cli import Machine
    m = Machine().add_rapl()
    for words in (["sensors"], ["doctor"], ["stat", "-n", "1", "-i", "20"]):
        collect(json.loads(ergon(*words, "--json", "--root", m.root).stdout))
    collect(m.run_json("-n", "2", "--", "sh", "-c", "kill -TERM $$")[1])
    missing = [k for k in sorted(keys) if f"`{k}`" not in text]
    equal(missing, [])


run_tests(globals())
