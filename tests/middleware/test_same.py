# SPDX-License-Identifier: Apache-2.0
"""The middleware of the Node package and of the Python package, by one table: the same script of requests and
readings gives the same page in both, to the last series; and the same requests of real servers (node:http,
WSGI, ASGI), with the shipped agent on a simulated machine, are told with the same labels."""
import asyncio
import http.client
import json
import math
import os
import random
import socket
import socketserver
import subprocess
import sys
import threading
import time
import warnings
import wsgiref.simple_server

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "python"))
import prometheus_client  # noqa: E402
import uvicorn  # noqa: E402
from rig_python import PACKAGE, Agent, Place, Sim, ergon, run_tests, until  # noqa: E402
from ergon.middleware import asgi, wsgi  # noqa: E402
from ergon.middleware.prometheus import Collector  # noqa: E402

with open(os.path.join(HERE, "table.json"), encoding="utf-8") as table:
    TABLE = json.load(table)
RANDOM_SCRIPTS = 120 * int(os.environ.get("ERGON_SOAK") or 1)


def totals(at, reading):
    """The agent's answer, as docs/openapi.yaml has it."""
    def account(device, component, channel, joules, provenance="measured", held=False,
                since=reading.get("since", 1)):
        return {"device": device, "component": component, "provenance": provenance, "source": "rapl",
                "boundary": "component", "channel": channel, "role": "total", "held": held, "joules": joules,
                "uncertainty_joules": None, "status": reading.get("status", "ok"), "age_seconds": 0,
                "gap_seconds": reading.get("gap", 0), "resets": reading.get("resets", 0),
                "recovered_joules": 0, "since_unix_seconds": since}
    accounts = [account("cpu-0", "package", "rapl/package-0", reading["joules"])]
    if "gpu" in reading:
        accounts.append(account("gpu-0", "gpu", "nvml/gpu-0", reading["gpu"]))
    if "held" in reading:
        accounts.append(account("cpu-0", "package", "rapl/package-0", reading["held"], "estimated", True,
                                reading["held_since"]))
    age = reading.get("age", 0)
    boot_ms = at - round(age * 1000) + reading.get("clock", 0)
    return json.dumps({
        "schema": "ergon.totals/1", "boot_ns": boot_ms * 1000000, "unix_seconds": 1000 + boot_ms / 1000,
        "age_seconds": age, "access": "full",
        "total": {"joules": round(sum(a["joules"] for a in accounts), 6),
                  "estimated_joules": reading.get("held", 0),
                  "uncertainty_joules": None, "provenance": "measured", "boundary": "component",
                  "channels": sorted({a["channel"] for a in accounts})}, "accounts": accounts})


def expanded(script):
    return {**script, "steps": [[what, at, totals(at, *words)] if what == "reading" else [what, at, *words]
                                for what, at, *words in script["steps"]]}


