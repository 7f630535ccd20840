# SPDX-License-Identifier: Apache-2.0
"""Ways to measure that can be chosen by name, put beside each other, and added to.

    ergon.backends.list()                       names, best first
    ergon.backends.select("auto").backend       or a name, or None for off
    ergon.backends.register("mine", MyBackend)  or an entry point in the group `ergon.backends`
"""
from __future__ import annotations

from .crosscheck import Comparison, CrossValidated, Overhead, Report, side_by_side, validate
from .model import Backend, Capability, Info, Metrics, Value
from .native import ErgonBackend, NullBackend
from .peers import CodeCarbonBackend, NvmlBackend, ZeusBackend
from .registry import (BackendUnavailable, Selection, Settings, UnknownBackend, get, register, select,
                       unregister)
from .registry import names as list

__all__ = [
    "Backend", "BackendUnavailable", "Capability", "CodeCarbonBackend", "Comparison", "CrossValidated",
    "ErgonBackend", "Info", "Metrics", "NullBackend", "NvmlBackend", "Overhead", "Report", "Selection",
    "Settings", "UnknownBackend", "Value", "ZeusBackend", "get", "register", "select", "side_by_side",
    "unregister", "validate",
]  # and list, which `import *` must not put in place of Python's
