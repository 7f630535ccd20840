# SPDX-License-Identifier: Apache-2.0
"""The shipped scenarios as one C table.

embed.py --list FOLDER    names of the files, default first
embed.py OUTPUT FILE...   writes the table
"""
import glob
import os
import sys


def order(path):
    return (os.path.basename(path) != "default.scn", path)


def write(out, files):
    with open(out, "w", encoding="utf-8") as c:
        c.write('/* Generated from src/sim/scenarios. */\n#include "sim/scenario.h"\n\n')
        c.write("const struct eg_shipped_scenario eg_shipped_scenarios[] = {\n")
        for path in files:
            c.write('\t{"%s",\n' % os.path.basename(path)[: -len(".scn")])
            with open(path, encoding="utf-8") as f:
                for line in f:
                    text = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"')
                    c.write('\t "%s\\n"\n' % text)
            c.write("\t},\n")
        c.write("\t{0},\n};\n")


if sys.argv[1] == "--list":
    print("\n".join(sorted(glob.glob(os.path.join(sys.argv[2], "*.scn")), key=order)))
else:
    write(sys.argv[1], sys.argv[2:])
