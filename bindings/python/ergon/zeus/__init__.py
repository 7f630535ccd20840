# SPDX-License-Identifier: Apache-2.0
"""The measuring part of Zeus 0.16, answered by Ergon: `from ergon.zeus import ZeusMonitor` in place of
`from zeus.monitor import ZeusMonitor`. Zeus itself is not needed, and may be installed beside it.

What is better here, and therefore differs: counters that wrap, packages that repeat each other, psys and
CUDA_VISIBLE_DEVICES with UUIDs or MIG devices are right; no process is started; no root is needed where an
agent runs. What could not be measured is NaN with a warning, not 0. `Measurement.ergon` has the whole
measurement: uncertainty, provenance, flags.
"""
from __future__ import annotations

from .errors import (ZeusBaseError, ZeusCPUInitError, ZeusCPUNoPermissionError, ZeusGPUInitError,
                     ZeusGPUNotFoundError)
from .monitor import Measurement, ZeusMonitor
from .power import PowerDomain, PowerMonitor
from .soc import AppleSiliconMeasurement, JetsonMeasurement, SoCMeasurement

__all__ = [
    "AppleSiliconMeasurement", "JetsonMeasurement", "Measurement", "PowerDomain", "PowerMonitor",
    "SoCMeasurement", "ZeusBaseError", "ZeusCPUInitError", "ZeusCPUNoPermissionError", "ZeusGPUInitError",
    "ZeusGPUNotFoundError", "ZeusMonitor",
]
