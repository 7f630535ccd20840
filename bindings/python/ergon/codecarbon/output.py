# SPDX-License-Identifier: Apache-2.0
"""Where results go: emissions.csv, a logger, a Prometheus push gateway, or an object of the user's own with
out(), live_out(), task_out() and exit()."""
from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import time
from dataclasses import asdict
from enum import Enum
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence

from .data import COLUMNS, TASK_COLUMNS, EmissionsData, TaskEmissionsData

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("ergon.codecarbon")
CSV_MAX = 1 << 30  #: bytes of a file whose row is updated in place


class OutputMethod(str, Enum):
    CSV = "csv"
    API = "api"
    LOGGER = "logger"
    PROMETHEUS = "prometheus"
    LOGFIRE = "logfire"
    BOAMPS = "boamps"


class BaseOutput:
    """out(): at the end of a run and at flush(); live_out(): while it runs; task_out(): the tasks of a
    run."""

    def out(self, total: EmissionsData, delta: EmissionsData) -> None:
        pass

    def live_out(self, total: EmissionsData, delta: EmissionsData) -> None:
        pass

    def task_out(self, data: List[TaskEmissionsData], experiment_name: str) -> None:
        pass

    def exit(self) -> None:
        pass


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """One process at a time; the folder is locked, because the file may be replaced meanwhile."""
    if fcntl is None:
        yield
        return
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _text(columns: Iterable[str], values: Dict[str, Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        ["" if values.get(name) is None else values[name] for name in columns])
    return out.getvalue()


class FileOutput(BaseOutput):
    """A CSV file. on_csv_write: "append" a row, or "update" that of this run. A file of another kind is put
    aside, and a new one begun; columns that stand in another order stay so."""

    def __init__(self, output_file_name: str, output_dir: str, on_csv_write: str = "append") -> None:
        if on_csv_write not in ("append", "update"):
            raise ValueError(f"on_csv_write is 'append' or 'update', not {on_csv_write!r}")
        if not os.path.exists(output_dir):
            raise OSError(f"Folder '{output_dir}' doesn't exist !")
        self.output_dir, self.on_csv_write = output_dir, on_csv_write
        self.save_file_path = os.path.join(output_dir, output_file_name)

    def _header(self) -> Optional[List[str]]:
        """The columns that the file has; None for a new file."""
        try:
            with open(self.save_file_path, newline="", encoding="utf-8") as file:
                header = next(csv.reader(file), None)
        except FileNotFoundError:
            return None
        if not header:
            return None
        if sorted(header) == sorted(COLUMNS):
            return header
        aside = f"{self.save_file_path}_{time.strftime('%Y%m%dT%H%M%S')}.bak"
        log.warning("%s has other columns; it is now %s", self.save_file_path, aside)
        os.replace(self.save_file_path, aside)
        return None

    def out(self, total: EmissionsData, delta: EmissionsData) -> None:
        with _locked(self.output_dir):
            header = self._header()
            values = dict(total.values)
            if header is not None and self.on_csv_write == "update" and self._update(header, values):
                return
            text = "" if header is not None else ",".join(COLUMNS) + "\n"
            with open(self.save_file_path, "a", newline="", encoding="utf-8") as file:
                file.write(text + _text(header or COLUMNS, values))

    def _update(self, header: Sequence[str], values: Dict[str, Any]) -> bool:
        """Puts the row of this run in place of its old one; False where it has none, or several."""
        if os.path.getsize(self.save_file_path) > CSV_MAX:
            return False
        with open(self.save_file_path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        same = [row for row in rows if row.get("run_id") == values["run_id"]]
        if len(same) != 1:
            return False
        same[0].update({name: values[name] for name in header})
        new = self.save_file_path + ".new"
        with open(new, "w", newline="", encoding="utf-8") as file:
            file.write(",".join(header) + "\n" + "".join(_text(header, row) for row in rows))
        os.replace(new, self.save_file_path)
        return True

    def task_out(self, data: List[TaskEmissionsData], experiment_name: str) -> None:
        path = os.path.join(self.output_dir, f"emissions_{experiment_name}_{data[0].of.run_id}.csv")
        with open(path, "w", newline="", encoding="utf-8") as file:
            file.write(",".join(TASK_COLUMNS) + "\n"
                       + "".join(_text(TASK_COLUMNS, dict(task.values)) for task in data))


class LoggerOutput(BaseOutput):
    """A JSON object a result, to a logger."""

    def __init__(self, logger: Any, severity: int = logging.INFO) -> None:
        self.logger, self.logging_severity = logger, severity

    def out(self, total: EmissionsData, delta: EmissionsData) -> None:
        self.logger.log(self.logging_severity, msg=json.dumps(asdict(total)))

    def live_out(self, total: EmissionsData, delta: EmissionsData) -> None:
        self.out(total, delta)


LABELS = ("project_name", "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region",
          "os",
          "codecarbon_version", "cpu_model", "cpu_count", "gpu_model", "gpu_count", "tracking_mode",
          "ram_total_size")
GAUGES = {
    "duration": "Duration from last measure (s)",
    "emissions": "Emissions as CO2-equivalents (kg)",
    "emissions_rate": "Emissions divided per duration (kg/s)",
    "cpu_power": "CPU power (W)",
    "gpu_power": "GPU power (W)",
    "ram_power": "RAM power (W)",
    "cpu_energy": "Energy of CPUs since last reading (kWh)",
    "gpu_energy": "Energy of GPUs since last reading (kWh)",
    "ram_energy": "Energy of RAM since last reading (kWh)",
    "energy_consumed": "Sum of cpu_energy, gpu_energy and ram_energy (kWh)",
}


class PrometheusOutput(BaseOutput):
    """Deltas as gauges, and codecarbon_energy_total, to a push gateway. What is not known has no series."""

    def __init__(self, prometheus_url: str, job_name: str = "codecarbon") -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise ImportError("output to Prometheus needs prometheus_client: pip install 'ergon[prometheus]'"
                              ) from error
        self._client: Any = prometheus_client
        self.prometheus_url, self.job_name = prometheus_url, job_name
        self.registry = prometheus_client.CollectorRegistry()
        self._gauges = {name: prometheus_client.Gauge(f"codecarbon_{name}", text, LABELS,
                                                      registry=self.registry)
                        for name, text in GAUGES.items()}
        self._total = prometheus_client.Counter(
            "codecarbon_energy_total", "Accumulated cpu_energy, gpu_energy and ram_energy (kWh) since the "
            "start of the run", LABELS, registry=self.registry)

    def out(self, total: EmissionsData, delta: EmissionsData) -> None:
        labels = dict.fromkeys(LABELS, "")
        labels["project_name"] = delta.project_name
        for name, gauge in self._gauges.items():
            value = getattr(delta, name)
            if value is not None:
                gauge.labels(**labels).set(value)
        if delta.energy_consumed is not None and delta.energy_consumed >= 0:
            self._total.labels(**labels).inc(delta.energy_consumed)
        self._client.push_to_gateway(self.prometheus_url, job=self.job_name, registry=self.registry,
                                     handler=self._handler)

    def _handler(self, url: str, method: str, timeout: Any, headers: Any, data: Any) -> Any:
        return self._client.exposition.basic_auth_handler(
            url, method, timeout, headers, data, os.environ.get("PROMETHEUS_USERNAME"),
            os.environ.get("PROMETHEUS_PASSWORD"))

    def live_out(self, total: EmissionsData, delta: EmissionsData) -> None:
        self.out(total, delta)

    def exit(self) -> None:
        """A gateway keeps what nobody updates for ever."""
        self._client.delete_from_gateway(self.prometheus_url, job=self.job_name)
