# SPDX-License-Identifier: Apache-2.0
"""The example server on a real agent and a simulated machine: every request gets its joules, however many
run at once, and they and the rest sum to the account. argv[3]: the server."""
import http.client
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import Agent, Place, Sim, run_tests, until  # noqa: E402

SERVER = os.path.abspath(sys.argv[3])


class Server:
    def __init__(self, place, page):
        self.log = place.path("server-log")
        self.file = open(self.log, "wb")
        self.process = subprocess.Popen([SERVER, "0", page], stdout=subprocess.PIPE, stderr=self.file)
        line = self.process.stdout.readline().decode()
        self.port = int(re.search(r":(\d+)$", line.strip()).group(1))

    def get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def joules(self, ms):
        """Of one request; None: the server does not know."""
        status, text = self.get(f"/work?ms={ms}")
        assert status == 200 and f"done in {ms} ms" in text, (status, text)
        m = re.search(r"^([0-9.]+) J, ", text, re.M)
        assert m or "energy unknown" in text, text
        return float(m.group(1)) if m else None

    def totals(self):
        status, text = self.get("/energy")
        assert status == 200, (status, text)
        return {k: float(v) for k, v in re.findall(r"^(\w+) ([0-9.]+)$", text, re.M)}

    def warnings(self):
        with open(self.log) as f:
            return f.read()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.file.close()


def sums(t):
    assert abs(t["request_joules"] + t["nonrequest_joules"] - t["account_joules"]) <= \
        1e-3 * t["account_joules"] + 1e-5, t


def test_requests_at_once_sum_to_the_account():
    with Place() as place:
        sim = place.add(Sim(place, "constant-200w"))
        agent = place.add(Agent(place, sim, "--interval", "100ms"))
        server = place.add(Server(place, agent.page))
        until("the first ticks", lambda: server.totals().get("account_joules"))
        got = []

        def ask(i):
            time.sleep(0.02 * (i % 17))
            got.append(server.joules([5, 30, 120, 400, 900][i % 5]))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(50)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        t = server.totals()
        assert len(got) == 50 and None not in got
        print(f"# 50 requests {sum(got):.3f} J, requests {t['request_joules']:.3f} J + rest "
              f"{t['nonrequest_joules']:.3f} J = account {t['account_joules']:.3f} J")
        sums(t)
        assert t["requests"] == 50 and t["partial_ticks"] == 0
        # Every request has ended: what they were told is what was counted.
        assert abs(sum(got) - t["request_joules"]) <= 1e-3 * t["request_joules"]
        # Alone, a request gets what the machine used meanwhile, also where it is shorter than a tick.
        alone = [server.joules(50) for _ in range(10)]
        assert all(9.5 < x < 200 for x in alone), alone
        agent.stop()


def test_the_agent_goes_and_comes():
    with Place() as place:
        sim = place.add(Sim(place, "constant-200w"))
        agent = place.add(Agent(place, sim, "--interval", "100ms"))
        server = place.add(Server(place, agent.page))
        until("the first ticks", lambda: server.totals().get("account_joules"))
        assert server.joules(200) > 30
        agent.stop()
        until("the warning", lambda: "no energy for now" in server.warnings())
        assert server.joules(10) is None and server.joules(10) is None
        agent.close()
        agent = place.add(Agent(place, sim, "--interval", "100ms"))
        until("the agent", lambda: "the agent is back" in server.warnings())
        before = server.totals()["account_joules"]
        assert server.joules(200) > 30
        t = server.totals()
        assert t["account_joules"] > before
        sums(t)
        assert server.warnings().count("no energy for now") == 1, server.warnings()
        agent.stop()


def test_a_request_that_was_not_measured_from_its_begin_says_so():
    with Place() as place:
        sim = place.add(Sim(place, "constant-200w"))
        agent = place.add(Agent(place, sim, "--interval", "100ms"))
        agent.stop()
        server = place.add(Server(place, agent.page))
        got = []
        t = threading.Thread(target=lambda: got.append(server.get("/work?ms=6000")))
        t.start()
        until("the request", lambda: server.totals()["requests"] == 1)
        agent.close()
        agent = place.add(Agent(place, sim, "--interval", "100ms"))
        t.join()
        assert re.search(r"^[0-9.]+ J at least, ", got[0][1], re.M), got
        assert re.search(r"^[0-9.]+ J, ", server.get("/work?ms=200")[1], re.M)
        agent.stop()


def test_without_an_agent():
    with Place() as place:
        server = place.add(Server(place, place.path("nothing")))
        until("the warning", lambda: "no energy for now" in server.warnings())
        assert [server.joules(0) for _ in range(300)] == [None] * 300
        assert server.totals()["account_joules"] == 0
        assert server.get("/nothing")[0] == 404
        assert server.warnings().count("\n") == 1, server.warnings()


if __name__ == "__main__":
    run_tests(globals())
