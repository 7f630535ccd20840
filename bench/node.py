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
        if not shutil.which("node"):
            raise self.t.Absent("node is not installed")
        peers = self.t.output(["sh", os.path.join(HERE, "..", "tools", "node-peers.sh"), self.b.build]).strip()
        p = self.start_agent(self.b.still, "agent-node")
        try:
            r = json.loads(self.t.output(["node", os.path.join(HERE, "node.js"), p.socket, peers]))
        finally:
            self.end_agent(p)
        self.t.row("Node: window, begin + end, over the socket", f"{r['window_us']:.0f} us", "", "", "shown")
        self.t.row("Node: middleware, a request, alone", f"{r['middleware_us']:.2f} us", "settlement included", "",
                   "< 20 us")
        self.t.row("Node: middleware, a request, CPU of the server", f"{r['server_cpu_us']:.1f} us",
                   f"one that does nothing {r['noop_cpu_us']:.1f} us; {r['bare_requests_a_second']:.0f} requests a second",
                   f"{100 * r['throughput_loss']:+.1f} % time", "< 1 %")
