# SPDX-License-Identifier: Apache-2.0
"""The agent's gRPC server: energy.EnergyMonitor beside everything else, and ergon.v1.Energy; by grpcio, on simulated
machines in steered time."""
import os
import re
import socket
import subprocess
import time

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import MessageFactory

from harness import (FACTORY, HealthRequest, HealthResponse, NS, POOL, Nvidia, Place, Reading, Sim, Stream, cpu_machine,
                     gpu, run_tests, until)
from rig import Agent, SOURCE, ergon

FULL = '[access]\nanonymous = "full"\n'


def ours():
    """The messages of proto/ergon/v1/energy.proto."""
    r = subprocess.run(["protoc", "-I", SOURCE + "/proto", "--include_imports", "-o", "/dev/stdout",
                        "ergon/v1/energy.proto"], capture_output=True, check=True, timeout=60)
    pool = descriptor_pool.DescriptorPool()
    for f in descriptor_pb2.FileDescriptorSet.FromString(r.stdout).file:
        pool.Add(f)
    factory = MessageFactory(pool)
    names = pool.FindFileByName("ergon/v1/energy.proto").message_types_by_name
    return {n: factory.GetPrototype(d) for n, d in names.items()}


M = ours()


class Served:
    """An agent with a gRPC server, and calls to it."""

    def __init__(self, place, sim, *words, config=FULL, **kw):
        self.agent = place.add(Agent(place, sim, *words, config=config, grpc="127.0.0.1:0", **kw))
        until("gRPC", lambda: "gRPC at" in self.agent.log())
        self.target = re.search(r"gRPC at (\S+)", self.agent.log()).group(1)
        self.channels = []
        place.add(self)

    def channel(self):
        c = grpc.insecure_channel(self.target, options=(("grpc.enable_http_proxy", 0),))
        self.channels.append(c)
        return c

    def stream(self):
        return Stream(self.channel())

    def health(self):
        return self.channel().unary_unary("/energy.EnergyMonitor/Health",
                                          request_serializer=HealthRequest.SerializeToString,
                                          response_deserializer=HealthResponse.FromString)(HealthRequest(), timeout=20)

    def call(self, method, request, answer, token=None, channel=None, future=False, **fields):
        made = (channel or self.channel()).unary_unary(
            "/ergon.v1.Energy/" + method, request_serializer=M[request].SerializeToString,
            response_deserializer=M[answer].FromString)
        kw = {"timeout": 30, "metadata": (("authorization", "Bearer " + token),) if token else ()}
        return made.future(M[request](**fields), **kw) if future else made(M[request](**fields), **kw)

    def readings(self, interval_ms):
        call = self.channel().unary_stream("/ergon.v1.Energy/StreamReadings",
                                           request_serializer=M["StreamReadingsRequest"].SerializeToString,
                                           response_deserializer=M["Readings"].FromString)
        return call(M["StreamReadingsRequest"](interval_ms=interval_ms))

    def close(self):
        for c in self.channels:
            c.close()


def refused(code, what, *args, **kw):
    try:
        what(*args, **kw)
    except grpc.RpcError as e:
        assert e.code() == code, e
        return e.details()
    raise AssertionError(f"no {code}")


def advance(sim, stream, seconds, step=0.5):
    """Moves steered time on, and waits for the readings of each step."""
    for _ in range(round(seconds / step)):
        sim.time.sleep(step)
        until("the readings", lambda: stream.got and
              stream.last().timestamp_nanos > sim.time.unix() - int(step * NS))


