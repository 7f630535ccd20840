# SPDX-License-Identifier: Apache-2.0
"""The Node package's part of bench/run: a window over the socket, and what the middleware costs a hello-world
of Express. bench/node.js measures; the machine stands still, the agent is the shipped one."""
import json
import os
import shutil

import agent

HERE = os.path.dirname(os.path.abspath(__file__))


class Node(agent.Agents):
    def parts(self):
        return (self.node_package,)

    def node_package(self):
        t = self.t
        if not shutil.which("node"):
            raise t.Absent("node is not installed")
        peers = t.output(["sh", os.path.join(HERE, "..", "tools", "node-peers.sh"), self.b.build]).strip()
        cores = sorted(os.sched_getaffinity(0))
        pinned = len(cores) > 1 and shutil.which("taskset")
        words, core = (["taskset", "-c", str(cores[0])], str(cores[1])) if pinned else ([], "")
        p = self.start_agent(self.b.still, "agent-node")
        try:
            r = json.loads(t.output([*words, "node", os.path.join(HERE, "node.js"), p.socket, peers, core]))
        finally:
            self.end_agent(p)
        t.row("Node: window, begin + end, over the socket", f"{r['window_us']:.0f} us", "", "", "shown")
        t.row("Node: middleware, a request, alone", f"{r['middleware_us']:.2f} us", "settlement included", "",
              "< 20 us")
        low, high = r["server_cpu_quartiles_us"]
        t.row("Node: middleware, a request, CPU of an Express server", f"{r['server_cpu_us']:.1f} us",
              f"quartiles {low:.1f} and {high:.1f} us; one that does nothing {r['noop_cpu_us']:.1f} us", "", "< 20 us")
        t.row("Node: middleware, of an Express server's throughput", f"{100 * r['server_cpu_more']:.1f} % more CPU",
              f"bare {r['bare_cpu_us']:.1f} us, {r['bare_requests_a_second']:.0f} requests a second"
              + ("" if pinned else ", not pinned"), f"{100 * r['server_time_more']:+.1f} % time", "< 1 %")
