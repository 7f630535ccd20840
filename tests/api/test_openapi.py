# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.yaml says what the agent does: the same routes, errors and words as the code, in both
directions, and real answers of the shipped agent fit its schemas, which are closed here so that a member
that it does not know is a failure."""
import copy
import json
import os
import re
import sys

import jsonschema
import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "agent"))
from rig import SOURCE, Agent, Place, Sim, UnixConnection, run_tests, until  # noqa: E402

MACHINE = """[scenario]
title = a package with its parts, a card, a power meter that comes late
[machine]
cpus = 2
[proc]
utilization = 0.5
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = 100W
[rapl intel-rapl:0:0]
name = core
power = 60W
[rapl intel-rapl:0:1]
name = dram
power = 25W
[hwmon 0]
name = power_meter
[hwmon 0 power1]
label = chassis
power = 250W
update = 1s
"""
CONFIG = """[energy]
price_per_kwh = 0.25
currency = "EUR"
[access]
max_windows = 3
"""
MIXINS = ("Moment", "Money", "OpenWindow")


def read(*parts):
    with open(os.path.join(SOURCE, *parts), encoding="utf-8") as f:
        return f.read()


DOC = yaml.safe_load(read("docs", "openapi.yaml"))


def walk(node, path=()):
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, path + (key,))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, path + (i,))


def resolve(node):
    while isinstance(node, dict) and "$ref" in node:
        target = DOC
        for word in node["$ref"].removeprefix("#/").split("/"):
            target = target[word.replace("~1", "/")]
        node = target
    return node


def closed():
    """The document with no room for members that it does not name."""
    doc = copy.deepcopy(DOC)
    for path, node in walk(doc["components"]["schemas"]):
        if isinstance(node, dict) and "properties" in node and path[-1] not in MIXINS and \
                path[-1] != "properties" and "additionalProperties" not in node:
            node["unevaluatedProperties"] = False
    return doc


CLOSED = closed()


def check(schema, value):
    resolver = jsonschema.RefResolver.from_schema(CLOSED)
    errors = list(jsonschema.Draft202012Validator(schema, resolver=resolver).iter_errors(value))
    assert not errors, "\n".join(f"{'/'.join(map(str, e.absolute_path))}: {e.message[:400]}" for e in errors[:5])


def fits(name, value):
    try:
        check({"$ref": f"#/components/schemas/{name}"}, value)
    except AssertionError:
        return False
    return True


def operations():
    for path, item in DOC["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method.upper(), operation


def no_duplicates(pairs):
    keys = [k for k, _ in pairs]
    assert len(keys) == len(set(keys)), f"a member is there twice: {keys}"
    return dict(pairs)


class Client:
    """Asks an agent, and holds each answer against the document."""

    def __init__(self, agent):
        self.agent = agent
        self.seen = set()

    def ask(self, status, method, path, body=None, tcp=False, headers=None):
        ask = self.agent.get if tcp else self.agent.local
        if isinstance(body, dict):
            body = json.dumps(body)
        answer = ask("/api/v1" + path, method=method, body=body, headers=headers)
        assert answer.status == status, (method, path, answer.status, answer.body[:500])
        return self.fit(method, path, answer)

    def fit(self, method, path, answer):
        template = re.sub(r"^(/windows)/[^/]+", r"\1/{id}", path.partition("?")[0])
        item = DOC["paths"].get(template)
        response = None
        if item and method.lower() in item:
            self.seen.add((template, method, answer.status))
            response = item[method.lower()]["responses"].get(str(answer.status))
        elif answer.status == 404:
            response = DOC["components"]["responses"]["NotFound"]
        elif answer.status == 405:
            response = DOC["components"]["responses"]["MethodNotAllowed"]
        assert response, f"{method} {template} has no {answer.status}"
        kind = answer.headers["content-type"].partition(";")[0]
        content = resolve(response)["content"]
        assert kind in content, (method, path, answer.status, kind)
        if answer.status in (429, 503):
            assert int(answer.headers["retry-after"]) > 0
        if kind != "application/json":
            return answer.text
        value = json.loads(answer.body, object_pairs_hook=no_duplicates)
        check(content[kind]["schema"], value)
        if "error" in value:
            assert f"{answer.status} {value['error']['code']}:" in \
                DOC["components"]["schemas"]["ErrorCode"]["description"]
        return value


def test_document_is_sound():
    used = set()
    for path, node in walk(DOC):
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            resolve(node)
            used.add(node["$ref"])
    for name, schema in DOC["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert DOC["openapi"] == "3.1.0"
    ids = [o["operationId"] for _, _, o in operations()]
    assert len(ids) == len(set(ids))
    # Events, and the answer to a method that is not there, are told in words.
    alone = {"schemas/Snapshot", "schemas/StreamEnd", "responses/MethodNotAllowed"}
    for kind in ("schemas", "responses", "parameters", "requestBodies"):
        for name in DOC["components"][kind]:
            if f"{kind}/{name}" not in alone:
                assert f"#/components/{kind}/{name}" in used, f"{kind}/{name} is not used"
    for path, _, operation in operations():
        names = [resolve(p) for p in operation.get("parameters", []) + DOC["paths"][path].get("parameters", [])]
        assert [p["name"] for p in names if p["in"] == "path"] == re.findall(r"{(\w+)}", path), path
    for name in MIXINS:
        assert any("allOf" in path and node == {"$ref": f"#/components/schemas/{name}"}
                   for path, node in walk(DOC)), name


def test_the_check_can_fail():
    right = {"error": {"code": "busy", "message": "x", "cure": None}}
    assert fits("Error", right)
    assert not fits("Error", {"error": {"code": "busy", "message": "x"}})
    assert not fits("Error", {"error": {"code": "lazy", "message": "x", "cure": None}})
    assert not fits("Error", dict(right, more=1))
    assert not fits("Error", {"error": dict(right["error"], more=1)})
    cancelled = {"schema": "ergon.window/1", "id": "0" * 32, "name": "", "state": "cancelled"}
    assert fits("WindowCancelled", cancelled) and not fits("WindowCancelled", dict(cancelled, id="7"))
    listed = {"id": "0" * 32, "name": "", "state": "open", "begin_boot_ns": 1, "begin_unix_seconds": 1,
              "expires_in_seconds": 1}
    assert fits("ListedWindow", listed) and not fits("ListedWindow", dict(listed, owner=0))
    assert not fits("WindowBegun", listed) and fits("WindowBegun", dict(listed, schema="ergon.window/1"))


def test_routes_are_those_of_the_agent():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        index = Client(place.add(Agent(place, sim))).ask(200, "GET", "/")
    real = {(r["path"].removeprefix("/api/v1"), r["method"]): (r["access"], r["summary"])
            for r in index["routes"]}
    written = {(path, method): (o["x-ergon-access"], o["summary"]) for path, method, o in operations()}
    assert real == written, set(real.items()) ^ set(written.items())
    assert len(index["routes"]) == len(real)


def test_errors_are_those_of_the_code():
    text = "".join(read("src", "agent", f) for f in sorted(os.listdir(os.path.join(SOURCE, "src/agent")))
                   if re.match(r"api\w*\.c$", f))
    code = set(re.findall(r'\{\s*([45]\d\d),\s*"(\w+)"', text))
    code |= {("410", word) for word in re.findall(r'k->expired \? "(\w+)" : "(\w+)"', text)[0]}
    schema = DOC["components"]["schemas"]["ErrorCode"]
    written = set(re.findall(r"^\* (\d+) (\w+):", schema["description"], re.M))
    assert code == written, code ^ written
    assert {word for _, word in written} == set(schema["enum"])
    statuses = {status for _, _, o in operations() for status in o["responses"]}
    assert {status for status, _ in written} <= statuses | {"405"}


def test_words_are_those_of_the_code():
    schemas = DOC["components"]["schemas"]
    vocab = read("src", "core", "vocab.h")
    for table, name in (("COMPONENTS", "Component"), ("SOURCES", "Source"), ("PROVENANCES", "Provenance"),
                        ("BOUNDARIES", "Boundary"), ("QUANTITIES", "Quantity"), ("STATUSES", "Status"),
                        ("FLAGS", "Flag"), ("DIAG_CODES", "DiagnosticCode")):
        body = re.search(rf"#define EG_{table}\(X\)((?:.*\\\n)*.*\n)", vocab).group(1)
        words = re.findall(r'X\(\w+,\s*"(\w+)"', body)
        assert words and words == schemas[name]["enum"], (name, words, schemas[name]["enum"])
    roles = re.search(r"eg_role_word.*?\{(.*?)\}\s*;", read("src", "core", "boundary.c"), re.S).group(1)
    assert re.findall(r'"(\w+)"', roles) == schemas["Role"]["enum"]


def test_readings():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim, config=CONFIG))
        c = Client(agent)
        for tcp in (False, True):
            assert c.ask(200, "GET", "/", tcp=tcp)["access"] == ("coarse" if tcp else "full")
            c.ask(200, "GET", "/totals", tcp=tcp)
        sim.time.sleep(30)
        for tcp in (False, True):
            sensors = c.ask(200, "GET", "/sensors", tcp=tcp)
            assert {"rapl", "hwmon"} <= {d["name"] for d in sensors["drivers"] if d["state"] == "ok"}
            assert all(("summary" in d) == d["built"] for d in sensors["drivers"])
            totals = c.ask(200, "GET", "/totals?top=2", tcp=tcp)
            assert totals["price"] == {"per_kwh": 0.25, "currency": "EUR", "decimals": 2}
            assert totals["total"]["cost_text"] and len(totals["top"]["channels"]) == 2
            assert c.ask(200, "GET", "/power", tcp=tcp)["total"]["watts"] > 0
            history = c.ask(200, "GET", "/history", tcp=tcp)
            assert len(history["entries"]) > 10 and history["channels"]
            c.ask(400, "GET", "/totals?top=none", tcp=tcp)
            c.ask(400, "GET", "/history?minutes=0", tcp=tcp)
            c.ask(400, "GET", "/events?interval=soon", tcp=tcp)
            c.ask(404, "GET", "/energy", tcp=tcp)
            c.ask(405, "DELETE", "/totals", tcp=tcp)
            c.ask(405, "PUT", "/totals", tcp=tcp)
        assert c.ask(200, "GET", "/totals?fresh=1")["fresh"] is True
        assert c.ask(200, "GET", "/totals?fresh=1", tcp=True)["fresh"] is False
        assert c.ask(200, "POST", "/sample?top=1")["fresh"] is True
        c.ask(400, "POST", "/sample", body="{")
        c.ask(403, "POST", "/sample", tcp=True)


def test_without_price_and_history():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim, config="[agent]\nhistory = 0\n[access]\nothers = \"none\"\n"
                                "anonymous = \"none\"\n"))
        c = Client(agent)
        c.ask(404, "GET", "/history")
        assert "price" not in c.ask(200, "GET", "/totals")
        for path, method, _ in operations():
            c.ask(403, method, path.replace("{id}", "0" * 32), tcp=True)
    with Place() as place:
        tokens = place.path("tokens")
        with open(tokens, "w") as f:
            f.write("0123456789abcdef0123456789abcdef\n")
        os.chmod(tokens, 0o600)
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim, config=f"[http]\ntoken_file = \"{tokens}\"\n[access]\n"
                                "anonymous = \"none\"\n"))
        c = Client(agent)
        for path, method, _ in operations():
            c.ask(401, method, path.replace("{id}", "0" * 32), tcp=True)
        good = {"Authorization": "Bearer 0123456789abcdef0123456789abcdef"}
        assert c.ask(200, "GET", "/", tcp=True, headers=good)["access"] == "full"
        c.ask(401, "GET", "/", tcp=True, headers={"Authorization": "Bearer 0123456789abcdef0123456789abcdee"})


def test_windows():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim, config=CONFIG))
        c = Client(agent)
        for tcp in (False, True):
            sim.time.sleep(2)
            one = c.ask(201, "POST", "/windows", {"name": "one", "expires_seconds": 600}, tcp)["id"]
            two = c.ask(201, "POST", "/windows", tcp=tcp)["id"]
            gone = c.ask(201, "POST", "/windows", {}, tcp)["id"]
            c.ask(429, "POST", "/windows", {}, tcp)
            assert len(c.ask(200, "GET", "/windows", tcp=tcp)["windows"]) == (0 if tcp else 3)
            c.ask(200, "POST", f"/windows/{one}/units", {"unit": "requests", "count": 0}, tcp)
            for i in range(7):
                c.ask(200, "POST", f"/windows/{one}/units", {"unit": f"u{i}", "count": 2 ** 63 - 1}, tcp)
            c.ask(409, "POST", f"/windows/{one}/units", {"unit": "more", "count": 1}, tcp)
            for i in range(2):
                c.ask((200, 409)[i], "POST", f"/windows/{one}/units", {"unit": "u1", "count": 2 ** 63 - 1}, tcp)
            c.ask(400, "POST", f"/windows/{one}/units", {"unit": "u1"}, tcp)
            c.ask(404, "POST", f"/windows/{'0' * 32}/units", {"unit": "u1", "count": 1}, tcp)
            sim.time.sleep(10)
            assert c.ask(200, "GET", f"/windows/{one}", tcp=tcp)["state"] == "open"
            sim.time.sleep(2)
            c.ask(200, "DELETE", f"/windows/{two}", tcp=tcp)
            c.ask(404, "DELETE", f"/windows/{two}", tcp=tcp)
            c.ask(400, "POST", f"/windows/{one}/end", {"now": True}, tcp)
            result = c.ask(200, "POST", f"/windows/{one}/end", tcp=tcp)
            assert result["state"] == "ended" and len(result["units"]) == 8 and result["cost"] > 0
            assert c.ask(410, "GET", f"/windows/{one}", tcp=tcp)["result"]["total"] == result["total"]
            for method, path in (("POST", "/end"), ("DELETE", "")):
                c.ask(410, method, f"/windows/{one}{path}", tcp=tcp)
            c.ask(410, "POST", f"/windows/{one}/units", {"unit": "u", "count": 1}, tcp)
            c.ask(404, "GET", "/windows/7", tcp=tcp)
            sim.time.sleep(2)
            c.ask(200, "POST", f"/windows/{gone}/end", tcp=tcp)
        expires = c.ask(201, "POST", "/windows", {"expires_seconds": 5})["id"]
        sim.time.sleep(7)
        assert c.ask(410, "GET", f"/windows/{expires}")["result"]["state"] == "expired"
        c.ask(403, "POST", "/windows", tcp=True, headers={"Origin": "http://elsewhere.example"})
        good = {(path, method): min(s for s in o["responses"]) for path, method, o in operations()
                if path.startswith("/windows")}
        for (path, method), status in good.items():
            assert (path, method, int(status)) in c.seen, (path, method, status)


def test_requests_fit_where_the_agent_takes_them():
    """What the schema of a body takes the agent takes, and what it refuses gives 400."""
    windows = [{}, {"name": ""}, {"name": "n" * 127}, {"name": "n" * 128}, {"name": 1}, {"name": None}, [], 7, "x",
               {"expires_seconds": 0.001}, {"expires_seconds": 0}, {"expires_seconds": -1}, {"expires_seconds": 60},
               {"expires_seconds": "60"}, {"expires_seconds": True}, {"nmae": "x"}, {"name": "a", "x": {}}]
    units = [{"unit": "a", "count": 0}, {"unit": "a", "count": 2 ** 63 - 1}, {"unit": "a", "count": 2 ** 63},
             {"unit": "a", "count": -1}, {"unit": "a", "count": 0.5}, {"unit": "a", "count": "1"}, {"unit": "a"},
             {"count": 1}, {"unit": "", "count": 1}, {"unit": "u" * 31, "count": 1}, {"unit": "u" * 32, "count": 1},
             {"unit": None, "count": 1}, {"unit": "a", "count": 1, "of": 2}, []]
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        c = Client(place.add(Agent(place, sim)))
        for body in windows:
            c.ask(201 if fits("WindowRequest", body) else 400, "POST", "/windows", json.dumps(body))
        for body in units:
            window = c.ask(201, "POST", "/windows")["id"]
            c.ask(200 if fits("UnitsRequest", body) else 400, "POST", f"/windows/{window}/units", json.dumps(body))
        for body in ({}, {"x": 1}, []):
            c.ask(200 if body == {} else 400, "POST", "/sample", json.dumps(body))


def read_event(response):
    event = {}
    while True:
        line = response.readline().decode()
        assert line, "the stream ended"
        if line == "\n":
            return event
        key, _, value = line.rstrip("\n").partition(": ")
        event[key] = value


def test_events():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        connection = UnixConnection(agent.socket)
        connection.request("GET", "/api/v1/events")
        response = connection.getresponse()
        assert response.status == 200 and response.headers["Content-Type"] == "text/event-stream"
        for _ in range(3):
            event = read_event(response)
            assert event["event"] == "snapshot"
            value = json.loads(event["data"], object_pairs_hook=no_duplicates)
            check({"$ref": "#/components/schemas/Snapshot"}, value)
            assert int(event["id"]) == value["seq"]
            sim.time.sleep(1)
        agent.process.terminate()
        until("the last event", lambda: event["event"] == "end" or event.update(read_event(response)))
        check({"$ref": "#/components/schemas/StreamEnd"}, json.loads(event["data"]))
        connection.close()


if __name__ == "__main__":
    run_tests(globals())
