#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks for calls that Ergon does not use, each with what to use instead, and for C files that do
not say their licence and what they are for. Prints one line per find and exits 1 if there is one.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import csource  # noqa: E402

EVERYWHERE = {
    "strcpy": "eg_copy", "stpcpy": "eg_copy", "strcat": "eg_strbuf", "strncat": "eg_strbuf",
    "strncpy": "eg_copy (always terminates)", "sprintf": "snprintf or eg_strbuf",
    "vsprintf": "vsnprintf", "gets": "eg_fs_read_text", "strtok": "strtok_r or a loop",
    "atoi": "eg_parse_u64", "atol": "eg_parse_u64", "atoll": "eg_parse_u64", "atof": "eg_parse_double",
    "sscanf": "eg_parse_*", "fscanf": "eg_parse_*", "scanf": "eg_parse_*",
    "popen": "fork and exec with an argument list", "system": "fork and exec with an argument list",
    "alloca": "a fixed array or malloc", "rand": "a seeded generator of the test's own",
    "srand": "a seeded generator of the test's own", "random": "a seeded generator",
    "localtime": "localtime_r", "gmtime": "gmtime_r", "ctime": "strftime", "asctime": "strftime",
    "mktemp": "mkstemp", "tmpnam": "mkstemp", "tempnam": "mkstemp", "strerror": "eg_errno_text",
    "vfork": "fork or posix_spawn", "signal": "sigaction",
}
# The library is silent and never ends its program; programs print, in src/cli and src/sim.
SILENT = ("src/base/", "src/core/", "src/drivers/", "src/host/", "src/codec/", "src/lib/")
IN_SILENT = {
    "printf": "diagnostics", "vprintf": "diagnostics", "puts": "diagnostics",
    "putchar": "diagnostics", "perror": "diagnostics", "exit": "an error code",
    "abort": "an error code", "syslog": "diagnostics", "sleep": "the injected clock",
    "usleep": "the injected clock", "getenv": "the caller's configuration",
    "setenv": "nothing: the environment is the user's", "setlocale": "nothing",
}
# Tests copy literals and read their own tables; what has no safe use at all stays banned there too.
IN_TESTS = ["gets", "sprintf", "vsprintf", "strtok", "alloca", "mktemp", "tmpnam", "tempnam", "rand",
            "srand", "signal"]
# A child between fork and exec ends by _exit, which is not in the list.
ALLOWED = {
    ("src/core/diag.c", "strerror"): "eg_errno_text itself, where libc has no strerrordesc_np",
    ("src/base/log.c", "getenv"): "programs alone log; JOURNAL_STREAM describes their stderr, no setting",
}
HEAD = re.compile(r"\A/\* SPDX-License-Identifier: Apache-2\.0 \*/\n/\*\n? \*? ?\S|"
                  r"\A/\* SPDX-License-Identifier: Apache-2\.0 \*/\n/\* \S")


def main():
    finds = []
    paths = csource.files("src", "include", "examples", "tests", "bench")
    for path in paths:
        text = csource.read(path)
        code = csource.code_only(text)
        banned = dict(EVERYWHERE)
        if path.startswith(SILENT):
            banned.update(IN_SILENT)
        if not path.startswith(("src/", "include/")):
            banned = {name: banned[name] for name in IN_TESTS}
        for line, name in csource.calls(code, sorted(banned)):
            if (path, name) not in ALLOWED:
                finds.append(f"{path}:{line}: {name}() is banned here; use {banned[name]}")
        if path.startswith(("src/", "include/")) and not HEAD.match(text):
            finds.append(f"{path}:1: must begin with the SPDX line and a paragraph: what, why, source")
    for f in finds:
        print(f)
    if not finds:
        print(f"{len(paths)} files without banned calls")
    return 1 if finds or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
