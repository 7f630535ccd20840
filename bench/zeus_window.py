# SPDX-License-Identifier: Apache-2.0
"""What a window of the peer Zeus costs: begin and end on the CPU zones below /sys, no GPU. Prints
microseconds of CPU time of its own process, the median of the rounds. Its wrap-watching children
import this file again."""
import json
import statistics
import sys
import time

ROUNDS, EACH = 51, 200


def main():
    import zeus
    from zeus.monitor import ZeusMonitor
    monitor = ZeusMonitor(gpu_indices=[])
    if not monitor.cpu_indices:
        sys.exit("Zeus sees no CPU zone")
    us = []
    for k in range(ROUNDS + 1):
        begin = time.process_time()
        for _ in range(EACH):
            monitor.begin_window("w")
            result = monitor.end_window("w")
        if k:  # the first starts the children
            us.append((time.process_time() - begin) / EACH * 1e6)
    with open("/proc/self/statm") as f:
        rss_kb = int(f.read().split()[1]) * 4
    zones = len(result.cpu_energy or ()) + len(result.dram_energy or ())
    print(json.dumps({"window_us": statistics.median(us), "fastest_us": min(us), "zones": zones,
                      "rss_kb": rss_kb, "version": getattr(zeus, "__version__", "?")}))


if __name__ == "__main__":
    main()
