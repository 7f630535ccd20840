# SPDX-License-Identifier: Apache-2.0
"""Joules of requests, ASGI and WSGI: the sum of all shares is the account's energy, whatever overlaps, is
short, is aborted, or happens while no agent is there. Real servers, the shipped agent, a simulated
machine."""
import asyncio
import gc
import http.client
import os
import random
import socket
import socketserver
import subprocess
import threading
import time
import warnings
import wsgiref.simple_server

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from rig_python import MACHINE, NS, Agent, Place, Sim, ergon, near, run_tests, until
from ergon.middleware import RequestMeter, asgi, count, meter as meter_module, wsgi
from ergon.model import Account, AccountKey, Reading, Snapshot

STEADY = """[scenario]
title = one package of constant power
[machine]
cpus = 1
[rapl intel-rapl:0]
name = package-0
max-power = 20000W
power = 100W
"""


def families(registry):
    """The page as Prometheus would read it: {(name, sorted labels): value}."""
    text = prometheus_client.generate_latest(registry).decode()
    return {(s.name, tuple(sorted(s.labels.items()))): s.value
            for family in text_string_to_metric_families(text) for s in family.samples}


def one(page, name, **labels):
    return page.get((name, tuple(sorted(labels.items()))))


def summed(page, name):
    return sum(value for (n, _), value in page.items() if n == name)


def closes(page):
    """Requests and non-request work make the account's energy."""
    total = one(page, "app_energy_joules_total")
    parts = summed(page, "app_request_energy_joules_sum") + one(page, "app_inflight_energy_joules") + \
        one(page, "app_nonrequest_energy_joules_total")
    assert abs(parts - total) <= 1e-6 * max(1, total), (parts, total)
    return total


