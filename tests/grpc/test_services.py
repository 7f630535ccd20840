#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Health checks and server reflection on the gRPC server, with grpcio and Google's protobuf as the peer:
argv is test_server, protoc and the folder of the .proto files."""
import os
import signal
import subprocess
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from rig import INTERNAL, OK, WAIT_S, Server, equal, message, run_tests, temp_dir, until

PROTOC, ROOT = sys.argv[2:4]
HEALTH = "grpc/health/v1/health.proto"
REFLECTION = {v: f"grpc/reflection/{v}/reflection.proto" for v in ("v1", "v1alpha")}


def compiled():
    """What protoc says of the files, by name."""
    with temp_dir() as where:
        out = os.path.join(where, "set")
        subprocess.run([PROTOC, "-I", ROOT, "--descriptor_set_out=" + out, HEALTH, *REFLECTION.values()],
                       check=True, timeout=60)
        with open(out, "rb") as f:
            return {d.name: d for d in descriptor_pb2.FileDescriptorSet.FromString(f.read()).file}


FILES = compiled()


def classes(files):
    """Message classes by full name, from descriptors."""
    pool = descriptor_pool.DescriptorPool()
    out = {}
    for f in files:
        pool.Add(f)
    for f in files:
        for m in f.message_type:
            name = f"{f.package}.{m.name}"
            out[name] = message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))
    return out


MESSAGES = classes(FILES.values())
Check = MESSAGES["grpc.health.v1.HealthCheckRequest"]
Status = MESSAGES["grpc.health.v1.HealthCheckResponse"]
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)


class Peer:
    def __init__(self, server):
        self.server = server
        self.channel = grpc.insecure_channel(server.address, options=[
            ("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def check(self, service=""):
        call = self.channel.unary_unary("/grpc.health.v1.Health/Check",
                                        request_serializer=Check.SerializeToString,
                                        response_deserializer=Status.FromString)
        return call(Check(service=service), timeout=WAIT_S).status

    def watch(self, service=""):
        call = self.channel.unary_stream("/grpc.health.v1.Health/Watch",
                                         request_serializer=Check.SerializeToString,
                                         response_deserializer=Status.FromString)
        return call(Check(service=service), timeout=WAIT_S)

    def reflect(self, *requests, version="v1"):
        kind = f"grpc.reflection.{version}.ServerReflection"
        call = self.channel.stream_stream(
            f"/{kind}/ServerReflectionInfo",
            request_serializer=MESSAGES[kind + "Request"].SerializeToString,
            response_deserializer=MESSAGES[kind + "Response"].FromString)
        asked = [MESSAGES[kind + "Request"](**r) for r in requests]
        got = list(call(iter(asked), timeout=WAIT_S))
        equal([r.original_request for r in got], asked, "the requests, in order")
        return got

    def file_of(self, **request):
        """The first file of the answer; all are known to protoc."""
        r, = self.reflect(request)
        if r.HasField("error_response"):
            return r.error_response.error_code
        files = [descriptor_pb2.FileDescriptorProto.FromString(f)
                 for f in r.file_descriptor_response.file_descriptor_proto]
        for f in files:
            equal(f, FILES[f.name])
        return files[0].name


# ---- health ----

def test_check():
    with Server() as s, Peer(s) as p:
        equal([p.check(), p.check("test.T")], [SERVING] * 2)
        for name in ("nix", "test.T ", "x" * 1000, "a\0b"):
            try:
                p.check(name)
                raise AssertionError(name)
            except grpc.RpcError as e:
                equal(e.code(), grpc.StatusCode.NOT_FOUND, name[:20])
        s.process.send_signal(signal.SIGUSR2)
        until(lambda: p.check("test.T") == NOT_SERVING, "the change")
        equal(p.check(), SERVING)


def test_watch():
    with Server() as s, Peer(s) as p:
        whole, one, nix = p.watch(), p.watch("test.T"), p.watch("nix")
        equal([next(w).status for w in (whole, one, nix)], [SERVING, SERVING, SERVICE_UNKNOWN])
        for sig, status in ((signal.SIGUSR2, NOT_SERVING), (signal.SIGUSR2, None),
                            (signal.SIGUSR1, SERVING)):
            s.process.send_signal(sig)
            if status is None:  # no change: nobody is told, and the next is the next change
                p.check()
            else:
                equal(next(one).status, status)
        one.cancel()
        nix.cancel()
        until(lambda: s.stats()["calls"] == 1, "two are gone")
        s.process.send_signal(signal.SIGUSR2)
        until(lambda: p.check("test.T") == NOT_SERVING, "the change")
        whole.cancel()


def test_too_many_watchers():
    with Server(streams=300) as s, s.client() as c:
        streams = [c.request("/grpc.health.v1.Health/Watch") for _ in range(257)]
        equal(c.answer(streams[-1]).status, 8)
        for stream in streams[:-1]:
            c.until(lambda: c.answers[stream].data, "the status")


def test_requests_that_are_no_messages():
    with Server() as s, s.client() as c:
        for method in ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
                       "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
            for body in (b"\x0a", b"\x0a\x05abc", b"\xff" * 11, b"\x0b", b"\x00", b"\x09\x01",
                         b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80"):
                equal(c.call(method, body).status, INTERNAL, f"{method} {body!r}")
        # Unknown fields of every type are passed over.
        extra = b"\x98\x06\x05" + b"\x99\x06" + bytes(8) + b"\x9d\x06" + bytes(4) + b"\x9a\x06\x02ab"
        a = c.call("/grpc.health.v1.Health/Check", extra + b"\x0a\x06test.T")
        equal((a.status, a.messages), (OK, [b"\x08\x01"]))


# ---- reflection ----

def test_list_services():
    with Server() as s, Peer(s) as p:
        for version in REFLECTION:
            r, = p.reflect({"list_services": "*"}, version=version)
            equal([x.name for x in r.list_services_response.service],
                  ["test.T", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                   "grpc.reflection.v1alpha.ServerReflection"])


def test_files_by_name_and_by_symbol():
    health, v1 = HEALTH, REFLECTION["v1"]
    with Server() as s, Peer(s) as p:
        for name in FILES:
            equal(p.file_of(file_by_filename=name), name)
        for symbol, want in (
                ("grpc.health.v1.Health", health),
                (".grpc.health.v1.Health", health),
                ("grpc.health.v1.Health.Check", health),
                ("grpc.health.v1.HealthCheckResponse", health),
                ("grpc.health.v1.HealthCheckResponse.status", health),
                ("grpc.health.v1.HealthCheckResponse.ServingStatus", health),
                ("grpc.health.v1.HealthCheckResponse.SERVING", health),
                ("grpc.reflection.v1.ServerReflectionRequest.message_request", v1),
                ("grpc.reflection.v1alpha.ErrorResponse", REFLECTION["v1alpha"]),
                ("grpc.reflection.v1.ServerReflection", v1),
                ("grpc.health.v1.Nix", 5), ("grpc.health.v1", 5), ("grpc", 5), ("", 5), (".", 5),
                ("grpc.health.v1.", 5), ("grpc.health.v1.Health.", 5), ("grpc.health.v1.Health.Nix", 5),
                ("grpc.health.v1.HealthCheckResponse.Nix.x", 5), ("Health", 5), ("test.T", 5)):
            equal(p.file_of(file_containing_symbol=symbol), want, symbol)
        equal(p.file_of(file_by_filename="nix.proto"), 5)


def test_extensions_and_nonsense():
    with Server() as s, Peer(s) as p:
        got = p.reflect({"all_extension_numbers_of_type": "grpc.health.v1.HealthCheckRequest"},
                        {"all_extension_numbers_of_type": "grpc.health.v1.Health"},
                        {"file_containing_extension": {"containing_type": "a.B", "extension_number": 3}},
                        {"host": "me"})
        equal(got[0].all_extension_numbers_response.base_type_name, "grpc.health.v1.HealthCheckRequest")
        equal([r.error_response.error_code for r in got[1:]], [5, 5, 3])
        equal(got[3].valid_host, "me")


def test_a_client_that_knows_nothing():
    # As a tool does it: services, their files, and then a call by what those say.
    with Server() as s, Peer(s) as p:
        r, = p.reflect({"list_services": ""})
        name = r.list_services_response.service[1].name
        r, = p.reflect({"file_containing_symbol": name})
        files = [descriptor_pb2.FileDescriptorProto.FromString(f)
                 for f in r.file_descriptor_response.file_descriptor_proto]
        service = next(x for x in files[0].service if f"{files[0].package}.{x.name}" == name)
        method = service.method[0]
        known = classes(files)
        call = p.channel.unary_unary(f"/{name}/{method.name}",
                                     request_serializer=known[method.input_type[1:]].SerializeToString,
                                     response_deserializer=known[method.output_type[1:]].FromString)
        equal(call(known[method.input_type[1:]](), timeout=WAIT_S).status, SERVING)


def test_many_questions_in_one_call():
    with Server() as s, s.client(window=1 << 24) as c:
        c.frame(8, 0, 0, b"\x00\xff\xff\xff")
        stream = c.open("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        for _ in range(50):
            c.data(stream, message(b"\x22\x15grpc.health.v1.Health") * 1 + message(b"\x3a\x00"))
            c.ping()
        c.data(stream, b"", end=True)
        a = c.answer(stream)
        equal((a.status, len(a.messages)), (OK, 100))


if __name__ == "__main__":
    signal.alarm(280)
    run_tests(globals())
