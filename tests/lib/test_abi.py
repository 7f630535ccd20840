#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The ABI of libergon: the library exports what its map lists, the headers declare it, each header
compiles alone as C and C++, and the examples run. Usage: test_abi.py LIB MAP INCLUDE CC CXX C_EXAMPLE
CPP_EXAMPLE"""
import glob
import os
import re
import subprocess
import sys
import tempfile

lib, map_file, include, cc, cxx, c_example, cpp_example = sys.argv[1:8]
results = []


def check(name, ok, why=""):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(results)} - {name}")
    if not ok:
        print("# " + str(why).replace("\n", "\n# "))


def run(*args, **kw):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, **kw)


listed = set(re.findall(r"^\s+(ergon_\w+);", open(map_file).read(), re.M))
nm = run("nm", "-D", "--defined-only", lib).stdout
exported = {line.split()[-1].split("@")[0] for line in nm.splitlines() if " T " in line}
check("exports what the map lists", exported == listed, exported ^ listed)
versioned = [line for line in nm.splitlines() if " T " in line and "@@ERGON_" not in line]
check("every symbol has a version", not versioned, versioned)

declared = set()
for h in glob.glob(include + "/ergon/*.h"):
    text = re.sub(r"/\*.*?\*/", "", open(h).read(), flags=re.S)
    declared |= set(re.findall(r"ERGON_API[^;]*?\b(ergon_\w+)\(", text))
check("headers declare what the map lists", declared == listed, declared ^ listed)

with tempfile.TemporaryDirectory() as tmp:
    for h in sorted(glob.glob(include + "/ergon/*.h")):
        name = os.path.basename(h)
        for compiler, std, ext in ((cc, "-std=c99", "c"), (cxx, "-std=c++11", "cc")):
            src = os.path.join(tmp, "t." + ext)
            with open(src, "w") as f:
                f.write(f"#include <ergon/{name}>\nint main(void) {{ return 0; }}\n")
            p = run(compiler, std, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", include,
                    "-fsyntax-only", src)
            check(f"{name} compiles alone as {ext}", p.returncode == 0, p.stdout)

    zone = os.path.join(tmp, "sys/class/powercap/intel-rapl:0")
    os.makedirs(zone)
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "262143328850"),
                       ("energy_uj", "123456789")):
        with open(os.path.join(zone, name), "w") as f:
            f.write(text + "\n")
    for example in (c_example, cpp_example):
        kind = os.path.basename(example)
        p = run(example, tmp)
        check(f"{kind} measures", p.returncode == 0 and "measured" in p.stdout, p.stdout)
        empty = os.path.join(tmp, "empty")
        os.makedirs(empty, exist_ok=True)
        p = run(example, empty)
        check(f"{kind} says when nothing can be measured",
              p.returncode == 0 and "nothing here can be measured" in p.stdout, p.stdout)
        p = run(example, os.path.join(tmp, "absent"))
        check(f"{kind} fails clearly", p.returncode == 1 and "window: " in p.stdout, p.stdout)
print(f"1..{len(results)}")
sys.exit(0 if all(results) else 1)
