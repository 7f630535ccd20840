# SPDX-License-Identifier: Apache-2.0
"""Windows, in bench/run: what begin and end cost by the energy page, by the agent's socket and in-process, from
C and from Python, beside Zeus and CodeCarbon, all in turns on the same tree. windows_python.py measures."""
import json
import os

import agent

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = (("c page", "C, energy page"), ("c library", "C, in-process"), ("c socket", "C, socket"),
        ("page", "Python, energy page"), ("library", "Python, in-process"), ("socket", "Python, socket"))


def short(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.2g}"


def cost(r):
    return f"{short(r['cpu_us'])} us CPU, {short(r['wall_us'])} us"


class Windows(agent.Agents):
    def parts(self):
        return (self.windows,)

    def windows(self):
        t = self.t
        peers = os.path.join(HERE, "..", "tools", "python-peers")
        python, absent = None, ""
        try:
            python = t.output([peers, self.b.build]).strip()
        except t.Absent as e:
            absent = str(e)
        # What every kernel has and CodeCarbon looks for.
        link = os.path.join(self.b.still, "sys/class/powercap/intel-rapl/subsystem")
        if not os.path.lexists(link):
            os.symlink("..", link)
        p = self.start_agent(self.b.still, "windows")
        place = {"build": self.b.build, "root": self.b.still, "socket": p.socket, "page": p.page, "pid": p.pid,
                 "peers": python is not None}
        try:
            home = os.path.join(self.b.work, "home")
            os.makedirs(home, exist_ok=True)
            found = json.loads(t.in_private_mounts(
                'mount --bind "$1/sys" /sys; cd "$2"; HOME=$2 exec "$3" "$4" "$5"', self.b.still, home,
                python or "/usr/bin/python3", os.path.join(HERE, "windows_python.py"), json.dumps(place)))
        finally:
            self.end_agent(p)
        ways, versions = found["ways"], found["versions"]
        zones = len(self.b.zones)
        for way, what in OURS:
            ratios = ", ".join(f"{name} {short(ways[way]['less_cpu'][peer])}x" for peer, name in (
                ("zeus", "Zeus"), ("task", "task"), ("tracker", "tracker")) if peer in ways)
            t.row(f"window, {zones} zones: {what}", cost(ways[way]), "", f"{ratios} less" if ratios else "",
                  ">= 10x, >= 100x")
        if not python:
            t.row("windows of Zeus and CodeCarbon", "", f"not measured: {absent}")
        else:
            t.row(f"window, {zones} zones: Zeus", "", f"{versions['zeus']}: {cost(ways['zeus'])}")
            t.row("window: CodeCarbon, a task", "", f"{versions['codecarbon']}: {cost(ways['task'])}, "
                  f"{found['codecarbon_zones']} zones")
            t.row("window: CodeCarbon, a tracker", "", cost(ways["tracker"]))
