# SPDX-License-Identifier: Apache-2.0
"""What the source checks share: the tree's C files, and their text without comments and strings."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)


def files(*folders, ends=(".c", ".h")):
    """Paths below the root, sorted."""
    found = []
    for folder in folders:
        for where, dirs, names in os.walk(os.path.join(ROOT, folder)):
            dirs[:] = sorted(d for d in dirs if not d.startswith("."))
            found += [os.path.relpath(os.path.join(where, n), ROOT) for n in sorted(names)
                      if n.endswith(ends)]
    return found


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def code_only(text):
    """Comments and the insides of strings blanked, lines kept."""
    def blank(m):
        s = m.group(0)
        if s[0] in "\"'":
            return s[0] + s[0]
        return re.sub(r"[^\n]", " ", s)
    return TOKEN.sub(blank, text)


def includes(text):
    """[(line, '<' or '"', name)] of the include lines (the names sit in strings: raw text)."""
    without = TOKEN.sub(lambda m: m.group(0) if m.group(0)[0] in "\"'"
                        else re.sub(r"[^\n]", " ", m.group(0)), text)
    return [(without.count("\n", 0, m.start()) + 1, m.group(1), m.group(2))
            for m in INCLUDE.finditer(without)]


def calls(code, names):
    """[(line, name)] of calls of plain functions; members (x->open(), x.read()) are others."""
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    found = []
    for m in pattern.finditer(code):
        line_start = code.rfind("\n", 0, m.start()) + 1
        before = code[line_start:m.start()]
        # "int read(struct x *)" at the start of a line declares a function of that name.
        if re.fullmatch(r"(static\s+|inline\s+|extern\s+)*(struct\s+\w+|\w+)[\s*]+", before) \
                and not re.match(r"\s*(return|else|case|do)\b", before) and line_start == m.start() - len(before) \
                and before and not before[0].isspace():
            continue
        found.append((code.count("\n", 0, m.start()) + 1, m.group(1)))
    return found