class Server:
    """wsgiref with a thread for each connection."""

    class Threading(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, request, client_address):
            pass  # a client that goes away is a test here

    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_):
            pass

        def get_stderr(self):
            return open(os.devnull, "w")

    def __init__(self, app):
        self.server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, self.Threading, self.Quiet)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def get(self, path="/", method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def here(place, scenario=MACHINE, *words):
    sim = place.add(Sim(place, scenario))
    agent = place.add(Agent(place, sim, *words))
    return sim, agent, place.add(ergon.connect(agent.socket, patience=0.2))


def started(place, middleware, app, source, **more):
    registry = prometheus_client.CollectorRegistry()
    app = middleware(app, source=source, registry=registry, interval=0.25, **more)
    place.add(app.meter)
    until("the first sample", lambda: app.meter.ledger().joules is not None)
    return app, registry


def by_path(environ):
    return environ["PATH_INFO"]


def test_fifty_overlapping_requests_make_the_account():
    def app(environ, start_response):
        seconds = float(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        time.sleep(seconds)
        yield b"b"
    with Place() as place:
        sim, agent, source = here(place)
        app, registry = started(place, wsgi.EnergyMiddleware, app, source, route=by_path)
        meter = app.meter
        server = place.add(Server(app))
        first = meter._last
        base = families(registry)
        rng = random.Random(20261126)
        threads = [threading.Thread(target=server.get, args=(f"/r{i % 3}?{rng.random() * 2:.3f}",))
                   for i in range(50)]
        for t in threads:
            t.start()
        time.sleep(0.5)
        meter.settle()
        closes(families(registry))  # also while they are in flight
        for t in threads:
            t.join()
        until("the last one", lambda: meter.ledger().requests == 50)
        meter.settle()
        page, last = families(registry), meter._last
        total = closes(page) - one(base, "app_energy_joules_total")
        error = near(sim, total, first.time_ns, last.time_ns)
        charged = summed(page, "app_request_energy_joules_sum")
        print(f"# {charged:.3f} J of requests, account {total:.3f} J, "
              f"{100 * error:+.3f} % from the truth")
        assert abs(total / (last.joules - first.joules) - 1) < 1e-6  # the account, as the agent tells it
        assert one(page, "app_requests_total") == 50 and one(page, "app_requests_unmeasured_total") == 0
        assert summed(page, "app_request_energy_joules_count") == 50
        assert charged > 0.3 * total and one(page, "app_inflight_energy_joules") == 0
        agent_says = sum(a["joules"] for a in agent.local("/api/v1/totals").json["accounts"]
                         if a["role"] == "total")
        assert agent_says >= total
        for i in range(3):
            assert one(page, "app_request_energy_joules_count", route=f"/r{i}", method="GET",
                       status_class="2xx") in (16, 17)
        rate = one(page, "app_joules_per_request")
        assert abs(rate - closes(page) / 50) < 1e-6 * rate


def test_shares_are_those_of_the_time_in_flight():
    """100 W: alone 1 s = 100 J; two at once share; a short one gets its part."""
    with Place() as place:
        _, _, source = here(place, STEADY)
        registry = prometheus_client.CollectorRegistry()
        meter = place.add(RequestMeter(source, interval=30))
        wsgi.EnergyMiddleware(lambda *_: [], meter, registry=registry)
        until("the first sample", lambda: meter.ledger().joules is not None)
        labels = [("/a", "GET", "2xx"), ("/b", "GET", "2xx"), ("/short", "GET", "2xx")]
        a = meter.begin()
        time.sleep(0.5)
        b = meter.begin()
        time.sleep(0.5)
        meter.settle()  # a sample in the middle changes nothing
        time.sleep(0.5)
        meter.end(a, labels[0])
        time.sleep(0.25)
        short = meter.begin()
        time.sleep(0.001)
        meter.end(short, labels[2])
        meter.end(b, labels[1])
        meter.end(b, labels[1])  # once is enough
        time.sleep(0.5)
        meter.settle()
        ledger = meter.ledger()
        sums = {route: h.sum for (route, _, _), h in ledger.histograms.items()}
        print(f"# a {sums['/a']:.2f} J, b {sums['/b']:.2f} J, short {sums['/short'] * 1000:.2f} mJ, nobody's "
              f"{ledger.nonrequest_joules:.2f} J")
        seconds = 1e-9 * (a.ended_ns - a.began_ns), 1e-9 * (b.ended_ns - b.began_ns)
        alone, both = 1e-9 * (b.began_ns - a.began_ns), 1e-9 * (a.ended_ns - b.began_ns)
        in_short = 1e-9 * (short.ended_ns - short.began_ns)
        assert abs(sums["/a"] - 100 * (alone + both / 2)) < 0.1 * sums["/a"], seconds
        assert abs(sums["/b"] - 100 * (seconds[1] - both / 2 - in_short / 2)) < 0.1 * sums["/b"]
        assert abs(sums["/short"] - 100 * in_short / 2) < 0.2 * sums["/short"]
        assert sums["/short"] > 0
        assert ledger.requests == 3
        closes(families(registry))


class Script(ergon.Source):
    """A source whose account has 100 W of a clock that the test moves."""
    kind = "script"

    def __init__(self):
        self.now_ns, self.age_ns, self.away, self.last_ns = NS, 0, False, 0

    def totals(self, fresh=True, power=True):
        if self.away:
            raise ergon.Unavailable("away")
        t = self.last_ns = max(self.now_ns - self.age_ns, self.last_ns)
        key = AccountKey("cpu-0", "package", "measured")
        uj = t * 100 // 1000
        return Snapshot("script", t, t / 1e9, {key: Reading(Account(key, counted=True, role="total"), uj)},
                        (self.now_ns - t) / 1e9, microjoules=uj)


def test_an_answer_that_nobody_closes():
    """It ends with its object, also where that is collected while this thread is inside the meter."""
    meter = RequestMeter(ergon.NullSource(), interval=3600)
    meter._thread = threading.current_thread()
    app = wsgi.EnergyMiddleware(lambda *_: iter([b"x"]), meter, registry=False)
    inside = []

    class Lock:
        """Everything is collected as soon as it is taken."""

        def __init__(self):
            self.lock = threading.Lock()

        def acquire(self, *how):
            return self.lock.acquire(*how)

        def release(self):
            self.lock.release()

        def __enter__(self):
            self.lock.acquire()
            inside.append(gc.collect())

        def __exit__(self, *_):
            self.lock.release()

    def work():
        answer = app({"REQUEST_METHOD": "GET"}, lambda *_: None)
        answer.own = answer  # as an exception's frames keep it
        del answer
        meter._lock = Lock()
        for _ in range(3):
            meter.end(meter.begin(), ("/", "GET", "2xx"))
    old = gc.isenabled()
    gc.disable()
    try:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), "it waits for a lock that it holds"
        assert max(inside) > 0
        ledger = meter.ledger()
        assert ledger.requests == 4 and not meter._active, ledger
    finally:
        if old:
            gc.enable()


def test_the_sums_close_whatever_happens():
    """Random begins, ends, samples of the past, and times without any; each request's share is computed
    again here from its definition."""
    old = meter_module.boot_ns
    rng = random.Random(7)
    try:
        for round_ in range(60):
            script = Script()
            meter_module.boot_ns = lambda: script.now_ns
            meter = RequestMeter(script, interval=3600)
            meter._thread = threading.current_thread()  # the test takes the samples
            meter.settle()
            start = script.now_ns
            open_, history, changes, lost = [], [], [(start, 0)], False
            for _ in range(rng.randint(5, 120)):
                script.now_ns += rng.choice((0, 1, rng.randint(1, 10 ** 6), rng.randint(1, 10 ** 9)))
                what = rng.random()
                if what < 0.45 or not open_:
                    open_.append(meter.begin())
                    history.append(open_[-1])
                elif what < 0.9:
                    request = open_.pop(rng.randrange(len(open_)))
                    meter.end(request, ("/", "GET", "2xx"))
                elif what < 0.97:
                    script.age_ns = rng.choice((0, 0, rng.randint(0, 10 ** 8)))
                    meter.settle()
                elif round_ % 2:
                    script.away = True
                    script.now_ns += rng.choice((NS, 70 * NS))
                    meter._warned = True
                    meter.settle()
                    script.away = False
                    meter.settle()
                    lost = meter.ledger().unknown_seconds > 0
                changes.append((script.now_ns, len(open_)))
                ledger = meter.ledger()
                parts = sum(h.sum for h in ledger.histograms.values()) + ledger.nonrequest_joules + \
                    ledger.inflight_joules
                assert abs(parts - ledger.joules) < 1e-6 * max(1, ledger.joules), (round_, parts, ledger)
            while open_:
                meter.end(open_.pop(), ("/", "GET", "2xx"))
            script.now_ns += NS
            script.age_ns = 0
            meter.settle()
            ledger = meter.ledger()
            observed = sum(h.count for h in ledger.histograms.values())
            assert ledger.requests == len(history) and ledger.inflight_joules == 0
            assert observed + ledger.unmeasured == len(history)
            if lost or ledger.unknown_seconds:
                continue
            assert observed == len(history)
            assert abs(ledger.joules - (script.now_ns - start) * 100 / 1e9) < 1e-5
            busy = 0.0
            changes.sort(key=lambda c: c[0])
            for request in history:
                share = 0.0
                begin, end = request.began_ns, request.ended_ns
                edges = sorted({begin, end} | {t for r in history for t in (r.began_ns, r.ended_ns)
                                               if begin < t < end})
                for t0, t1 in zip(edges, edges[1:]):
                    n = sum(r.began_ns <= t0 and r.ended_ns >= t1 for r in history)
                    share += 100 * (t1 - t0) / 1e9 / n
                assert abs(share - request.joules) < 1e-6 * max(1, share), (round_, share, request.joules)
                busy += share
            assert abs(ledger.joules - busy - ledger.nonrequest_joules) < 1e-5
    finally:
        meter_module.boot_ns = old


def test_aborted_requests_count():
    inside = threading.Event()

    def app(environ, start_response):
        start_response("200 OK", [])

        def body():
            while True:
                inside.set()
                time.sleep(0.02)
                yield b"x" * 65536
        return body()
    with Place() as place:
        _, _, source = here(place, STEADY)
        app, registry = started(place, wsgi.EnergyMiddleware, app, source)
        server = place.add(Server(app))
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        inside.wait(30)
        time.sleep(0.3)
        client.close()
        until("its end", lambda: app.meter.ledger().requests == 1)
        app.meter.settle()
        page = families(registry)
        sums = one(page, "app_request_energy_joules_sum", route="other", method="GET", status_class="aborted")
        assert sums and sums > 5, page
        closes(page)


def test_errors_and_labels():
    def app(environ, start_response):
        path = environ["PATH_INFO"]
        count("things", 2)
        if path == "/raises":
            raise RuntimeError("mine")
        start_response({"/404": "404 Not Found"}.get(path, "200 OK"), [])
        return [b"ok"]
    with Place() as place:
        _, _, source = here(place, STEADY)
        app, registry = started(place, wsgi.EnergyMiddleware, app, source, route=by_path)
        server = place.add(Server(app))
        assert server.get("/404")[0] == 404 and server.get("/raises")[0] == 500
        assert server.get("/x", "BREW")[0] == 200
        until("three", lambda: app.meter.ledger().requests == 3)
        time.sleep(0.05)
        app.meter.settle()
        page = families(registry)
        for labels in (("/404", "GET", "4xx"), ("/raises", "GET", "5xx"), ("/x", "other", "2xx")):
            assert one(page, "app_request_energy_joules_count", route=labels[0], method=labels[1],
                       status_class=labels[2]) == 1, page
        assert one(page, "app_units_total", unit="things") == 6
        count("outside", 1)  # of no request
        for i in range(2000):
            environ = {"PATH_INFO": f"/{i}" + "y" * 300, "REQUEST_METHOD": "GET"}
            list(app(environ, lambda *_: None))
            app.meter.units(f"unit {i}")
        app.meter.settle()
        ledger = app.meter.ledger()
        assert len(ledger.histograms) <= 8 * (meter_module.ROUTES_MAX + 1) and len(ledger.units) <= 33
        assert sum(h.count for h in ledger.histograms.values()) == 2003 and ledger.requests == 2003
        assert all(len(labels[0]) <= 128 for labels in ledger.histograms)


def test_names_and_types():
    with Place() as place:
        _, _, source = here(place, STEADY)
        app, registry = started(place, wsgi.EnergyMiddleware, lambda e, s: s("200 OK", []) and [] or [b""],
                                source)
        list(app({"REQUEST_METHOD": "GET"}, lambda *_: None))
        app.meter.units("tokens", 5)
        app.meter.settle()
        text = prometheus_client.generate_latest(registry).decode()
        found = {f.name: f for f in text_string_to_metric_families(text)}
        for name, kind, labels in (("app_energy_joules", "counter", ()), ("app_requests", "counter", ()),
                                   ("app_joules_per_request", "gauge", ()),
                                   ("app_nonrequest_energy_joules", "counter", ()),
                                   ("app_units", "counter", ("unit",)),
                                   ("app_request_energy_joules", "histogram",
                                    ("method", "route", "status_class"))):
            assert found[name].type == kind, found[name]
            assert found[name].samples, name
            for sample in found[name].samples:
                assert set(sample.labels) - {"le"} == set(labels), sample
        info = [s for s in found["app_energy_info"].samples][0].labels
        assert info["scope"] == "node" and info["method"] and info["backend"] == "agent", info
        try:
            wsgi.EnergyMiddleware(None, source=source, registry=registry)
            raise AssertionError("two meters in one registry")
        except ValueError:
            pass
        wsgi.EnergyMiddleware(None, app.meter, registry=registry)  # the same meter around two applications
        r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True,
                           timeout=60)
        assert r.returncode == 0 and not r.stderr, r.stderr


