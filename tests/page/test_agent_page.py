# SPDX-License-Identifier: Apache-2.0
"""The page of the shipped agent, read by the example program in another process: it holds what /metrics
says, survives a kill -9 of the agent as a stale page, and goes on with its successor."""
import os
import re
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import Agent, Place, Sim, Skip, run_tests, until  # noqa: E402

EXAMPLE = os.path.abspath(sys.argv[3])


def lines(page):
    """(device, component, provenance) -> microjoules, by the layout of docs/energy-page.md alone."""
    with open(page, "rb") as f:
        data = f.read()
    assert data[:8] == b"ERGPAGE\0"
    version, header, size, n, record, line = struct.unpack_from("<IIQIII", data, 8)
    records, at = struct.unpack_from("<QQ", data, 40)
    assert version == 1 and header == 256 and size == len(data)
    text = lambda o, m: data[o:o + m].split(b"\0")[0].decode()  # noqa: E731
    out = {}
    for i in range(n):
        r, x = records + i * record, at + i * line
        flags = struct.unpack_from("<I", data, x + 60)[0]
        if flags & 1:
            out[text(r, 96), text(r + 288, 32), text(r + 352, 16)] = struct.unpack_from("<Q", data, x + 8)[0]
    return out


def example(page, code=0):
    r = subprocess.run([EXAMPLE, page], capture_output=True, text=True, timeout=60)
    assert r.returncode == code, r
    return r


def test_it_holds_what_metrics_say():
    with Place() as place:
        sim = place.add(Sim(place, "default", clock=True))
        agent = place.add(Agent(place, sim))
        sim.time.sleep(10)
        metrics, page = agent.totals(), lines(agent.page)
        assert set(metrics) <= set(page)
        for key, joules in metrics.items():
            assert abs(page[key] / 1e6 - joules) < 1e-6, key
        agent.stop()


def test_another_program_reads_it():
    with Place() as place:
        sim = place.add(Sim(place, "constant-200w"))
        agent = place.add(Agent(place, sim, "--interval", "200ms"))
        out = example(agent.page).stdout
        used, seconds = map(float, re.search(r"used ([0-9.]+) J \(measured\) in ([0-9.]+) s", out).groups())
        print(f"# {used:.3f} J in {seconds:.3f} s at 200 W")
        # The simulator moves its counters in real time: on a busy machine it may be late.
        assert seconds > 0.3 and abs(used / seconds / 200 - 1) < 0.3
        agent.kill()
        before = lines(agent.page)
        time.sleep(6)
        assert "does not write to it any more" in example(agent.page).stderr
        agent.close()
        agent = place.add(Agent(place, sim, "--interval", "200ms"))
        after = lines(agent.page)
        assert all(after[k] >= v for k, v in before.items())
        assert "any more" not in example(agent.page).stderr
        agent.stop()
        example(agent.page, code=1)


def test_two_agents():
    """Totals of another ledger never take the place of those that readers look at."""
    with Place() as place:
        sim = place.add(Sim(place, "constant-200w"))
        agent = place.add(Agent(place, sim))
        inode = os.stat(agent.page).st_ino
        second = place.add(Agent(place, sim, "--socket", place.path("run", "b.sock"), state="other"))
        assert f"another agent (process {agent.process.pid}) writes {agent.page}" in second.log(), second.log()
        assert second.stop() == 0
        assert os.stat(agent.page).st_ino == inode
        agent.kill()  # what a dead one left is taken over
        third = place.add(Agent(place, sim, "--socket", place.path("run", "b.sock"), state="other"))
        assert "no energy page" not in third.log() and os.stat(agent.page).st_ino != inode
        third.stop()


def test_who_may_read():
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        os.chmod(place.dir, 0o755)
        sim = place.add(Sim(place, "default", clock=True))
        agent = place.add(Agent(place, sim))
        assert os.stat(agent.page).st_mode & 0o777 == 0o640
        r = subprocess.run([EXAMPLE, agent.page], user=65534, group=65534, extra_groups=[],
                           capture_output=True, text=True)
        assert r.returncode == 1 and "ermission" in r.stderr, r
        agent.stop()


if __name__ == "__main__":
    run_tests(globals())
