# SPDX-License-Identifier: Apache-2.0
"""The agent's part of bench/run: what a scrape, a tick and its memory cost, beside node_exporter's rapl
collector and PCP denki on the same tree. Everything runs on loopback; processes are ended by their id."""
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import time
import urllib.request

ROUNDS = 3
ACCEPT = "text/plain;version=0.0.4"

# 16 channels of the kinds a two-socket server with a BMC has.
SIXTEEN = """[scenario]
title = sixteen channels
[machine]
cpus = 8
packages = 4
[proc]
utilization = 0.3
""" + "".join(f"[rapl intel-rapl:{p}]\nname = package-{p}\nmax-power = 200W\npower = 100W\n"
              f"[rapl intel-rapl:{p}:0]\nname = core\nmax-power = 200W\npower = 60W\n"
              f"[rapl intel-rapl:{p}:1]\nname = dram\nmax-power = 50W\npower = 10W\n" for p in range(4)) + (
    "[hwmon 0]\nname = power_meter\n[hwmon 0 power1]\nlabel = chassis\npower = 600W\nupdate = 1s\n"
    "[hwmon 1]\nname = board\n" + "".join(f"[hwmon 1 power{k}]\nlabel = rail{k}\npower = 10W\nupdate = 1s\n"
                                           for k in range(1, 4)))
# Energy counters enough for a page of a thousand series.
MANY = "[scenario]\ntitle = many\n[machine]\ncpus = 4\n" + "".join(
    f"[hwmon {c}]\nname = many{c}\n" + "".join(f"[hwmon {c} energy{k}]\nlabel = channel {k}\npower = 10W\n"
                                               for k in range(1, 26)) for c in range(8))


