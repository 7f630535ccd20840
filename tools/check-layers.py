#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the layers apart, by the `#include "folder/..."` prefixes and a few forbidden calls:

  * a folder includes only the folders that docs/architecture.md puts below it;
  * a driver includes no other driver;
  * the simulated machine is used by the `sim` verb and the tests alone;
  * core does no I/O: no system call, no stdio, no environment, no clock of its own;
  * nothing outside the few files named here opens anything for writing: Ergon only reads hardware.

Prints one line per breach and exits 1 if there is one.
"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import csource  # noqa: E402

# What each folder of src/ may include besides itself.
MAY = {
    "base": set(),
    "core": {"base"},
    "host": {"base", "core"},
    "codec": {"base", "core"},
    "workload": {"base", "core"},
    "store": {"base", "core"},
    "drivers": {"base", "core", "host"},
    "sim": {"base", "core"},
    "export": {"base", "core", "host", "codec", "workload", "store"},
    "grpc": {"base", "core", "codec", "export"},
    "lib": {"base", "core", "host", "codec", "drivers", "ergon"},
    "agent": {"base", "core", "host", "codec", "drivers", "workload", "store", "export",
              "grpc", "monitor", "ergon"},
    "monitor": {"base", "core", "host", "codec", "drivers", "grpc"},
}
MAY["tui"] = MAY["agent"]
MAY["cli"] = MAY["agent"] | {"agent"}
SIM_USERS = re.compile(r"src/cli/(cmd_|verb_)?sim(_\w+)?\.[ch]$")

IO_CALLS = ["open", "openat", "creat", "read", "pread", "readv", "write", "pwrite", "writev", "close",
            "ioctl", "mmap", "fopen", "fdopen", "freopen", "fread", "fwrite", "fgets", "fputs",
            "fputc", "fprintf", "vfprintf", "printf", "vprintf", "puts", "putchar", "perror", "getenv",
            "secure_getenv", "setenv", "socket", "connect", "bind", "send", "recv", "poll", "select",
            "stat", "fstat", "lstat", "fstatat", "access", "readlink", "readlinkat", "opendir",
            "readdir", "unlink", "rename", "mkdir", "dlopen", "dlsym", "syscall", "fork", "execve",
            "execvp", "popen", "system", "clock_gettime", "gettimeofday", "time", "sleep", "usleep",
            "nanosleep", "clock_nanosleep"]
IO_HEADERS = {"fcntl.h", "dirent.h", "sys/socket.h", "sys/stat.h", "sys/mman.h", "sys/ioctl.h",
              "dlfcn.h", "poll.h", "netdb.h"}

# What core does anyway, and why that is no I/O.
CORE_ALLOWED = {
    ("src/core/meter.c", "clock_gettime"): "deadline of a condition variable: how long to wait for a "
                                           "worker thread is real time, whatever clock is injected",
}

# Files that may open something for writing, and what that is.
WRITERS = {
    "src/base/clock.c": "the clock file that a test shares with the simulator",
}
# The user's -o FILE; the simulated machine's own tree; the ledger on disk; textfile and socket; page.
WRITER_FOLDERS = ("src/cli/", "src/sim/", "src/store/", "src/export/", "src/agent/")
WRITE_FLAGS = re.compile(r"\b(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND)\b")
WRITE_CALLS = ["fopen", "freopen", "creat", "pwrite", "pwritev", "truncate", "ftruncate", "unlink",
               "rename", "mkdir", "chmod", "fchmod"]


def check_file(path, breaches):
    text = csource.read(path)
    code = csource.code_only(text)
    parts = path.split("/")
    folder = parts[1]
    may = MAY.get(folder)
    if may is None:
        breaches.append(f"{path}: folder src/{folder} is not in the table of layers")
        return
    for line, quote, name in csource.includes(text):
        first = name.split("/")[0]
        where = f"{path}:{line}"
        if "/" not in name or first not in set(MAY) | {"ergon"}:
            if folder == "core" and name in IO_HEADERS:
                breaches.append(f"{where}: core does no I/O, and includes <{name}>")
            continue
        if first == "sim" and folder != "sim":
            if not SIM_USERS.search(path):
                breaches.append(f"{where}: only the sim verb and tests use the simulated machine")
        elif first == "drivers" and folder == "drivers":
            if len(parts) < 4 or not name.startswith(f"drivers/{parts[2]}/"):
                breaches.append(f"{where}: a driver includes another driver ({name})")
        elif first != folder and first not in may:
            breaches.append(f"{where}: src/{folder} may not use {first} ({name})")
    if folder == "drivers":
        for line, quote, name in csource.includes(text):
            if quote == '"' and name.startswith("../"):
                breaches.append(f"{path}:{line}: include by folder name, not {name}")
    if folder == "core":
        for line, name in csource.calls(code, IO_CALLS):
            if (path, name) not in CORE_ALLOWED:
                breaches.append(f"{path}:{line}: core does no I/O, and calls {name}()")
    if path not in WRITERS and not path.startswith(WRITER_FOLDERS):
        for m in WRITE_FLAGS.finditer(code):
            line = code.count("\n", 0, m.start()) + 1
            source_line = text.splitlines()[line - 1]
            # Silencing a vendor library's output needs /dev/null open for writing.
            if '"/dev/null"' not in source_line:
                breaches.append(f"{path}:{line}: opens for writing ({m.group(0)})")
        for line, name in csource.calls(code, WRITE_CALLS):
            source_line = text.splitlines()[line - 1]
            if name == "fopen" and re.search(r'"re?b?e?"', source_line):
                continue
            breaches.append(f"{path}:{line}: may write ({name})")


def check_links(breaches):
    for where, _, names in os.walk(os.path.join(csource.ROOT, "src")):
        folder = os.path.relpath(where, csource.ROOT)
        if "meson.build" in names and folder not in ("src/cli", "src/sim"):
            text = re.sub(r"#.*", "", csource.read(os.path.join(folder, "meson.build")))
            if re.search(r"\bsim(_lib)?\b", text):
                breaches.append(f"{folder}/meson.build: links the simulated machine")


def main():
    breaches = []
    paths = csource.files("src")
    for path in paths:
        check_file(path, breaches)
    check_links(breaches)
    for b in breaches:
        print(b)
    if not breaches:
        print(f"{len(paths)} files keep the layers")
    return 1 if breaches or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
