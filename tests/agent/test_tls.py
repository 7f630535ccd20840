# SPDX-License-Identifier: Apache-2.0
"""The agent beyond loopback: TLS, tokens and passwords as its configuration has them, before a real
Prometheus and before programs, and what a reload changes of it."""
import base64
import os
import shutil
import socket
import ssl

from rig import Agent, Place, Prometheus, Sim, run_tests, until
from identity import Authority, hash_of

MACHINE = """[scenario]
title = one package
[machine]
cpus = 2
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = 100W
"""
CONFIG = """[http]
tls_certificate = "{0}/node.crt"
tls_key = "{0}/node.key"
token_file = "{0}/tokens"
basic_auth_file = "{0}/users"
[access]
anonymous = "{1}"
"""
TOKEN, NEXT = "a-token-of-the-first-day", "a-token-of-the-next-day"
WRONG = "a-token-of-nobody-at-all"
BEARER, NEXT_BEARER, WRONG_BEARER = ({"Authorization": "Bearer " + t} for t in (TOKEN, NEXT, WRONG))


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Secured(Place):
    """A machine, its agent, and the files that it is configured with."""

    def __init__(self, anonymous="none"):
        super().__init__()
        self.pki = self.path("pki")
        os.mkdir(self.pki)
        self.authority = Authority(self.pki)
        self.install(self.authority.issue("first"))
        self.write("tokens", TOKEN)
        self.write("users", "alice:" + hash_of("right", "$y$"))
        self.sim = self.add(Sim(self, MACHINE))
        self.agent = self.add(Agent(self, self.sim, config=CONFIG.format(self.pki, anonymous),
                                    tls=ssl.create_default_context(cafile=self.authority.crt)))

    def write(self, name, *lines):
        with open(os.path.join(self.pki, name), "w") as f:
            f.writelines(line + "\n" for line in lines)
        os.chmod(f.name, 0o600)
        return f.name

    def install(self, pair):
        shutil.copy(pair.crt, os.path.join(self.pki, "node.crt"))
        shutil.copy(pair.key, os.path.join(self.pki, "node.key"))

    def reload(self, refused=False):
        """Until the agent has said what came of it; returns what it said."""
        before = len(self.agent.log())
        self.agent.reload()

        def said():
            # The last line of it ends with the cause.
            text = self.agent.log()[before:]
            good, bad = "reloaded" in text.replace("not reloaded", ""), "not reloaded" in text
            return text if text.endswith("\n") and (good or bad and text.count("\n") > 1) else None

        text = until("the reload", said)
        assert ("not reloaded" in text) == refused, text
        return text

    def certificate(self):
        """What a new connection is shown."""
        with socket.create_connection((self.agent.host, self.agent.port), timeout=30) as s:
            with self.agent.tls.wrap_socket(s, server_hostname="127.0.0.1") as c:
                return c.getpeercert(binary_form=True)

    def status(self, path, headers=None, method="GET", body=None):
        return self.agent.get(path, headers, method, body).status


def test_who_may_ask_what():
    with Secured() as place:
        agent = place.agent
        assert agent.scheme == "https"
        alice = basic("alice", "right")
        wrong = (WRONG_BEARER, basic("alice", "wrong"), basic("bob", "right"), basic("token", TOKEN))
        for path in ("/metrics", "/", "/api/v1", "/api/v1/totals", "/api/v1/power", "/api/v1/sensors",
                     "/api/v1/windows", "/nix"):
            answer = agent.get(path)
            assert answer.status == 401, (path, answer.status)
            assert "www-authenticate" in answer.headers and b"joules" not in answer.body, answer.body
            for good in (BEARER, alice):
                assert place.status(path, good) == (404 if path == "/nix" else 200), path
            assert place.status(path, WRONG_BEARER) == 401, path
        assert place.status("/-/healthy") == place.status("/-/ready") == 200
        for bad in wrong:
            assert place.status("/-/healthy", bad) == 200 and place.status("/metrics", bad) == 401, bad
        # Windows belong to who began them.
        assert place.status("/api/v1/windows", method="POST", body="{}") == 401
        begun = agent.get("/api/v1/windows", BEARER, "POST", "{}")
        assert begun.status == 201, begun.body
        mine = "/api/v1/windows/" + begun.json["id"]
        assert place.status(mine, BEARER) == 200
        for other, status in ((None, 401), (alice, 404), (WRONG_BEARER, 401)):
            assert place.status(mine, other) == status, other
            assert place.status(mine, other, "DELETE") == status, other
        assert len(agent.get("/api/v1/windows", alice).json["windows"]) == 0
        assert len(agent.get("/api/v1/windows", BEARER).json["windows"]) == 1
        # Who logged in has full access; the socket asks for none of this.
        assert place.status("/api/v1/sample", alice, "POST") == 200
        assert agent.local("/api/v1/totals").status == agent.local("/metrics").status == 200

        for anonymous, status in (("coarse", 401), ("full", 200)):
            with open(agent.config, "w") as f:
                f.write(CONFIG.format(place.pki, anonymous))
            place.reload()
            for path in ("/metrics", "/api/v1/totals"):
                assert place.status(path) == 200, path
                for bad in wrong[:1]:
                    assert place.status(path, bad) == 401, "wrong is wrong, whatever anybody may see"
            assert place.status("/api/v1/sample", method="POST") == status
            assert place.status(mine) == 404 and place.status(mine, BEARER) == 200
        assert agent.stop() == 0, agent.log()


