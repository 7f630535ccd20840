# SPDX-License-Identifier: Apache-2.0
"""tools/gpu-clients.py, which docs/hardware.md is written from, against the fake GPU library in real time."""
import os
import shutil
import subprocess
import time

from rig_compat import BUILD, FAKE_NVML, SOURCE, Place, Skip, environment, peers, run_tests

GRPC = "/usr/lib/python3/dist-packages"  # grpcio is Debian's


def run(place):
    if not os.path.isdir(os.path.join(GRPC, "grpc")):
        raise Skip("python3-grpcio is not installed")
    shutil.copy(FAKE_NVML, place.path("libnvidia-ml.so.1"))
    with open(place.path("script"), "w") as f:
        f.write(f"t0 {time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\ndriver 580.65.06\ngpu\nname Fake H200\narch 9\n"
                f"counter 20\npower 400W\n")
    env = environment(ERGON_FAKE_NVML=place.path("script"), LD_LIBRARY_PATH=place.dir)
    env["PYTHONPATH"] += ":" + GRPC
    return subprocess.run([peers(), os.path.join(SOURCE, "tools", "gpu-clients.py"), BUILD, "2.5"], env=env,
                          capture_output=True, text=True, timeout=240)


def test_all_of_it_is_shown():
    with Place() as place:
        r = run(place)
        assert r.returncode == 0 and "0 failed: []" in r.stdout, (r.stdout[-6000:], r.stderr[-2000:])
        shown = "\n".join(line for line in r.stdout.splitlines() if line.startswith("ok "))
        for what in ("window by socket", "window by page", "window by in-process", "beside Zeus",
                     "ergon_energy_joules_total", "agent: last minus first", "energy-monitor at 50 ms: last minus",
                     "energy-monitor at 1 ms: last minus", "sessions of others", "a forked child",
                     "order at exit, nobody closes", "ergon validate"):
            assert what in shown, (what, r.stdout[-6000:])


if __name__ == "__main__":
    run_tests(dict(globals()))
