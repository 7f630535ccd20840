#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shipped program on a machine at rest, with the Nth call of one kind failing, for each N until
a run has no such call any more: allocations, opens, reads, links, directories, writes, renames,
threads and processes. It never dies of a signal or hangs; it ends with a documented status; what
it writes is whole and invents no joule, or it says what is wrong; --output is whole or as it was;
and it holds no more memory and descriptors at its end than an undisturbed run."""
import errno
import json
import os
import tempfile

from fault import SOAK, Machine, Run, check_joules, diagnostics, run_tests, together, values
import sys

LIBFAIL = os.path.abspath(sys.argv[2])
ALL_UP_TO = 100000 if SOAK else 200
STRIDE = 20
OLD = "an older report\n"

VERBS = {
    "sensors": ["sensors", "--json"],
    "run": ["run", "--json", "--", "true"],
    "run_output": ["run", "--json", "-o", None, "--", "true"],
    "stat": ["stat", "-n", "2", "-i", "20", "--json"],
    "doctor": ["doctor", "--json"],
}
KINDS = {
    "memory": [errno.ENOMEM],
    "open": [errno.EACCES, errno.EMFILE],
    "read": [errno.EIO, errno.ENODEV],
    "link": [errno.EIO],
    "dir": [errno.EIO],
    "write": [errno.EIO, 0],
    "rename": [errno.EIO],
    "thread": [errno.EAGAIN],
    "process": [errno.EAGAIN],
}
machine = Machine()
baselines = {}


class Failing:
    """A run with the nth call of a kind failing."""

    def __init__(self, verb, kind, nth, error):
        self.kind, self.verb = kind, verb
        self.where = f"{verb}, {kind} {nth}, errno {error}"
        with tempfile.TemporaryDirectory(dir=machine.dir.name) as d:
            self.file = os.path.join(d, "out.json")
            if nth % 2:
                with open(self.file, "w") as f:
                    f.write(OLD)
            words = [self.file if w is None else w for w in VERBS[verb]]
            env = {"LD_PRELOAD": LIBFAIL, "FAIL_KIND": kind, "FAIL_NTH": str(nth),
                   "FAIL_ERRNO": str(error), "FAIL_REPORT": d + "-counts"}
            self.had_old = nth % 2
            self.run = Run(machine, words, env)
            self.left = sorted(os.listdir(d))
            self.written = None
            if os.path.exists(self.file):
                with open(self.file) as f:
                    self.written = f.read()
        self.counts = None
        if os.path.exists(d + "-counts"):
            with open(d + "-counts") as f:
                self.counts = [int(n) for n in f.read().split()]
            os.unlink(d + "-counts")

    @property
    def hit(self):
        return self.counts is None or self.counts[1] > 0

    def text(self):
        """The report: on standard output, of run on standard error or in the file."""
        return {"run": self.run.err, "run_output": self.written}.get(self.verb, self.run.out)


def check_file(f):
    if f.verb != "run_output":
        return
    assert set(f.left) <= {"out.json"}, f"{f.where}: left {f.left}"
    if f.run.rc == 0:
        assert f.written not in (None, OLD), f"{f.where}: no report, but {f.run}"
    else:
        whole = f.written and f.written != OLD
        assert whole or f.written == (OLD if f.had_old else None), f.where
        if whole:
            json.loads(f.written)


def check_failure(f):
    r = f.run
    assert "ergon: " in r.err, f"{f.where}: no message: {r}"
    if f.kind != "write":
        assert not r.out or r.report(), f"{f.where}: half a report: {r}"


def check_success(f, baseline):
    """Whole, no joule invented, and whatever is missing has a diagnostic of its own."""
    report = f.run.report(f.text())
    check_joules(f.run, report, f.where)
    if f.verb == "stat":
        assert len(report) == 2, f"{f.where}: {len(report)} lines"
        return
    known, before = values(report), values(baseline)
    lost = [n for n, v in before.items() if v is not None and known.get(n) is None]
    said = diagnostics(report) - diagnostics(baseline)
    assert said or not lost, f"{f.where}: {lost} lost without a word"


def check(f, baseline):
    r = f.run
    assert r.rc >= 0, f"{f.where}: died of signal {-r.rc}: {r}"
    assert r.rc in (0, 1) or (r.rc in (126, 127) and "cannot run" in r.err), f"{f.where}: {r}"
    assert f.counts is not None, f"{f.where}: no counts, so it did not end by itself: {r}"
    if r.rc == 0:
        check_success(f, baseline.run.report(baseline.text()))
    else:
        check_failure(f)
    check_file(f)
    held, before = f.counts[2:], baseline.counts[2:]
    assert held[0] <= before[0] and held[1] <= before[1], \
        f"{f.where}: holds {held} blocks and descriptors at its end, undisturbed {before}: {r}"


def each_fails(verb, kind):
    baseline = Failing(verb, kind, 0, 0)
    if baseline.run.rc != 0:
        raise AssertionError(baseline.run)
    check_success(baseline, baseline.run.report(baseline.text()))
    # What it holds at its end varies by a thread that has or has not gone by then: the most of three.
    others = [Failing(verb, kind, 0, 0).counts for _ in range(2)]
    baseline.counts = [*baseline.counts[:2], *(max(c) for c in zip(baseline.counts[2:], *(o[2:] for o in others)))]
    calls, errors = baseline.counts[0], KINDS[kind]
    wanted = [n for n in range(1, calls + 1) if n <= ALL_UP_TO or n % STRIDE == 0]
    # In ./check the errors take turns.
    todo = [(n, e) for k, n in enumerate(wanted)
            for e in (errors if SOAK or calls < 10 else [errors[k % len(errors)]])]
    runs, bad, last = 0, [], calls
    while todo:
        fs = together(lambda t: Failing(verb, kind, *t), todo)
        for f in fs:
            runs += f.hit
            try:
                check(f, baseline)
            except (AssertionError, ValueError, KeyError) as e:
                bad.append(f"{type(e).__name__}: {e}")
        # A failure may lead to more calls than the undisturbed run makes: on until there are none.
        todo = [(last + 1, errors[0])] if fs[-1].hit else []
        last += 1
    print(f"# {verb}: {calls} calls ({kind}): {runs} runs with a failing one, {len(bad)} bad")
    assert not bad, f"{len(bad)} bad, such as\n" + "\n".join(bad[:4])
    assert runs > 0 or not calls, "nothing failed"


def make(verb, kind):
    return lambda: each_fails(verb, kind)


for v in VERBS:
    for k in KINDS:
        if k in ("rename", "process") and not v.startswith("run") or \
           k == "rename" and v == "run":
            continue
        globals()[f"test_{v}_{k}"] = make(v, k)

run_tests(globals())
