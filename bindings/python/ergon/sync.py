# SPDX-License-Identifier: Apache-2.0
"""Work that a framework has queued on an accelerator is finished before a window begins and before it ends,
so that its energy falls into the window it belongs to. Only frameworks that the program has imported are
looked at; none is ever imported here, and no accelerator is initialised."""
from __future__ import annotations

import sys
import threading
import warnings
from typing import Any, Callable, Dict, Iterable, Set, Tuple, Union

Which = Union[bool, None, str, Iterable[str]]

_warned: Set[str] = set()
_lock = threading.Lock()


def _torch(torch: Any) -> None:
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_available() and cuda.is_initialized():
        has_context = getattr(getattr(torch, "_C", None), "_cuda_hasPrimaryContext", None)
        if has_context is None:
            cuda.synchronize()
        else:  # synchronising a device makes a context on it: only those that are in use
            for i in range(cuda.device_count()):
                if has_context(i):
                    cuda.synchronize(i)
    xpu = getattr(torch, "xpu", None)
    if xpu is not None and xpu.is_available() and getattr(xpu, "is_initialized", lambda: False)():
        xpu.synchronize()
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    if mps is not None and mps.is_available():
        torch.mps.synchronize()


def _jax(jax: Any) -> None:
    # A value put on a device is ready when what was queued there before it is done.
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and not getattr(bridge, "_backends", True):
        return  # no device has been used
    for device in jax.local_devices():
        (jax.device_put(0.0, device) + 0).block_until_ready()


def _cupy(cupy: Any) -> None:
    cupy.cuda.Device().synchronize()


FRAMEWORKS: Dict[str, Callable[[Any], None]] = {"torch": _torch, "jax": _jax, "cupy": _cupy}


def _chosen(which: Which) -> Tuple[str, ...]:
    if which is None or which is False:
        return ()
    if which is True or which == "auto":
        return tuple(FRAMEWORKS)
    names = (which,) if isinstance(which, str) else tuple(which)
    for name in names:
        if name not in FRAMEWORKS:
            raise ValueError(f"no framework {name!r}: one of {', '.join(FRAMEWORKS)}")
    return names


def synchronize(which: Which = True) -> Tuple[str, ...]:
    """Waits until the accelerators have done what imported frameworks gave them. which: True or "auto" for
    all of them, a name or names, False for none. Gives the names of those that were waited for. A
    framework that fails here is told of in one warning, and never stops the program."""
    done = []
    for name in _chosen(which):
        module = sys.modules.get(name)
        if module is None:
            continue
        try:
            FRAMEWORKS[name](module)
            done.append(name)
        except Exception as error:  # the meter never stops the work
            with _lock:
                first = name not in _warned
                _warned.add(name)
            if first:
                warnings.warn(f"ergon: {name} could not be synchronised, so its work may fall outside the "
                              f"window: {error}", RuntimeWarning, stacklevel=3)
    return tuple(done)
