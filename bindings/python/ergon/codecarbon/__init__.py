# SPDX-License-Identifier: Apache-2.0
"""CodeCarbon's trackers, answered by Ergon: `from ergon.codecarbon import EmissionsTracker` in place of `from
codecarbon import EmissionsTracker`. CodeCarbon itself is not needed, and may be installed beside it.

Same arguments, same emissions.csv. Energy is measured or left empty: nothing is estimated by a TDP, memory is
what its counter says. Emissions and places are empty where they are not configured: no country is guessed,
and no network is asked. stop() gives kg of CO2, or None without a carbon intensity.
"""
from __future__ import annotations

from .data import EmissionsData, TaskEmissionsData
from .output import BaseOutput, FileOutput, LoggerOutput, OutputMethod, PrometheusOutput
from .tracker import (EmissionsTracker, OfflineEmissionsTracker, TaskEmissionsTracker, track_emissions,
                      track_task_emissions)

__all__ = [
    "BaseOutput", "EmissionsData", "EmissionsTracker", "FileOutput", "LoggerOutput",
    "OfflineEmissionsTracker",
    "OutputMethod", "PrometheusOutput", "TaskEmissionsData", "TaskEmissionsTracker", "track_emissions",
    "track_task_emissions",
]
