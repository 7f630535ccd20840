#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/adding-a-driver.md, followed to the letter in a copy of the tree: test_adding_a_driver.py [KEEP]

Of the document's fenced blocks, in their order:
  sh     is run in the tree's top folder by a shell that stops at the first failure (sh -e)
  text   is what the sh block before it printed, on both outputs; "..." stands for anything within a line,
         a line of nothing else for any lines; how much white space there is does not matter
  diff   is a change of the tree: patch -p1, every line of context as it is written
One thing is changed: the port is a free one. The copy is built without optimisation. KEEP is a folder that
does not exist yet: the copy is left there, as the document leaves it."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from typing import Iterator, List, Tuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "house"))
import tap  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join("docs", "adding-a-driver.md")
PORT = "7053"  # in the document
BLOCK_SECONDS = 240  # one block; the build is the longest
LINES_MAX = 120  # that a newcomer writes or changes: an hour's work
Block = Tuple[str, int, str]  # kind, line, text


def blocks(page: str) -> List[Block]:
    found = []
    for m in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S):
        line = page.count("\n", 0, m.start()) + 1
        assert m.group(1) in ("sh", "text", "diff"), f"{PAGE}:{line}: a block of kind {m.group(1)!r}"
        found.append((m.group(1), line, m.group(2)))
    return found


def pattern(text: str) -> "re.Pattern[str]":
    """What the output must be, of the expectation; blank lines and the amount of white space do not count."""
    out = []
    for line in squeeze(text):
        if line == "...":
            out.append(r"(?:.*\n)*?")
        else:
            out.append(".*".join(map(re.escape, line.split("..."))) + "\n")
    return re.compile("".join(out))


def squeeze(text: str) -> List[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def agrees(printed: str, expected: str) -> bool:
    return bool(pattern(expected).fullmatch("".join(line + "\n" for line in squeeze(printed))))


def copy_tree(to: str) -> None:
    """The files of the checkout, also those not committed yet; nothing that was built."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"], text=True,
                            capture_output=True) if os.path.exists(os.path.join(ROOT, ".git")) else None
    names = listed.stdout.split("\0") if listed and listed.returncode == 0 else walk()
    for name in names:
        source, target = os.path.join(ROOT, name), os.path.join(to, name)
        if os.path.isfile(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target)


def walk() -> Iterator[str]:
    for where, folders, files in os.walk(ROOT):
        inside = os.path.relpath(where, ROOT)
        folders[:] = [d for d in folders if d not in (".git", "__pycache__", "node_modules")
                      and not (inside == "." and d.startswith("build"))]
        yield from (os.path.normpath(os.path.join(inside, f)) for f in files)


def free_port() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class Follower:
    def __init__(self, tree: str, home: str) -> None:
        self.tree = tree
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("ERGON_", "XDG_", "MESON"))}
        self.env.update(HOME=home, CFLAGS="-O0", CXXFLAGS="-O0", LC_ALL="C", TERM="dumb", PYTHONPATH="",
                        NINJA_STATUS="")
        for name in ("DESTDIR", "MAKEFLAGS", "CUDA_VISIBLE_DEVICES"):
            self.env.pop(name, None)

    def run(self, words: List[str], typed: str = "") -> Tuple[int, str]:
        """Exit status and output. Whatever a block leaves running ends with it."""
        with tempfile.TemporaryFile("w+") as out:
            p = subprocess.Popen(words, cwd=self.tree, env=self.env, text=True, stdin=subprocess.PIPE,
                                 stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                p.communicate(typed, timeout=BLOCK_SECONDS)
            except subprocess.TimeoutExpired:
                out.write(f"\n(longer than {BLOCK_SECONDS} s)\n")
            finally:
                try:
                    os.killpg(p.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                status = p.wait()
            out.seek(0)
            return status, out.read()


def follow(tree: str, home: str) -> None:
    with open(os.path.join(ROOT, PAGE), encoding="utf-8") as f:
        steps = blocks(f.read())
    port, printed, before = free_port(), "", ""
    follower = Follower(tree, home)
    for kind, line, text in steps:
        text = re.sub(rf"\b{PORT}\b", port, text)
        if kind == "text":
            assert before == "sh", f"{PAGE}:{line}: output of no command"
            assert agrees(printed, text), f"{PAGE}:{line}: expected\n{text}\nbut it printed\n{printed}"
        elif kind == "diff":
            status, printed = follower.run(["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch"], text)
            assert status == 0, f"{PAGE}:{line}: patch does not apply\n{printed}"
        else:
            status, printed = follower.run(["sh", "-e", "-c", text])
            assert status == 0, f"{PAGE}:{line}: status {status} of\n{text}\n{printed}"
            log = os.path.join(tree, "build.log")
            warnings = [row for row in open(log) if "warning:" in row] if os.path.exists(log) else []
            assert not warnings, f"{PAGE}:{line}: {warnings}"
        before = kind


def test_a_newcomer_gets_there() -> None:
    if len(sys.argv) > 1:
        os.makedirs(sys.argv[1])
        copy_tree(sys.argv[1])
        follow(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory(prefix="eg-doc-") as place:
        tree, home = os.path.join(place, "ergon"), os.path.join(place, "home")
        os.makedirs(home)
        copy_tree(tree)
        follow(tree, home)


def test_it_fits_into_an_hour() -> None:
    with open(os.path.join(ROOT, PAGE), encoding="utf-8") as f:
        steps = blocks(f.read())
    lines = sum(len(re.findall(r"^\+(?!\+\+ )", text, re.M)) for kind, _, text in steps if kind == "diff")
    changed = sum(len(re.findall(r"^--- ", text, re.M)) for kind, _, text in steps if kind == "diff")
    typed = sum(kind == "sh" for kind, _, _ in steps)
    print(f"# {typed} blocks of commands, {changed} changes of files, {lines} lines of code to write")
    assert 0 < lines <= LINES_MAX, lines


def test_what_differs_is_seen() -> None:
    assert agrees("a  1\nx\ny\nb\n", "a 1\n...\nb\n") and agrees("a 12 b\n", "a ... b\n")
    assert not agrees("a 1\n", "a 2\n") and not agrees("a\nb\n", "a\n") and not agrees("a.1\n", "a 1\n")
    assert not agrees("", "a\n") and not agrees("xa\n", "a\n") and agrees("", "...\n")


tap.run(globals())
