# SPDX-License-Identifier: Apache-2.0
"""Measurements in a file: CSV with one header, or a JSON object a line. Each one is written whole and
flushed, also by several threads and processes that share a file."""
from __future__ import annotations

import csv
import io
import os
import threading
import warnings
from typing import Any, Dict, List, Optional, Union

from ._fork import in_child
from .model import Measurement

try:
    import fcntl
except ImportError:  # not on this system: several processes should not share a file then
    fcntl = None  # type: ignore[assignment]

COLUMNS = ["begin_unix_seconds", "end_unix_seconds", "name", "backend", "seconds", "elapsed_seconds",
           "joules", "estimated_joules", "uncertainty_joules", "watts", "provenance", "edges", "partial",
           "reason", "flags", "components", "units", "joules_per_unit"]


def _pairs(values: Dict[str, Any]) -> str:
    return ";".join(f"{key}={'' if value is None else value}" for key, value in values.items())


def row(m: Measurement) -> List[Any]:
    """The columns of one measurement; what is not known is empty."""
    doc = m.to_dict()
    doc["partial"] = "true" if m.partial else "false"
    doc["flags"] = ";".join(m.flags)
    for name in ("components", "units", "joules_per_unit"):
        doc[name] = _pairs(doc[name])
    return ["" if doc[name] is None else doc[name] for name in COLUMNS]


class Log:
    """A file to append to. form: "csv" or "json"; None: by the name (.json, .jsonl, .ndjson), else CSV."""

    def __init__(self, path: Union[str, "os.PathLike[str]"], form: Optional[str] = None) -> None:
        self.path = os.fspath(path)
        if form is None:
            form = "json" if self.path.endswith((".json", ".jsonl", ".ndjson")) else "csv"
        if form not in ("csv", "json"):
            raise ValueError(f"a log is csv or json, not {form!r}")
        self.form = form
        self._begin_anew()
        in_child(self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._writer: Optional[int] = None  # the thread that has the lock
        self._left: List[bytes] = []

    def write(self, m: Measurement) -> None:
        text = io.StringIO()
        if self.form == "json":
            text.write(m.to_json() + "\n")
        else:
            csv.writer(text, lineterminator="\n").writerow(row(m))
        if self._writer == threading.get_ident():  # in a handler of a signal, in the middle of a write
            self._left.append(text.getvalue().encode())
            return
        with self._lock:
            self._writer = threading.get_ident()
            try:
                self._append(text.getvalue().encode())
                while self._left:
                    self._append(self._left.pop(0))
            finally:
                self._writer = None

    def _append(self, data: bytes) -> None:
        with open(self.path, "ab") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            if self.form == "csv" and os.fstat(file.fileno()).st_size == 0:
                file.write((",".join(COLUMNS) + "\n").encode())
            file.write(data)
            file.flush()


_warned = False


def write(log: Optional[Log], m: Measurement) -> None:
    """To a log, if there is one. A disk that is full never stops the work: one warning."""
    global _warned
    try:
        if log is not None:
            log.write(m)
    except OSError as error:
        if not _warned:
            _warned = True
            warnings.warn(f"ergon: a measurement could not be logged: {error}", RuntimeWarning, stacklevel=3)


def as_log(log: Union[None, str, "os.PathLike[str]", Log]) -> Optional[Log]:
    return log if log is None or isinstance(log, Log) else Log(log)
