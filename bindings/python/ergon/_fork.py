# SPDX-License-Identifier: Apache-2.0
"""What a forked child begins anew: a lock that another thread held at the fork would never be free in it."""
from __future__ import annotations

import os
import weakref
from typing import Callable


def in_child(method: Callable[[], None]) -> None:
    """Calls a bound method in each forked child, as long as its object lives."""
    own = weakref.WeakMethod(method)

    def forked() -> None:
        found = own()
        if found is not None:
            found()
    os.register_at_fork(after_in_child=forked)
