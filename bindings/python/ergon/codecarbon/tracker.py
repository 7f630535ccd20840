# SPDX-License-Identifier: Apache-2.0
"""EmissionsTracker and its kin. Energy is that of the process's source (ergon.default_source()), from start
to stop; emissions are told where a carbon intensity is configured, and where it is not they are None."""
from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import platform
import re
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Callable, Dict, List, Optional, Tuple

from .. import _parts
from .._fork import in_child
from ..errors import ErgonError
from ..measure import begin, default_source
from ..model import Measurement
from ..source import NullSource, Source, Window
from . import machine
from .config import UNSET, Settings
from .data import EmissionsData, TaskEmissionsData
from .output import BaseOutput, FileOutput, LoggerOutput, OutputMethod, PrometheusOutput

log = logging.getLogger("ergon.codecarbon")

KWH_JOULES = 3.6e6
EXPERIMENT_ID = "5b0fa12a-3dd7-45bb-9766-cc326314d9f1"  #: CodeCarbon's own default
TASKS_MAX = 65536  #: that a run remembers
#: Accepted, as every argument, but without effect.
ESTIMATES = ("force_cpu_power", "force_ram_power", "force_mode_cpu_load")
NOT_SENT = {OutputMethod.API: "the API of CodeCarbon", OutputMethod.LOGFIRE: "logfire",
            OutputMethod.BOAMPS: "BoAmps"}


@dataclass
class _Task:
    window: Window
    name: str
    ticks: Optional[Tuple[int, int]]
    data: Optional[EmissionsData] = None


def _method(value: Any) -> OutputMethod:
    return value if isinstance(value, OutputMethod) else OutputMethod(str(getattr(value, "value",
                                                                                  value)).strip())


