# SPDX-License-Identifier: Apache-2.0
"""How many joules, measured how: energy of a piece of a program, from the agent of Ergon, its energy page, or
libergon in this process.

    import ergon

    with ergon.measure("train") as m:
        work()
    print(m.joules, m.uncertainty_joules, m.provenance)

    @ergon.measured
    def step(): ...
"""
from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import AccessDenied, ErgonError, InvalidSetting, ProtocolError, Unavailable, WindowClosed
from .log import Log
from .measure import current, default_source, measure, measured, set_default_source, units
from .model import Account, AccountKey, Entry, Event, EventChannel, Measurement, Reading, Snapshot
from .source import NullSource, Source, Window, connect
from .sync import synchronize
from .tracker import Sample, Tracker

__version__ = "0.3.0"

__all__ = [
    "AccessDenied", "Account", "AccountKey", "Entry", "ErgonError", "Event", "EventChannel", "InvalidSetting",
    "Log", "Measurement", "NullSource", "ProtocolError", "Reading", "Sample", "Snapshot", "Source", "Tracker",
    "Unavailable", "Window", "WindowClosed", "connect", "current", "default_source", "measure", "measured",
    "set_default_source", "synchronize", "units", "validate",
]


def __getattr__(name: str) -> Any:
    if name == "validate":  # it brings every backend with it: only for who asks
        return import_module(".backends", __name__).validate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