def test_prometheus_and_reload():
    with Secured() as place:
        agent, pki = place.agent, place.pki
        late = Authority(pki, "late")
        trusted = f"scheme: https\ntls_config: {{ca_file: {place.authority.crt}}}\n"
        new = f"scheme: https\ntls_config: {{ca_file: {late.crt}}}\n"

        def token(text):
            return f"authorization: {{credentials_file: {place.write('scrape-' + text, text)}}}\n"

        def password(text):
            return f"basic_auth: {{username: alice, password_file: {place.write('password-' + text, text)}}}\n"

        prometheus = place.add(Prometheus(place, agent.address, {
            "token": trusted + token(TOKEN),
            "password": trusted + password("right"),
            "nobody": trusted,
            "wrong-token": trusted + token(WRONG),
            "wrong-password": trusted + password("wrong"),
            "untrusting": new + token(TOKEN),
            "plain": token(TOKEN),
            "next": trusted + token(NEXT),
            "next-untrusting": new + token(NEXT),
        }))

        def job(name, up, why=""):
            def look():
                found = prometheus.job(name)
                return found and found[0] == up and why in found[1]
            try:
                until("its scrape", look, 15)
            except AssertionError:
                raise AssertionError((name, up, why, prometheus.job(name))) from None

        job("token", True)
        job("password", True)
        for name in ("nobody", "wrong-token", "next"):
            job(name, False, "HTTP status 401")
        job("wrong-password", False, "HTTP status 4")  # 401, or 429 when it has tried too often
        for name in ("untrusting", "next-untrusting"):
            job(name, False, "certificate signed by unknown authority")
        job("plain", False)
        found = {m["metric"]["job"]: float(m["value"][1]) for m in prometheus.query("up")}
        assert {name for name, up in found.items() if up} == {"token", "password"} and len(found) == 9, found
        watts = {m["metric"]["job"] for m in prometheus.query('ergon_energy_joules_total{component="package"}')}
        assert watts == {"token", "password"}, watts

        # What is broken changes nothing, and is said once.
        first = place.certificate()
        place.write("node.key", "nonsense")
        place.write("tokens", NEXT)
        said = place.reload(refused=True)
        assert said.count("\n") == 2 and said.count("node.key cannot be used") == 1, said
        assert place.certificate() == first
        assert place.status("/metrics", BEARER) == 200 and place.status("/metrics", NEXT_BEARER) == 401
        place.install(place.authority.issue("second"))
        place.write("tokens", "short")
        said = place.reload(refused=True)
        assert said.count("\n") == 2 and said.count("tokens:1: a token is one word") == 1, said
        assert place.certificate() == first and place.status("/metrics", BEARER) == 200
        job("token", True)
        job("next", False, "HTTP status 401")

        # A new token, and a certificate by the same authority.
        place.write("tokens", NEXT)
        place.reload()
        assert place.certificate() != first
        assert place.status("/metrics", BEARER) == 401 and place.status("/metrics", NEXT_BEARER) == 200
        job("next", True)
        job("token", False, "HTTP status 401")
        job("password", True)
        job("next-untrusting", False, "certificate signed by unknown authority")

        # A certificate by another authority, at another place.
        other = late.issue("third")
        with open(agent.config) as f:
            text = f.read()
        with open(agent.config, "w") as f:
            f.write(text.replace("node.", "third."))
        said = place.reload()
        assert "after a restart" not in said, said
        job("next-untrusting", True)
        job("untrusting", False, "HTTP status 401")
        agent.tls = ssl.create_default_context(cafile=late.crt)
        assert ssl.DER_cert_to_PEM_cert(place.certificate()) in open(other.crt).read()
        assert agent.stop() == 0, agent.log()


if __name__ == "__main__":
    run_tests(globals())
