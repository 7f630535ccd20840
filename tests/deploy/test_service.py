# SPDX-License-Identifier: Apache-2.0
"""Ergon as a service and as a package: the unit as systemd reads it, the rule that lets group ergon read the
counters, an agent without any capability in that group, and the packages. argv[1] is ergon, argv[2] the
source tree."""
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import SOURCE, Agent, Place, Sim, Skip, run_tests  # noqa: E402

UNITS = os.path.join(SOURCE, "deploy/systemd")
GID = 64977  # of group ergon below the simulated root
MACHINE = """[scenario]
title = a package with a sub-zone, and a gauge
[machine]
cpus = 2
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = 100W
[rapl intel-rapl:0:0]
name = dram
max-power = 50W
power = 10W
"""


def run(*words, **kw):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=300, **kw)


def needs(*programs):
    for p in programs:
        if not shutil.which(p):
            raise Skip(f"{p} is not installed")


def test_the_unit_as_systemd_reads_it():
    needs("systemd-analyze")
    with Place() as place, open(os.path.join(UNITS, "ergon.service")) as f:
        unit = place.path("ergon.service")
        with open(unit, "w") as out:  # the program need not be installed to read its unit
            out.write(f.read().replace("/usr/bin/ergon", "/bin/true"))
        r = run("systemd-analyze", "verify", "--man=no", unit)
        assert r.returncode == 0 and not r.stdout and not r.stderr, r
        r = run("systemd-analyze", "security", "--offline=yes", unit)
        score = float(re.search(r"exposure level for \S+: ([0-9.]+)", r.stdout).group(1))
        print(f"# systemd-analyze security: {score} of 10 (less is better)")
        assert score <= 2.5, r.stdout
        # And verify can fail.
        with open(unit, "a") as out:
            out.write("\n[Service]\nNonsense=yes\n")
        assert "Nonsense" in run("systemd-analyze", "verify", "--man=no", unit).stderr


def let_the_group_read(root):
    os.makedirs(os.path.join(root, "etc"), exist_ok=True)
    for name, text in (("passwd", "root:x:0:0::/:/bin/sh\n"), ("group", f"root:x:0:\nergon:x:{GID}:\n")):
        with open(os.path.join(root, "etc", name), "w") as f:
            f.write(text)
    return run("systemd-tmpfiles", f"--root={root}", "--create", os.path.join(UNITS, "ergon.tmpfiles"))


def test_the_group_may_read_and_that_is_enough():
    """No capability, no root: an agent of group ergon measures every zone once the rule has been applied."""
    needs("systemd-tmpfiles")
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        os.chmod(place.dir, 0o777)
        sim = place.add(Sim(place, MACHINE, clock=True))
        zones = glob.glob(sim.root + "/sys/class/powercap/intel-rapl*/**/energy_uj", recursive=True)
        assert len(set(map(os.path.realpath, zones))) == 2, zones
        os.makedirs(place.path("run"))
        os.chmod(place.path("run"), 0o777)
        os.chmod(sim.clock, 0o666)
        before = place.add(Agent(place, sim, user=65534, state="before"))
        assert not before.totals(), before.totals()
        before.stop()
        r = let_the_group_read(sim.root)
        assert r.returncode == 0, r
        for zone in zones:
            st = os.stat(zone)
            assert (st.st_mode & 0o777, st.st_gid) == (0o440, GID), (zone, oct(st.st_mode), st.st_gid)
        after = place.add(Agent(place, sim, user=65534, group=GID, state="after"))
        sim.time.sleep(10)
        totals = after.totals()
        assert abs(totals["cpu-0", "package", "measured"] - 1000) < 0.001, totals
        assert abs(totals["cpu-0", "dram", "measured"] - 100) < 0.001, totals
        with open(f"/proc/{after.process.pid}/status") as f:
            assert re.search(r"CapEff:\s+0+$", f.read(), re.M)
        assert after.stop() == 0


def test_packages():
    needs("dpkg-buildpackage", "dh")
    with Place() as place:
        tree = place.path("tree")
        # In a copy: nothing is left in the source tree, and two builds do not meet.
        shutil.copytree(SOURCE, tree, symlinks=True, ignore=shutil.ignore_patterns("build*", ".git", "__pycache__"))
        r = run("sh", os.path.join(tree, "tools/deb.sh"))
        assert r.returncode == 0, r.stderr[-4000:]
        debs = {os.path.basename(p).split("_")[0]: p for p in r.stdout.split()}
        assert {"ergon", "libergon0", "libergon-dev"} <= set(debs), debs
        root = place.path("installed")
        for name in ("ergon", "libergon0", "libergon-dev"):
            assert run("dpkg", "-x", debs[name], root).returncode == 0
        for path, mode in (("usr/bin/ergon", 0o755), ("usr/libexec/ergon/ergon-agent", 0o755),
                           ("lib/systemd/system/ergon.service", 0o644), ("usr/lib/sysusers.d/ergon.conf", 0o644),
                           ("usr/lib/tmpfiles.d/ergon.conf", 0o644), ("usr/include/ergon/page.h", 0o644)):
            assert os.stat(os.path.join(root, path)).st_mode & 0o7777 == mode, path
        program = os.path.join(root, "usr/bin/ergon")
        assert re.match(r"ergon \d+\.\d+\.\d+\n$", run(program, "--version").stdout)
        # `ergon agent` finds its other half beside itself or where it was installed: here it is told.
        beside = os.path.join(root, "usr/bin/ergon-agent")
        os.symlink(os.path.join(root, "usr/libexec/ergon/ergon-agent"), beside)
        r = run(program, "config", "print", env={"HOME": place.dir, "PATH": os.environ["PATH"]})
        assert r.returncode == 0 and "price_per_kwh" in r.stdout, r
        control = run("dpkg-deb", "-e", debs["ergon"], place.path("control"))
        assert control.returncode == 0
        with open(place.path("control", "postinst")) as f:
            text = f.read()
        assert 0 < text.index("systemd-sysusers") < text.index("systemd-tmpfiles") < text.index("ergon.service")


if __name__ == "__main__":
    run_tests(globals())
