# SPDX-License-Identifier: Apache-2.0
"""What a forked child begins anew: a lock that another thread held at the fork would never be free in it."""
from __future__ import annotations

import os
import weakref
from typing import Any, Callable, List

# Registered once: what os.register_at_fork() is given stays there for ever, and sources come and go.
_methods: "List[weakref.WeakMethod[Callable[[], None]]]" = []


def in_child(method: Callable[[], None]) -> None:
    """Calls a bound method in each forked child, as long as its object lives. In the order of the calls."""
    _methods.append(weakref.WeakMethod(method, _forget))


def _forget(gone: Any) -> None:
    try:
        _methods.remove(gone)
    except ValueError:
        pass


def _forked() -> None:
    for method in list(_methods):
        found = method()
        if found is not None:
            found()


os.register_at_fork(after_in_child=_forked)
