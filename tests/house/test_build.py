#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a build contains: test_build.py VARIANT LIST-DRIVERS ERGON LIBERGON

The drivers of the build against tests/house/drivers, and the libraries that the program and the
library need at run time: libc's own; only the program may use a mount helper for the simulated
machine, and in the minimal build not even that."""
import json
import os
import re
import subprocess
import sys

import tap

HERE = os.path.dirname(os.path.abspath(__file__))
VARIANT, LIST_DRIVERS, ERGON, LIBERGON = sys.argv[1:5]
LIBC = re.compile(r"^(libc|libm|libdl|libpthread|librt|ld-linux[\w-]*|libasan|libubsan|libtsan|"
                  r"libgcc_s)\.so\.\d+$")


def wanted():
    with open(os.path.join(HERE, "drivers")) as f:
        rows = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return [name for name, *variants in rows if not variants or VARIANT in variants]


def output(*cmd):
    return subprocess.run(cmd, check=True, text=True, stdout=subprocess.PIPE).stdout


def needed(path):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", path))


def test_drivers_of_the_build():
    have = output(LIST_DRIVERS).split()
    assert have == wanted(), f"built {have}, tests/house/drivers wants {wanted()}"


def test_drivers_that_the_program_shows():
    shown = json.loads(output(ERGON, "sensors", "--json"))
    names = [d["name"] if isinstance(d, dict) else d for d in shown["drivers"]]
    missing = [d for d in wanted() if d not in names]
    assert not missing, f"not in ergon sensors --json: {missing}"


def test_program_needs_little():
    allowed = [] if VARIANT == "minimal" else ["libfuse3.so.3"]
    others = [n for n in needed(ERGON) if not LIBC.match(n) and n not in allowed]
    assert needed(ERGON) and not others, others


def test_library_needs_libc_alone():
    others = [n for n in needed(LIBERGON) if not LIBC.match(n)]
    assert needed(LIBERGON) and not others, others


def test_library_exports_ergon_names_only():
    names = [line.split()[-1] for line in output("nm", "-D", "--defined-only", LIBERGON).splitlines()]
    foreign = [n for n in names if not re.match(r"^(ergon_\w+(@@?\w+(\.\w+)*)?|ERGON_[\d.]+|"
                                                r"LIBERGON_[\d.]+)(@@?.*)?$", n)]
    assert names and not foreign, foreign


def test_program_does_not_link_the_library():
    assert not [n for n in needed(ERGON) if "ergon" in n], "the program must run uninstalled"


tap.run(globals())
