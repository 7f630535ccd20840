# SPDX-License-Identifier: Apache-2.0
"""energy-monitor as its harness launches, waits for and ends it (section 3 of the contract); one test a row."""
import os
import re
import signal
import socket
import subprocess
import threading
import time

import grpc

from harness import (MONITOR, NS, HealthRequest, HealthResponse, Monitor, Nvidia, Place, Sim, cpu_machine, gpu, rapl,
                     run_tests, until)


def test_3_1_arguments_in_order_and_both_forms():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W")))
        m = Monitor(place, sim)
        assert m.ready() is not None and m.words[1:5] == ["--port", str(m.port), "--bind-address", "127.0.0.1"]
        m.stop()
        other = Monitor(place, sim, f"--port={m.port}", "--bind-address=127.0.0.1", "--collection-interval-ms=20")
        other.target = f"127.0.0.1:{m.port}"
        other.ready()
        assert "a reading each 20 ms" in other.log()


def test_3_1_a_server_that_is_there_serves_the_next_launcher():
    """The second launcher's Health goes to the first server; its own copy exits with 1, the first goes on."""
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W")))
        first = Monitor(place, sim)
        first.ready()
        second = Monitor(place, sim, f"--port={first.port}")
        assert second.process.wait(20) == 1
        assert first.ready() is not None


def test_3_2_listens_first_probes_after():
    """A vendor library that takes 3 s to start: Health has long answered, and the first reading waits for it."""
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W")], script="slow nvmlDeviceGetCount_v2 3000\n")
        m = Monitor(place, nv.sim, env=nv.env)

        def listens():
            try:
                socket.create_connection(("127.0.0.1", m.port)).close()
                return True
            except ConnectionRefusedError:
                return False
        until("the port", listens)
        print(f"# listens {(time.monotonic() - m.started) * 1e3:.0f} ms after the start (aim: 200 ms)")
        h = m.ready()
        assert "Auto-detected" not in m.log(), "it was asked too late to prove anything"
        assert not h.healthy and h.platform == "null"
        first = m.stream().until(1)[0]
        assert first.platform == "nvidia" and m.health().healthy


def test_3_2_a_device_that_is_slow_at_first_is_waited_for():
    """Else it would be missing for the server's whole life."""
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W"), gpu(1, "200W")],
                    script="slow nvmlDeviceGetTotalEnergyConsumption 500 0 4\nslow nvmlDeviceGetName 2600\n")
        m = Monitor(place, nv.sim, env=nv.env)
        m.ready()
        first = m.stream().until(1)[0]
        assert first.platform == "nvidia" and first.gpu_info.name == "NVIDIA H200 x2", (first.message, m.log())
        assert first.energy_joules >= 0


def test_3_2_health_without_any_sensor():
    with Place() as place:
        m = Monitor(place, place.add(Sim(place, cpu_machine("1W", extra="[file x]\ntext = y\n").replace(
            rapl(0, "1W"), ""))))
        m.ready()
        assert m.detected() == "null"
        h = until("state", lambda: m.health())
        assert not h.healthy and h.platform == "null"


def test_3_2_each_readiness_check_is_its_own_connection():
    with Place() as place:
        m = Monitor(place, place.add(Sim(place, cpu_machine("50W"))))
        for _ in range(20):
            m.ready()
        assert "warning" not in m.log() and "error" not in m.log(), m.log()


def test_3_2_acceptance_of_upstream():
    """10 readings; power > 0; energy present, not falling; GPU memory used or total present."""
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W")])
        m = Monitor(place, nv.sim, env=nv.env)
        m.ready()
        got = m.stream().until(10)
        assert all(r.power_watts > 0 for r in got), [r.power_watts for r in got]
        assert all(b.energy_joules >= a.energy_joules >= 0 for a, b in zip(got, got[1:]))
        assert all(r.gpu_memory_total_mb > 0 for r in got), got[0].message


def stalled(m):
    """A client that opens a stream and never reads: its socket is left full."""
    c = m.channel(("grpc.http2.lookahead_bytes", 0))
    hold = threading.Event()
    s = m.stream(hold=hold)
    return c, s, hold


def test_3_3_sigterm_with_open_and_stalled_streams():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Place() as place:
            m = Monitor(place, place.add(Sim(place, cpu_machine("50W"))), interval=1)
            m.ready()
            reading = m.stream()
            _, slow, hold = stalled(m)
            # And one that has sent its request and does not even acknowledge: a bare socket.
            bare = socket.create_connection(("127.0.0.1", m.port))
            reading.until(200)
            assert m.stop(number) == 0, m.log()
            print(f"# stopped in {m.stop_seconds:.3f} s (aim: below 1 s)")
            reading.thread.join(10)
            assert reading.ended == grpc.StatusCode.UNAVAILABLE, reading.ended
            bare.close()
            hold.set()
            slow.close()


