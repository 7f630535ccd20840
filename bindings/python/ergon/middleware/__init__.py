# SPDX-License-Identifier: Apache-2.0
"""Joules of every request, for ASGI and WSGI applications, as Prometheus metrics.

    from ergon.middleware.asgi import EnergyMiddleware     # or .wsgi
    app = EnergyMiddleware(app)

`ergon.middleware.count("tokens", 128)` inside a handler counts units of work."""
from __future__ import annotations

from .meter import Request, RequestMeter, count, current_request

__all__ = ["Request", "RequestMeter", "count", "current_request"]
