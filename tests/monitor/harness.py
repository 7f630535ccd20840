# SPDX-License-Identifier: Apache-2.0
"""What the tests of energy-monitor share: a client made of nothing but the contract (the descriptor is written
here, not taken from proto/), the launched program, and simulated machines for it."""
import os
import queue
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import NS, Place, Sim, Skip, run_tests, until  # noqa: E402,F401

import grpc  # noqa: E402
from google.protobuf import descriptor_pb2, descriptor_pool  # noqa: E402
from google.protobuf.message_factory import MessageFactory  # noqa: E402

MONITOR = os.path.abspath(sys.argv[3])
FAKE_NVML = os.path.abspath(sys.argv[4])
MIB = 1048576.0
DOUBLES = {1: "power_watts", 2: "energy_joules", 3: "temperature_celsius", 4: "gpu_memory_usage_mb",
           5: "cpu_memory_usage_mb", 10: "cpu_power_watts", 11: "cpu_energy_joules", 12: "ane_power_watts",
           13: "ane_energy_joules", 14: "gpu_compute_utilization_pct",
           15: "gpu_memory_bandwidth_utilization_pct", 16: "gpu_tensor_core_utilization_pct",
           17: "gpu_memory_total_mb"}
F = descriptor_pb2.FieldDescriptorProto


def contract_file():
    f = descriptor_pb2.FileDescriptorProto(name="contract.proto", package="energy", syntax="proto3")

    def message(name, *fields):
        m = f.message_type.add(name=name)
        for number, field, kind in fields:
            made = m.field.add(name=field, number=number, label=F.LABEL_OPTIONAL)
            if isinstance(kind, str):
                made.type, made.type_name = F.TYPE_MESSAGE, ".energy." + kind
            else:
                made.type = kind

    text, number = F.TYPE_STRING, F.TYPE_DOUBLE
    message("HealthRequest")
    message("StreamRequest")
    message("HealthResponse", (1, "healthy", F.TYPE_BOOL), (2, "platform", text))
    message("SystemInfo", (1, "os_name", text), (2, "os_version", text), (3, "kernel_version", text),
            (4, "host_name", text), (5, "cpu_count", F.TYPE_UINT32), (6, "cpu_brand", text))
    message("GpuInfo", (1, "name", text), (2, "vendor", text), (3, "device_id", F.TYPE_UINT64),
            (4, "device_type", text), (5, "backend", text))
    message("TelemetryReading", *[(n, name, number) for n, name in DOUBLES.items()], (6, "platform", text),
            (7, "timestamp_nanos", F.TYPE_INT64), (8, "system_info", "SystemInfo"), (9, "gpu_info", "GpuInfo"))
    return f


POOL = descriptor_pool.DescriptorPool()
POOL.Add(contract_file())
FACTORY = MessageFactory(POOL)
HealthRequest, HealthResponse, StreamRequest, TelemetryReading = (
    FACTORY.GetPrototype(POOL.FindMessageTypeByName("energy." + name))
    for name in ("HealthRequest", "HealthResponse", "StreamRequest", "TelemetryReading"))