class BaseEmissionsTracker:
    """The arguments are CodeCarbon's; those that are without effect here are told of once in the log:
    estimates by TDP (what is not measured is left empty), its API, and where a machine may stand."""

    def __init__(self, project_name: Any = UNSET, measure_power_secs: Any = UNSET,
                 api_call_interval: Any = UNSET,
                 api_endpoint: Any = UNSET, api_key: Any = UNSET, output_dir: Any = UNSET,
                 output_file: Any = UNSET, output_methods: Any = UNSET, save_to_file: Any = UNSET,
                 save_to_api: Any = UNSET, save_to_logger: Any = UNSET, logging_logger: Any = UNSET,
                 save_to_prometheus: Any = UNSET, save_to_logfire: Any = UNSET, prometheus_url: Any = UNSET,
                 output_handlers: Any = UNSET, gpu_ids: Any = UNSET, emissions_endpoint: Any = UNSET,
                 experiment_id: Any = UNSET, experiment_name: Any = UNSET,
                 electricitymaps_api_token: Any = UNSET,
                 co2_signal_api_token: Any = UNSET, tracking_mode: Any = UNSET, log_level: Any = UNSET,
                 on_csv_write: Any = UNSET, logger_preamble: Any = UNSET, force_cpu_power: Any = UNSET,
                 force_ram_power: Any = UNSET, pue: Any = UNSET, wue: Any = UNSET,
                 force_carbon_intensity_g_co2e_kwh: Any = UNSET, force_mode_cpu_load: Any = UNSET,
                 allow_multiple_runs: Any = UNSET, rapl_include_dram: Any = UNSET,
                 rapl_prefer_psys: Any = UNSET) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self._settings = s = Settings(given)
        self._configure_log(s)
        self._project_name = str(s.get("project_name", "codecarbon"))
        self._experiment_id = str(s.get("experiment_id", EXPERIMENT_ID))
        self._experiment_name = str(s.get("experiment_name", "base"))
        self._measure_power_secs = float(s.get("measure_power_secs", 15.0, float))
        if not self._measure_power_secs > 0:
            raise ValueError("measure_power_secs is longer than 0 s")
        self._api_call_interval = int(s.get("api_call_interval", 8, int) or 8)
        self._pue = float(s.get("pue", 1.0, float) or 1.0)
        self._wue = float(s.get("wue", 0.0, float) or 0.0)
        self._intensity = self._carbon_intensity(s)
        self._include_dram = bool(s.get("rapl_include_dram", False, bool))
        self._prefer_psys = bool(s.get("rapl_prefer_psys", False, bool))
        self._gpu_ids = self._ids(s.get("gpu_ids"))
        self._check_mode(s)
        self.run_id: Any = uuid.uuid4()
        self.final_emissions: Optional[float] = None
        self.final_emissions_data: Optional[EmissionsData] = None
        self._country_iso_code: Optional[str] = None
        self._region: Optional[str] = None
        self._cloud: Tuple[Optional[str], Optional[str]] = (None, None)
        self._output_handlers = self._outputs(s)
        self._begin_anew()
        in_child(self._begin_anew)
        self._window: Optional[Window] = None
        self._source: Source = NullSource()
        self._parts = _parts.Parts()
        self._tasks: Dict[str, _Task] = {}
        self._active_task: Optional[str] = None
        self._previous: Optional[EmissionsData] = None
        self._ticks: Optional[Tuple[int, int]] = None
        self._memory: List[float] = [0.0, 0.0]  # sum and number of readings of used GiB
        self._stop_event = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()

    # ---- settings ----

    @staticmethod
    def _configure_log(s: Settings) -> None:
        level = s.get("log_level", "info")
        try:
            log.setLevel(level.upper() if isinstance(level, str) else level)
        except (ValueError, TypeError):
            log.error("no log level %r", level)
        for name in ESTIMATES:
            if s.get(name) not in (None, False, "False", "false"):
                log.warning("%s has no effect: Ergon measures, and leaves empty what it cannot measure", name)
        if s.get("emissions_endpoint"):
            log.warning("emissions_endpoint has no effect: give an object of your own in output_handlers")

    @staticmethod
    def _carbon_intensity(s: Settings) -> Optional[float]:
        value = s.get("force_carbon_intensity_g_co2e_kwh", None, float)
        try:
            number = None if value is None else float(value)
        except (TypeError, ValueError):
            number = -1.0
        if number is not None and not 0 <= number < float("inf"):
            log.warning("force_carbon_intensity_g_co2e_kwh=%r is no carbon intensity: emissions are left "
                        "empty",
                        value)
            return None
        return number

    @staticmethod
    def _check_mode(s: Settings) -> None:
        mode = s.get("tracking_mode", "machine")
        if mode not in ("machine", "process"):
            raise ValueError(f"tracking_mode is 'machine' or 'process', not {mode!r}")
        if mode == "process":
            log.warning("the energy of one process is not told yet: that of the machine is, and "
                        "tracking_mode of the results says so")

    @staticmethod
    def _ids(value: Any) -> Optional[List[str]]:
        if value is None:
            return None
        words = value.split(",") if isinstance(value, str) else value
        return [str(word).strip() for word in words if str(word).strip()]

    def _outputs(self, s: Settings) -> List[Any]:
        handlers = list(s.get("output_handlers") or [])
        methods = s.get("output_methods")
        if isinstance(methods, str):
            methods = [word for word in methods.split(",") if word.strip()]
        if methods is None:
            flags = {OutputMethod.CSV: ("save_to_file", True), OutputMethod.API: ("save_to_api", False),
                     OutputMethod.LOGGER: ("save_to_logger", False),
                     OutputMethod.PROMETHEUS: ("save_to_prometheus", False),
                     OutputMethod.LOGFIRE: ("save_to_logfire", False)}
            methods = [method for method, (name, default) in flags.items() if s.get(name, default, bool)]
        for method in map(_method, methods):
            if method is OutputMethod.CSV:
                handlers.append(FileOutput(str(s.get("output_file", "emissions.csv")),
                                           str(s.get("output_dir", ".")), str(s.get("on_csv_write",
                                                                                    "append"))))
            elif method is OutputMethod.LOGGER:
                logger = s.get("logging_logger")
                handlers.append(logger if logger is not None else LoggerOutput(log))
            elif method is OutputMethod.PROMETHEUS:
                job = re.sub(r"[^a-zA-Z0-9_-]", "_", f"{self._project_name}_{self._experiment_name}")
                handlers.append(PrometheusOutput(str(s.get("prometheus_url", "localhost:9091")), job))
            else:
                log.warning("nothing is sent to %s", NOT_SENT[method])
        return handlers

    # ---- the run ----

    def start(self) -> None:
        """Begins the run; nothing happens to one that runs."""
        with self._lock:
            if self._window is not None and self._window.open:
                log.warning("Already started tracking")
                return
            self._begin()

    def _begin(self) -> None:
        try:
            self._source = default_source()
        except ErgonError as error:
            log.warning("nothing measures energy here, and all figures are left empty: %s", error)
            self._source = NullSource()
        # An id of gpu_ids is the driver's own number; without one, it is what a framework sees.
        self._parts = _parts.of_source(self._source, None if self._gpu_ids is None else {})
        self._tasks, self._active_task = {}, None
        self._previous, self._ticks, self._memory = None, machine.cpu_ticks(), [0.0, 0.0]
        self._window = begin(self._source, self._project_name)
        self._stop_event.clear()
        self._sample()
        self._thread = threading.Thread(target=self._run, daemon=True, name="ergon-codecarbon")
        self._thread.start()

    def stop(self) -> Optional[float]:
        """Ends the run and its task, and writes the results. Gives kg of CO2, or None where no carbon
        intensity is configured."""
        with self._lock:
            if self._window is None:
                log.error("You first need to start the tracker.")
                return None
            if not self._window.open:
                log.warning("Tracker already stopped !")
                return self.final_emissions
            self._stop_event.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            if self._active_task is not None:
                self.stop_task()
            if not self._window.open:  # another thread stopped it
                return self.final_emissions
            total = self._data(self._window.end(), self._ticks)
            self.final_emissions_data, self.final_emissions = total, total.emissions
            self._write(total)
            for handler in self._output_handlers:
                self._tell(handler, "exit")
        if self._intensity is None:
            log.info("no carbon intensity is configured (force_carbon_intensity_g_co2e_kwh): emissions are "
                     "left empty")
        return self.final_emissions

    def flush(self) -> Optional[float]:
        """Writes the results so far; the run goes on."""
        with self._lock:
            if self._window is None or not self._window.open:
                log.error("You first need to start the tracker.")
                return None
            total = self._data(self._window.peek(), self._ticks)
            self._write(total)
            return total.emissions

    def _write(self, total: EmissionsData) -> None:
        delta = self._delta(total)
        tasks = [TaskEmissionsData(task.name, task.data) for task in self._tasks.values() if task.data]
        for handler in self._output_handlers:
            self._tell(handler, "out", total, delta)
            if tasks:
                self._tell(handler, "task_out", tasks, self._experiment_name)

    @staticmethod
    def _tell(handler: Any, what: str, *args: Any) -> None:
        """The meter never stops the work."""
        try:
            getattr(handler, what, lambda *_: None)(*args)
        except Exception as error:
            log.error("%s.%s: %s", type(handler).__name__, what, error)

    def _delta(self, total: EmissionsData) -> EmissionsData:
        delta = replace(total)
        if self._previous is not None:
            delta.compute_delta_emission(self._previous)
        self._previous = total
        return delta

    def _sample(self) -> None:
        used = machine.memory().get("used")
        if used is not None:
            self._memory[0] += used
            self._memory[1] += 1

    def _run(self) -> None:
        due, n = time.monotonic(), 0
        live = [h for h in self._output_handlers
                if getattr(type(h), "live_out", None) is not BaseOutput.live_out]
        while True:
            due = max(due + self._measure_power_secs, time.monotonic())
            if self._stop_event.wait(due - time.monotonic()):
                return
            self._sample()
            n += 1
            with self._lock:
                if self._window is None or not self._window.open:
                    return
                # Read each time: what a counter loses at a reset is then no more than one interval.
                m = self._window.peek()
                if self._api_call_interval < 0 or n < self._api_call_interval or not live:
                    continue
                total = self._data(m, self._ticks)
                delta = self._delta(total)
            n = 0
            for handler in live:
                self._tell(handler, "live_out", total, delta)

    # ---- tasks ----

    def start_task(self, task_name: Optional[str] = None) -> None:
        """Begins a task, and the run if it does not run. One task at a time."""
        with self._lock:
            if self._window is None or not self._window.open:
                self._begin()
            if self._active_task is not None:
                log.warning("A task is already under measure")
                return
            if len(self._tasks) >= TASKS_MAX:
                log.error("%d tasks are in this run: no more are measured", TASKS_MAX)
                return
            name = task_name or str(uuid.uuid4())
            if name in self._tasks:
                name += "_" + str(uuid.uuid4())
            self._tasks[name] = _Task(begin(self._source, name), name, machine.cpu_ticks())
            self._active_task = name

    def stop_task(self, task_name: Optional[str] = None) -> Optional[EmissionsData]:
        """Ends a task; its figures are its own."""
        with self._lock:
            task = self._tasks.get(task_name or self._active_task or "")
            if task is None or not task.window.open:
                log.warning("stop_task : No active task to stop.")
                return None
            task.data = self._data(task.window.end(), task.ticks)
            if self._active_task == task.name:
                self._active_task = None
            return task.data

    # ---- figures ----

    def _chosen(self) -> List[int]:
        gpus = self._parts.gpus
        if self._gpu_ids is None:
            return list(range(len(gpus)))
        return [i for i, gpu in enumerate(gpus) if any(
            str(gpu.number) == word or gpu.uuid is not None and gpu.uuid.startswith(word)
            for word in self._gpu_ids)]

    def _energies(self, m: Measurement) -> Dict[str, Optional[float]]:
        """Joules of the three columns, none of which holds what is in another."""
        parts = self._parts
        cpu = _parts.sum_figures(_parts.figure(m, d, "package") for d in parts.cpus)
        ram = _parts.sum_figures(_parts.figure(m, d, "dram") for d in parts.drams if d)
        gpu = _parts.sum_figures(_parts.figure(m, parts.gpus[i].device, "gpu") for i in self._chosen())
        if self._prefer_psys and parts.psys is not None:
            cpu, ram = _parts.figure(m, parts.psys, "psys"), None
        elif self._include_dram and ram is not None:
            cpu, ram = _parts.sum_figures((cpu, ram)), None
        return {"cpu": cpu.joules if cpu else None, "gpu": gpu.joules if gpu else None,
                "ram": ram.joules if ram else None}

    def _data(self, m: Measurement, ticks: Optional[Tuple[int, int]]) -> EmissionsData:
        if m.partial and m.joules is not None:
            log.warning("the energy of %r is not whole: %s", m.name, m.reason)
        joules = self._energies(m)
        seconds = m.elapsed_seconds if m.seconds is None else m.seconds
        kwh = {name: None if value is None else value / KWH_JOULES * self._pue for name,
               value in joules.items()}
        known = [value for value in kwh.values() if value is not None]
        total = sum(known) if known else None
        emissions = None
        if total is not None and self._intensity is not None:
            emissions = total * self._intensity / 1000
        watts = {name: value / seconds if value is not None and seconds > 0 else None
                 for name, value in joules.items()}
        used = self._memory[0] / self._memory[1] if self._memory[1] else None
        size = machine.memory().get("total")
        provider, region = self._cloud
        return EmissionsData(
            timestamp=datetime.now().strftime("%Y-%m-%dT%H:%M:%S"), project_name=self._project_name,
            run_id=str(self.run_id), experiment_id=self._experiment_id, duration=seconds, emissions=emissions,
            emissions_rate=emissions / seconds if emissions is not None and seconds > 0 else None,
            cpu_power=watts["cpu"], gpu_power=watts["gpu"], ram_power=watts["ram"], cpu_energy=kwh["cpu"],
            gpu_energy=kwh["gpu"], ram_energy=kwh["ram"], energy_consumed=total,
            water_consumed=None if total is None else total * self._wue,
            country_iso_code=self._country_iso_code, region=self._region, cloud_provider=provider,
            cloud_region=region, os=platform.platform(), python_version=platform.python_version(),
            codecarbon_version=_version(), cpu_count=machine.cpu_count(), cpu_model=machine.cpu_model(),
            gpu_count=len(self._chosen()), ram_total_size=size, tracking_mode="machine",
            cpu_utilization_percent=machine.busy_percent(ticks, machine.cpu_ticks()),
            ram_utilization_percent=100 * used / size if used is not None and size else None,
            ram_used_gb=used,
            on_cloud="Y" if provider else None, pue=self._pue, wue=self._wue)

    def get_detected_hardware(self) -> Dict[str, Any]:
        parts = self._parts if self._window is not None else _parts.of_source(_source_or_null())
        return {"ram_total_size": machine.memory().get("total"), "cpu_count": machine.cpu_count(),
                "cpu_physical_count": len(parts.cpus) or None, "cpu_model": machine.cpu_model(),
                "gpu_count": len(parts.gpus), "gpu_model": None, "gpu_ids": self._gpu_ids}

    def service_shutdown(self, signum: Any, frame: Any) -> None:
        """A handler for signals."""
        log.warning("stopped by signal %s", signum)
        self.stop()

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, tb: Any) -> None:
        self.stop()


