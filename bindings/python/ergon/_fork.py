# SPDX-License-Identifier: Apache-2.0
"""What a forked child begins anew: a lock that another thread held at the fork would never be free in it."""
from __future__ import annotations

import os
import weakref
from typing import Callable, List

SWEEP_MIN = 64

# Registered once: what os.register_at_fork() is given stays there for ever, and sources come and go.
_methods: "List[weakref.WeakMethod[Callable[[], None]]]" = []
_sweep_at = SWEEP_MIN


def in_child(method: Callable[[], None]) -> None:
    """Calls a bound method in each forked child, as long as its object lives. In the order of the calls."""
    global _sweep_at
    if len(_methods) >= _sweep_at:
        _methods[:] = [kept for kept in _methods if kept() is not None]
        _sweep_at = max(SWEEP_MIN, 2 * len(_methods))
    _methods.append(weakref.WeakMethod(method))


def _forked() -> None:
    for method in list(_methods):
        found = method()
        if found is not None:
            found()


os.register_at_fork(after_in_child=_forked)