POWERMETRICS = r"""#!/bin/sh
echo $$ > "$(dirname "$0")/pid"
while :; do
printf '<?xml version="1.0"?><plist version="1.0"><dict><key>elapsed_ns</key><integer>100000000</integer>'
printf '<key>processor</key><dict><key>cpu_energy</key><integer>1000</integer><key>cpu_power</key>'
printf '<real>10000</real><key>gpu_energy</key><integer>800</integer><key>gpu_power</key><real>8000</real>'
printf '<key>ane_energy</key><integer>300</integer><key>ane_power</key><real>3000</real>'
printf '<key>combined_power</key><real>21000</real></dict></dict></plist>\n\0'
sleep 0.1
done
"""


def mac(place):
    sim = place.add(Sim(place, cpu_machine("1W").replace(rapl(0, "1W"), "")))
    os.makedirs(sim.root + "/usr/bin", exist_ok=True)
    path = sim.root + "/usr/bin/powermetrics"
    with open(path, "w") as f:
        f.write(POWERMETRICS)
    os.chmod(path, 0o755)
    return sim


def test_3_3_leaves_no_child():
    with Place() as place:
        sim = mac(place)
        m = Monitor(place, sim, "--set", "powermetrics.sample_ms=100")
        m.ready()
        assert m.detected() == "macos", m.log()
        until("a reading", lambda: m.stream().until(1))
        pid = int(open(sim.root + "/usr/bin/pid").read())
        os.kill(pid, 0)
        assert m.stop() == 0, m.log()
        print(f"# stopped in {m.stop_seconds:.3f} s (aim: below 1 s)")

        def gone():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "Z"
        until("the child's end", gone, 10)


def test_3_3_sigterm_while_a_vendor_library_hangs():
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W")], script="slow nvmlDeviceGetTotalEnergyConsumption 20000 1 2\n")
        m = Monitor(place, nv.sim, env=nv.env)
        m.ready()
        s = m.stream()
        until("the hang", lambda: s.got and s.last().power_watts == -1)
        assert m.stop() == 0, m.log()
        print(f"# stopped in {m.stop_seconds:.3f} s (aim: below 1 s)")
        assert "hangs and is left behind" in m.log()


def test_3_3_failed_bind_is_one_line_and_1():
    with Place() as place:
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        r = subprocess.run([MONITOR, "--port", str(port), "--bind-address", "127.0.0.1"], capture_output=True,
                           text=True, timeout=20)
        assert r.returncode == 1 and r.stdout == "", r
        assert r.stderr.count("\n") == 1 and str(port) in r.stderr, r.stderr
        taken.close()
        r = subprocess.run([MONITOR, "--bind-address", "192.0.2.1", "--port", "0"], capture_output=True, text=True,
                           timeout=20)
        assert r.returncode == 1 and r.stderr.count("\n") == 1, r


def test_3_3_standard_output_stays_empty():
    with Place() as place:
        m = Monitor(place, place.add(Sim(place, cpu_machine("50W"))))
        m.ready()
        m.stream().until(3)
        assert m.stop() == 0
        assert m.process.stdout.read() == b""
        assert "Auto-detected rapl platform" in m.log()


def test_usage_mistakes_are_2():
    for words, part in ((["--prot", "1"], "did you mean --port"), (["--port", "65536"], "0 to 65535"),
                        (["--collection-interval-ms", "0"], "1 to 3600000"), (["--log-level", "loud"], "debug"),
                        (["extra"], "unexpected word")):
        r = subprocess.run([MONITOR, *words], capture_output=True, text=True, timeout=20)
        assert r.returncode == 2 and part in r.stderr and r.stdout == "", r
    for word in ("--help", "-h"):
        r = subprocess.run([MONITOR, word], capture_output=True, text=True, timeout=20)
        assert r.returncode == 0 and "Usage: energy-monitor" in r.stdout and "--bind-address" in r.stdout, r
        assert "127" not in r.stdout.split("Exit status")[1], r.stdout
    for word in ("--version", "-V"):
        r = subprocess.run([MONITOR, word], capture_output=True, text=True, timeout=20)
        assert r.returncode == 0 and re.match(r"energy-monitor \(ergon\) \d", r.stdout), r


def follow(sim, seconds, *streams):
    """Moves steered time on no faster than these clients read: it does not wait, and their queues are bounded."""
    for _ in range(round(seconds / 0.5)):
        sim.time.sleep(0.5)
        until("the readers", lambda: all(s.got and s.last().timestamp_nanos > sim.time.unix() - NS // 10
                                         for s in streams))


def test_3_4_first_at_once_then_one_an_interval():
    """Steered time: a stream that begins between two ticks gets one reading at once, and then each tick one."""
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        m = Monitor(place, sim)
        m.ready()
        m.detected()
        sim.time.sleep(1.02)
        s = m.stream()
        first = s.until(1)[0]
        n = len(s.got)
        assert n == 1, "time stands still"
        follow(sim, 10, s)
        got = s.until(200)
        steps = {b.timestamp_nanos - a.timestamp_nanos for a, b in zip([first] + got[1:], got[1:])}
        assert steps == {50_000_000}, steps
        assert m.stop() == 0 and " 0 ticks missed" in m.log()


