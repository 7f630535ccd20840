#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Without rights and behind the filter the work goes on: sampling, files, the log, HTTP and TLS."""
import concurrent.futures
import http.client
import os
import ssl
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import tap  # noqa: E402

SERVER = os.path.abspath(sys.argv[1])
WAIT_S = 30


class Served:
    def __init__(self, seccomp):
        self.dir = tempfile.TemporaryDirectory(prefix="ergon-serve-")
        self.own = os.path.join(self.dir.name, "own")
        os.mkdir(self.own)
        zone = os.path.join(self.dir.name, "root/sys/class/powercap/intel-rapl:0")
        os.makedirs(zone)
        for name, text in (("name", "package-0"), ("energy_uj", "1000000"),
                           ("max_energy_range_uj", "262143328850")):
            with open(os.path.join(zone, name), "w") as f:
                f.write(text + "\n")
        self.counter = os.path.join(zone, "energy_uj")
        ports = os.path.join(self.dir.name, "ports")
        self.child = subprocess.Popen([SERVER, ports, os.path.join(self.dir.name, "root"), self.own,
                                       str(int(seccomp))], stdin=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        line = self.child.stderr.readline()  # what the drop says, or the end
        self.rights = line.strip()
        with open(ports) as f:
            self.plain, self.tls = map(int, f.read().split())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.log = self.child.stderr.read()
        try:
            assert self.child.wait(WAIT_S) == 0, self.child.returncode
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
            self.dir.cleanup()

    def get(self, tls):
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            c = http.client.HTTPSConnection("127.0.0.1", self.tls, timeout=WAIT_S, context=context)
        else:
            c = http.client.HTTPConnection("127.0.0.1", self.plain, timeout=WAIT_S)
        c.request("GET", "/total")
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        assert r.status == 200, (r.status, text)
        return int(text)

    def count(self, uj):
        with open(self.counter, "r+") as f:
            f.write(f"{uj}\n")


def serves(seccomp):
    with Served(seccomp) as s:
        assert f"seccomp={int(seccomp)}" in s.rights or "no filter" in s.rights, s.rights
        assert "caps=1" in s.rights, s.rights
        for step, tls in enumerate((False, True) * 5, 1):
            s.get(tls)
            time.sleep(0.02)  # a counter that moved in no time at all is not believed
            s.count(1000000 + step * 1000)
            assert s.get(tls) == step * 1000, step
            with open(os.path.join(s.own, "total")) as f:
                assert int(f.read()) == step * 1000
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert set(pool.map(s.get, [True, False] * 20)) == {10000}
    assert s.log.count(" info http: GET /total\n") == 60, s.log


def test_with_the_filter():
    serves(True)


def test_without_the_filter():
    serves(False)


tap.run(globals())
