# SPDX-License-Identifier: Apache-2.0
"""What the tests of the gRPC server share: starting test_server, and a client that writes its own frames.

Frames are written and read here by hand; header blocks by Debian's python3-hpack, which shares nothing
with nghttp2."""
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

import hpack

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import tap  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
WAIT_S = 30  # until something that must come is given up

run_tests = tap.run
Skip = tap.Skip

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK, PADDED, PRIO = 1, 4, 1, 8, 32
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 7, 8, 11
OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 0, 1, 2, 3, 4, 5
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 8, 12, 13, 14, 16


def equal(got, want, what=""):
    assert got == want, f"{what} got {got!r}, want {want!r}"


def until(condition, what=""):
    """Waits, within bounds, for something to become true; returns it."""
    end = time.monotonic() + WAIT_S
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


class Server:
    """test_server on free ports of 127.0.0.1; options are its own, as queue=4."""

    def __init__(self, preexec_fn=None, plain=True, env=None, **options):
        words = [f"{k}={v}" for k, v in options.items()]
        if plain:
            words.append("listen=127.0.0.1:0")
        self.process = subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.PIPE, preexec_fn=preexec_fn,
                                        env={**os.environ, **(env or {})})
        said = [self.process.stdout.readline() for _ in range(3)]
        if said[2] != "ready\n":
            _, err = self.process.communicate(timeout=WAIT_S)
            raise AssertionError(f"not ready: {said} {err}")
        self.address = said[0].split(" ")[1].strip()
        self.tls_address = said[1].split(" ")[1].strip()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            if self.process.returncode is None:
                self.stop()
        else:
            self.process.kill()
            _, err = self.process.communicate(timeout=WAIT_S)
            print("\n".join("# server: " + line for line in err.splitlines()))

    def stop(self, want="idle\n"):
        """In order: status 0 and not a word (a sanitizer would have one)."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=WAIT_S)
        equal((self.process.returncode, err, out), (0, "", want), "the server's end")

    def reload(self):
        self.process.send_signal(signal.SIGHUP)
        return self.process.stdout.readline().strip()

    def client(self, **kw):
        return Client(self.address, **kw)

    def stats(self):
        """As the server counts, over a connection of its own, which is not counted as open here."""
        def ask():  # there may be no place for one more client for a moment
            with self.client() as c:
                return c.call("/test.T/Stats").messages
        text = until(ask, "statistics")[0].decode()
        stats = {k: int(v) for k, v in (w.split("=") for w in text.split())}
        stats["clients"] -= 1
        stats["calls"] -= 1
        return stats


def message(data=b"", flag=0):
    return struct.pack(">BI", flag, len(data)) + data


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**pairs):
    ids = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "list": 6}
    return b"".join(struct.pack(">HI", ids.get(k) or int(k[1:], 16), v) for k, v in pairs.items())


def literal(name, value):
    """A header field without indexing, by hand: what python3-hpack would not write."""
    def text(s):
        return (bytes([len(s)]) if len(s) < 127 else b"\x7f" + _integer(len(s) - 127)) + s
    return b"\x00" + text(name) + text(value)


def _integer(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


class Answer:
    """What came for one stream."""

    def __init__(self):
        self.headers, self.trailers = None, None
        self.data, self.rst, self.ended = b"", None, False

    @property
    def messages(self):
        out, at = [], 0
        while at < len(self.data):
            flag, n = struct.unpack_from(">BI", self.data, at)
            equal(flag, 0, "flag of an answer")
            assert at + 5 + n <= len(self.data), "an answer ends within a message"
            out.append(self.data[at + 5:at + 5 + n])
            at += 5 + n
        return out

    @property
    def last(self):
        return self.trailers if self.trailers is not None else self.headers or {}

    @property
    def http(self):
        return (self.headers or {}).get(":status")

    @property
    def status(self):
        s = self.last.get("grpc-status")
        return None if s is None else int(s)

    @property
    def text(self):
        return self.last.get("grpc-message")

    def __repr__(self):
        return (f"<headers {self.headers} data {self.data[:60]!r} trailers {self.trailers} "
                f"rst {self.rst}>")


class Client:
    """A connection of HTTP/2 that does as it is told. tls: an ssl.SSLContext."""

    def __init__(self, address, tls=None, hello=True, server_name="localhost", **own_settings):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=WAIT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name)
        self.buffer = b""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.encoder.huffman = True
        self.answers = {}
        self.frames = []  # (kind, flags, stream, payload) of all that came
        self.goaway = None  # error code, last stream
        self.acks = []
        self.eof = False
        self.next_id = 1
        self.block = b""
        self.auto_ack = True
        if hello:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings(**own_settings)))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        """False: the server has closed."""
        try:
            self.sock.sendall(data)
            return True
        except (ConnectionError, ssl.SSLError):
            return False

    def frame(self, kind, flags=0, stream=0, payload=b""):
        return self.send(frame(kind, flags, stream, payload))

    # ---- requests ----

    def fields(self, path, **change):
        """Header fields of a good request; change: name=value, None leaves it out, _ stands for -."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
                  "content-type": "application/grpc", "te": "trailers"}
        for name, value in change.items():
            name = name.replace("_", "-")
            name = ":" + name if name in ("method", "scheme", "path", "authority") else name
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = value
        return list(fields.items())

    def encode(self, fields):
        return self.encoder.encode(fields, huffman=True)

    def open(self, path, end=False, stream=None, **change):
        """HEADERS of a request; returns the stream."""
        stream = stream or self.next_id
        self.next_id = stream + 2
        self.answers[stream] = Answer()
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream,
                   self.encode(self.fields(path, **change)))
        return stream

    def data(self, stream, payload, end=False):
        return self.frame(DATA, END_STREAM if end else 0, stream, payload)

    def request(self, path, body=b"", **change):
        stream = self.open(path, **change)
        self.data(stream, message(body), end=True)
        return stream

    def call(self, path, body=b"", **change):
        return self.answer(self.request(path, body, **change))

    # ---- what comes ----

    def _take(self, kind, flags, stream, payload):
        self.frames.append((kind, flags, stream, payload))
        a = self.answers.setdefault(stream, Answer()) if stream else None
        if kind == SETTINGS and not flags & ACK:
            if self.auto_ack:
                self.frame(SETTINGS, ACK)
        elif kind == PING and flags & ACK:
            self.acks.append(payload)
        elif kind == GOAWAY:
            last, error = struct.unpack_from(">II", payload)
            self.goaway = (error, last)
        elif kind == DATA:
            a.data += payload
        elif kind == RST:
            a.rst, = struct.unpack(">I", payload)
        elif kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                fields = dict(self.decoder.decode(self.block))
                self.block = b""
                if a.headers is None:
                    a.headers = fields
                else:
                    a.trailers = fields
        if a and kind in (DATA, HEADERS) and flags & END_STREAM:
            a.ended = True

    def step(self, wait_s=None):
        """Takes what comes next; False: nothing came in time, or the end."""
        if self.eof:
            return False
        while len(self.buffer) < 9 or \
                len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            self.sock.settimeout(WAIT_S if wait_s is None else wait_s)
            try:
                data = self.sock.recv(65536)
            except (socket.timeout, TimeoutError, ssl.SSLWantReadError):
                return False
            except (ConnectionError, ssl.SSLError):
                data = b""
            if not data:
                self.eof = True
                return False
            self.buffer += data
        n = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", self.buffer, 3)
        payload = self.buffer[9:9 + n]
        self.buffer = self.buffer[9 + n:]
        self._take(kind, flags, stream, payload)
        return True

    def until(self, condition, what=""):
        end = time.monotonic() + WAIT_S
        while not condition():
            left = end - time.monotonic()
            assert left > 0 and self.step(left), \
                f"never: {what}; eof {self.eof} goaway {self.goaway} {self.answers}"

    def answer(self, stream):
        """Waits until the stream, or the connection, is over."""
        a = self.answers.setdefault(stream, Answer())
        while not (a.ended or a.rst is not None) and self.step():
            pass
        assert a.ended or a.rst is not None or self.eof, f"no answer: {a}"
        return a

    def ping(self, text=b"12345678"):
        """A round trip: whatever was sent before has been dealt with, and its answers are here."""
        n = self.acks.count(text)
        self.frame(PING, 0, 0, text)
        self.until(lambda: self.acks.count(text) > n, "a ping's answer")

    def end(self):
        """Waits until the server closes; the error code of its GOAWAY, or None."""
        while self.step():
            pass
        assert self.eof, "the server did not close"
        return self.goaway[0] if self.goaway else None

    def readable(self, wait_s):
        return bool(self.buffer) or bool(select.select([self.sock], [], [], wait_s)[0])


def temp_dir():
    return tempfile.TemporaryDirectory(prefix="ergon-grpc-")
