# SPDX-License-Identifier: Apache-2.0
"""Joules of the requests of a WSGI application (Flask, Django, Bottle, ...)."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, Optional

from .meter import Request, RequestMeter, _current, any_meter, clean
from .prometheus import export

Environ = Dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def route_of(environ: Environ) -> Optional[str]:
    """Flask's template of the path, where it is known; other applications pass a function of their own."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    return rule if isinstance(rule, str) else None


class _Answer:
    """The application's answer; the request ends with it, or with its close(). sent: told that the server has
    a part of it, and so the head."""

    def __init__(self, inner: Iterable[bytes], end: Callable[..., None], sent: Callable[[], None],
                 request: Request) -> None:
        self._inner, self._end, self._sent, self._request = inner, end, sent, request
        self._parts = iter(inner)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = _current.set(self._request)
        try:
            part = next(self._parts)
            if part:
                self._sent()
            return part
        except StopIteration:
            self._end(True)
            raise
        except BaseException:
            self._end(False, True)
            raise
        finally:
            _current.reset(token)

    def close(self) -> None:
        try:
            close = getattr(self._inner, "close", None)
            if close is not None:
                close()
        finally:
            self._end(False)

    def __del__(self) -> None:  # a server that does not close
        self._end(False, dropped=True)


class _SizedAnswer(_Answer):
    """A server tells the length of an answer of one part."""

    def __len__(self) -> int:
        return len(self._inner)  # type: ignore[arg-type]


class EnergyMiddleware:
    """A request lasts from its call to the end of its answer, or to its close() where the peer went away. An
    answer of which a part was sent and that was not finished is aborted, whoever did that.
    Options as those of the ASGI one; route gets the environ, after the request was handled."""

    def __init__(self, app: App, meter: Optional[RequestMeter] = None, *, registry: Any = None,
                 prefix: str = "app", route: Callable[[Environ], Optional[str]] = route_of,
                 **options: Any) -> None:
        self.app = app
        self.meter = any_meter(meter, options)
        self.route = route
        export(self.meter, registry, prefix)
        self.meter.start()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        meter, request = self.meter, self.meter.begin()
        status: Optional[int] = None
        route: Optional[str] = None
        begun = over = False

        def find_route() -> None:
            nonlocal route
            try:
                route = route or self.route(environ)
            except Exception:
                pass  # a label is not worth a request

        def sent() -> None:
            nonlocal begun
            begun = True

        def started(line: str, *rest: Any, **more: Any) -> Any:
            nonlocal status
            code = line[:3]
            status = int(code) if code.isdigit() else None
            find_route()  # frameworks forget it at the end
            write = start_response(line, *rest, **more)

            def wrote(data: bytes) -> Any:
                sent()
                return write(data)
            return wrote

        def end(whole: bool, raised: bool = False, dropped: bool = False) -> None:
            nonlocal over
            if over:
                return
            over = True
            find_route()
            # Without a body a server may close the answer without a look at it.
            whole = whole or not raised and (environ.get("REQUEST_METHOD") == "HEAD" or status in (204, 304))
            failed = raised and not begun  # no part was sent: the server answers 500
            labels = clean(route, environ.get("REQUEST_METHOD", ""), None if failed else status,
                           not whole and not failed)
            (meter.drop if dropped else meter.end)(request, labels)

        token = _current.set(request)
        try:
            answer = self.app(environ, started)
            kind = _SizedAnswer if hasattr(answer, "__len__") else _Answer
            return kind(answer, end, sent, request)
        except BaseException:
            end(False, True)
            raise
        finally:
            _current.reset(token)
