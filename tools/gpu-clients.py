#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/gpu-clients.py BUILD-DIR [SECONDS]: Ergon's programs and clients on an NVIDIA GPU, for docs/hardware.md.

Starts the agent (with gRPC) and energy-monitor of BUILD-DIR on free ports of the loopback and in a temporary
directory, puts a load on the first GPU by torch where that is installed, and compares what every client says with
the GPU's own counter, read by nvidia-ml-py in this process at the same time: windows over the socket, over the
energy page and in-process, ZeusMonitor where Zeus is installed, the gRPC stream, and Prometheus. Then what other
samplers in the same program may do to us, and we to them, and what all this costs the load. It changes no setting.

Exit: 0 all was shown; 1 something differs or broke (the line says FAIL); 2 usage.
"""
import json
import logging
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "bindings", "python"))
sys.dont_write_bytecode = True

try:
    import grpc
    import pynvml
except ImportError as e:
    sys.exit(f"{e}: python3 -m pip install grpcio nvidia-ml-py")

import ergon  # noqa: E402
from ergon.library import LibrarySource  # noqa: E402

LOAD = r"""
import sys, time, torch
torch.manual_seed(1)
a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
torch.cuda.synchronize()
end = time.monotonic() + float(sys.argv[1])
print("ready", flush=True)
n = 0
begin = time.monotonic()
while time.monotonic() < end:
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
    n += 20
print(n / (time.monotonic() - begin), flush=True)
"""
STEP = 0.21  # seconds of the counter that two edges may hold
CALLS = 100
FAILED = []


def say(text):
    print(text, flush=True)


def check(what, good, text=""):
    say(f"{'ok  ' if good else 'FAIL'} {what}{': ' + text if text else ''}")
    if not good:
        FAILED.append(what)


class Load:
    """A program that keeps the GPU busy, or nothing where there is no torch."""

    def __init__(self, seconds):
        self.process = None
        if HAVE_TORCH:
            self.process = subprocess.Popen([sys.executable, "-c", LOAD, str(seconds)], stdout=subprocess.PIPE,
                                            text=True)
            self.process.stdout.readline()
            time.sleep(1)

    def rate(self):
        """Products a second; waits for its end."""
        if not self.process:
            return None
        out, _ = self.process.communicate(timeout=300)
        return float(out.split()[-1])


def have_torch():
    r = subprocess.run([sys.executable, "-c", "import torch; print(torch.cuda.is_available())"],
                       capture_output=True, text=True, timeout=300)
    return r.stdout.strip() == "True"


def counter():
    """The GPU's counter in joules, and when it was read."""
    return pynvml.nvmlDeviceGetTotalEnergyConsumption(GPU) / 1e3, time.monotonic()


def cpu_seconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


class Program:
    started = []

    def __init__(self, pattern, *words, env=None):
        self.log_path = os.path.join(PLACE, f"log-{len(os.listdir(PLACE))}")
        with open(self.log_path, "wb") as log:
            self.begun = time.monotonic()
            self.process = subprocess.Popen(words, stderr=log, env=dict(os.environ, **(env or {})))
        self.started.append(self.process)
        end = time.monotonic() + 60
        while not (found := re.search(pattern, self.log())):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{words[0]} did not start:\n{self.log()}")
            time.sleep(0.005)
        self.found, self.listening_after = found, time.monotonic() - self.begun

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def stop(self):
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        return code, time.monotonic() - begun


def fields(data):
    """Fields of a protobuf message: numbers and bytes, as they lie on the wire."""
    at, out = 0, {}

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        else:
            length = varint()
            value, at = data[at:at + length], at + length
        out[key >> 3] = value
    return out


def gpu_joules(measurement):
    return sum(e.microjoules for e in measurement.entries
               if e.component == "gpu" and e.role == "total" and e.microjoules is not None) / 1e6


def compare(what, ours, truth, slack, more=""):
    """Within 0.5 % and what the counter's steps at two edges may hold."""
    good = ours is not None and abs(ours - truth) <= 0.005 * truth + slack
    off = f"{100 * (ours - truth) / truth:+.3f} %" if ours is not None and truth else "-"
    check(what, good, f"{ours if ours is None else round(ours, 3)} J against {truth:.3f} J of NVML ({off}){more}")