def test_the_agent_is_away():
    """Requests are served, one warning, no figure; and it goes on when the agent is back."""
    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"served"]
    with Place() as place:
        sim = place.add(Sim(place, STEADY))
        registry = prometheus_client.CollectorRegistry()
        os.environ.update(ERGON_SOCKET=place.path("run", "ergon.sock"), ERGON_PAGE=place.path("no"),
                          ERGON_LIBRARY=place.path("no.so"))
        old, meter_module.RETRY_SECONDS = meter_module.RETRY_SECONDS, 0.05
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                wrapped = wsgi.EnergyMiddleware(app, registry=registry, interval=0.1)
                place.add(wrapped.meter)
                server = place.add(Server(wrapped))
                for _ in range(3):
                    assert server.get() == (200, b"served")
                until("them", lambda: wrapped.meter.ledger().unmeasured == 3)
                page = families(registry)
                assert one(page, "app_requests_total") == 3 and one(page, "app_energy_joules_total") is None
                assert not [name for name, _ in page if name.startswith("app_request_energy_joules")], page
                assert one(page, "app_joules_per_request") is None
                time.sleep(0.3)
                assert len([w for w in caught if "requests are served" in str(w.message)]) == 1, caught
                agent = place.add(Agent(place, sim))
                until("a sample", lambda: wrapped.meter.ledger().joules is not None)
                assert server.get() == (200, b"served")
                until("it", lambda: wrapped.meter.ledger().histograms)
                agent.kill()
                assert server.get() == (200, b"served")
                place.add(Agent(place, sim))  # the ledger went on: that one has its share too
                until("it", lambda: summed(families(registry), "app_request_energy_joules_count") == 2)
                page = families(registry)
                assert one(page, "app_requests_total") == 5
                assert one(page, "app_requests_unmeasured_total") == 3
                closes(page)
        finally:
            meter_module.RETRY_SECONDS = old
            for name in ("SOCKET", "PAGE", "LIBRARY"):
                os.environ.pop("ERGON_" + name)


