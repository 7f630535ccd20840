# SPDX-License-Identifier: Apache-2.0
"""Exceptions by the names that programs written for Zeus catch."""
from __future__ import annotations

from ..errors import ErgonError


class ZeusBaseError(ErgonError):
    """Any of them."""


class ZeusGPUInitError(ZeusBaseError):
    """GPUs cannot be asked. A monitor takes that for no GPU."""


class ZeusGPUNotFoundError(ZeusBaseError, IndexError):
    """No GPU has this index."""


class ZeusCPUInitError(ZeusBaseError):
    """CPUs cannot be asked. A monitor takes that for no CPU."""


class ZeusCPUNoPermissionError(ZeusBaseError, RuntimeError):
    """The CPU packages that were named cannot be read."""
