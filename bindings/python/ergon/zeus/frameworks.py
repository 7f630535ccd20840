# SPDX-License-Identifier: Apache-2.0
"""Waiting for the framework that a monitor was told of, as Zeus does it: without it, RuntimeError."""
from __future__ import annotations

import importlib.util
import sys
from typing import Any, Sequence

LABELS = {"torch": "Pytorch", "jax": "JAX", "cupy": "CuPy"}


def sync_execution(gpu_devices: Sequence[int], sync_with: str = "torch") -> None:
    """Blocks until these GPUs have done what the framework gave them. One that is installed and that this
    program has not imported has given them nothing."""
    if sync_with not in LABELS:
        raise RuntimeError("No framework is available.")
    module: Any = sys.modules.get(sync_with)
    if module is None:
        if importlib.util.find_spec(sync_with) is None:
            raise RuntimeError(f"Failed to import {LABELS[sync_with]}")
        return
    if sync_with == "torch":
        if not module.cuda.is_available():
            raise RuntimeError("PyTorch is available but does not have CUDA support.")
        for device in gpu_devices:
            module.cuda.synchronize(device)
    elif sync_with == "jax":
        queued = [module.device_put(0.0, device=module.devices("gpu")[device]) + 0 for device in gpu_devices]
        queued.append(module.device_put(0.0, device=module.devices("cpu")[0]) + 0)
        module.block_until_ready(queued)
    else:
        for device in gpu_devices:
            module.cuda.Device(device).synchronize()