def played(scripts):
    """What both make of them."""
    with Place() as place:
        path = place.path("scripts.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump([expanded(script) for script in scripts], f)
        found = []
        for words in (["node", os.path.join(HERE, "play.js"), path],
                      [sys.executable, os.path.join(HERE, "play.py"), PACKAGE, path]):
            r = subprocess.run(words, capture_output=True, text=True, timeout=240)
            assert r.returncode == 0, r.stderr[-3000:]
            found.append([json.loads(line) for line in r.stdout.splitlines()])
        assert [len(one) for one in found] == [len(scripts)] * 2
        return zip(*found)


def same(a, b):
    return abs(a - b) <= 1e-9 * max(1.0, abs(a), abs(b))


def compare(script, node, python):
    for step, x, y in zip(script["steps"], node["pages"], python["pages"]):
        assert set(x) == set(y), (script["name"], step, set(x) ^ set(y))
        for key in x:
            assert same(x[key], y[key]), (script["name"], step, key, "Node", x[key], "Python", y[key])


def closes(page):
    total = page.get("app_energy_joules_total")
    if total is None:
        return
    parts = sum(v for k, v in page.items() if k.startswith("app_request_energy_joules_sum")) + \
        page["app_inflight_energy_joules"] + page["app_nonrequest_energy_joules_total"]
    assert abs(parts - total) <= 1e-9 * max(1.0, total), (parts, total)


def test_both_give_the_numbers_of_the_table():
    for script, pages in zip(TABLE["scripts"], played(TABLE["scripts"])):
        for (what, _, *words), *found in zip(script["steps"], *(one["pages"] for one in pages)):
            for name, page in zip(("Node", "Python"), found):
                closes(page)
                for key, want in words[0].items() if what == "expect" else ():
                    have = page.get(key)
                    assert (have is None) == (want is None) and (want is None or same(have, want)), \
                        (script["name"], name, key, "is", have, "not", want, page)
        compare(script, *pages)
    print(f"# {len(TABLE['scripts'])} scripts")


def chance(rng):
    """A script of anything that can happen."""
    at, joules, gap, resets, since, held, born, n = 0, rng.uniform(0, 1e6), 0.0, 0, 1, 0.0, None, 0
    steps, open_ = [], []
    for _ in range(rng.randint(5, 90)):
        at += rng.choice((0, 1, rng.randint(1, 50), rng.randint(1, 2000)))
        what = rng.random()
        if what < 0.35:
            open_.append(f"r{n}")
            n += 1
            steps.append(["begin", at, open_[-1]])
        elif what < 0.65 and open_:
            id_ = open_.pop(rng.randrange(len(open_)))
            method = rng.choice(("GET", "POST", "BREW"))
            route = rng.choice((None, "/a", "/b", "/c", "/d" + "x" * 200))
            steps.append(["end", at, id_, method, route, rng.choice((200, 304, 404, 500, 101, 777))]
                         if rng.random() < 0.8 else ["abort", at, id_, method, route])
        elif what < 0.7:
            steps.append(["units", at, rng.choice(("tokens", "rows", "u" * 200)), rng.randint(0, 9)])
        elif what < 0.73:
            at += rng.choice((0, 0, 5001, 30000, 61000))
            steps.append(["away", at])
        else:
            at += 1
            joules += rng.uniform(0, 100)
            gap += rng.choice((0,) * 39 + (0.25,))
            resets += rng.random() < 0.02
            held += rng.choice((0,) * 29 + (1.5,))
            if rng.random() < 0.02:
                joules, since = rng.uniform(0, 10), since + 2
            reading = {"joules": round(joules, 6), "gap": gap, "resets": int(resets), "since": since}
            if held:
                born = born or 1000 + at / 1000
                reading.update(held=held, held_since=born)
            if rng.random() < 0.03:
                reading["gpu"] = 5
            if rng.random() < 0.03:
                reading["status"] = rng.choice(("error", "stale", "reset"))
            steps.append(["reading", at, reading])
    options = {"routes": rng.choice((1, 3, 100)), "pending": rng.choice((3, 20, 1000, 1000)),
               "window": rng.choice((3000, 300000))}
    return {"name": f"chance {rng.random()}", "options": options, "steps": steps}


def test_both_give_the_same_for_anything():
    rng = random.Random(20261126)
    scripts = [chance(rng) for _ in range(RANDOM_SCRIPTS)]
    measured = 0
    for script, (node, python) in zip(scripts, played(scripts)):
        compare(script, node, python)
        for page in python["pages"]:
            closes(page)
        measured += sum(v for k, v in python["pages"][-1].items()
                        if k.startswith("app_request_energy_joules_count"))
    assert measured > 3 * len(scripts), measured
    print(f"# {len(scripts)} scripts, {sum(len(s['steps']) for s in scripts)} pages, {measured:.0f} requests "
          "with a figure")


def test_names_help_labels_and_buckets_are_those_of_the_table():
    script = {"name": "all", "steps": [
        ["reading", 0, {"joules": 0}], ["begin", 0, "a"], ["end", 10, "a", "GET", "/a", 200],
        ["units", 10, "tokens", 1], ["reading", 1000, {"joules": 5}]]}
    (pair,) = played([script])
    for name, found in zip(("Node", "Python"), pair):
        assert found["families"] == [f[:3] for f in TABLE["families"]], (name, found["families"])
        page = found["pages"][-1]
        for family, kind, _, labels in TABLE["families"]:
            keys = [k for k in page if k.partition("{")[0] in (family, *(
                family + end for end in ("_bucket", "_sum", "_count") if kind == "histogram"))]
            assert keys, (name, family)
            for key in keys:
                words = [w.partition("=")[0] for w in key.partition("{")[2].rstrip("}").split('",') if w]
                assert sorted(set(words) - {"le"}) == labels, (name, key)
        bounds = [k.partition('le="')[2].partition('"')[0] for k in page if "_bucket" in k]
        assert sorted(bounds, key=float) == TABLE["buckets"], (name, bounds)


# ---- real servers ----

def wsgi_app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raises":
        raise RuntimeError("mine")
    status = {"/empty": "204 No Content", "/same": "304 Not Modified", "/none": "404 Not Found"}.get(
        path, "200 OK")

    def parts():
        yield b"x" * 1000
        if path == "/breaks":
            raise RuntimeError("mine")
        for _ in range(5) if path == "/stream" else iter(int, 1):
            time.sleep(0.01)
            yield b"x" * 1000
    streams = path in ("/stream", "/endless", "/breaks")
    body = b"" if path in ("/empty", "/same") else b"ok"
    start_response(status, [] if streams else [("Content-Length", str(len(body)))] if body else [])
    return parts() if streams else [body]


async def asgi_app(scope, receive, send):
    path = scope["path"]
    if path == "/raises":
        raise RuntimeError("mine")
    status = {"/empty": 204, "/same": 304, "/none": 404}.get(path, 200)
    await send({"type": "http.response.start", "status": status, "headers": []})
    if path in ("/stream", "/endless", "/breaks"):
        gone = asyncio.ensure_future(receive())
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            if path == "/breaks":
                raise RuntimeError("mine")
            await asyncio.sleep(0.01)
            if gone.done() and gone.result()["type"] == "http.disconnect":
                return
            if gone.done():
                gone = asyncio.ensure_future(receive())
            if path == "/stream":
                gone.cancel()
                break
    await send({"type": "http.response.body", "body": b"" if path in ("/empty", "/same") else b"ok"})


def known(path):
    return None if path == "/none" else path


class Threading(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that leaves is a test here


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def get_stderr(self):
        return open(os.devnull, "w")


class Wsgi:
    def __init__(self, agent_socket):
        self.source = ergon.connect(agent_socket, patience=0.2)
        self.app = wsgi.EnergyMiddleware(wsgi_app, source=self.source, interval=0.25,
                                         registry=prometheus_client.CollectorRegistry(),
                                         route=lambda environ: known(environ["PATH_INFO"]))
        self.server = wsgiref.simple_server.make_server("127.0.0.1", 0, self.app, Threading, Quiet)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def page(self):
        self.app.meter.settle()
        return {(s.name, tuple(sorted(s.labels.items()))): s.value
                for family in Collector(self.app.meter).collect() for s in family.samples}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.app.meter.close()
        self.source.close()


class Asgi(Wsgi):
    def __init__(self, agent_socket):
        self.source = ergon.connect(agent_socket, patience=0.2)
        self.app = asgi.EnergyMiddleware(asgi_app, source=self.source, interval=0.25,
                                         registry=prometheus_client.CollectorRegistry(),
                                         route=lambda scope: known(scope["path"]))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_level="critical", lifespan="off"))
        self.server.install_signal_handlers = lambda: None
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve([self.listener])))
        self.thread.start()
        until("uvicorn", lambda: self.server.started)

    def close(self):
        self.server.should_exit = True
        self.thread.join(30)
        self.listener.close()
        self.app.meter.close()
        self.source.close()