def test_streams_beside_everything_else():
    """20 readings a second of an agent that samples once a second; views, history and ticks keep their second."""
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("sine mean=80W amplitude=40W period=3s"), clock=True))
        s = Served(place, sim)
        stream = s.stream()
        until("the first", lambda: sim.time.sleep(0.01) or stream.got)
        advance(sim, stream, 10)
        got = stream.got
        steps = [b.timestamp_nanos - a.timestamp_nanos for a, b in zip(got, got[1:])]
        assert set(steps) == {50_000_000}, sorted(set(steps))
        assert got[-1].platform == "rapl" and s.health().healthy
        base = sim.time.unix() - sim.time.now()
        a, b = got[10], got[-1]
        true = sim.truth(a.timestamp_nanos - base, b.timestamp_nanos - base)["rapl intel-rapl:0"]
        assert abs(true - (b.cpu_energy_joules - a.cpu_energy_joules)) < 120 * 0.0011 + 0.001
        m = s.agent.metrics(local=True)
        ticks = [v for (n, _), v in m.items() if n == "ergon_agent_ticks_total"]
        assert ticks and 8 <= ticks[0] <= 13, ticks
        history = s.agent.local("/api/v1/history").json
        stamps = [e["boot_ns"] for e in history["entries"]]
        assert len(stamps) >= 8 and {b - a for a, b in zip(stamps, stamps[1:])} == {NS}, stamps
        assert s.agent.stop() == 0


def test_only_while_somebody_streams():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim)

        def wakeups():
            return [v for (n, _), v in s.agent.metrics(local=True).items() if n == "ergon_agent_wakeups_total"][0]
        stream = s.stream()
        until("the first", lambda: sim.time.sleep(0.01) or stream.got)
        advance(sim, stream, 2)
        before = wakeups()
        advance(sim, stream, 5)
        busy = wakeups() - before
        stream.close()
        until("the end", lambda: "never" if stream.ended else None)
        sim.time.sleep(1)
        before = wakeups()
        sim.time.sleep(20)
        idle = wakeups() - before
        print(f"# {busy / 5:.0f} wake-ups a second while a client streams, {idle / 20:.1f} after")
        assert busy >= 100 and idle < 60, (busy, idle)


def test_who_may_see_coarsely_gets_one_a_second():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim, config="")
        stream = s.stream()
        until("the first", lambda: sim.time.sleep(0.01) or stream.got)
        for _ in range(10):
            sim.time.sleep(1)
        until("ten", lambda: sim.time.sleep(0.1) or len(stream.got) >= 9)
        stamps = [r.timestamp_nanos for r in stream.got]
        steps = [b - a for a, b in zip(stamps, stamps[1:])]
        assert min(steps) >= 0.87 * NS, steps


def test_nobody_where_the_policy_says_none():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim, config='[access]\nanonymous = "none"\n')
        assert s.health() is not None
        stream = s.stream()
        until("the refusal", lambda: stream.ended)
        assert stream.ended == grpc.StatusCode.UNAUTHENTICATED
        refused(grpc.StatusCode.UNAUTHENTICATED, s.call, "ListChannels", "ListChannelsRequest", "ListChannelsResponse")


def test_a_token_sees_all():
    with Place() as place:
        with open(place.path("tokens"), "w") as f:
            f.write("a-token-of-the-tests-0123456789abcdef\n")
        os.chmod(place.path("tokens"), 0o600)
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim, config=f'[access]\nanonymous = "none"\n[grpc]\ntoken_file = "{place.path("tokens")}"\n')
        r = s.call("ListChannels", "ListChannelsRequest", "ListChannelsResponse",
                   token="a-token-of-the-tests-0123456789abcdef")
        assert [c.name for c in r.channels] == ["rapl/package-0"], r
        refused(grpc.StatusCode.UNAUTHENTICATED, s.call, "ListChannels", "ListChannelsRequest",
                "ListChannelsResponse", token="another")


def test_gpus_in_the_agent():
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W"), gpu(1, "200W")], clock=True)
        s = Served(place, nv.sim, config=FULL + '[grpc]\ngpus = "1"\ninterval = "20ms"\n', env=nv.env)
        stream = s.stream()
        until("the first", lambda: nv.sim.time.sleep(0.01) or stream.got)
        advance(nv.sim, stream, 2, step=0.4)
        r = stream.last()
        assert r.platform == "nvidia" and r.gpu_info.name == "NVIDIA H200 x1", r.message
        assert abs(r.power_watts - 200) < 1 and abs(r.cpu_power_watts - 50) < 0.5, r.message
        steps = {b.timestamp_nanos - a.timestamp_nanos for a, b in zip(stream.got, stream.got[1:])}
        assert steps == {20_000_000}, steps
        until("what devices say", lambda: nv.sim.time.sleep(0.02) or stream.last().gpu_memory_total_mb > 0)