def _version() -> str:
    from .. import __version__
    return f"ergon {__version__}"


def _source_or_null() -> Source:
    try:
        return default_source()
    except ErgonError:
        return NullSource()


class EmissionsTracker(BaseEmissionsTracker):
    """Asks no network where the machine stands: country, region and cloud stay empty."""


class OfflineEmissionsTracker(BaseEmissionsTracker):
    """country_iso_code, region, cloud_provider and cloud_region go into the results as they are given. They
    stand for no carbon intensity: that is configured, or emissions are None."""

    country_2letter_iso_code: Optional[str] = None

    def __init__(self, *args: Any, country_iso_code: Any = UNSET, region: Any = UNSET,
                 cloud_provider: Any = UNSET, cloud_region: Any = UNSET,
                 country_2letter_iso_code: Any = UNSET,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        s = Settings({"country_iso_code": country_iso_code, "region": region,
                      "cloud_provider": cloud_provider,
                      "cloud_region": cloud_region, "country_2letter_iso_code": country_2letter_iso_code})
        self._country_iso_code = s.get("country_iso_code")
        wanted = s.get("region")
        self._region = wanted.lower() if isinstance(wanted, str) else wanted
        self._cloud = (s.get("cloud_provider"), s.get("cloud_region"))
        if self._cloud[0] and not self._cloud[1]:
            log.error("a cloud_region belongs to a cloud_provider")
        two = s.get("country_2letter_iso_code")
        self.country_2letter_iso_code = two.upper() if isinstance(two, str) else two


class TaskEmissionsTracker:
    """A task as a block, of a tracker or of one of its own."""

    def __init__(self, task_name: Any, tracker: Optional[BaseEmissionsTracker] = None) -> None:
        self.is_default_tracker = tracker is None
        self.tracker = EmissionsTracker() if tracker is None else tracker
        self.task_name = task_name

    def __enter__(self) -> "TaskEmissionsTracker":
        self.tracker.start_task(self.task_name)
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, tb: Any) -> None:
        self.tracker.stop_task()
        if self.is_default_tracker:
            self.tracker.stop()


