# SPDX-License-Identifier: Apache-2.0
"""The ledger of a RequestMeter as metrics of prometheus_client (the extra "prometheus").

Each worker process of a server tells its own requests, but the account is the whole node's until workloads
are told apart: where there are several workers, scrape each by itself and do not add their energies."""
from __future__ import annotations

from importlib import import_module
from typing import Any, Iterator, List, Optional, Tuple

from ..errors import Unavailable
from .meter import Histogram, RequestMeter


def export(meter: RequestMeter, registry: Any = None) -> None:
    """Registers a meter, once. registry: None for the default one; False for none."""
    if registry is False or getattr(meter, "_exported", False):
        return
    try:
        client = import_module("prometheus_client")
    except ImportError as error:
        raise Unavailable("prometheus_client is not installed",
                          "pip install 'ergon[prometheus]', or registry=False") from error
    (registry or client.REGISTRY).register(Collector(meter))
    meter._exported = True  # type: ignore[attr-defined]


class Collector:
    def __init__(self, meter: RequestMeter) -> None:
        self.meter = meter

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
        ledger = self.meter.ledger()

        def one(family: Any, value: Optional[float]) -> Any:
            if value is not None:  # what is not known has no sample
                family.add_metric((), value)
            return family

        counter, gauge = core.CounterMetricFamily, core.GaugeMetricFamily
        known = ledger.joules is not None
        yield one(counter("app_requests", "Requests that have ended, aborted ones included."),
                  ledger.requests)
        yield one(counter("app_requests_unmeasured", "Requests whose energy is not known."),
                  ledger.unmeasured)
        yield one(counter(
            "app_energy_joules",
            "Energy of the account that requests are charged from (see app_energy_info): "
            "app_request_energy_joules_sum + app_inflight_energy_joules + "
            "app_nonrequest_energy_joules_total."), ledger.joules)
        yield one(counter(
            "app_nonrequest_energy_joules", "Part of app_energy_joules_total that is no request's: of times "
            "when none was in flight, or of requests whose energy is not known."),
            ledger.nonrequest_joules if known else None)
        yield one(gauge(
            "app_inflight_energy_joules", "Part of app_energy_joules_total that is charged to requests which "
            "are not in app_request_energy_joules yet."), ledger.inflight_joules if known else None)
        yield one(gauge(
            "app_joules_per_request", "app_energy_joules_total for each request, of the last 5 minutes; "
            "absent where there was none."), ledger.joules_per_request)
        requests = core.HistogramMetricFamily(
            "app_request_energy_joules", "Energy of a request: equal share of those in flight.",
            labels=("route", "method", "status_class"))
        for labels, h in ledger.histograms.items():
            requests.add_metric(labels, self._buckets(h), h.sum)
        yield requests
        units = counter("app_units", "Units of work that were done.", labels=("unit",))
        for unit, n in ledger.units.items():
            units.add_metric((unit,), n)
        yield units
        yield core.InfoMetricFamily("app_energy", "Whose energy it is, and how it is shared.",
                               value=self.meter.describe())
