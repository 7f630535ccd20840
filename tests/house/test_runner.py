#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The test runner itself: each way in which a test can go wrong must count as a failure."""
import json
import os
import subprocess
import sys
import tempfile

RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "run")
SKIPS = "t: allowed  because*\n"

# name, script, protocol, wanted "passed, failed, skipped", wanted text
CASES = [
    ("all pass", "echo 1..2; echo 'ok 1 - a'; echo 'ok 2 - b'", "tap", (2, 0, 0), ""),
    ("one fails", "echo 1..2; echo 'ok 1 - a'; echo '# why'; echo 'not ok 2 - b'; exit 1", "tap",
     (1, 1, 0), "# why"),
    ("allowed skip", "echo 1..2; echo 'ok 1 - a'; echo 'ok 2 - allowed # SKIP because so'", "tap",
     (1, 0, 1), "t: allowed: because so"),
    ("skip in cmocka's words", "echo 1..2; echo 'ok 1 - a'; echo '# because so'; "
     "echo 'not ok 2 # SKIP allowed'", "tap", (1, 0, 1), "t: allowed: because so"),
    ("unlisted skip", "echo 1..2; echo 'ok 1 - a'; echo 'ok 2 - other # SKIP because so'", "tap",
     (1, 1, 0), "not listed"),
    ("listed skip for another reason", "echo 1..2; echo 'ok 1 - a'; "
     "echo 'ok 2 - allowed # SKIP tired'", "tap", (1, 1, 0), "not listed"),
    ("skip without a reason", "echo 1..2; echo 'ok 1 - a'; echo 'not ok 2 # SKIP allowed'", "tap",
     (1, 1, 0), "without a reason"),
    ("fewer cases than announced", "echo 1..3; echo 'ok 1 - a'", "tap", (1, 1, 0), "announced 3"),
    ("bad exit after good cases", "echo 1..1; echo 'ok 1 - a'; exit 3", "tap", (1, 1, 0),
     "exit status 3"),
    ("crash after the last case", "echo 1..1; echo 'ok 1 - a'; kill -SEGV $$", "tap", (1, 1, 0),
     "exit status"),
    ("no output", "true", "tap", (0, 1, 0), "no TAP result"),
    ("two groups in one program", "echo 1..1; echo 'ok 1 - a'; echo 1..1; echo 'ok 1 - b'", "tap",
     (2, 0, 0), ""),
    ("plain exit status 0", "true", "exitcode", (1, 0, 0), ""),
    ("plain exit status 1", "echo why; false", "exitcode", (0, 1, 0), "why"),
    ("hang", "echo 1..1; echo 'ok 1 - a'; sleep 60", "tap", (1, 1, 0), "killed after"),
]


def run(script, protocol):
    with tempfile.TemporaryDirectory() as d:
        os.mkdir(os.path.join(d, "meson-info"))
        test = {"name": "t", "cmd": ["/bin/sh", "-c", script], "env": {}, "workdir": None,
                "timeout": 1, "suite": ["ergon:x"], "protocol": protocol, "is_parallel": True}
        with open(os.path.join(d, "meson-info", "intro-tests.json"), "w") as f:
            json.dump([test], f)
        skips = os.path.join(d, "skips")
        with open(skips, "w") as f:
            f.write(SKIPS)
        return subprocess.run([sys.executable, RUNNER, "--skips", skips, d], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


print(f"1..{len(CASES)}")
bad = 0
for i, (name, script, protocol, want, text) in enumerate(CASES, 1):
    r = run(script, protocol)
    last = r.stdout.rstrip("\n").splitlines()[-1]
    good = last == "%d passed, %d failed, %d skipped" % want and text in r.stdout
    good = good and r.returncode == (1 if want[1] or not want[0] else 0)
    if not good:
        bad += 1
        print("\n".join("# " + line for line in r.stdout.splitlines()))
    print(f"{'ok' if good else 'not ok'} {i} - {name}")
sys.exit(1 if bad else 0)
