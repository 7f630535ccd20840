# SPDX-License-Identifier: Apache-2.0
"""Measuring a block or a function in one line. The source is found at the first use and shared by the
process; an agent that goes away later never stops the work: the measurement says that it has no figure."""
from __future__ import annotations

import contextvars
import functools
import inspect
import os
import threading
import time
import warnings
from collections import deque
from typing import Any, Callable, Deque, Mapping, Optional, Tuple, TypeVar, Union, overload

from . import sync as _sync
from .errors import ErgonError, WindowClosed
from .log import Log, as_log
from .log import write as write_log
from .model import Measurement, Number
from .source import Source, Window, connect

F = TypeVar("F", bound=Callable[..., Any])
Logging = Union[None, str, "os.PathLike[str]", Log]
KEPT_MAX = 128  #: measurements that a decorated function remembers

_default: Optional[Source] = None
_default_pid = 0
_given = False
_lock = threading.RLock()  # a handler of a signal may ask while the source is being found
_open: "contextvars.ContextVar[Tuple[measure, ...]]" = contextvars.ContextVar("ergon_windows", default=())


def default_source() -> Source:
    """The source of this process, found by connect() at the first use. Raises Unavailable."""
    global _default, _default_pid
    with _lock:
        if _default is None or (_default_pid != os.getpid() and not _given):
            _default, _default_pid = connect(), os.getpid()
        return _default


def set_default_source(source: Optional[Source]) -> None:
    """Makes `source` that of this process; None: it is found anew at the next use."""
    global _default, _default_pid, _given
    with _lock:
        _default, _default_pid, _given = source, os.getpid(), source is not None


def current() -> Optional["measure"]:
    """The innermost measure() that this thread or task is in."""
    windows = _open.get()
    return windows[-1] if windows else None


def units(name: str, n: Number = 1) -> None:
    """Adds work to every measure() that this thread or task is in; nothing outside of one."""
    for window in _open.get():
        window.units(name, n)


class _Unmeasured(Window):
    """A window that could not begin: the work goes on without."""

    def __init__(self, source: Source, name: Optional[str], units: Optional[Mapping[str, Number]],
                 error: ErgonError) -> None:
        super().__init__(source, name, units, False)
        self._error = error

    def _read(self, end: bool) -> Measurement:
        return self.nothing(f"the window could not begin: {self._error}", running=not end)


_warned = False


def _forked() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forked)


def begin(source: Source, name: Optional[str], units: Optional[Mapping[str, Number]] = None,
          sync: _sync.Which = True) -> Window:
    """Source.begin() that never stops the work: one warning, and a window without a figure."""
    global _warned
    try:
        return source.begin(name, units, sync)
    except ErgonError as error:
        if not _warned:
            _warned = True
            warnings.warn(f"ergon: {error}; the program goes on, without figures for this time",
                          RuntimeWarning, stacklevel=3)
        return _Unmeasured(source, name, units, error)


async def _aside(what: Callable[..., Any], *args: Any) -> Any:
    """In a thread where an asyncio loop runs, so that the loop goes on meanwhile."""
    import asyncio  # most of what importing this package would cost
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return what(*args)
    return await loop.run_in_executor(None, functools.partial(what, *args))