def test_by_the_page():
    """Samples are up to an interval old: shares are those of the time they tell of."""
    with Place() as place:
        _, agent, _ = here(place, STEADY, "--interval", "100ms")
        source = place.add(ergon.connect(page=agent.page))
        meter = place.add(RequestMeter(source, interval=0.1))
        meter.start()
        until("the first sample", lambda: meter.ledger().joules is not None)
        time.sleep(0.3)
        request = meter.begin()
        time.sleep(1)
        meter.end(request, ("/", "GET", "2xx"))
        until("it", lambda: meter.ledger().histograms)
        ledger = meter.ledger()
        h = ledger.histograms["/", "GET", "2xx"]
        assert h.count == 1 and abs(h.sum - 100e-9 * (request.ended_ns - request.began_ns)) < 0.2 * h.sum, h
        assert ledger.nonrequest_joules > 0


def test_too_fine_an_interval_is_asked_for():
    for bad in (0.01, 0, -1):
        try:
            RequestMeter(ergon.NullSource(), interval=bad)
            raise AssertionError(bad)
        except ValueError:
            pass
    RequestMeter(ergon.NullSource(), interval=0.01, oversample=True)


def test_a_forked_worker_counts_its_own():
    with Place() as place:
        _, agent, source = here(place, STEADY)
        app, registry = started(place, wsgi.EnergyMiddleware, lambda e, s: [b"x"], source)
        list(app({}, None))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert app.meter.ledger().requests == 0
                list(app({}, None))
                until("a sample", lambda: app.meter.ledger().joules is not None)
                list(app({}, None))
                until("them", lambda: app.meter.ledger().histograms)
                assert app.meter.ledger().requests == 2
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert app.meter.ledger().requests == 1