def test_gpus_in_real_time():
    """A driver on a worker: stamps are those of its reads, and energy agrees with them."""
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W")])
        s = Served(place, nv.sim, env=nv.env)
        got = s.stream().until(60)
        a, b = got[20], got[-1]
        seconds = (b.timestamp_nanos - a.timestamp_nanos) / NS
        joules = b.energy_joules - a.energy_joules
        print(f"# {joules:.2f} J in {seconds:.4f} s at 300 W")
        assert abs(joules - 300 * seconds) <= 300 * 0.011 + 0.5
        assert all(y.timestamp_nanos > x.timestamp_nanos for x, y in zip(got, got[1:]))


def test_a_gpu_that_is_slow_at_first_is_waited_for():
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W")], script="slow nvmlDeviceGetTotalEnergyConsumption 2500 0 4\n")
        s = Served(place, nv.sim, env=nv.env)
        first = s.stream().until(1)[0]
        assert first.platform == "nvidia" and first.energy_joules >= 0, (first.message, s.agent.log())


def test_list_channels():
    with Place() as place:
        nv = Nvidia(place, [gpu(0, "300W")], clock=True)
        s = Served(place, nv.sim, env=nv.env)
        channels = {c.name: c for c in
                    s.call("ListChannels", "ListChannelsRequest", "ListChannelsResponse").channels}
        c = channels["nvml/gpu-0"]
        assert (c.component, c.source, c.provenance, c.quantity, c.role) == \
            ("gpu", "nvml", "measured", "energy", "total"), c
        assert c.accuracy_relative == 0.05 and c.accuracy_citation and c.label == "NVIDIA H200"
        assert channels["rapl/package-0"].source == "rapl"


def test_stream_readings():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("sine mean=80W amplitude=40W period=3s"), clock=True))
        s = Served(place, sim)
        call = s.readings(100)
        got = []
        first = next(call)
        for _ in range(30):
            sim.time.sleep(0.1)
            got.append(next(call))
        steps = {b.boot_ns - a.boot_ns for a, b in zip(got, got[1:])}
        assert steps == {100_000_000}, steps
        a, b = got[5], got[-1]
        true = sim.truth(a.boot_ns, b.boot_ns)["rapl intel-rapl:0"]
        r = b.readings[0]
        assert abs(true - (r.joules - a.readings[0].joules)) < 120 * 0.0011 + 0.001
        assert r.name == "rapl/package-0" and r.provenance == "measured" and r.status == "ok"
        assert r.WhichOneof("has_watts") and 30 < r.watts < 130
        assert r.WhichOneof("has_uncertainty") and 0 < r.uncertainty_joules < r.joules
        assert b.unix_ns - b.boot_ns == sim.time.unix() - sim.time.now()
        assert first.readings[0].name == r.name
        call.cancel()


def test_stream_readings_coarsely():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim, config="")
        call = s.readings(10)
        got = [next(call)]
        for _ in range(8):
            sim.time.sleep(1)
            got.append(next(call))
        assert all(b.boot_ns - a.boot_ns >= 0.87 * NS for a, b in zip(got, got[1:])), [g.boot_ns for g in got]
        call.cancel()


def test_totals_are_the_ledgers():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W", "70W"), clock=True))
        s = Served(place, sim)
        sim.time.sleep(10)
        t = s.call("GetTotals", "GetTotalsRequest", "Totals")
        ours = {(x.device, x.component, x.provenance): x.joules for x in t.totals}
        theirs = {k: v for k, v in s.agent.totals().items()}
        assert ours.keys() == theirs.keys() and all(abs(ours[k] - theirs[k]) < 0.001 for k in ours), (ours, theirs)
        assert abs(t.node_joules - sum(ours.values())) < 0.001
        # The totals of an earlier life go on.
        assert s.agent.stop() == 0
        again = Served(place, sim)
        t = again.call("GetTotals", "GetTotalsRequest", "Totals")
        assert all(x.joules >= ours[x.device, x.component, x.provenance] for x in t.totals)