# ---- decorators ----

def _around(fn: Callable[..., Any], enter: Callable[[], Any], leave: Callable[[Any], Any]) -> Callable[...,
                                                                                                       Any]:
    if inspect.iscoroutinefunction(fn):
        @functools.wraps(fn)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            loop = asyncio.get_running_loop()
            state = await loop.run_in_executor(None, enter)
            try:
                return await fn(*args, **kwargs)
            finally:
                await asyncio.shield(loop.run_in_executor(None, leave, state))
        return coroutine

    @functools.wraps(fn)
    def function(*args: Any, **kwargs: Any) -> Any:
        state = enter()
        try:
            return fn(*args, **kwargs)
        finally:
            leave(state)
    return function


def track_emissions(fn: Any = None, project_name: Any = UNSET, measure_power_secs: Any = UNSET,
                    api_call_interval: Any = UNSET, api_endpoint: Any = UNSET, api_key: Any = UNSET,
                    output_dir: Any = UNSET, output_file: Any = UNSET, output_methods: Any = UNSET,
                    save_to_file: Any = UNSET, save_to_api: Any = UNSET, save_to_logger: Any = UNSET,
                    logging_logger: Any = UNSET, save_to_prometheus: Any = UNSET,
                    save_to_logfire: Any = UNSET,
                    prometheus_url: Any = UNSET, output_handlers: Any = UNSET, gpu_ids: Any = UNSET,
                    emissions_endpoint: Any = UNSET, experiment_id: Any = UNSET, experiment_name: Any = UNSET,
                    electricitymaps_api_token: Any = UNSET, co2_signal_api_token: Any = UNSET,
                    tracking_mode: Any = UNSET, log_level: Any = UNSET, on_csv_write: Any = UNSET,
                    logger_preamble: Any = UNSET, offline: Any = UNSET, country_iso_code: Any = UNSET,
                    region: Any = UNSET, cloud_provider: Any = UNSET, cloud_region: Any = UNSET,
                    country_2letter_iso_code: Any = UNSET, force_cpu_power: Any = UNSET,
                    force_ram_power: Any = UNSET, pue: Any = UNSET, wue: Any = UNSET,
                    force_carbon_intensity_g_co2e_kwh: Any = UNSET, allow_multiple_runs: Any = UNSET,
                    rapl_include_dram: Any = UNSET, rapl_prefer_psys: Any = UNSET) -> Any:
    """A run around each call of a function, also of an async one. The arguments are those of the trackers;
    offline=True takes OfflineEmissionsTracker."""
    given = dict(locals())
    del given["fn"], given["offline"]
    where = ("country_iso_code", "region", "cloud_provider", "cloud_region", "country_2letter_iso_code")
    is_offline = offline is not UNSET and bool(offline)
    if not is_offline:
        for name in where:
            del given[name]

    def enter() -> BaseEmissionsTracker:
        if is_offline and given["country_iso_code"] in (None, UNSET) and \
                given["cloud_provider"] in (None, UNSET):
            raise Exception("Needs ISO Code of the Country for Offline mode")
        tracker: BaseEmissionsTracker = (OfflineEmissionsTracker if is_offline else EmissionsTracker)(**given)
        tracker.start()
        return tracker

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _around(function, enter, lambda tracker: tracker.stop())

    return decorate(fn) if fn is not None else decorate


def track_task_emissions(fn: Any = None, tracker: Optional[BaseEmissionsTracker] = None,
                         task_name: str = "") -> Any:
    """A task around each call of a function, of a tracker or of one of its own."""
    own = EmissionsTracker() if tracker is None else tracker

    def enter() -> None:
        own.start_task(task_name)

    def leave(_: Any) -> None:
        own.stop_task()
        if tracker is None:
            own.stop()

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _around(function, enter, leave)

    return decorate(fn) if fn is not None else decorate
