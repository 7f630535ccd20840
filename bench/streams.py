# SPDX-License-Identifier: Apache-2.0
"""The gRPC streams, in bench/run: what clients get and what it costs the server, from energy-monitor and from
`ergon agent --grpc`; and how soon energy-monitor is there. bench-grpc is the client, on loopback."""
import json
import os
import socket
import statistics
import subprocess
import time

import agent

PATH = "/energy.EnergyMonitor/StreamTelemetry"
LOADS = ((100, 20), (8, 1000))  # clients, Hz
SECONDS = 10
STARTS = 21


class Streams(agent.Agents):
    def parts(self):
        return (self.grpc_streams, self.grpc_start)

    def program(self):
        program = os.path.join(self.b.build, "bench/bench-grpc")
        if not os.path.exists(program):
            raise self.t.Absent("this build has no gRPC")
        return program

    def client(self, port, clients, seconds, hz):
        return json.loads(self.t.output([self.program(), "client", f"127.0.0.1:{port}", PATH, str(clients),
                                         str(seconds), str(hz)]))

    def start_monitor(self, ms):
        """energy-monitor, and the seconds until it listened."""
        port, begin = self.free_port(), time.monotonic()
        p = subprocess.Popen([os.path.join(self.b.build, "src/cli/energy-monitor"), "--root", self.b.still, "--port",
                              str(port), "--collection-interval-ms", str(ms)], stderr=subprocess.DEVNULL)
        p.port = port
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 5):
                    return p, time.monotonic() - begin
            except OSError:
                if p.poll() is not None or time.monotonic() - begin > 20:
                    raise self.t.Absent("energy-monitor does not start") from None
                time.sleep(0.0005)

    def start_serving_agent(self, ms):
        config = os.path.join(self.b.work, f"grpc-{ms}.toml")
        with open(config, "w") as f:
            f.write(f'[grpc]\ninterval = "{ms}ms"\n[access]\nanonymous = "full"\n')
        port = self.free_port()
        p = self.start_agent(self.b.still, f"grpc-{ms}", "--config", config, grpc=f"127.0.0.1:{port}")
        p.port = port
        return p

    def grpc_streams(self):
        for clients, hz in LOADS:
            for name, start, stop in (("energy-monitor", lambda ms: self.start_monitor(ms)[0], self.t.end),
                                      ("agent --grpc", self.start_serving_agent, self.end_agent)):
                timer = None
                p = start(1000 // hz)
                try:
                    self.client(p.port, clients, 1, hz)  # its sensors are found
                    timer = subprocess.Popen([self.program(), "timer", str(SECONDS), str(hz)],
                                             stdout=subprocess.PIPE, text=True)
                    cpu = self.t.cpu_seconds(p.pid)
                    r = self.client(p.port, clients, SECONDS, hz)
                    cpu = (self.t.cpu_seconds(p.pid) - cpu) / SECONDS * 100
                    rss = self.t.status_kb(p.pid, "VmRSS")
                    bare = json.loads(timer.communicate(timeout=60)[0])["share"]
                finally:
                    stop(p)
                    if timer:
                        self.t.end(timer)
                if r["ended"]:
                    raise self.t.Absent(f"{r['ended']} streams ended early")
                each = f"{cpu * 10 / clients:.2f} % each 10" if clients >= 10 else ""
                self.t.row(f"gRPC, {clients} clients at {hz} Hz, {name}: ticks they got", f"{100 * r['share']:.2f} %",
                           f"worst client {100 * r['fewest'] / (SECONDS * hz + 1):.2f} %, a bare timer "
                           f"{100 * bare:.2f} %, longest gap {r['longest_gap_ms']:.0f} ms", "", ">= 99 %")
                self.t.row(f"gRPC, {clients} clients at {hz} Hz, {name}: CPU, of a core", each or f"{cpu:.1f} %",
                           f"{cpu:.1f} % in all, client {10 * r['client_cpu_s']:.1f} %, {self.t.mb(rss)}" if each
                           else f"client {10 * r['client_cpu_s']:.1f} %, {self.t.mb(rss)}", "",
                           "<= 1 %" if each else "shown")

    def grpc_start(self):
        listens, firsts = [], []
        for _ in range(STARTS):
            p, seconds = self.start_monitor(50)
            try:
                listens.append(seconds * 1e3)
                firsts.append(listens[-1] + self.client(p.port, 1, 1, 20)["first_ms"])
            finally:
                self.t.end(p)
        for what, ms, aim in (("listens", listens, "<= 200 ms"), ("first reading of a stream begun then", firsts, "shown")):
            self.t.row(f"energy-monitor, from its start: {what}", f"{statistics.median(ms):.1f} ms",
                       f"worst of {STARTS} {max(ms):.1f} ms", "", aim)