def test_windows():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("sine mean=80W amplitude=40W period=3s"), clock=True))
        s = Served(place, sim)
        w = s.call("BeginWindow", "BeginWindowRequest", "Window", name="train")
        assert len(w.id) == 32 and w.name == "train"
        sim.time.sleep(2.5)
        r = s.call("EndWindow", "EndWindowRequest", "WindowResult", id=w.id)
        begin = w.begin_boot_ns
        true = sim.truth(begin, begin + int(r.seconds * NS))["rapl intel-rapl:0"]
        assert abs(r.seconds - 2.5) < 0.2 and r.name == "train"
        assert abs(r.joules - true) <= max(r.uncertainty_joules, 0.2), (r, true)
        assert r.provenance == "measured" and r.WhichOneof("has_watts")
        c = r.channels[0]
        assert c.name == "rapl/package-0" and c.role == "total" and abs(c.joules - r.joules) < 1e-6
        assert "short_measurement_duration" in r.flags
        refused(grpc.StatusCode.NOT_FOUND, s.call, "EndWindow", "EndWindowRequest", "WindowResult", id=w.id)
        refused(grpc.StatusCode.NOT_FOUND, s.call, "EndWindow", "EndWindowRequest", "WindowResult", id="0" * 32)
        refused(grpc.StatusCode.INVALID_ARGUMENT, s.call, "BeginWindow", "BeginWindowRequest", "Window", name="x" * 128)
        raw = s.channel().unary_unary("/ergon.v1.Energy/BeginWindow")
        refused(grpc.StatusCode.INVALID_ARGUMENT, raw, b"\x0a\x02a\xff", timeout=30)  # its echo nobody could read


def test_forgotten_windows_make_room_in_the_end():
    """Also where nobody streams, so that no sample is taken for anybody."""
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim, config=FULL + 'max_windows = 2\nwindow_expiry = "60s"\n')
        begin = ("BeginWindow", "BeginWindowRequest", "Window")
        for _ in range(2):
            s.call(*begin, name="forgotten")
        refused(grpc.StatusCode.RESOURCE_EXHAUSTED, s.call, *begin)
        sim.time.sleep(61)
        assert s.call(*begin, name="new").name == "new"


def test_windows_of_who_sees_coarsely_lie_on_coarse_samples():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim, config="[access]\nmax_windows = 2\n")
        channel = s.channel()
        edges = []
        for _ in range(3):
            f = s.call("BeginWindow", "BeginWindowRequest", "Window", channel=channel, future=True)
            until("its begin", lambda: sim.time.sleep(0.1) or f.done())
            begun = f.result()
            f = s.call("EndWindow", "EndWindowRequest", "WindowResult", channel=channel, future=True, id=begun.id)
            until("its end", lambda: sim.time.sleep(0.1) or f.done())
            edges += [begun.begin_boot_ns, begun.begin_boot_ns + round(f.result().seconds * NS)]
        apart = [b - a for a, b in zip(edges, edges[1:])]
        assert all(x == 0 or x >= 0.87 * NS for x in apart), apart
        waiting = [s.call("BeginWindow", "BeginWindowRequest", "Window", channel=channel, future=True)
                   for _ in range(3)]
        until("all", lambda: sim.time.sleep(0.1) or all(f.done() for f in waiting))
        codes = sorted(f.code().name for f in waiting)
        assert codes == ["OK", "OK", "RESOURCE_EXHAUSTED"], codes


