# SPDX-License-Identifier: Apache-2.0
"""Joules of the HTTP requests of an ASGI application (Starlette, FastAPI, Quart, Django, ...)."""
from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, MutableMapping, Optional

from .meter import RequestMeter, _current, any_meter, clean
from .prometheus import export

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def route_of(scope: Scope) -> Optional[str]:
    """The framework's own template of the path, so that there are few of them; None where it tells none."""
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str):  # FastAPI
        return template
    if "endpoint" not in scope:
        return None
    path = str(scope.get("path", ""))  # Starlette: the parameters that it found in the path
    for name, value in (scope.get("path_params") or {}).items():
        before, found, after = path.rpartition(f"/{value}")
        if not found or after and not after.startswith("/"):
            return None
        path = f"{before}/{{{name}}}{after}"
    return path


class EnergyMiddleware:
    """A request lasts from its call to the last part of its answer, to its abort, or to the end of the
    application's call, whichever comes first; background tasks after it are not the request's. An answer that
    was begun and not finished is aborted, whoever did that.

    route: gives the label of a scope, after the request was handled; None: "other". meter: one that is
    shared; else the options are those of RequestMeter. registry: of prometheus_client; None for the default
    one, False for none. prefix: of the metrics' names.
    """

    def __init__(self, app: App, meter: Optional[RequestMeter] = None, *, registry: Any = None,
                 prefix: str = "app", route: Callable[[Scope], Optional[str]] = route_of,
                 **options: Any) -> None:
        self.app = app
        self.meter = any_meter(meter, options)
        self.route = route
        export(self.meter, registry, prefix)
        self.meter.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        meter, request = self.meter, self.meter.begin()
        status: Optional[int] = None
        done = aborted = False

        def end() -> None:
            try:
                route = self.route(scope)
            except Exception:
                route = None  # a label is not worth a request
            meter.end(request, clean(route, scope.get("method", ""), status,
                                     not done and (aborted or status is not None)))

        async def heard() -> Message:
            nonlocal aborted
            message = await receive()
            if message["type"] == "http.disconnect" and not done:
                aborted = True
                end()
            return message

        async def said(message: Message) -> None:
            nonlocal status, done, aborted
            try:
                await send(message)
            except OSError:  # the peer has gone (ASGI 2.4)
                aborted = True
                raise
            if message["type"] == "http.response.start":
                status = message["status"]
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                done = True
                end()

        token = _current.set(request)
        try:
            await self.app(scope, heard, said)
        except asyncio.CancelledError:
            aborted = True
            raise
        finally:
            _current.reset(token)
            end()