def test_3_4_no_tick_missed_over_hours():
    """Minutes at the default interval in steered time, with ERGON_SOAK=10 two hours: none missed, none double."""
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        m = Monitor(place, sim, interval=50)
        m.ready()
        m.detected()
        s = m.stream()
        s.until(1)
        seconds = 720 * int(os.environ.get("ERGON_SOAK") or 1)
        for k in range(seconds):
            sim.time.sleep(1)  # steered time does not wait for a reader, whose queue is bounded
            until("all of them", lambda: len(s.got) >= 20 * (k + 1))
        stamps = [r.timestamp_nanos for r in s.got]
        assert {b - a for a, b in zip(stamps, stamps[1:])} == {50_000_000}
        assert len(stamps) >= 20 * seconds
        print(f"# {len(stamps)} readings")
        assert m.stop() == 0 and " 0 ticks missed" in m.log(), m.log()


def test_3_4_several_clients_one_energy_base():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        m = Monitor(place, sim)
        m.ready()
        m.detected()
        early = m.stream()
        early.until(1)
        follow(sim, 5, early)
        late = m.stream()
        late.until(1)
        follow(sim, 5, early, late)
        late.until(100), early.until(200)
        by_time = {r.timestamp_nanos: r.data for r in early.got}
        shared = [r for r in late.got if r.timestamp_nanos in by_time]
        assert len(shared) >= 100 and all(by_time[r.timestamp_nanos] == r.data for r in shared)
        assert late.got[0].cpu_energy_joules > 200, "a base of its own stream"


def test_3_4_a_failed_sensor_never_ends_the_stream():
    """The GPU is lost and comes back: the stream goes on, gauges are -1 meanwhile, the energy total stays."""
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W", extra="lost 3 6 15\n")], clock=True)
        m = Monitor(place, nv.sim, env=nv.env)
        m.ready()
        assert m.detected() == "nvidia", m.log()
        s = m.stream()
        s.until(1)
        follow(nv.sim, 20, s)
        assert s.ended is None
        lost = [r for r in s.got if r.power_watts == -1]
        assert len(lost) >= 40, len(lost)
        energy = [r.energy_joules for r in s.got]
        assert all(b >= a >= 0 for a, b in zip(energy, energy[1:]))
        assert s.last().power_watts > 0
        assert all(r.temperature_celsius == -1 for r in lost)


def test_3_4_a_stalled_client_loses_its_oldest_and_delays_nobody():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        m = Monitor(place, sim, interval=1)
        m.ready()
        m.detected()
        reader = m.stream()
        reader.until(1)
        raw = RawClient(m.port)  # small windows that are never opened again
        raw.stream(window=2000)
        for _ in range(250):
            sim.time.sleep(0.04)
            until("the reader", lambda: reader.last().timestamp_nanos >= sim.time.unix() - 2_000_000)
        stamps = [r.timestamp_nanos for r in reader.got]
        assert {b - a for a, b in zip(stamps, stamps[1:])} == {1_000_000}
        raw.close()
        until("the count", lambda: re.search(r"too slow for (\d+) readings", m.log()))
        lost = int(re.search(r"too slow for (\d+) readings", m.log()).group(1))
        print(f"# the stalled client lost {lost} of {len(stamps)} readings, the other none")
        assert lost > 5000


class RawClient:
    """HTTP/2 by hand: a client whose flow control window stays as small as it is told."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port))

    def frame(self, kind, flags, stream, payload):
        self.s.sendall(len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)

    def stream(self, window):
        def literal(name, value):
            return bytes([0, len(name)]) + name + bytes([len(value)]) + value
        self.s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(4, 0, 0, (4).to_bytes(2, "big") + window.to_bytes(4, "big"))
        headers = b"".join(literal(k, v) for k, v in (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/energy.EnergyMonitor/StreamTelemetry"),
            (b":authority", b"x"), (b"content-type", b"application/grpc"), (b"te", b"trailers")))
        self.frame(1, 4, 1, headers)
        self.frame(0, 1, 1, bytes(5))

    def close(self):
        self.s.close()


def test_3_5_leaving_is_no_trouble():
    """RST_STREAM 8, then the connection goes without GOAWAY: nothing is logged, others go on."""
    with Place() as place:
        m = Monitor(place, place.add(Sim(place, cpu_machine("50W"))), interval=10)
        m.ready()
        stays = m.stream()
        for _ in range(10):
            s = m.stream()
            s.until(2)
            s.close()
        n = len(stays.got)
        stays.until(n + 5)
        assert "warning" not in m.log() and "error" not in m.log(), m.log()


def test_3_5_unknown_method_is_unimplemented():
    with Place() as place:
        m = Monitor(place, place.add(Sim(place, cpu_machine("50W"))))
        m.ready()
        for path in ("/energy.EnergyMonitor/Reset", "/grpc.health.v1.Health/Check",
                     "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
            call = m.channel().unary_unary(path, request_serializer=HealthRequest.SerializeToString,
                                           response_deserializer=HealthResponse.FromString)
            try:
                call(HealthRequest(), timeout=10)
                raise AssertionError(path)
            except grpc.RpcError as e:
                assert e.code() == grpc.StatusCode.UNIMPLEMENTED, e


if __name__ == "__main__":
    run_tests(globals())
