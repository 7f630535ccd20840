# SPDX-License-Identifier: Apache-2.0
"""The ledger of a RequestMeter as metrics of prometheus_client (the extra "prometheus"). Names, help, labels
and bounds are those of the Node package's middleware; tests/middleware holds both to one table.

Each worker process of a server tells its own requests, but the account is the whole node's until workloads
are told apart: where there are several workers, scrape each by itself and do not add their energies."""
from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Iterator, List, Optional, Tuple

from ..errors import Unavailable
from .meter import Histogram, RequestMeter

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")


def export(meter: RequestMeter, registry: Any = None, prefix: str = "app") -> None:
    """Registers a meter, once. registry: None for the default one; False for none."""
    if not NAME.match(prefix):
        raise ValueError(f"prefix is the beginning of a name of Prometheus, not {prefix!r}")
    if registry is False or getattr(meter, "_exported", False):
        return
    try:
        client = import_module("prometheus_client")
    except ImportError as error:
        raise Unavailable("prometheus_client is not installed",
                          "pip install 'ergon[prometheus]', or registry=False") from error
    (registry or client.REGISTRY).register(Collector(meter, prefix))
    meter._exported = True  # type: ignore[attr-defined]


class Collector:
    def __init__(self, meter: RequestMeter, prefix: str = "app") -> None:
        self.meter = meter
        self.prefix = prefix

    def describe(self) -> Iterator[Any]:
        return self.collect()

    def _buckets(self, h: Histogram) -> List[Tuple[str, float]]:
        out, below = [], 0
        for bound, n in zip(self.meter.buckets + (float("inf"),), h.counts):
            below += n
            out.append(("+Inf" if bound == float("inf") else repr(bound), float(below)))
        return out

    def collect(self) -> Iterator[Any]:
        core = import_module("prometheus_client.core")
        ledger, prefix = self.meter.ledger(), self.prefix

        def one(family: Any, value: Optional[float], known: bool = True) -> Any:
            if known and value is not None:  # what is not known has no sample
                family.add_metric((), value)
            return family

        def counter(name: str, text: str, **more: Any) -> Any:
            return core.CounterMetricFamily(f"{prefix}_{name}", text, **more)

        def gauge(name: str, text: str, **more: Any) -> Any:
            return core.GaugeMetricFamily(f"{prefix}_{name}", text, **more)

        known = ledger.known
        yield one(counter("energy_joules", "Energy of the account that requests are charged from "
                          f"(see {prefix}_energy_info)."), ledger.joules, known)
        yield one(counter("requests", "Requests that were answered or aborted."), ledger.requests)
        yield one(gauge("joules_per_request", "Energy of the account for each request, of the last minutes; "
                        "absent where there was none."), ledger.joules_per_request)
        requests = core.HistogramMetricFamily(
            f"{prefix}_request_energy_joules", "Each request's share of the account, by requests in flight.",
            labels=("route", "method", "status_class"))
        for labels, h in ledger.histograms.items():
            requests.add_metric(labels, self._buckets(h), h.sum)
        yield requests
        yield one(counter("nonrequest_energy_joules",
                          "Energy of the account that no request is charged with."), ledger.nonrequest_joules,
                  known)
        yield one(gauge("inflight_energy_joules", "Energy that requests in flight have gathered so far."),
                  ledger.inflight_joules, known)
        yield one(counter("requests_unmeasured", "Requests without a figure, as energy was not known "
                          "while they ran."), ledger.unmeasured)
        yield one(counter("energy_unknown_seconds",
                          "Time of which the energy is not known, or not all of it."), ledger.unknown_seconds)
        units = counter("units", "Units of work.", labels=("unit",))
        for unit, n in ledger.units.items():
            units.add_metric((unit,), n)
        yield units
        account = self.meter.describe()
        info = gauge("energy_info", "What the account is and how it is shared.", labels=tuple(account))
        if ledger.joules is not None:
            info.add_metric(tuple(account.values()), 1)
        yield info
