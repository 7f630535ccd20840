# SPDX-License-Identifier: Apache-2.0
"""Ergon for llenergymeasure: an object of its protocol (name, is_available, start_tracking, stop_tracking).

    from ergon.llenergymeasure import ErgonBackend
    backend = ErgonBackend(gpu_indices=[0])
    handle = backend.start_tracking()
    metrics = backend.stop_tracking(handle)   # total_j, duration_sec, samples, per_gpu_j, and more
"""
from __future__ import annotations

from typing import Any, Optional

from .backends import BackendUnavailable, ErgonBackend, Info, Metrics, Settings, UnknownBackend, select


def select_energy_sampler(explicit: Optional[str] = "auto", gpu_indices: Optional[Any] = None) -> Any:
    """The backend that a setting means, or None where energy is switched off or nothing can measure it."""
    found = select(Settings(backend=explicit, gpu_indices=tuple(gpu_indices) if gpu_indices is not None
                            else None))
    return None if found.name == "null" else found.backend


__all__ = ["BackendUnavailable", "ErgonBackend", "Info", "Metrics", "UnknownBackend", "select_energy_sampler"]
