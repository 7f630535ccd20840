# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as exceptions. Each message says what helps."""
from __future__ import annotations

from typing import Optional


class ErgonError(Exception):
    """Any failure of this package. `cure` is one sentence, or None where nothing helps."""

    def __init__(self, message: str, cure: Optional[str] = None) -> None:
        super().__init__(f"{message}: {cure}" if cure else message)
        self.cure = cure


class Unavailable(ErgonError):
    """Nothing measures here now: no agent answers, no page is live, no library can be loaded."""


class AccessDenied(ErgonError):
    """The agent, the page or the sensors are not for this user."""


class InvalidSetting(ErgonError, ValueError):
    """An argument or a variable of the environment that cannot be meant: an address that is none, a token
    that no header can hold."""


class WindowClosed(ErgonError):
    """The window has been ended or cancelled before."""


class ProtocolError(ErgonError):
    """The other side said something that this package does not understand."""
