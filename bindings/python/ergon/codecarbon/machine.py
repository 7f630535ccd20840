# SPDX-License-Identifier: Apache-2.0
"""What a row says of the machine beside energy, of /proc; None where it is not told."""
from __future__ import annotations

import os
from typing import Dict, Optional, Tuple

GIB = 1024.0 ** 3


def _lines(path: str) -> Tuple[str, ...]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return tuple(file.read(1 << 20).splitlines())
    except OSError:
        return ()


def cpu_model() -> Optional[str]:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip() or None
    return None


def memory() -> Dict[str, float]:
    """GiB: "total" and "used"; empty where not told."""
    kib = {}
    for line in _lines("/proc/meminfo"):
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isascii() and words[0].isdigit():
            kib[name] = int(words[0])
    if "MemTotal" not in kib:
        return {}
    found = {"total": kib["MemTotal"] * 1024 / GIB}
    if "MemAvailable" in kib:
        found["used"] = (kib["MemTotal"] - kib["MemAvailable"]) * 1024 / GIB
    return found


def cpu_ticks() -> Optional[Tuple[int, int]]:
    """(busy, all) since boot."""
    for line in _lines("/proc/stat"):
        words = line.split()
        if words and words[0] == "cpu" and len(words) >= 6:
            times = [int(word) for word in words[1:9]]  # guest time is in user time
            return sum(times) - times[3] - times[4], sum(times)
    return None


def busy_percent(first: Optional[Tuple[int, int]], last: Optional[Tuple[int, int]]) -> Optional[float]:
    if first is None or last is None or last[1] <= first[1]:
        return None
    return 100 * (last[0] - first[0]) / (last[1] - first[1])


def cpu_count() -> Optional[int]:
    return os.cpu_count()
