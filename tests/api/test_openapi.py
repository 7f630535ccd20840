# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.yaml against the shipped agent: the same routes on both sides, and real answers that fit
their schemas, errors included. argv[1] is ergon, argv[2] the source tree."""
import http.client
import json
import os
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "agent"))
from rig import NS, SOURCE, Agent, Place, Sim, Skip, UnixConnection, run_tests, until  # noqa: E402

try:
    import jsonschema
    import yaml
except ImportError as e:
    jsonschema, missing = None, str(e)

MACHINE = """[scenario]
title = two packages, dram, a gauge
[machine]
cpus = 4
packages = 2
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = 100W
[rapl intel-rapl:0:0]
name = dram
max-power = 50W
power = 12W
[rapl intel-rapl:1]
name = package-1
max-power = 200W
power = 50W
"""
PREFIX = "/api/v1"


def convert(schema):
    """OpenAPI 3.0 to JSON Schema draft 4: `nullable`."""
    if isinstance(schema, list):
        return [convert(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {k: convert(v) for k, v in schema.items() if k != "nullable"}
    if schema.get("nullable") is True:
        return {"anyOf": [out, {"enum": [None]}]}
    return out


class Document:
    def __init__(self):
        if jsonschema is None:
            raise Skip(f"needs python3-jsonschema and python3-yaml: {missing}")
        with open(os.path.join(SOURCE, "docs/openapi.yaml")) as f:
            self.raw = yaml.safe_load(f)
        self.converted = convert(self.raw)

    def routes(self):
        return {(method.upper(), PREFIX + path) for path, item in self.raw["paths"].items()
                for method in item if method != "parameters"}

    def resolve(self, node):
        while "$ref" in node:
            at = self.converted
            for part in node["$ref"][2:].split("/"):
                at = at[part]
            node = at
        return node

    def check(self, method, path, answer):
        """The answer fits what the document says of this route and status."""
        operation = self.converted["paths"][path[len(PREFIX):] or "/"][method.lower()]
        responses = operation["responses"]
        response = self.resolve(responses.get(str(answer.status)) or responses["default"])
        assert answer.status < 400 or str(answer.status) not in responses
        if "content" not in response:
            assert not answer.body, answer.body
            return None
        assert answer.headers["content-type"].split(";")[0] in response["content"], answer.headers
        schema = response["content"]["application/json"]["schema"]
        value = answer.json
        jsonschema.Draft4Validator(dict(schema, components=self.converted["components"])).validate(value)
        return value


def test_the_same_routes_on_both_sides():
    document = Document()
    with Place() as place:
        agent = place.add(Agent(place, place.add(Sim(place, MACHINE, clock=True))))
        told = {(r["method"], r["path"]) for r in agent.local(PREFIX).json["routes"]}
        assert told == document.routes(), told ^ document.routes()
        agent.stop()


def test_answers_fit_their_schemas():
    document = Document()
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim, config='[energy]\nprice_per_kwh = 0.12\n'))
        sim.time.sleep(10)

        def ask(method, path, body=None, route=None, status=200):
            a = agent.local(PREFIX + path, method, body)
            assert a.status == status, (method, path, a.status, a.body)
            return document.check(method, PREFIX + (route or path.split("?")[0]), a)
        ask("GET", "/")
        ask("GET", "/sensors")
        totals = ask("GET", "/totals?top=1&fresh=1")
        assert totals["fresh"] and totals["total"]["cost"] > 0 and "$" in totals["total"]["cost_text"], totals
        top = totals["top"]
        assert abs(sum(c["joules"] for c in top["channels"]) + top["other"]["joules"] - top["of_joules"]) < 1e-6
        ask("GET", "/power")
        ask("POST", "/sample")
        assert len(ask("GET", "/history?minutes=1")["entries"]) >= 5
        w = ask("POST", "/windows", {"name": "session"}, status=201)
        one = f"/windows/{w['id']}"
        begin = sim.time.now()
        sim.time.sleep(10)
        ask("POST", one + "/units", {"unit": "tokens", "count": 100}, route="/windows/{id}/units")
        assert [x["id"] for x in ask("GET", "/windows")["windows"]] == [w["id"]]
        ask("GET", one, route="/windows/{id}")
        result = ask("POST", one + "/end", route="/windows/{id}/end")
        truth = sim.truth(begin, sim.time.now())
        want = sum(v for k, v in truth.items())
        print(f"# window: {result['total']['joules']:.6f} J, truth {want:.6f} J")
        assert abs(result["total"]["joules"] - want) < 0.001
        assert abs(result["units"][0]["joules_per_unit"] - want / 100) < 1e-4
        w = ask("POST", "/windows", {}, status=201)
        a = agent.local(f"{PREFIX}/windows/{w['id']}", "DELETE")
        assert a.status in (200, 204), a.status
        document.check("DELETE", PREFIX + "/windows/{id}", a)
        # Errors have one shape.
        none = "0" * 32
        for method, path, route, body, status in (
                ("GET", f"/windows/{none}", "/windows/{id}", None, 404),
                ("POST", "/windows", "/windows", "{", 400),
                ("POST", "/windows", "/windows", '{"nmae": "x"}', 400),
                ("GET", "/history?minutes=x", "/history", None, 400)):
            a = agent.local(PREFIX + path, method, body)
            assert a.status == status, (path, a.status, a.body)
            document.check(method, PREFIX + route, a)
        a = agent.local(PREFIX + "/nothing")
        assert a.status == 404 and a.json["error"]["code"] == "not_found"
        a = agent.local(PREFIX + "/totals", "DELETE")
        assert a.status == 405 and "GET" in a.headers["allow"]
        assert agent.local(PREFIX + "/windows", "POST", "x" * 70000).status == 413
        agent.stop()


def test_events_arrive_and_end():
    document = Document()
    schema = dict(document.converted["components"]["schemas"]["Snapshot"],
                  components=document.converted["components"])
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        c = UnixConnection(agent.socket)
        c.request("GET", PREFIX + "/events")
        r = c.getresponse()
        assert r.status == 200 and r.headers["content-type"].startswith("text/event-stream")
        lines = []

        def read():
            while True:
                line = r.readline()
                if not line:
                    break
                lines.append(line.decode().rstrip("\n"))
        reader = threading.Thread(target=read)
        reader.start()
        sim.time.sleep(5.5)
        until("five events", lambda: lines.count("event: snapshot") >= 5)
        assert agent.stop() == 0
        reader.join(20)
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {\"schema\"")]
        for e in events:
            jsonschema.Draft4Validator(schema).validate(e)
        joules = [e["total_joules"] for e in events]
        assert joules == sorted(joules) and joules[-1] > joules[0]
        assert "event: end" in lines, lines[-4:]


def test_many_clients_and_windows():
    """50 programs with windows of their own at once, over both faces; each sum is the account's."""
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        ids = []
        for k in range(50):
            a = agent.local(PREFIX + "/windows", "POST", {"name": f"w{k}"})
            assert a.status == 201, a.body
            ids.append((a.json["id"], sim.time.now()))
            if k % 10 == 9:
                sim.time.sleep(1)
        connections = [UnixConnection(agent.socket) for _ in range(50)]
        for c, (ident, _) in zip(connections, ids):
            c.request("POST", f"{PREFIX}/windows/{ident}/end")
        end = sim.time.now()
        for c, (ident, begin) in zip(connections, ids):
            r = json.loads(c.getresponse().read())
            truth = sum(sim.truth(begin, end).values()) if end > begin else 0
            if end > begin:
                assert abs(r["total"]["joules"] - truth) < 0.001, (r["total"], truth)
            c.close()
        assert agent.local(PREFIX + "/windows").json["windows"] == []
        agent.stop()


if __name__ == "__main__":
    run_tests(globals())