def test_a_caller_who_leaves_leaves_no_window():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W"), clock=True))
        s = Served(place, sim, config="[access]\nmax_windows = 1\n")
        channel = s.channel()
        renew = lambda: (s.call("GetTotals", "GetTotalsRequest", "Totals"), s.agent.local("/-/ready"))  # noqa: E731
        renew()  # the coarse view is new, and has been handed around: a begin waits for the next
        f = s.call("BeginWindow", "BeginWindowRequest", "Window", channel=channel, future=True)
        s.call("ListChannels", "ListChannelsRequest", "ListChannelsResponse", channel=channel)  # it has arrived
        assert not f.done(), f"it was to wait: {f}"
        f.cancel()

        def done(*args, **kw):
            """Once the server knows that the other caller has left."""
            g = s.call(*args, channel=channel, future=True, **kw)
            until("an answer", lambda: sim.time.sleep(0.1) or g.done())
            return g.result() if g.code() == grpc.StatusCode.OK else None
        window = until("the one place", lambda: done("BeginWindow", "BeginWindowRequest", "Window"), 20)
        # A caller who leaves while his window ends finds it again.
        renew()
        e = s.call("EndWindow", "EndWindowRequest", "WindowResult", channel=channel, future=True, id=window.id)
        s.call("ListChannels", "ListChannelsRequest", "ListChannelsResponse", channel=channel)
        e.cancel()
        until("its end", lambda: done("EndWindow", "EndWindowRequest", "WindowResult", id=window.id), 20)


def test_the_default_port_may_be_taken():
    with Place() as place:
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 50053))
            taken.listen()
        except OSError:
            pass  # another program has it: as good
        sim = place.add(Sim(place, cpu_machine("50W")))
        agent = place.add(Agent(place, sim, grpc=None))
        assert "another program has 127.0.0.1:50053" in agent.log(), agent.log()
        assert agent.stop() == 0
        asked = place.add(Agent(place, sim, grpc="127.0.0.1:50053", ready=False))
        assert asked.process.wait(30) == 1 and "50053" in asked.log(), asked.log()
        taken.close()


def test_tls_on_a_port_of_its_own():
    with Place() as place:
        key, cert = place.path("key.pem"), place.path("cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True, timeout=60)
        sim = place.add(Sim(place, cpu_machine("50W")))
        s = Served(place, sim, config=FULL + f'[grpc]\ntls_listen = "127.0.0.1:0"\ntls_certificate = "{cert}"\n'
                                             f'tls_key = "{key}"\n')
        target = re.search(r"gRPC with TLS at (\S+)", s.agent.log()).group(1)
        with open(cert, "rb") as f:
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(f.read()),
                                          options=(("grpc.enable_http_proxy", 0),))
        stream = Stream(channel)
        assert stream.until(3)[-1].platform == "rapl"
        s.agent.reload()
        until("the reload", lambda: "reloaded" in s.agent.log())
        n = len(stream.got)
        stream.until(n + 5)
        assert s.agent.stop() == 0, s.agent.log()
        stream.thread.join(10)
        assert stream.ended == grpc.StatusCode.UNAVAILABLE
        channel.close()


def varint_text(number, text):
    return bytes([number << 3 | 2, len(text)]) + text.encode()


def test_health_checks_and_reflection():
    """grpc.health.v1 says SERVING once there are readings; reflection lists the services and describes them."""
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W")))
        s = Served(place, sim)
        check = s.channel().unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes,
                                        response_deserializer=bytes)
        for name in ("", "energy.EnergyMonitor", "ergon.v1.Energy"):
            until("SERVING", lambda: check(varint_text(1, name) if name else b"", timeout=20) == b"\x08\x01")
        refused(grpc.StatusCode.NOT_FOUND, check, varint_text(1, "no.Service"), timeout=20)
        ask = s.channel().stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                        request_serializer=bytes, response_deserializer=bytes)
        listed = next(ask(iter([varint_text(7, "")]), timeout=20))
        for name in (b"energy.EnergyMonitor", b"ergon.v1.Energy", b"grpc.health.v1.Health"):
            assert name in listed, listed
        described = next(ask(iter([varint_text(4, "ergon.v1.Energy")]), timeout=20))
        assert b"StreamReadings" in described and b"uncertainty_joules" in described


def test_stop_with_streams_open():
    with Place() as place:
        sim = place.add(Sim(place, cpu_machine("50W")))
        s = Served(place, sim)
        streams = [s.stream() for _ in range(5)]
        for x in streams:
            x.until(2)
        assert s.agent.stop() == 0
        print(f"# stopped in {s.agent.stop_seconds:.3f} s (aim: below 1 s)")
        for x in streams:
            x.thread.join(10)
            assert x.ended == grpc.StatusCode.UNAVAILABLE, x.ended


if __name__ == "__main__":
    run_tests(globals())
