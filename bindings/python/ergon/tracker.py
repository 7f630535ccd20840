# SPDX-License-Identifier: Apache-2.0
"""A tracker in the background: the value so far at an interval, and named tasks inside it."""
from __future__ import annotations

import threading
import time
import warnings
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional

from . import sync as _sync
from ._fork import in_child
from .errors import ErgonError
from .log import as_log
from .log import write as write_log
from .measure import Logging, begin, default_source
from .model import Measurement, Number
from .source import Source, Window

TASKS_MAX = 4096  #: open at once


@dataclass(frozen=True)
class Sample:
    """What a tracker tells at each interval."""

    seconds: float  #: since the tracker's begin
    joules: Optional[float]  #: since the tracker's begin
    watts: Optional[float]  #: since the last sample; None for the first and where it is not known
    measurement: Measurement


class Tracker:
    """Measures from start() to stop(), or in a `with` block.

    interval: seconds between samples. on_sample: called with each Sample in the tracker's thread; one that
    fails is told of in one warning. log: a file, or a Log, that gets the measurements of the tasks and of
    the whole.
    """

    def __init__(self, name: str = "tracker", *, source: Optional[Source] = None, interval: float = 1.0,
                 on_sample: Optional[Callable[[Sample], None]] = None, log: Logging = None,
                 sync: _sync.Which = True) -> None:
        if not interval > 0:
            raise ValueError("the interval is longer than 0 s")
        self.name = name
        self.interval = float(interval)
        self.measurement: Optional[Measurement] = None
        self.tasks: List[Measurement] = []  #: that have ended
        self._source = source
        self._on_sample = on_sample
        self._log = as_log(log)
        self._sync = sync
        self._window: Optional[Window] = None
        self._open: Dict[str, Window] = {}
        self._begin_anew()
        in_child(self._begin_anew)
        self._wake = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._warned = False

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()  # a handler of a signal may stop what is being started

    @property
    def running(self) -> bool:
        return self._window is not None and self._window.open

    def start(self) -> "Tracker":
        with self._lock:
            if self.running:
                raise ErgonError(f"the tracker {self.name!r} runs already")
            self._source = self._source or default_source()
            self._window = begin(self._source, self.name, None, self._sync)
            self.measurement, self.tasks = None, []
            self._wake.clear()
            if self._on_sample is not None:
                self._thread = threading.Thread(target=self._run, args=(self._window,), daemon=True,
                                                name=f"ergon-{self.name}")
                self._thread.start()
        return self

    def stop(self) -> Measurement:
        """Ends the tasks that are open, then the whole."""
        with self._lock:
            window, thread, self._thread = self._window, self._thread, None
            names = list(self._open)
        if window is None or not window.open:
            raise ErgonError(f"the tracker {self.name!r} does not run")
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        for name in names:
            try:
                self.stop_task(name)
            except ErgonError:
                pass  # another thread ended it meanwhile
        self.measurement = window.end()
        write_log(self._log, self.measurement)
        return self.measurement

    def start_task(self, name: str, units: Optional[Mapping[str, Number]] = None) -> None:
        source = self._source or default_source()
        self._source = source
        with self._lock:
            if name in self._open:
                raise ErgonError(f"the task {name!r} runs already", "end it first, or give it another name")
            if len(self._open) >= TASKS_MAX:
                raise ErgonError(f"{TASKS_MAX} tasks run at once")
            self._open[name] = begin(source, name, units, self._sync)

    def units(self, unit: str, n: Number = 1, task: Optional[str] = None) -> None:
        """Adds work to a task, or to the whole."""
        with self._lock:
            window = self._window if task is None else self._open.get(task)
        if window is None:
            raise ErgonError(f"no task {task!r} runs" if task else f"the tracker {self.name!r} does not run")
        window.units(unit, n)

    def stop_task(self, name: str, units: Optional[Mapping[str, Number]] = None) -> Measurement:
        with self._lock:
            window = self._open.pop(name, None)
        if window is None:
            raise ErgonError(f"no task {name!r} runs")
        measurement = window.end(units)
        self.tasks.append(measurement)
        write_log(self._log, measurement)
        return measurement

    def _run(self, window: Window) -> None:
        last: Optional[Measurement] = None
        due = time.monotonic() + self.interval
        while not self._wake.wait(max(0.0, due - time.monotonic())):
            due = max(due + self.interval, time.monotonic())
            try:
                now = window.peek()
                self._tell(now, last)
                last = now
            except Exception as error:  # a callback, or a window that was just ended
                if window.open and not self._warned:
                    self._warned = True
                    warnings.warn(f"ergon: the tracker {self.name!r} could not tell a sample: {error!r}",
                                  RuntimeWarning)

    def _tell(self, now: Measurement, last: Optional[Measurement]) -> None:
        watts = None
        if last is not None and now.joules is not None and last.joules is not None:
            seconds = (now.seconds or 0.0) - (last.seconds or 0.0)
            if seconds > 0:
                watts = (now.joules - last.joules) / seconds
        if self._on_sample is not None:
            self._on_sample(Sample(now.elapsed_seconds if now.seconds is None else now.seconds, now.joules,
                                   watts, now))

    def __enter__(self) -> "Tracker":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.stop()
