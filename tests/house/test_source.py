#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks of the source tree itself: layers, banned calls, the list of fuzzers, documents that must
be there and say what the code says."""
import json
import os
import re
import subprocess
import sys
import tempfile

import tap

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build-check", "default")


def read(*parts):
    with open(os.path.join(ROOT, *parts), encoding="utf-8") as f:
        return f.read()


def checker(name, root=ROOT):
    return subprocess.run([sys.executable, os.path.join(root, "tools", name)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def breaks(name, files):
    """Runs a checker over a small tree of its own: what it finds there."""
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(os.path.join(d, "tools"))
        for script in (name, "csource.py"):
            with open(os.path.join(d, "tools", script), "w") as f:
                f.write(read("tools", script))
        for path, text in files.items():
            os.makedirs(os.path.join(d, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(d, path), "w") as f:
                f.write(text)
        return checker(name, d)


HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n/* What. */\n"


def test_layers_kept():
    r = checker("check-layers.py")
    assert r.returncode == 0, "\n" + r.stdout


def test_layer_check_sees_each_breach():
    for files, want in (
        ({"src/base/a.c": '#include "core/channel.h"\n'}, "may not use core"),
        ({"src/core/a.c": '#include "drivers/rapl/zone.h"\n'}, "may not use drivers"),
        ({"src/drivers/x/a.c": '#include "drivers/y/b.h"\n'}, "another driver"),
        ({"src/lib/a.c": '#include "sim/machine.h"\n'}, "simulated machine"),
        ({"src/lib/meson.build": "shared_library('ergon', dependencies: [core, sim])\n",
          "src/lib/a.c": ""}, "links the simulated"),
        ({"src/core/a.c": "int f(void)\n{\n\treturn open(0, 0);\n}\n"}, "calls open()"),
        ({"src/core/a.c": "#include <fcntl.h>\n"}, "includes <fcntl.h>"),
        ({"src/host/a.c": "int f(void)\n{\n\treturn openat(1, \"x\", O_RDWR);\n}\n"}, "for writing"),
        ({"src/drivers/x/a.c": "void f(void)\n{\n\tfopen(\"x\", \"w\");\n}\n"}, "may write"),
        ({"src/odd/a.c": ""}, "not in the table"),
    ):
        r = breaks("check-layers.py", files)
        assert r.returncode == 1 and want in r.stdout, (want, r.stdout)
    r = breaks("check-layers.py", {
        "src/core/a.c": '/* open() */\n#include "base/util.h"\nvoid f(struct d *d)\n{\n'
                        '\td->open("read(", 0);\n}\n',
        "src/drivers/x/a.c": '#include "drivers/x/b.h"\n#include "core/channel.h"\n',
        "src/cli/sim.c": '#include "sim/machine.h"\n'})
    assert r.returncode == 0, r.stdout


def test_banned_calls():
    r = checker("check-banned.py")
    assert r.returncode == 0, "\n" + r.stdout


def test_banned_check_sees_each_breach():
    for files, want in (
        ({"src/cli/a.c": HEAD + "void f(char *a, char *b)\n{\n\tstrcpy(a, b);\n}\n"}, "strcpy()"),
        ({"src/core/a.c": HEAD + "void f(void)\n{\n\tprintf(\"\");\n}\n"}, "printf()"),
        ({"src/core/a.c": "int x;\n"}, "SPDX"),
    ):
        r = breaks("check-banned.py", files)
        assert r.returncode == 1 and want in r.stdout, (want, r.stdout)
    r = breaks("check-banned.py", {"src/cli/a.c": HEAD + "/* strcpy() */\nvoid f(void)\n{\n"
                                                         '\tprintf("system(");\n}\n'})
    assert r.returncode == 0, r.stdout


def test_every_fuzzer_runs_and_has_a_corpus():
    with open(os.path.join(BUILD, "meson-info", "intro-tests.json"), encoding="utf-8") as f:
        runs = {t["name"][5:] for t in json.load(f) if t["name"].startswith("fuzz-")}
    have = {f[5:-2] for f in os.listdir(os.path.join(ROOT, "tests", "fuzz"))
            if f.startswith("fuzz_") and f.endswith(".c")}
    assert have, "no fuzzer at all"
    assert have == runs, f"configure the build again: {sorted(have ^ runs)}"
    for name in have:
        corpus = os.path.join(ROOT, "tests", "fuzz", "corpus", name)
        assert os.path.isdir(corpus) and os.listdir(corpus), f"no corpus: {corpus}"


def test_every_driver_folder_is_built_and_explained():
    listed = re.search(r"driver_names = \[(.*?)\]", read("src", "drivers", "meson.build"), re.S)
    listed = re.findall(r"'(\w+)'", listed.group(1))
    folders = [d for d in os.listdir(os.path.join(ROOT, "src", "drivers"))
               if os.path.isdir(os.path.join(ROOT, "src", "drivers", d)) and d != "template"]
    assert sorted(listed) == sorted(folders), (listed, folders)
    for d in listed:
        text = read("src", "drivers", d, "README.md")
        assert len(text.split()) >= 40, f"src/drivers/{d}/README.md says too little"


def test_documents():
    for path in ("README.md", "CHANGELOG.md", "LICENSE", "docs/architecture.md", "docs/roadmap.md",
                 "docs/adding-a-driver.md", "docs/hardware.md"):
        assert os.path.getsize(os.path.join(ROOT, path)), path
    lines = read("docs", "architecture.md").splitlines()
    assert len(lines) <= 130, f"docs/architecture.md has {len(lines)} lines: two pages are about 130"


def test_links_between_documents():
    broken = []
    for where, dirs, names in os.walk(ROOT):
        dirs[:] = [d for d in dirs if not d.startswith((".", "build"))]
        for n in names:
            if not n.endswith(".md"):
                continue
            with open(os.path.join(where, n), encoding="utf-8") as f:
                for target in re.findall(r"\]\(([^)\s]+)\)", f.read()):
                    target = target.split("#")[0]
                    if target and "://" not in target \
                            and not os.path.exists(os.path.join(where, target)):
                        broken.append(f"{os.path.relpath(os.path.join(where, n), ROOT)}: {target}")
    assert not broken, broken


def test_decision_records_are_numbered_without_holes():
    numbers = sorted(int(f[:4]) for f in os.listdir(os.path.join(ROOT, "docs", "decisions"))
                     if re.match(r"\d{4}-", f))
    assert numbers == list(range(1, len(numbers) + 1)), numbers


def test_version_is_one():
    version = re.search(r"version: '([\d.]+)'", read("meson.build")).group(1)
    assert f"## {version}" in read("CHANGELOG.md"), f"CHANGELOG.md has no section for {version}"


tap.run(globals())