def costs(what, window):
    """Of a window that begins and ends at once."""
    begun, spent = time.monotonic(), time.process_time()
    for _ in range(CALLS):
        window()
    say(f"     a window {what}: {1e6 * (time.monotonic() - begun) / CALLS:.0f} us, CPU of this process"
        f" {1e6 * (time.process_time() - spent) / CALLS:.0f} us")


def windows(agent_socket, page, library):
    sources = {"socket": ergon.connect(socket=agent_socket), "page": ergon.connect(page=page),
               "in-process": LibrarySource(library)}
    load = Load(4 * SECONDS + 20)
    for what, source in sources.items():
        source.begin("warm").end()
        a, _ = counter()
        window = source.begin("w")
        b, _ = counter()
        time.sleep(SECONDS)
        c, _ = counter()
        m = window.end()
        d, _ = counter()
        tick = m.edges == "tick"  # up to one before each edge; their energies are compared by the mean power
        truth = ((c - b) + (d - a)) / 2 * (m.seconds / SECONDS if tick else 1)
        compare(f"window by {what}", gpu_joules(m), truth, (0.35 if tick else STEP) * m.watts,
                f"; {m.seconds:.3f} s, +/- {m.uncertainty_joules:.1f} J, {m.provenance}, {list(m.flags)}")
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError as e:
        say(f"     no Zeus here: {e}")
    else:
        zeus = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
        a, _ = counter()
        window = sources["socket"].begin("beside Zeus")
        zeus.begin_window("w", sync_execution=False)
        time.sleep(SECONDS)
        theirs = zeus.end_window("w", sync_execution=False).gpu_energy[0]
        m = window.end()
        b, _ = counter()
        say(f"     Zeus {theirs:.3f} J, Ergon {gpu_joules(m):.3f} J, NVML at the outer edges {b - a:.3f} J")
        check("beside Zeus", abs(gpu_joules(m) - theirs) <= 0.005 * (b - a) + STEP * m.watts)
        logging.disable(logging.WARNING)  # it warns of windows without energy
        costs("of Zeus", lambda: (zeus.begin_window("c", sync_execution=False),
                                  zeus.end_window("c", sync_execution=False)))
        logging.disable(logging.NOTSET)
    for what, source in sources.items():
        costs(f"by {what}", lambda source=source: source.begin("c").end())
        source.close()
    say(f"     load: {load.rate()} products a second")


def stream(address, what):
    """Two streams of the harness at once; the energy of a query is last minus first."""
    channel = grpc.insecure_channel(address)
    grpc.channel_ready_future(channel).result(10)
    raw = dict(request_serializer=bytes, response_deserializer=bytes)
    health = fields(channel.unary_unary("/energy.EnergyMonitor/Health", **raw)(b"", timeout=5))
    check(f"{what}: Health", health.get(1) == 1 and health.get(2) == b"nvidia", str(health))
    load = Load(SECONDS + 6)
    got = [[], []]

    def read(to):
        call = channel.unary_stream("/energy.EnergyMonitor/StreamTelemetry", **raw)(b"")
        try:
            for message in call:
                to.append((time.monotonic(), *counter(), fields(message)))
        except grpc.RpcError as e:
            if e.code() != grpc.StatusCode.CANCELLED:
                to.append(e)

    calls = [threading.Thread(target=read, args=(to,), daemon=True) for to in got]
    for t in calls:
        t.start()
    time.sleep(SECONDS)
    copies = [list(g) for g in got]
    say(f"     load: {load.rate()} products a second")
    channel.close()
    for g in copies:
        stamps = [m[3].get(7, 0) for m in g]
        joules = [m[3].get(2, 0.0) for m in g]
        check(f"{what}: {len(g)} readings, stamps rise, joules never fall",
              len(g) > 1 and all(b > a for a, b in zip(stamps, stamps[1:]))
              and all(b >= a for a, b in zip(joules, joules[1:])))
        span = (stamps[-1] - stamps[0]) / 1e9
        watts = [m[3].get(1, 0.0) for m in g]
        compare(f"{what}: last minus first over {span:.2f} s", joules[-1] - joules[0], g[-1][1] - g[0][1],
                STEP * max(watts))
    last = copies[0][-1][3]
    say("     " + json.dumps({str(k): (str(v) if isinstance(v, bytes) else v) for k, v in sorted(last.items())}))


