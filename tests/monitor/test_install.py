# SPDX-License-Identifier: Apache-2.0
"""`make install-ipw`: one file, in the harness's place, that needs libc alone and works from there."""
import os
import platform
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
sys.path.insert(0, HERE)
from harness import MONITOR, Monitor, Place, Sim, cpu_machine, run_tests  # noqa: E402

SOURCE = os.path.abspath(sys.argv[2])
NAME = {"x86_64": "linux-x86_64", "aarch64": "linux-arm64"}.get(platform.machine())
LIBC = r"lib(c|m|dl|pthread|resolv|rt)\.so|ld-linux|lib(asan|ubsan|tsan|gcc_s|clang_rt)"


def install(*words):
    return subprocess.run(["sh", os.path.join(SOURCE, "tools/install-ipw.sh"), *words], capture_output=True, text=True,
                          timeout=60)


def test_lies_where_the_harness_looks_and_runs_there():
    with Place() as place:
        ipw = place.path("site packages", "ipw")
        os.makedirs(ipw)
        path = os.path.join(ipw, "telemetry", "bin", NAME, "energy-monitor")
        for _ in range(2):  # again over the first
            r = install(MONITOR, ipw)
            assert r.returncode == 0 and r.stdout.strip() == path, r
        assert os.listdir(os.path.dirname(path)) == ["energy-monitor"] and os.access(path, os.X_OK)
        m = Monitor(place, place.add(Sim(place, cpu_machine("50W"))), program=path)
        m.ready()
        again = install(MONITOR, ipw)  # while it runs
        assert again.returncode == 0, again
        assert m.stream().until(3)[-1].platform == "rapl"
        assert m.stop() == 0


def test_needs_libc_alone():
    r = subprocess.run(["readelf", "-d", MONITOR], capture_output=True, text=True, timeout=60, check=True)
    needed = re.findall(r"NEEDED.*\[(.*)\]", r.stdout)
    assert needed and all(re.search(LIBC, n) for n in needed), needed
    assert not re.search(r"R(UN)?PATH", r.stdout) or "asan" in r.stdout, r.stdout


def test_without_a_place_it_says_what_is_missing():
    r = subprocess.run(["make", "-C", SOURCE, "install-ipw"], capture_output=True, text=True, timeout=60,
                       env={k: v for k, v in os.environ.items() if k not in ("IPW", "MAKEFLAGS")})
    assert r.returncode != 0 and "IPW=DIR" in r.stderr, r
    with Place() as place:
        r = install(place.path("nothing"), place.path("ipw"))
        assert r.returncode == 1 and "was not built" in r.stderr and not os.path.exists(place.path("ipw")), r
        r = install(MONITOR, place.path("ipw"))  # a slip of the pen: no harness would look there
        assert r.returncode == 1 and "no folder" in r.stderr and not os.path.exists(place.path("ipw")), r


if __name__ == "__main__":
    run_tests(globals())
