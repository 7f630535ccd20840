# SPDX-License-Identifier: Apache-2.0
"""What the tests of the HTTP server share: starting test_server, raw and proper clients, TAP."""
import atexit
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import tap  # noqa: E402

PROGRAM = os.path.abspath(sys.argv[1])
WAIT_S = 30  # until something that must come is given up
H = b"Host: test\r\n"

run_tests = tap.run
Skip = tap.Skip


def equal(got, want, what=""):
    assert got == want, f"{what} got {got!r}, want {want!r}"


def contains(text, part):
    assert part in text, f"{part!r} not in {text!r}"


def until(condition, what=""):
    """Waits, within bounds, for something to become true."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def refused(**options):
    """The sentence of a server that does not open."""
    r = subprocess.run([PROGRAM, "listen=127.0.0.1:0", *(f"{k}={v}" for k, v in options.items())],
                       capture_output=True, text=True, timeout=WAIT_S)
    equal((r.returncode, r.stdout), (2, ""), r.stderr)
    return r.stderr.strip()


def to_temporary_directory():
    place = tempfile.mkdtemp(prefix="ergon-http-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.chdir(place)


# A freed block would stay counted in a sanitizer's quarantine.
NO_QUARANTINE = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}


def settled(s):
    """The descriptors, once the connections of before are gone."""
    def alone():
        nonlocal now
        now = s.stats()
        return now["clients"] == 1

    now = None
    until(alone, "the others are gone")
    return now["fds"]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=WAIT_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(self.path)


class Server:
    """test_server on a free port of 127.0.0.1 (listen=None: none), in a directory of its own. tls: the
    context of its clients."""

    def __init__(self, *, env=None, preexec_fn=None, listen="127.0.0.1:0", tls=None, **options):
        self.tls = tls
        self.dir = options.pop("dir", None) or tempfile.mkdtemp(prefix="ergon-http-")
        words = [f"{k}={v}" for k, v in options.items()]
        if listen:
            words.append(f"listen={listen}")
        self.process = subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        preexec_fn=preexec_fn, env={**os.environ, **(env or {})})
        self.url = self.process.stdout.readline().strip()
        ready = self.process.stdout.readline()
        if ready != "ready\n":
            out, err = self.process.communicate(timeout=WAIT_S)
            raise AssertionError(f"not ready: {self.url} {err}")
        self.port = int(self.url.rsplit(":", 1)[1]) if self.url else None
        self.socket = options.get("socket")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
            _, err = self.process.communicate(timeout=WAIT_S)
            print("\n".join("# server: " + line for line in err.splitlines()))

    def stop(self):
        """In order: status 0 and not a word (a sanitizer would have one)."""
        self.process.terminate()
        _, err = self.process.communicate(timeout=WAIT_S)
        equal((self.process.returncode, err), (0, ""), "the server's end")

    def connection(self):
        if self.port is None:
            return UnixConnection(self.socket)
        if self.tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=WAIT_S, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)

    def get(self, path, method="GET", body=None, headers=None, connection=None):
        """status, headers (a message), body"""
        c = connection or self.connection()
        c.request(method, path, body=body, headers=headers or {})
        r = c.getresponse()
        data = r.read()
        if connection is None:
            c.close()
        return r.status, r.headers, data

    def text(self, path, **kw):
        status, _, body = self.get(path, **kw)
        equal(status, 200, path)
        return body.decode()

    def local(self, path, **kw):
        """Over the Unix socket, which needs no credentials: (status, text)."""
        c = UnixConnection(self.socket)
        status, _, body = self.get(path, connection=c, **kw)
        c.close()
        return status, body.decode()

    def stats(self):
        if self.socket:
            return json.loads(self.local("/stats")[1])
        return json.loads(self.text("/stats"))

    def raw(self, timeout=WAIT_S):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def secure(self, context=None, name="127.0.0.1"):
        """A connection after its handshake, as far as its client can tell."""
        s = self.raw()
        try:
            return (context or self.tls).wrap_socket(s, server_hostname=name)
        except OSError:
            s.close()
            raise

    def talk(self, data):
        """What a raw message gets until the server closes or the answer is whole."""
        with self.raw() as s:
            s.sendall(data)
            return read_answer(s)


def recv(s, n=65536):
    try:
        return s.recv(n)
    except ConnectionResetError:
        return b""


def read_end(s):
    """Everything until the server closes."""
    out = b""
    while True:
        data = recv(s)
        if not data:
            return out
        out += data


def read_answer(s, first=b""):
    """One answer: (status, header text, body, closed). Status 0: closed without a word."""
    out = first
    while b"\r\n\r\n" not in out:
        data = recv(s)
        if not data:
            return 0, out, b"", True
        out += data
    headers, body = out.split(b"\r\n\r\n", 1)
    status = int(headers.split()[1])
    if status == 100:
        return read_answer(s, body)
    length = 0
    for line in headers.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        data = recv(s)
        if not data:
            break
        body += data
    closed = b"\r\nConnection: close" in headers
    if closed:
        equal(recv(s), b"", "nothing after the last answer")
    return status, headers, body, closed
