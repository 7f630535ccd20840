# SPDX-License-Identifier: Apache-2.0
"""What /proc tells of a process."""
import glob
import re


def status_kb(pid, field):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"^{field}:\s+(\d+)", f.read(), re.M).group(1))


def cpu_seconds(pid):
    """CPU time of all threads, in the scheduler's nanoseconds."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total / 1e9
