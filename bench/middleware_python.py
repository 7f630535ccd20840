# SPDX-License-Identifier: Apache-2.0
"""bench/middleware_python.py SOCKET: what the ASGI and the WSGI middleware add to a hello-world, called as a server
calls it but without one. Bare and measured take turns; CPU time of the process, so what the meter does in its
own thread is in it. Prints JSON; figures are medians of the rounds, microseconds."""
import asyncio
import importlib.metadata
import json
import os
import statistics
import sys
import time
import wsgiref.util

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bindings", "python"))
import ergon  # noqa: E402
from ergon.middleware import RequestMeter, asgi, wsgi  # noqa: E402
from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402

ROUNDS, EACH = 31, 5000
HELLO = b"hello, world"


async def asgi_hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": HELLO})


def wsgi_hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [HELLO]


def ask_asgi(app):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        pass

    async def many():
        for _ in range(EACH):
            await app({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    asyncio.run(many())


def ask_wsgi(app):
    environ = {}
    wsgiref.util.setup_testing_defaults(environ)

    def start_response(status, headers, exc_info=None):
        return None
    for _ in range(EACH):
        answer = app(dict(environ), start_response)
        for _part in answer:
            pass
        if hasattr(answer, "close"):
            answer.close()


def cost(ask, bare, make, source):
    registry = CollectorRegistry()
    meter = RequestMeter(source, interval=3600.0)  # settled here, once a round
    app = make(bare, meter, registry=registry, route=lambda _: "/")
    meter.settle()

    def us(which):
        begin = time.process_time()
        ask(which)
        if which is app:
            meter.settle()
        return (time.process_time() - begin) / EACH * 1e6
    alone, more = [], []
    us(bare), us(app)
    for k in range(ROUNDS):
        first, second = (bare, app) if k % 2 else (app, bare)
        took = {first: us(first)}
        took[second] = us(second)
        alone.append(took[bare])
        more.append(took[app] - took[bare])
    ledger = meter.ledger()
    if ledger.requests != (ROUNDS + 1) * EACH or ledger.unmeasured:
        sys.exit("not every request was settled")
    quartiles = statistics.quantiles(more)
    return {"bare_us": statistics.median(alone), "more_us": statistics.median(more),
            "quartiles_us": [quartiles[0], quartiles[2]]}, registry


def main():
    source = ergon.connect(socket=sys.argv[1])
    found = {"prometheus_client": importlib.metadata.version("prometheus_client")}
    found["asgi"], _ = cost(ask_asgi, asgi_hello, asgi.EnergyMiddleware, source)
    found["wsgi"], registry = cost(ask_wsgi, wsgi_hello, wsgi.EnergyMiddleware, source)
    scrapes = []
    for _ in range(200):
        begin = time.process_time()
        generate_latest(registry)
        scrapes.append((time.process_time() - begin) * 1e6)
    found["scrape_us"] = statistics.median(scrapes)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