def wire(data):
    """The fields of a message as they lie on the wire: {number: value}; nothing is assumed."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(data):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            value = varint()
        elif kind == 1:
            value = struct.unpack_from("<d", data, at)[0]
            at += 8
        else:
            assert kind == 2, kind
            n = varint()
            value = data[at:at + n]
            at += n
        assert number not in out, f"field {number} twice"
        out[number] = value
    return out


class Reading:
    """A reading as a client sees it: the message, its bytes, when it came."""

    def __init__(self, data):
        self.at = time.monotonic()
        self.data = data
        self.fields = wire(data)
        self.message = TelemetryReading.FromString(data)

    def __getattr__(self, name):
        return getattr(self.message, name)


class Stream:
    """StreamTelemetry, read by a thread; `ended` is the status once it is over."""

    def __init__(self, channel, hold=None):
        self.call = channel.unary_stream("/energy.EnergyMonitor/StreamTelemetry",
                                         request_serializer=StreamRequest.SerializeToString,
                                         response_deserializer=Reading)(StreamRequest())
        self.got, self.ended, self.hold = [], None, hold
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            if self.hold:
                self.hold.wait()
            for r in self.call:
                self.got.append(r)
            self.ended = grpc.StatusCode.OK
        except grpc.RpcError as e:
            self.ended = e.code()

    def until(self, n, seconds=30):
        until(f"{n} readings", lambda: len(self.got) >= n or self.ended is not None, seconds)
        assert len(self.got) >= n, self.ended
        return self.got[:n]

    def last(self):
        return self.got[-1]

    def close(self):
        self.call.cancel()
        self.thread.join(10)


def free_port(family=socket.AF_INET):
    s = socket.socket(family)
    s.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port


class Monitor:
    """The program, launched as the harness does: `--port P --bind-address 127.0.0.1`, then what a test adds."""

    def __init__(self, place, sim, *words, env=None, address="127.0.0.1", interval=None, program=MONITOR):
        self.sim = sim
        self.port = free_port(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.words = [program, "--port", str(self.port), "--bind-address", address]
        if sim:
            self.words += ["--root", sim.root] + (["--clock", sim.clock] if sim.clock else [])
        if interval:
            self.words += ["--collection-interval-ms", str(interval)]
        self.words += list(words)
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ("CUDA_VISIBLE_DEVICES", "JOURNAL_STREAM")}
        self.env.update(env or {})
        self.log_path = place.path(f"monitor-{self.port}.log")
        self.started = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=log, env=self.env)
        self.target = f"{address if ':' not in address or '[' in address else '[' + address + ']'}:{self.port}"
        self.channels = []
        place.add(self)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def channel(self, *options):
        c = grpc.insecure_channel(self.target, options=(("grpc.enable_http_proxy", 0),) + options)
        self.channels.append(c)
        return c

    def ready(self, seconds=10):
        """As the harness: wait for the channel, call Health, close; again until it works."""
        end = time.monotonic() + seconds
        while True:
            c = grpc.insecure_channel(self.target, options=(("grpc.enable_http_proxy", 0),))
            try:
                grpc.channel_ready_future(c).result(timeout=0.5)
                return self.health(c)
            except (grpc.FutureTimeoutError, grpc.RpcError):
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < end, self.log()
                time.sleep(0.02)
            finally:
                c.close()

    def health(self, channel=None):
        call = (channel or self.channel()).unary_unary(
            "/energy.EnergyMonitor/Health", request_serializer=HealthRequest.SerializeToString,
            response_deserializer=HealthResponse.FromString)
        return call(HealthRequest(), timeout=5)

    def stream(self, *options, hold=None):
        return Stream(self.channel(*options), hold)

    def detected(self):
        def look():
            if self.sim and self.sim.time:  # the two samples of a detection lie apart
                self.sim.time.sleep(0.01)
            return re.search(r"Auto-detected (\S+) platform", self.log())
        return until("detection", look, 30).group(1)

    def stop(self, number=signal.SIGTERM, seconds=20):
        """Ends it; its exit status, the time in stop_seconds."""
        begun = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self.stop_seconds = time.monotonic() - begun
        return code

    def close(self):
        for c in self.channels:
            c.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


# ---- machines ----

HEAD = """[scenario]
title = for energy-monitor
[machine]
cpus = 4
packages = {packages}
model = AMD EPYC 9654 96-Core Processor
[proc]
utilization = 0.5
"""
NVIDIA_PCI = """[file sys/bus/pci/devices/0000:01:00.0/vendor]
text = 0x10de
[file sys/bus/pci/devices/0000:01:00.0/class]
text = 0x030200
"""
UUIDS = [f"GPU-{i}1111111-2222-3333-4444-555555555555" for i in range(8)]


def rapl(i, power, extra=""):
    return f"[rapl intel-rapl:{i}]\nname = package-{i}\nmax-power = 400W\npower = {power}\n{extra}"


def cpu_machine(*powers, extra=""):
    return HEAD.format(packages=len(powers)) + "".join(rapl(i, p) for i, p in enumerate(powers)) + extra


def gpu(i, power, name="NVIDIA H200", extra=""):
    return f"gpu\nname {name}\nuuid {UUIDS[i]}\narch 9\ncounter 10\npower {power}\n{extra}"


class Nvidia:
    """A simulated machine with GPUs of the fake NVML; env() for the program."""

    def __init__(self, place, gpus, machine=None, clock=False, script=""):
        self.sim = place.add(Sim(place, (machine or cpu_machine("50W")) + NVIDIA_PCI, clock=clock))
        lib = os.path.join(self.sim.root, "usr/lib")
        os.makedirs(lib, exist_ok=True)
        shutil.copy(FAKE_NVML, os.path.join(lib, "libnvidia-ml.so.1"))
        self.t0 = self.sim.time.now() if clock else time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.script = place.path("nvml")
        with open(self.script, "w") as f:
            f.write(f"t0 {self.t0}\ndriver 580.65.06\n{script}" + "".join(gpus))
        self.env = {"ERGON_FAKE_NVML": self.script}
        if clock:
            self.env["ERGON_FAKE_CLOCK"] = self.sim.clock


def unavailable(reading):
    return {name for n, name in DOUBLES.items() if getattr(reading, name) == -1.0}
