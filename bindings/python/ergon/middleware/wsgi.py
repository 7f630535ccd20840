# SPDX-License-Identifier: Apache-2.0
"""Joules of the requests of a WSGI application (Flask, Django, Bottle, ...)."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, Optional

from .meter import Request, RequestMeter, _current, any_meter, clean
from .prometheus import export

Environ = Dict[str, Any]
#: How a request ends.
DONE, FAILED, ABORTED, DROPPED = "done", "failed", "aborted", "dropped"
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def route_of(environ: Environ) -> Optional[str]:
    """Flask's template of the path, where it is known; other applications pass a function of their own."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    return rule if isinstance(rule, str) else None


class _Answer:
    """The application's answer; the request ends with it, or with its close()."""

    def __init__(self, inner: Iterable[bytes], end: Callable[[str], None], request: Request) -> None:
        self._inner, self._end, self._request = inner, end, request
        self._parts = iter(inner)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = _current.set(self._request)
        try:
            return next(self._parts)
        except StopIteration:
            self._end(DONE)
            raise
        except BaseException:
            self._end(FAILED)
            raise
        finally:
            _current.reset(token)

    def close(self) -> None:
        try:
            close = getattr(self._inner, "close", None)
            if close is not None:
                close()
        finally:
            self._end(ABORTED)

    def __del__(self) -> None:  # a server that does not close
        self._end(DROPPED)


class _SizedAnswer(_Answer):
    """A server tells the length of an answer of one part."""

    def __len__(self) -> int:
        return len(self._inner)  # type: ignore[arg-type]


class EnergyMiddleware:
    """A request lasts from its call to the end of its answer, or to its close() where the peer went away.
    Options as those of the ASGI one; route gets the environ, after the request was handled."""

    def __init__(self, app: App, meter: Optional[RequestMeter] = None, *, registry: Any = None,
                 route: Callable[[Environ], Optional[str]] = route_of, **options: Any) -> None:
        self.app = app
        self.meter = any_meter(meter, options)
        self.route = route
        export(self.meter, registry)
        self.meter.start()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        meter, request = self.meter, self.meter.begin()
        status: Optional[int] = None
        route: Optional[str] = None
        over = False

        def find_route() -> None:
            nonlocal route
            try:
                route = route or self.route(environ)
            except Exception:
                pass  # a label is not worth a request

        def started(line: str, *rest: Any, **more: Any) -> Any:
            nonlocal status
            code = line[:3]
            status = int(code) if code.isdigit() else None
            find_route()  # frameworks forget it at the end
            return start_response(line, *rest, **more)

        def end(how: str) -> None:
            nonlocal over
            if over:
                return
            over = True
            find_route()
            labels = clean(route, environ.get("REQUEST_METHOD", ""), 500 if how == FAILED else status,
                           how in (ABORTED, DROPPED))
            (meter.drop if how == DROPPED else meter.end)(request, labels)

        token = _current.set(request)
        try:
            answer = self.app(environ, started)
            kind = _SizedAnswer if hasattr(answer, "__len__") else _Answer
            return kind(answer, end, request)
        except BaseException:
            end(FAILED)
            raise
        finally:
            _current.reset(token)
