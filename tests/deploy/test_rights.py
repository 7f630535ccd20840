# SPDX-License-Identifier: Apache-2.0
"""The shipped agent, started as root, once its rights are gone: every thread of it, its files, TLS, passwords, a
GPU's library, another user. argv: ergon, the source tree, the fake GPU library, the maker of certificates."""
import base64
import grp
import http.client
import os
import pwd
import re
import shutil
import ssl
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import Agent, Place, Sim, Skip, run_tests, until  # noqa: E402

FAKE, CERTIFICATE = (os.path.abspath(a) for a in sys.argv[3:5])
MACHINE = """[scenario]
title = a package, a slow gauge, and a GPU of the fake library
[machine]
cpus = 2
[file sys/bus/pci/devices/0000:01:00.0/vendor]
text = 0x10de
[file sys/bus/pci/devices/0000:01:00.0/class]
text = 0x030200
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = 100W
"""
# Users of basic authentication: "wonder", as yescrypt, whose memory is mapped anew each time.
USERS = "alice:$y$j9T$abcdefghijklmnop$Ls.3Xaiqmq8IE2IPpdx.3fSR9L1HHI.R8qO6MwDkl31\n"


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def some_group():
    """A group of this machine that root is no member of."""
    for g in grp.getgrall():
        if g.gr_gid and g.gr_gid not in os.getgroups() and g.gr_name != "nogroup":
            return g
    raise Skip("needs root outside one group at least")


def start(place, *words, config=""):
    sim = place.add(Sim(place, MACHINE))
    os.makedirs(os.path.join(sim.root, "usr/lib"), exist_ok=True)
    shutil.copy(FAKE, os.path.join(sim.root, "usr/lib/libnvidia-ml.so.1"))
    with open(place.path("nvml"), "w") as f:
        f.write("driver 580.65.06\ngpu\nname Fake H200\nuuid GPU-1\narch 9\ncounter 20\npower 300W\n")
    return sim, place.add(Agent(place, sim, *words, env={"ERGON_FAKE_NVML": place.path("nvml")}, config=config,
                                ready=False))


def threads(agent):
    found = []
    for task in os.listdir(f"/proc/{agent.process.pid}/task"):
        with open(f"/proc/{agent.process.pid}/task/{task}/status") as f:
            found.append(dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line))
    return found


def check_threads(agent, uid, groups=()):
    seen = threads(agent)
    assert len(seen) >= 3, "the loop, a worker of the GPU, the ledger's writer: " + str(len(seen))
    for t in seen:
        for sets in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(t[sets], 16) == 0, (t["Name"], sets, t[sets])
        assert t["NoNewPrivs"] == "1" and t["Seccomp"] == "2", (t["Name"], t["NoNewPrivs"], t["Seccomp"])
        assert set(t["Uid"].split()) == {str(uid)}, (t["Name"], t["Uid"])
        assert set(map(str, groups)) <= set(t["Groups"].split()), (t["Name"], t["Groups"])
    return len(seen)


def ask(agent, user=None, password="wonder", path="/metrics"):
    context = ssl.create_default_context(cafile=agent.place.path("tls.crt"))
    c = http.client.HTTPSConnection(agent.host, agent.port, timeout=30, context=context)
    headers = {}
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    c.request("GET", path, headers=headers)
    r = c.getresponse()
    text = r.read().decode()
    c.close()
    return r.status, text


def wait_for_address(agent):
    def look():
        assert agent.process.poll() is None, agent.log()
        return re.search(r"metrics at https?://([^ /]+):(\d+)/metrics", agent.log())
    m = until("the agent", look)
    agent.host, agent.port = m.group(1), int(m.group(2))