class Agents:
    def __init__(self, bench, tools):
        self.b, self.t = bench, tools
        self.agent_program = os.path.join(bench.build, "src/cli/ergon-agent")
        if not os.path.exists(self.agent_program):
            raise tools.Absent("this build has no agent")

    # ---- processes ----

    def free_port(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    def start_agent(self, root, name, *words, scheme="http", grpc="off"):
        place = os.path.join(self.b.work, name)
        os.makedirs(place, exist_ok=True)
        port = self.free_port()
        env = dict(os.environ, ERGON_AGENT_RUN_DIR=place)
        # A socket's path has room for 107 bytes: a short link stands for the place.
        link = os.path.join("/tmp", f"ergon-bench-{os.getpid()}-{name}")
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(place, link)
        p = subprocess.Popen([self.b.ergon, "agent", "--root", root, "--state", os.path.join(place, "state"),
                              "--socket", os.path.join(link, "s"), "--listen", f"127.0.0.1:{port}", "--grpc", grpc,
                              *words],
                             env=env, stderr=subprocess.DEVNULL)
        p.socket, p.page, p.link = os.path.join(link, "s"), os.path.join(place, "energy"), link
        p.url = f"{scheme}://127.0.0.1:{port}/metrics"
        until = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 5):
                    break
            except OSError:
                if p.poll() is not None or time.monotonic() > until:
                    raise self.t.Absent("the agent does not start") from None
                time.sleep(0.05)
        time.sleep(0.5)
        return p

    def end_agent(self, p):
        self.t.end(p)
        os.unlink(p.link)

    def start_node_exporter(self, root):
        place = self.b.fetch_debs("deb", ["prometheus-node-exporter"])
        port = self.free_port()
        p = subprocess.Popen([f"{place}/usr/bin/prometheus-node-exporter", f"--path.sysfs={root}/sys",
                              "--collector.disable-defaults", "--collector.rapl",
                              f"--web.listen-address=127.0.0.1:{port}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        p.url = f"http://127.0.0.1:{port}/metrics"
        until = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(p.url, timeout=5).read()
                return p
            except OSError as e:
                if p.poll() is not None or time.monotonic() > until:
                    raise self.t.Absent(f"node_exporter does not answer: {e}") from e
                time.sleep(0.1)

    def still_node(self, name, text):
        """A machine whose counters stand still: its simulator takes no time from who is measured."""
        path, root = (os.path.join(self.b.work, name + end) for end in (".scn", ""))
        with open(path, "w") as f:
            f.write(text)
        self.t.output([self.b.ergon, "sim", "node", "--dir", root, "--scenario", path, "--duration", "100ms"])
        return root

    def start_node(self, name, text):
        path = os.path.join(self.b.work, name + ".scn")
        root = os.path.join(self.b.work, name)
        with open(path, "w") as f:
            f.write(text)
        p = subprocess.Popen([self.b.ergon, "sim", "node", "--dir", root, "--scenario", path],
                             stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not os.path.exists(root + "/ERGON-SIM"):
            if p.poll() is not None or time.monotonic() > until:
                raise self.t.Absent("the simulated machine does not start")
            time.sleep(0.05)
        return p, root

    # ---- figures ----

    def wrk(self, url, connections, seconds=4, gzip=False):
        """(p50, p99, requests a second), microseconds."""
        if not shutil.which("wrk"):
            raise self.t.Absent("wrk is not installed")
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Accept: {ACCEPT}"]
        if gzip:
            words += ["-H", "Accept-Encoding: gzip"]
        out = self.t.output([*words, url])

        def us(name):
            v, unit = re.search(rf"{name}\s+([0-9.]+)(us|ms|s)", out).groups()
            return float(v) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
        return us("50%"), us("99%"), float(re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1))

    def cpu_of_scrapes(self, p, gzip, n=200):
        """CPU microseconds of the process a scrape, one connection each as Prometheus keeps it."""
        request = urllib.request.Request(p.url, headers={"Accept": ACCEPT, **({"Accept-Encoding": "gzip"} if gzip
                                                                              else {})})
        before = self.t.cpu_seconds(p.pid)
        for _ in range(n):
            urllib.request.urlopen(request, timeout=5).read()
        return (self.t.cpu_seconds(p.pid) - before) / n * 1e6

    def beside_node_exporter(self):
        t, row = self.t, self.t.row
        theirs = self.start_node_exporter(self.b.still)
        ours = self.start_agent(self.b.still, "scrape")
        try:
            for gzip in (False, True):
                word = "gzip" if gzip else "plain"
                a, b = [], []
                for _ in range(ROUNDS):  # in turns
                    a.append(self.wrk(ours.url, 4, gzip=gzip))
                    b.append(self.wrk(theirs.url, 4, gzip=gzip))
                for i, name in ((0, "p50"), (1, "p99")):
                    x, y = (statistics.median(r[i] for r in rs) for rs in (a, b))
                    row(f"scrape under wrk -c4, {word}, {name}", f"{x:.0f} us", f"node_exporter {y:.0f} us",
                        f"{y / x:.1f}x less", ">= 5x")
                x, y = [], []
                for _ in range(ROUNDS):
                    x.append(self.cpu_of_scrapes(ours, gzip))
                    y.append(self.cpu_of_scrapes(theirs, gzip))
                x, y = statistics.median(x), statistics.median(y)
                row(f"CPU of a scrape, {word}", f"{x:.0f} us", f"node_exporter {y:.0f} us", f"{y / x:.1f}x less",
                    ">= 5x")
            x, y = (t.status_kb(p.pid, "VmRSS") for p in (ours, theirs))
            row("resident memory after the load", t.mb(x), f"node_exporter {t.mb(y)}", f"{y / x:.1f}x less",
                "<= 6 MiB")
        finally:
            t.end(theirs)
            self.end_agent(ours)
        try:
            denki, text = self.b.denki()
            row("CPU of a fetch of PCP denki", "", text, "", "shown")
        except t.Absent as e:
            row("PCP denki", "", f"not measured: {e}")

    def with_tls(self):
        t = self.t
        if not shutil.which("openssl"):
            raise t.Absent("openssl is not installed")
        key, crt, cfg = (os.path.join(self.b.work, n) for n in ("tls.key", "tls.crt", "tls.toml"))
        t.output(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-keyout", key, "-out", crt, "-days", "2", "-subj", "/CN=localhost"])
        os.chmod(key, 0o600)
        with open(cfg, "w") as f:
            f.write(f'[http]\ntls_certificate = "{crt}"\ntls_key = "{key}"\n')
        p = self.start_agent(self.b.still, "tls", "--config", cfg, scheme="https")
        try:
            p50, p99, _ = self.wrk(p.url, 4)
            t.row("scrape over TLS, p50 and p99", f"{p50:.0f}, {p99:.0f} us", "", "", "shown")
            t.row("resident memory with TLS, after it", t.mb(t.status_kb(p.pid, "VmRSS")), "", "", "<= 8 MiB")
        finally:
            self.end_agent(p)

    def metric(self, p, name):
        text = urllib.request.urlopen(p.url, timeout=5).read().decode()
        return float(re.search(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M).group(1))

    def api(self):
        """A window where every driver is fast (RAPL), and where a slow one (hwmon) has to be asked as well."""
        for what, root in (("RAPL alone", self.b.still), ("with a driver on a worker",
                                                          self.still_node("sixteen-still", SIXTEEN))):
            p = self.start_agent(root, "api")
            try:
                r = json.loads(self.t.output([os.path.join(self.b.build, "bench/bench-api"), p.socket]))
                self.t.row(f"API window, begin + end, {what}, p50 and p99", f"{r['wall_us']:.0f}, {r['p99_us']:.0f} us",
                           "", "", "<= 150 us")
            finally:
                self.end_agent(p)

    def instructions_of_a_tick(self):
        if not shutil.which("valgrind"):
            raise self.t.Absent("valgrind is not installed")
        counts = {}
        for seconds in (100, 600):
            place = os.path.join(self.b.work, f"callgrind-{seconds}")
            os.makedirs(place)
            scenario, root, clock = (os.path.join(place, n) for n in ("s.scn", "root", "clock"))
            with open(scenario, "w") as f:
                f.write(SIXTEEN)
            node = subprocess.Popen([self.b.ergon, "sim", "node", "--dir", root, "--scenario", scenario, "--clock",
                                     clock, "--duration", f"{seconds}s"], stderr=subprocess.DEVNULL)
            while not os.path.exists(root + "/ERGON-SIM"):
                time.sleep(0.01)
            err = os.path.join(place, "err")
            with open(err, "w") as f:
                # Of the tick alone: how often the loop asks the simulated clock is chance.
                p = subprocess.Popen(["valgrind", "--tool=callgrind", f"--callgrind-out-file={place}/out",
                                      "--toggle-collect=eg_agent_tick",
                                      self.agent_program, "agent", "--root", root, "--clock", clock, "--state",
                                      place + "/state", "--socket", "off", "--listen", "off", "--grpc", "off"], stderr=f,
                                     env=dict(os.environ, ERGON_AGENT_RUN_DIR=place))
            node.wait(300)
            self.t.end(p)
            with open(err) as f:
                counts[seconds] = int(re.search(r"Collected : (\d+)", f.read()).group(1))
        self.t.row("instructions of a tick, 16 channels", f"{(counts[600] - counts[100]) / 500:,.0f}", "", "", "shown")

    def at_rest(self, windows=5, seconds=8):
        t = self.t
        node, root = self.start_node("sixteen", SIXTEEN)
        p = self.start_agent(root, "rest")
        try:
            time.sleep(2)
            ticks, wakeups = (self.metric(p, f"ergon_agent_{n}_total") for n in ("ticks", "wakeups"))
            switches, used = self.switches(p.pid), []
            for _ in range(windows):
                cpu = t.cpu_seconds(p.pid)
                time.sleep(seconds)
                used.append((t.cpu_seconds(p.pid) - cpu) / seconds)
            cpu, switches = statistics.median(used), self.switches(p.pid) - switches
            ticks, wakeups = (self.metric(p, f"ergon_agent_{n}_total") - v
                              for n, v in (("ticks", ticks), ("wakeups", wakeups)))
            t.row("CPU at 1 Hz, 16 channels, of a core", f"{cpu * 100:.3f} %", f"{min(used) * 100:.3f} to {max(used) * 100:.3f} % in {windows} "
                  f"stretches of {seconds} s", "", "<= 0.1 %")
            t.row("wake-ups a tick (with one scrape)", f"{(wakeups - 2) / ticks:.2f}",
                  f"{switches / ticks:.2f} voluntary switches of all threads", "", "1")
            t.row("resident memory, 16 channels, at rest", t.mb(t.status_kb(p.pid, "VmRSS")), "", "", "<= 6 MiB")
            page = os.path.join(self.b.build, "bench/bench-page")
            zone = os.path.join(root, "sys/class/powercap/intel-rapl:0/energy_uj")
            ours, file, _ = self.t.output([page, p.page, zone]).split()
            t.row("read of the energy page", f"{ours} ns", f"pread and parse of a kept file {file} ns",
                  f"{float(file) / float(ours):.0f}x less", "<= 50 ns")
        finally:
            self.end_agent(p)
            t.end(node)

    def switches(self, pid):
        total = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status") as f:
                total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M).group(1))
        return total

    def thousand_series(self):
        t = self.t
        p = self.start_agent(self.still_node("many", MANY), "thousand")
        try:
            time.sleep(1.5)
            page = urllib.request.urlopen(p.url, timeout=5).read().decode()
            n = sum(1 for line in page.splitlines() if line and line[0] != "#")
            runs = [self.wrk(p.url, 1) for _ in range(ROUNDS)]
            p50, p99 = (statistics.median(r[i] for r in runs) for i in (0, 1))
            t.row(f"scrape of {n} series ({len(page) // 1024} KiB), p50 and p99", f"{p50:.0f}, {p99:.0f} us", "", "",
                  "p99 <= 300 us")
        finally:
            self.end_agent(p)

    def parts(self):
        return (self.beside_node_exporter, self.with_tls, self.at_rest, self.instructions_of_a_tick, self.thousand_series,
                self.api)
