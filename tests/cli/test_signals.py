#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signals: passed on once, the report still written, dispositions handed down as found; and the
progress line of a terminal."""
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

from cli import ERGON, Machine, contains, default_signals, equal, run_tests

# Counts the signals it gets; ends at the first quiet moment after one.
COUNTER = """
import signal, sys, time
seen = []
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(s, lambda n, f: seen.append(n))
print("ready", flush=True)
quiet = 0
while quiet < 10:
    time.sleep(0.05)
    quiet = quiet + 1 if seen else 0
print("seen", seen, flush=True)
sys.exit(5)
"""


def start(m, *words, **kw):
    kw.setdefault("preexec_fn", default_signals)
    return subprocess.Popen([ERGON, "run", "--root", m.root, *words], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **kw)


def test_signals_are_passed_on_once():
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        m = Machine().add_rapl()
        p = start(m, "--json", "-o", m.path("out.json"), "--", sys.executable, "-c", COUNTER)
        equal(p.stdout.readline(), "ready\n")
        p.send_signal(s)
        out, err = p.communicate(timeout=30)
        equal(out, f"seen [{int(s)}]\n")
        equal(p.returncode, 5)
        equal(json.load(open(m.path("out.json")))["exit"], 5, "the report is written")


def test_a_command_ended_by_a_signal():
    m = Machine().add_rapl()
    p = start(m, "--json", "-o", m.path("out.json"), "--", "sh", "-c", "echo ready; exec sleep 60")
    equal(p.stdout.readline(), "ready\n")
    p.send_signal(signal.SIGTERM)
    p.communicate(timeout=30)
    equal(p.returncode, 128 + signal.SIGTERM)
    d = json.load(open(m.path("out.json")))
    equal((d["exit"], d["signal"]), (143, 15))
    assert d["total"] is not None


def test_no_repeat_after_an_interrupt():
    m = Machine().add_rapl()
    p = start(m, "-n", "1000", "--json", "-o", m.path("out.json"), "--", "sh", "-c",
              "echo ready; exec sleep 60")
    equal(p.stdout.readline(), "ready\n")
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=30)
    equal(p.returncode, 130)
    equal(json.load(open(m.path("out.json")))["repeats"]["count"], 1)


def status_of_child(m, setup):
    p = start(m, "-o", m.path("report"), "--", "cat", "/proc/self/status", preexec_fn=setup)
    out, _ = p.communicate(timeout=30)
    return {k: int(v, 16) for k, v in (line.split(":") for line in out.splitlines()
                                       if line.startswith("Sig") and "/" not in line)}


def test_dispositions_are_handed_down():
    m = Machine().add_rapl()
    plain = status_of_child(m, default_signals)
    # Nothing but what the one who starts the tests ignores for good.
    with open("/proc/self/status") as f:
        ours = next(int(line.split(":")[1], 16) for line in f if line.startswith("SigIgn"))
    assert plain["SigBlk"] == 0 and plain["SigIgn"] & ~ours == 0, (plain, ours)

    def nohup():
        default_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])

    kept = status_of_child(m, nohup)
    equal(kept["SigIgn"], 1 << (signal.SIGHUP - 1) | 1 << (signal.SIGCHLD - 1))
    equal(kept["SigBlk"], 1 << (signal.SIGUSR1 - 1))


def test_no_descriptor_leaks_into_the_command():
    m = Machine().add_rapl()
    p = start(m, "-o", m.path("report"), "--report", m.path("html"), "--", "ls", "/proc/self/fd")
    out, _ = p.communicate(timeout=30)
    equal(out.split(), ["0", "1", "2", "3"], "3 is ls's own")


class Terminal:
    """The program on a terminal of its own, in the foreground of its own session."""

    def __init__(self, words, **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            default_signals()
            os.execve(ERGON, [ERGON, *words], {**os.environ, "TERM": "xterm", **env})
        attrs = termios.tcgetattr(self.fd)
        attrs[1] &= ~termios.OPOST
        termios.tcsetattr(self.fd, termios.TCSANOW, attrs)
        self.text = ""

    def until(self, word, seconds=30):
        end = time.monotonic() + seconds
        while word not in self.text and time.monotonic() < end:
            if not self.more():
                break
        contains(self.text, word)

    def more(self):
        if not select.select([self.fd], [], [], 1)[0]:
            return True
        try:
            data = os.read(self.fd, 4096)
        except OSError:
            return False
        self.text += data.decode()
        return bool(data)

    def end(self):
        while self.more():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_interrupt_of_the_terminal_is_not_doubled():
    m = Machine().add_rapl()
    t = Terminal(["run", "--root", m.root, "--no-progress", "--", sys.executable, "-c", COUNTER])
    t.until("ready")
    os.write(t.fd, b"\x03")
    code = t.end()
    contains(t.text, "seen [2]")
    equal(code, 5)
    contains(t.text, "scope machine")


def test_progress_line():
    m = Machine().add_rapl()
    t = Terminal(["run", "--root", m.root, "-i", "100", "--", "sleep", "1"])
    equal(t.end(), 0)
    contains(t.text, "\r\033[K")
    contains(t.text, " s  0.0 J")
    last = t.text.rindex("\r\033[K")
    report = t.text.index("ergon: ")
    assert last < report and "\r" not in t.text[last + 1:].replace("\r\n", "\n"), "not cleared"
    contains(t.text, "\033[1mergon: ")


def test_no_progress_and_no_colour_where_not_wanted():
    m = Machine().add_rapl()
    t = Terminal(["run", "--root", m.root, "-i", "50", "--no-progress", "--", "sleep", "0.3"],
                 NO_COLOR="1")
    equal(t.end(), 0)
    assert "\033" not in t.text, t.text
    t = Terminal(["run", "--root", m.root, "-i", "50", "--", "sleep", "0.3"], TERM="dumb")
    equal(t.end(), 0)
    assert "\033" not in t.text, t.text


def test_stat_ends_in_order_at_an_interrupt():
    m = Machine().add_rapl()
    p = subprocess.Popen([ERGON, "stat", "--root", m.root, "-i", "20", "--json"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=default_signals)
    json.loads(p.stdout.readline())
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30)
    equal((p.returncode, err), (0, ""))
    for line in out.splitlines():
        json.loads(line)


run_tests(globals())