def concurrent(library):
    """M16: several sessions of NVML, of several users, in one program and in several."""
    def alive():
        try:
            counter()
            return True
        except pynvml.NVMLError as e:
            return str(e)

    source = LibrarySource(library, select="nvml")
    again = LibrarySource(library, select="nvml")
    again.close()
    m = source.begin("x").end()
    check("two contexts, one closed: the other measures", m.microjoules is not None, str(m.flags))
    pynvml.nvmlInit()
    pynvml.nvmlShutdown()
    check("another session of pynvml ended: ours and theirs go on", alive() is True
          and source.begin("x").end().microjoules is not None)
    extra = [LibrarySource(library, select="nvml") for _ in range(3)]
    for e in extra:
        e.close()
    check("three contexts opened and closed beside pynvml", alive() is True)

    stop, wrong, counts = threading.Event(), [], [0, 0, 0]

    def ours():
        while not stop.is_set():
            if source.totals().microjoules is None:
                wrong.append("ours: no figure")
            counts[0] += 1

    def theirs():
        while not stop.is_set():
            try:
                pynvml.nvmlDeviceGetPowerUsage(GPU)
                pynvml.nvmlDeviceGetUtilizationRates(GPU)
                counts[1] += 1
            except pynvml.NVMLError as e:
                wrong.append(f"theirs: {e}")

    def sessions():
        while not stop.is_set():
            pynvml.nvmlInit()
            pynvml.nvmlShutdown()
            counts[2] += 1

    threads = [threading.Thread(target=f) for f in (ours, ours, theirs, theirs, sessions)]
    for t in threads:
        t.start()
    time.sleep(SECONDS)
    smi = subprocess.run(["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader"], capture_output=True,
                         text=True) if shutil.which("nvidia-smi") else None
    stop.set()
    for t in threads:
        t.join()
    check("readers, samplers and sessions of others in one process", not wrong,
          f"{counts[0]} totals, {counts[1]} samples, {counts[2]} init/shutdown pairs; {wrong[:2]}")
    if smi:
        say(f"     nvidia-smi meanwhile: {smi.stdout.strip()}")

    if HAVE_TORCH:
        child = subprocess.run([sys.executable, "-c", "import torch; torch.ones(8, device='cuda').sum().item()"],
                               timeout=120)
        check("a child with a CUDA context beside an open context", child.returncode == 0
              and source.begin("x").end().microjoules is not None)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if source.begin("child").end().microjoules is not None else 1
        finally:
            os._exit(code)
    check("a forked child measures by sensors of its own", os.waitpid(pid, 0)[1] == 0)
    check("and its parent goes on", source.begin("x").end().microjoules is not None and alive() is True)
    source.close()

    for order in ("nvml first", "ergon first", "nobody closes"):
        code = f"""
import sys; sys.path.insert(0, {os.path.join(HERE, '..', 'bindings', 'python')!r})
import pynvml
from ergon.library import LibrarySource
pynvml.nvmlInit(); s = LibrarySource({library!r}, select="nvml"); w = s.begin("x")
if {order!r} == "nvml first": pynvml.nvmlShutdown(); assert w.end().microjoules is not None; s.close()
if {order!r} == "ergon first": s.close(); pynvml.nvmlDeviceGetCount(); pynvml.nvmlShutdown()
"""
        r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        check(f"order at exit, {order}", r.returncode == 0, r.stderr.strip()[-200:])