class measure:
    """`with ergon.measure("name") as m:` or `async with`; after the block m has the figures: m.joules,
    m.seconds, m.measurement, ... Also begun and ended by hand with start() and stop().

    name: for people. units: work to begin with. source: None for that of the process.
    sync: frameworks whose queued work is finished first (ergon.sync). log: a file, or a Log, that gets the
    measurement. on_measurement: called with it.
    """

    def __init__(self, name: str = "measure", *, units: Optional[Mapping[str, Number]] = None,
                 source: Optional[Source] = None, sync: _sync.Which = True, log: Logging = None,
                 on_measurement: Optional[Callable[[Measurement], None]] = None) -> None:
        self.name = name
        self._start_units = dict(units or {})
        self._source = source
        self._sync = sync
        self._log = as_log(log)
        self._on_measurement = on_measurement
        self._window: Optional[Window] = None
        self._measurement: Optional[Measurement] = None

    # ---- by hand ----

    def start(self) -> "measure":
        if self._window is not None and self._window.open:
            raise ErgonError(f"{self.name!r} is being measured already",
                             "end it first, or use another measure()")
        source = self._source or default_source()
        self._measurement = None
        self._window = begin(source, self.name, self._start_units, self._sync)
        return self

    def stop(self) -> Measurement:
        if self._window is None:
            raise WindowClosed(f"{self.name!r} was not started")
        measurement = self._window.end()
        self._measurement = measurement
        write_log(self._log, measurement)
        if self._on_measurement is not None:
            self._on_measurement(measurement)
        return measurement

    def cancel(self) -> None:
        if self._window is not None:
            self._window.cancel()

    def units(self, name: str, n: Number = 1) -> None:
        """Adds work done; nothing after the end."""
        window = self._window
        if window is None:
            raise WindowClosed(f"{self.name!r} was not started")
        try:
            window.units(name, n)
        except WindowClosed:
            pass  # a task that outlives the block it was started in

    def peek(self) -> Measurement:
        if self._window is None:
            raise WindowClosed(f"{self.name!r} was not started")
        return self._measurement if self._measurement is not None else self._window.peek()

    # ---- blocks ----

    def _enter(self) -> None:
        _open.set(_open.get() + (self,))

    def _leave(self) -> None:
        # Not by the token of _enter(): a generator's block may end while a later one of its caller is open,
        # or in another context.
        _open.set(tuple(w for w in _open.get() if w is not self))

    def __enter__(self) -> "measure":
        self.start()
        self._enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        if self._window is not None and self._window.open:
            self.stop()

    async def __aenter__(self) -> "measure":
        import asyncio
        given_up = threading.Event()
        try:
            await _aside(self._start_unless, given_up)
        except asyncio.CancelledError:  # its thread goes on, and must leave no window open
            given_up.set()
            asyncio.get_running_loop().run_in_executor(None, self.cancel)
            raise
        self._enter()
        return self

    def _start_unless(self, given_up: threading.Event) -> None:
        self.start()
        if given_up.is_set():
            self.cancel()

    async def __aexit__(self, *_: object) -> None:
        self._leave()
        if self._window is not None and self._window.open:
            import asyncio
            # Shielded: a cancelled task has ended its window too.
            await asyncio.shield(_aside(self.stop))

    # ---- figures ----

    @property
    def measurement(self) -> Measurement:
        """The figures; the value so far while it runs."""
        return self.peek()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.measurement, name)

    def __repr__(self) -> str:
        if self._measurement is not None:
            return f"<ergon.measure {self._measurement}>"
        return f"<ergon.measure {self.name!r}>"


class Measured:
    """What a decorated function tells of its calls: `f.energy.last`, `f.energy.measurements`."""

    def __init__(self) -> None:
        self.measurements: Deque[Measurement] = deque(maxlen=KEPT_MAX)

    @property
    def last(self) -> Optional[Measurement]:
        return self.measurements[-1] if self.measurements else None


@overload
def measured(function: F) -> F: ...
@overload
def measured(function: Optional[str] = None, *, name: Optional[str] = None, source: Optional[Source] = None,
             sync: _sync.Which = True, log: Logging = None,
             on_measurement: Optional[Callable[[Measurement], None]] = None) -> Callable[[F], F]: ...


def measured(function: Any = None, *, name: Optional[str] = None, source: Optional[Source] = None,
             sync: _sync.Which = True, log: Logging = None,
             on_measurement: Optional[Callable[[Measurement], None]] = None) -> Any:
    """Measures every call of a function, also of an async one; a generator from its first step to its end.

        @ergon.measured
        @ergon.measured("name", log="energy.csv")

    The figures: `f.energy.last`, `f.energy.measurements` (the last 128), on_measurement, log.
    """
    if isinstance(function, str):
        name, function = function, None
    log = as_log(log)

    def decorate(f: Any) -> Any:
        energy = Measured()
        title = name or str(getattr(f, "__qualname__", "function"))

        def keep(m: Measurement) -> None:
            energy.measurements.append(m)
            if on_measurement is not None:
                on_measurement(m)

        def window() -> measure:
            return measure(title, source=source, sync=sync, log=log,
                           on_measurement=keep)

        wrapper = _wrap(f, window)
        wrapper.energy = energy
        return wrapper

    return decorate if function is None else decorate(function)


def _wrap(f: Any, window: Callable[[], measure]) -> Any:
    if inspect.iscoroutinefunction(f):
        @functools.wraps(f)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            async with window():
                return await f(*args, **kwargs)
        return coroutine
    if inspect.isasyncgenfunction(f):
        @functools.wraps(f)
        async def asyncgen(*args: Any, **kwargs: Any) -> Any:
            async with window():
                inner = f(*args, **kwargs)
                try:
                    value = await inner.__anext__()
                    while True:
                        try:
                            sent = yield value
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            value = await inner.athrow(error)
                        else:
                            value = await inner.asend(sent)
                except StopAsyncIteration:
                    return
                finally:
                    await inner.aclose()
        return asyncgen
    if inspect.isgeneratorfunction(f):
        @functools.wraps(f)
        def generator(*args: Any, **kwargs: Any) -> Any:
            with window():
                return (yield from f(*args, **kwargs))
        return generator

    @functools.wraps(f)
    def function(*args: Any, **kwargs: Any) -> Any:
        with window():
            return f(*args, **kwargs)
    return function