def test_root_without_rights_serves_all_the_same():
    need_root()
    group = some_group()
    with Place() as place:
        subprocess.run([CERTIFICATE, place.path("tls.crt"), place.path("tls.key")], check=True, timeout=60)
        with open(place.path("users"), "w") as f:
            f.write(USERS)
        os.chmod(place.path("users"), 0o600)
        os.mkdir(place.path("collector"), 0o755)
        sim, agent = start(place, "--textfile", place.path("collector", "ergon.prom"), config=f"""
[http]
tls_certificate = "{place.path('tls.crt')}"
tls_key = "{place.path('tls.key')}"
basic_auth_file = "{place.path('users')}"
[access]
anonymous = "none"
[page]
group = "{group.gr_name}"
[socket]
group = "{group.gr_name}"
""")
        wait_for_address(agent)
        # Its page and its socket are its group's, which root without capabilities can give to his own only.
        for path, mode in ((agent.page, 0o640), (agent.socket, 0o666)):
            st = os.stat(path)
            assert (st.st_mode & 0o777, st.st_uid, st.st_gid) == (mode, 0, group.gr_gid), (path, st, agent.log())
        n = check_threads(agent, 0, [group.gr_gid])
        print(f"# {n} threads without capabilities, behind the filter")
        # TLS, passwords, the GPU's library and the textfile work without rights; a reload reads all again.
        assert ask(agent)[0] == 401
        for _ in range(2):
            status, text = ask(agent, "alice")
            assert status == 200 and "ergon_energy_joules_total" in text, (status, text[:500])
            until("the GPU", lambda: 'component="gpu"' in ask(agent, "alice")[1])
            agent.reload()
            until("the reload", lambda: "config: reloaded" in agent.log())
        assert ask(agent, "alice", "wrong")[0] in (401, 429)
        until("the textfile", lambda: os.listdir(place.path("collector")) == ["ergon.prom"])
        check_threads(agent, 0)
        log = agent.log()
        assert "error" not in log and "warning page" not in log, log
        assert agent.stop() == 0
        assert not os.path.exists(agent.socket) and not os.path.exists(agent.page)


def test_another_user():
    """agent.user owns state and run directory with their files; other directories keep their owner."""
    need_root()
    user, group = pwd.getpwnam("nobody"), some_group()
    with Place() as place:
        os.chmod(place.dir, 0o755)
        os.mkdir(place.path("collector"))
        os.chmod(place.path("collector"), 0o777)
        with open(place.path("collector", "other.prom"), "w") as f:
            f.write("other 1\n")
        os.makedirs(place.path("run"), mode=0o755)
        sim, agent = start(place, "--textfile", place.path("collector", "ergon.prom"), config=f"""
[agent]
user = "nobody"
[page]
group = "{group.gr_name}"
""")
        agent.wait_ready()
        check_threads(agent, user.pw_uid, [group.gr_gid])
        st = os.stat(agent.page)
        assert (st.st_mode & 0o777, st.st_uid, st.st_gid) == (0o640, user.pw_uid, group.gr_gid), st
        for name in [agent.state, place.path("run")] + [os.path.join(agent.state, n) for n in os.listdir(agent.state)]:
            assert os.stat(name).st_uid == user.pw_uid, (name, os.stat(name))
        until("the textfile", lambda: os.path.exists(place.path("collector", "ergon.prom")))
        assert os.stat(place.path("collector", "ergon.prom")).st_uid == user.pw_uid
        for name in ("collector", "collector/other.prom"):
            assert os.stat(place.path(name)).st_uid == 0, name
        until("the GPU", lambda: ("gpu-GPU-1", "gpu", "measured") in agent.totals())
        before = agent.totals()
        assert agent.stop() == 0, agent.log()
        assert not os.path.exists(agent.socket) and not os.path.exists(agent.page), os.listdir(place.path("run"))
        # And again, on what it left.
        again = place.add(Agent(place, sim, config='[agent]\nuser = "nobody"\n'))
        check_threads(again, user.pw_uid) if again.process.poll() is None else None
        assert all(again.totals()[k] >= v for k, v in before.items() if k[1] != "gpu"), (before, again.totals())
        assert again.stop() == 0, again.log()


def test_what_is_not_there():
    """A user that does not exist: refused with the cure, nothing served."""
    need_root()
    with Place() as place:
        sim, agent = start(place, config='[agent]\nuser = "no-such-user-here"\n')
        assert agent.process.wait(60) == 1
        assert "no-such-user-here" in agent.log() and "create it" in agent.log(), agent.log()
        assert not os.path.exists(agent.page)


if __name__ == "__main__":
    run_tests(globals())