# ---- ASGI ----

async def call(app, path="/", fails=None, disconnect_after=None):
    """One request by the ASGI protocol. Gives the messages that were sent."""
    sent, gone = [], asyncio.Event()
    scope = {"type": "http", "method": "GET", "path": path}

    async def receive():
        if disconnect_after is not None:
            await asyncio.sleep(disconnect_after)
            return {"type": "http.disconnect"}
        if gone.is_set():
            await asyncio.sleep(3600)
        gone.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if fails:
            raise fails
        sent.append(message)
    await app(scope, receive, send)
    return sent


def test_asgi():
    after = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            after.append("lifespan")
            return
        if scope["path"] == "/raises":
            raise RuntimeError("mine")
        if scope["path"] == "/listens":
            assert (await receive())["type"] == "http.disconnect"
            await asyncio.sleep(0.3)  # goes on, of nobody's account
            return
        await send({"type": "http.response.start", "status": 201, "headers": []})
        count("tokens", 3)
        await asyncio.sleep(0.2)
        if scope["path"] == "/hangs":
            await asyncio.sleep(3600)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"y"})
        await asyncio.sleep(0.3)  # a background task: not the request's

    async def work(app):
        await app({"type": "lifespan"}, None, None)
        results = await asyncio.gather(*(call(app) for _ in range(50)))
        assert all(len(sent) == 3 for sent in results)
        hanging = asyncio.ensure_future(call(app, "/hangs"))
        await asyncio.sleep(0.3)
        hanging.cancel()
        failed = await asyncio.gather(hanging, call(app, "/raises"), call(app, fails=OSError("gone")),
                                      call(app, "/listens", disconnect_after=0.1), return_exceptions=True)
        assert [type(f) for f in failed] == [asyncio.CancelledError, RuntimeError, OSError, list]
    with Place() as place:
        sim, _, source = here(place)
        app, registry = started(place, asgi.EnergyMiddleware, app, source, route=lambda scope: scope["path"])
        begin_ns = app.meter._last.time_ns
        base = families(registry)
        asyncio.run(work(app))
        app.meter.settle()
        page = families(registry)
        total = closes(page) - one(base, "app_energy_joules_total")
        near(sim, total, begin_ns, app.meter._last.time_ns)
        assert after == ["lifespan"] and one(page, "app_requests_total") == 54
        counts = {labels: h.count for labels, h in app.meter.ledger().histograms.items()}
        assert counts == {("/", "GET", "2xx"): 50, ("/hangs", "GET", "aborted"): 1,
                          ("/raises", "GET", "5xx"): 1,
                          ("/", "GET", "aborted"): 1, ("/listens", "GET", "aborted"): 1}, counts
        assert one(page, "app_units_total", unit="tokens") == 51 * 3
        assert one(page, "app_nonrequest_energy_joules_total") > 0


