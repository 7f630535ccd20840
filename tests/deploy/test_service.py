# SPDX-License-Identifier: Apache-2.0
"""Ergon as a service and as a package: the unit as systemd reads it, the rule that lets group ergon read the
counters, an agent without any capability in that group, the agent as the unit starts it, and the packages.
argv: ergon, the source tree, the program `confine`."""
import glob
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import ERGON, SOURCE, Agent, Place, Sim, Skip, run_tests, until  # noqa: E402

CONFINE = os.path.abspath(sys.argv[3])
UNITS = os.path.join(SOURCE, "deploy/systemd")
UID = 64978  # of the user that systemd would make
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


def unit_text():
    with open(os.path.join(UNITS, "ergon.service.in")) as f:
        return f.read()


def settings(name):
    """The values of a setting of the unit, in order."""
    return re.findall(rf"^{name}=(.*)$", unit_text(), re.M)


def test_the_unit_as_systemd_reads_it():
    needs("systemd-analyze")
    with Place() as place:
        unit = place.path("ergon.service")
        with open(unit, "w") as out:  # the program need not be installed to read its unit
            out.write(unit_text().replace("@bindir@/ergon", "/bin/true"))
        r = run("systemd-analyze", "verify", "--man=no", unit)
        assert r.returncode == 0 and not r.stdout and not r.stderr, r
        r = run("systemd-analyze", "security", "--offline=yes", unit)
        score = float(re.search(r"exposure level for \S+: ([0-9.]+)", r.stdout).group(1))
        print(f"# systemd-analyze security: {score} of 10 (less is better)")
        assert score <= 2.0, r.stdout
        # And verify can fail.
        with open(unit, "a") as out:
            out.write("\n[Service]\nNonsense=yes\n")
        assert "Nonsense" in run("systemd-analyze", "verify", "--man=no", unit).stderr


def expand(names):
    """System calls of a list as SystemCallFilter= has it."""
    calls = set()
    for name in names:
        if not name.startswith("@"):
            calls.add(name)
            continue
        r = run("systemd-analyze", "syscall-filter", name)
        assert r.returncode == 0, r
        calls |= expand(w for w in (line.split("#")[0].strip() for line in r.stdout.splitlines()[1:]) if w)
    return calls


def filter_of_the_unit():
    calls = expand(["@default"])
    for words in settings("SystemCallFilter"):
        if words.startswith("~"):
            calls -= expand(words[1:].split()) - expand(["@default"])
        else:
            calls |= expand(words.split())
    return calls


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


class Confined:
    """The agent as the unit starts it, as far as that goes without systemd: its user and group, no capability,
    its filter of system calls, no memory that is writable and executable, a file system that is read-only but
    for its own two directories (where mounts are allowed), its environment and its notify socket."""

    def __init__(self, place, sim):
        self.state, self.run_dir = place.path("lib"), place.path("rundir")
        for d in (self.state, self.run_dir):
            os.mkdir(d)
            os.chown(d, UID, GID)
        with open(place.path("calls"), "w") as f:
            f.write("\n".join(sorted(filter_of_the_unit())))
        self.manager = place.add(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.manager.bind(place.path("notify"))
        self.manager.settimeout(30)
        os.chmod(place.path("notify"), 0o777)
        assert settings("CapabilityBoundingSet") == settings("AmbientCapabilities") == [""]
        assert settings("NoNewPrivileges") == settings("MemoryDenyWriteExecute") == ["yes"]
        words = ["setpriv", "--reuid", UID, "--regid", GID, "--clear-groups", "--bounding-set=-all",
                 "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", CONFINE, place.path("calls"), ERGON,
                 "agent", "--root", sim.root, "--listen", "127.0.0.1:0"]
        self.read_only = run("unshare", "-m", "true").returncode == 0
        if self.read_only:
            at, own = shlex.quote(place.dir), [shlex.quote(d) for d in (self.state, self.run_dir)]
            script = "set -e\n" + "".join(f"mount --bind {d} {d}\n" for d in [at] + own)
            script += f"mount -o remount,bind,ro {at}\nmount -o remount,bind,ro /\n"
            words = ["unshare", "-m", "sh", "-c", script + 'exec "$@"', "sh"] + words
        self.log_path = place.path("log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(w) for w in words], stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": "/", "STATE_DIRECTORY": self.state,
                     "RUNTIME_DIRECTORY": self.run_dir, "NOTIFY_SOCKET": place.path("notify"),
                     "WATCHDOG_USEC": "600000"})

    log = Agent.log
    local, _ask, metrics, totals = Agent.local, Agent._ask, Agent.metrics, Agent.totals

    @property
    def socket(self):
        return os.path.join(self.run_dir, "ergon.sock")

    def hear(self, what):
        """Reads on until the manager was told."""
        heard = []
        for _ in range(200):
            heard.append(self.manager.recv(4096).decode())
            if what in heard[-1]:
                return
        raise AssertionError((what, heard, self.log()))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def test_the_agent_as_the_unit_starts_it():
    needs("setpriv", "systemd-analyze", "systemd-tmpfiles")
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        os.chmod(place.dir, 0o755)
        sim = place.add(Sim(place, MACHINE))
        assert let_the_group_read(sim.root).returncode == 0
        agent = place.add(Confined(place, sim))
        until("a word of the agent", lambda: agent.process.poll() is not None or "metrics at" in agent.log())
        assert agent.process.poll() is None, agent.log()
        agent.hear("READY=1")
        agent.hear("WATCHDOG=1")
        first = agent.totals()
        assert ("cpu-0", "package", "measured") in first and ("cpu-0", "dram", "measured") in first, first
        time.sleep(0.1)
        assert agent.totals()["cpu-0", "package", "measured"] > first["cpu-0", "package", "measured"]
        st = os.stat(os.path.join(agent.run_dir, "energy"))
        assert (st.st_mode & 0o777, st.st_uid, st.st_gid) == (0o640, UID, GID), st
        for task in os.listdir(f"/proc/{agent.process.pid}/task"):
            with open(f"/proc/{agent.process.pid}/task/{task}/status") as f:
                status = f.read()
            filters = int(re.search(r"Seccomp_filters:\s+(\d+)", status).group(1))
            assert filters == 3, f"the unit's, and the agent's two: {filters}"
        agent.process.send_signal(signal.SIGHUP)
        agent.hear("RELOADING=1")
        agent.hear("READY=1")
        assert "no filter" not in agent.log(), agent.log()
        agent.process.send_signal(signal.SIGTERM)
        agent.hear("STOPPING=1")
        assert agent.process.wait(30) == 0, agent.log()
        assert os.listdir(agent.run_dir) == [] and "ledger.log" in os.listdir(agent.state)
        print(f"# {agent.process.args[0]}: read-only file system {'shown' if agent.read_only else 'not shown'}")


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
