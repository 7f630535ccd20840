# SPDX-License-Identifier: Apache-2.0
"""Settings by CodeCarbon's order: arguments, then CODECARBON_* of the environment, then ./.codecarbon.config,
then ~/.codecarbon.config (section [codecarbon])."""
from __future__ import annotations

import configparser
import logging
import os
from pathlib import Path
from typing import Any, Dict, Optional

log = logging.getLogger("ergon.codecarbon")

SECTION, FILE, PREFIX = "codecarbon", ".codecarbon.config", "codecarbon_"


class Unset:
    """An argument that was not given; None is given."""

    def __repr__(self) -> str:
        return "<unset>"


UNSET: Any = Unset()


def read() -> Dict[str, str]:
    """The settings outside of the program; all values are text."""
    parser = configparser.ConfigParser(interpolation=None)
    for folder in (Path.home(), Path.cwd()):
        try:
            parser.read(folder / FILE, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            log.error("%s is passed over: %s", folder / FILE, error)
    found = dict(parser[SECTION]) if parser.has_section(SECTION) else {}
    for name, value in os.environ.items():
        if name.lower().startswith(PREFIX):
            found[name.lower()[len(PREFIX):]] = value
    return found


class Settings:
    """Each setting once, from where it counts."""

    def __init__(self, given: Dict[str, Any]) -> None:
        self._given = {name: value for name, value in given.items() if value is not UNSET}
        self._outside = read()

    def get(self, name: str, default: Any = None, kind: Optional[type] = None) -> Any:
        """kind: what text outside of the program is taken for; what is none counts as not there."""
        if name in self._given:
            return self._given[name]
        value = self._outside.get(name)
        if value is None or kind is None:
            return default if value is None else value
        try:
            return value.strip().lower() == "true" if kind is bool else kind(value)
        except ValueError:
            log.error("the setting %s=%r is no %s: it is passed over", name, value, kind.__name__)
            return default
