#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tools/gpu-evidence against the fake library, in real time: test_evidence.py PROGRAM LIBRARY

Its NVML half must print every figure; without libcuda it must say so and end with 3.
"""
import ctypes
import os
import re
import subprocess
import sys
import tempfile
import time

program, library = sys.argv[1], sys.argv[2]
checks = []


def check(good, what, text=""):
    checks.append(good)
    print(f"{'ok' if good else 'not ok'} {len(checks)} - {what}")
    if not good:
        print("".join(f"# {line}\n" for line in text.splitlines()), end="")


def run(args, env):
    return subprocess.run([program, *args], env=env, text=True, capture_output=True)


def has_libcuda():
    try:
        ctypes.CDLL("libcuda.so.1")
        return True
    except OSError:
        return False


with tempfile.TemporaryDirectory() as tmp:
    os.symlink(os.path.abspath(library), os.path.join(tmp, "libnvidia-ml.so.1"))
    script = os.path.join(tmp, "script")
    t0 = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1e9)
    with open(script, "w") as f:
        f.write(f"t0 {t0}\ndriver 580.65.06\ngpu\nname Fake H200\narch 9\ncounter 20\npower 400W\n")
    env = {k: v for k, v in os.environ.items() if k != "ERGON_FAKE_CLOCK"}
    env.update(ERGON_FAKE_NVML=script, LD_LIBRARY_PATH=tmp)

    r = run(["-s", "1"], env)
    if has_libcuda():
        check(r.returncode in (0, 3), "ends with 0 or 3 beside a libcuda", r.stdout + r.stderr)
    else:
        check(r.returncode == 3, "ends with 3 without libcuda", r.stdout + r.stderr)
        check("no load: libcuda.so.1 is not on this machine" in r.stdout, "says so", r.stdout)
    check("device    Fake H200" in r.stdout and "driver    580.65.06" in r.stdout, "device, driver",
          r.stdout)
    check(all(re.search(re.escape(c) + r" +\d+\.\d +\d+\.\d", r.stdout)
              for c in ("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues(186)",
                        "nvmlDeviceGetPowerUsage")), "cost of each call", r.stdout)
    check(re.search(r"total energy +no load +\d+ steps, ms between: least \d+\.\d+, median", r.stdout)
          is not None, "period of the counter", r.stdout)
    integral = [float(x) for x in re.findall(r"instant power x time +(\d+\.\d+) J", r.stdout)]
    counter = [float(x) for x in re.findall(r"counter  +(\d+\.\d+) J", r.stdout)]
    check(len(integral) == 2 and len(counter) == 2, "two processes", r.stdout)
    # Constant power and windows from step to step: the two figures are of the same seconds.
    check(len(counter) == 2 and all(abs(c / i - 1) < 0.2 for c, i in zip(counter, integral)),
          "counter and integral agree", r.stdout)

    r = run(["-s", "nonsense"], env)
    check(r.returncode == 2 and "usage" in r.stderr, "bad argument ends with 2", r.stderr)
    r = run(["-d", "7"], env)
    check(r.returncode == 1, "absent GPU ends with 1", r.stdout + r.stderr)

print(f"1..{len(checks)}")
sys.exit(0 if all(checks) else 1)