def test_starlette_under_uvicorn():
    """The framework's own template is the label; answers of a stream, and an abort, by a real server."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    async def item(request):
        return PlainTextResponse(request.path_params["id"])

    async def stream(request):
        async def parts():
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.02)
        return StreamingResponse(parts())
    with Place() as place:
        _, _, source = here(place, STEADY)
        app, registry = started(place, asgi.EnergyMiddleware,
                                Starlette(routes=[Route("/items/{id}", item), Route("/stream", stream)]),
                                source)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        server.install_signal_handlers = lambda: None
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            until("the server", lambda: server.started)
            for i in range(5):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", f"/items/{i}")
                assert connection.getresponse().read() == str(i).encode()
                connection.close()
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100)
            time.sleep(0.3)
            client.close()
            until("six", lambda: app.meter.ledger().requests == 6)
            app.meter.settle()
            counts = {labels: h.count for labels, h in app.meter.ledger().histograms.items()}
            assert counts == {("/items/{id}", "GET", "2xx"): 5, ("/stream", "GET", "aborted"): 1}, counts
            closes(families(registry))
        finally:
            server.should_exit = True
            thread.join(30)
            listener.close()


def test_flask():
    import flask
    app = flask.Flask("test")

    @app.route("/users/<name>")
    def user(name):
        return name
    with Place() as place:
        _, _, source = here(place, STEADY)
        wrapped, registry = started(place, wsgi.EnergyMiddleware, app, source)
        server = place.add(Server(wrapped))
        for name in ("a", "b"):
            assert server.get(f"/users/{name}") == (200, name.encode())
        assert server.get("/none")[0] == 404
        until("three", lambda: wrapped.meter.ledger().requests == 3)
        wrapped.meter.settle()
        counts = {labels: h.count for labels, h in wrapped.meter.ledger().histograms.items()}
        assert counts == {("/users/<name>", "GET", "2xx"): 2, ("other", "GET", "4xx"): 1}, counts


def test_what_it_costs():
    """No bound: a figure for the report."""
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def many(app, n=20000):
        async def send(_):
            pass
        scope = {"type": "http", "method": "GET", "path": "/"}
        started_at = time.perf_counter()
        for _ in range(n):
            await app(scope, None, send)
        return (time.perf_counter() - started_at) / n * 1e6
    with Place() as place:
        _, _, source = here(place, STEADY)
        wrapped, _ = started(place, asgi.EnergyMiddleware, app, source)
        bare = min(asyncio.run(many(app)) for _ in range(3))
        measured = min(asyncio.run(many(wrapped)) for _ in range(3))
        print(f"# {measured - bare:.1f} us a request ({bare:.1f} without)")
        assert wrapped.meter.ledger().requests == 60000


if __name__ == "__main__":
    run_tests(dict(globals()))