def validate(ergon_program):
    load = Load(SECONDS + 8)
    r = subprocess.run([ergon_program, "validate", "--duration", str(SECONDS)], capture_output=True, text=True,
                       timeout=SECONDS + 60)
    check("ergon validate", r.returncode == 0, f"exit {r.returncode}")
    say(r.stdout + r.stderr)
    load.rate()


def main():
    global GPU, PLACE, HAVE_TORCH, SECONDS
    if not 2 <= len(sys.argv) <= 3 or not re.fullmatch(r"\d+(\.\d+)?", "".join(sys.argv[2:]) or "8"):
        print(__doc__, file=sys.stderr)
        return 2
    build, SECONDS = os.path.abspath(sys.argv[1]), max(1.0, float("".join(sys.argv[2:]) or 8))
    program = os.path.join(build, "src/cli/ergon")
    library = os.path.join(build, "src/lib/libergon.so.0")
    pynvml.nvmlInit()
    GPU = pynvml.nvmlDeviceGetHandleByIndex(0)
    HAVE_TORCH = have_torch()
    say(f"{pynvml.nvmlDeviceGetName(GPU)}, driver {pynvml.nvmlSystemGetDriverVersion()}, "
        f"torch: {HAVE_TORCH}, {pynvml.nvmlDeviceGetCount()} GPU(s), kernel {os.uname().release}")
    PLACE = tempfile.mkdtemp(prefix="eg-gpu-")
    try:
        quiet = Load(SECONDS).rate()
        say(f"     load without a meter: {quiet} products a second")
        agent = Program(r"metrics at http://([^ /]+)/metrics", program, "agent", "--state", PLACE + "/state",
                        "--socket", PLACE + "/s", "--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
                        "--interval", "100ms", env={"ERGON_AGENT_RUN_DIR": PLACE})
        say(f"     agent ready after {agent.listening_after:.3f} s\n{agent.log()}")
        grpc_at = re.search(r"(127\.0\.0\.1:\d+)", re.search(r".*gRPC.*", agent.log()).group(0)).group(1)
        used, begun = cpu_seconds(agent.process.pid), time.monotonic()
        rate = Load(SECONDS).rate()
        say(f"     load with the agent at 10 Hz: {rate} products a second; agent {resident_mib(agent.process.pid):.1f}"
            f" MiB, {100 * (cpu_seconds(agent.process.pid) - used) / (time.monotonic() - begun):.3f} % of a core")

        def scraped():
            text = urllib.request.urlopen(f"http://{agent.found.group(1)}/metrics", timeout=10).read().decode()
            return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                       if re.match(r"ergon_energy_joules_total\{.*component=\"gpu\"", line)), text

        a, before = counter()[0], scraped()[0]
        windows(PLACE + "/s", PLACE + "/energy", library)
        after, text = scraped()
        b = counter()[0]
        compare("ergon_energy_joules_total over the same time", after - before, b - a,
                STEP * 2 * (b - a) / max(SECONDS, 1))
        say("\n".join(line for line in text.splitlines() if "gpu" in line and not line.startswith("#"))[:4000])
        stream(grpc_at, "agent")
        say(f"     agent stopped: code and seconds {agent.stop()}")
        for interval in ("50", "1"):
            monitor = Program(r"(?s)listens on ([^ ,]+).*Auto-detected", os.path.join(build, "src/cli/energy-monitor"),
                              "--port", "0", "--collection-interval-ms", interval)
            used, begun = cpu_seconds(monitor.process.pid), time.monotonic()
            stream(monitor.found.group(1), f"energy-monitor at {interval} ms")
            say(f"     {resident_mib(monitor.process.pid):.1f} MiB,"
                f" {100 * (cpu_seconds(monitor.process.pid) - used) / (time.monotonic() - begun):.3f} % of a core;"
                f" listened after {monitor.listening_after:.3f} s; stopped: {monitor.stop()}\n{monitor.log()}")
        concurrent(library)
        validate(program)
    finally:
        for process in Program.started:
            if process.poll() is None:
                process.kill()
        shutil.rmtree(PLACE, ignore_errors=True)
    say(f"{len(FAILED)} failed: {FAILED}")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