class Node:
    def __init__(self, agent_socket):
        self.process = subprocess.Popen(["node", os.path.join(HERE, "serve.js"), agent_socket],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def page(self):
        self.process.stdin.write("page\n")
        self.process.stdin.flush()
        return {(name, tuple(sorted(labels.items()))): value
                for name, labels, value in json.loads(self.process.stdout.readline())}

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def request(port, method, path, how):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        if how == "leave":
            answer.read(1000)
            time.sleep(0.1)
            return
        try:
            answer.read()
            assert how is None or answer.headers.get("Content-Length") is None, "it was to be broken"
        except (http.client.IncompleteRead, OSError):
            assert how == "broken", path
    except (http.client.RemoteDisconnected, ConnectionResetError):
        assert how == "broken", path
    finally:
        connection.close()


def test_three_servers_tell_the_same_requests():
    """Also while no agent is there, and after it came back with the same ledger."""
    warnings.simplefilter("ignore")  # that the agent is away, once for each
    with Place() as place:
        sim = place.add(Sim(place, "[scenario]\ntitle = one package\n[machine]\ncpus = 1\n"
                            "[rapl intel-rapl:0]\nname = package-0\nmax-power = 20000W\npower = 100W\n"))
        agent = place.add(Agent(place, sim))
        servers = [place.add(kind(agent.socket)) for kind in (Node, Wsgi, Asgi)]

        def total(page):
            return page.get(("app_requests_total", ()))

        def count():
            return [total(server.page()) for server in servers]
        until("first readings", lambda: all(("app_energy_joules_total", ()) in s.page() for s in servers))
        rounds = 0
        for agent_is in ("there", "away", "back"):
            if agent_is == "away":
                agent.kill()
            elif agent_is == "back":
                agent = place.add(Agent(place, sim))
            rounds += 1
            for _, method, path, how, _ in TABLE["requests"]:
                for server in servers:
                    request(server.port, method, path, how)
            until("all of them", lambda: count() == [rounds * len(TABLE["requests"])] * 3)
        want = {tuple(sorted(zip(("method", "route", "status_class"), labels))): rounds
                for *_, labels in TABLE["requests"]}

        def told(page):
            return {labels: n for (name, labels), n in page.items()
                    if name == "app_request_energy_joules_count"}
        until("figures", lambda: all(sum(told(s.page()).values()) == sum(want.values()) for s in servers))
        joules = []
        for server in servers:
            page = server.page()
            assert told(page) == want, (type(server).__name__, set(told(page).items()) ^ set(want.items()))
            assert page["app_requests_unmeasured_total", ()] == 0
            parts = sum(v for (name, _), v in page.items() if name in (
                "app_request_energy_joules_sum", "app_inflight_energy_joules",
                "app_nonrequest_energy_joules_total"))
            joules.append(page["app_energy_joules_total", ()])
            assert math.isclose(parts, joules[-1], rel_tol=1e-9), (parts, joules)
        assert max(joules) / min(joules) < 1.5, joules  # one account, read at three moments
        print(f"# {sum(want.values())} requests a server; accounts {', '.join(f'{j:.1f} J' for j in joules)}")


if __name__ == "__main__":
    run_tests(dict(globals()))
