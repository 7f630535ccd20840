# SPDX-License-Identifier: Apache-2.0
"""bench/windows_python.py JSON: begin and end of a window in every way there is, in turns; run by windows.py where
/sys is the simulated machine's. Prints the median of the rounds of each, microseconds a window: CPU time of its
process and of the agent, and wall time; how many times more of it each peer takes, by round. The processes that
Zeus starts import this file again."""
import contextlib
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "bindings", "python")]
ROUNDS = 11
PEERS = ("zeus", "task", "tracker")


def ours(source):
    import ergon

    def window():
        with ergon.measure("w", source=source) as m:
            pass
        assert m.seconds is not None or m.reason
    return window


def zeus_window(found):
    import zeus
    from zeus.monitor import ZeusMonitor
    monitor = ZeusMonitor(gpu_indices=[])

    def window():
        monitor.begin_window("w")
        return monitor.end_window("w")
    result = window()  # the first starts the children
    assert len(result.cpu_energy) + len(result.dram_energy) == 4, result
    found["versions"]["zeus"] = zeus.__version__
    return window


def codecarbon_windows(found):
    import codecarbon
    options = dict(log_level="error", save_to_file=False, force_carbon_intensity_g_co2e_kwh=100.0, gpu_ids=[],
                   rapl_include_dram=True, allow_multiple_runs=True)
    one = codecarbon.OfflineEmissionsTracker(**options)

    def task():
        one.start_task("w")
        return one.stop_task("w")

    def tracker():
        made = codecarbon.OfflineEmissionsTracker(**options)
        made.start()
        made.stop()
    task()
    cpu = next(h for h in one._hardware if type(h).__name__ == "CPU")
    assert cpu._mode == "intel_rapl", cpu
    found["codecarbon_zones"] = len(cpu._intel_interface._rapl_files)
    found["versions"]["codecarbon"] = codecarbon.__version__
    return task, tracker


def timed(window, count, agent_pid):
    """(CPU, wall) microseconds a window."""
    from proc import cpu_seconds
    there = cpu_seconds(agent_pid) if agent_pid else 0.0
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(count):
        window()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if agent_pid:
        cpu += cpu_seconds(agent_pid) - there
    return cpu / count * 1e6, wall / count * 1e6


def timed_c(words, agent_pid):
    from proc import cpu_seconds
    there = cpu_seconds(agent_pid) if agent_pid else 0.0
    r = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    if agent_pid:
        r["cpu_us"] += (cpu_seconds(agent_pid) - there) / r["windows"] * 1e6
    return r["cpu_us"], r["wall_us"]


def main():
    place = json.loads(sys.argv[1])
    os.environ["ERGON_LIBRARY"] = os.path.join(place["build"], "src", "lib", "libergon.so.0")
    import ergon
    found = {"versions": {}}
    pid = place["pid"]
    programs = os.path.join(place["build"], "bench")

    def python(window, count, agent_pid=None):
        window()
        return lambda: timed(window, count, agent_pid)
    ways = {
        "c page": lambda: timed_c([f"{programs}/bench-window", "page", place["page"]], None),
        "c library": lambda: timed_c([f"{programs}/bench-window", "library", place["root"]], None),
        "c socket": lambda: timed_c([f"{programs}/bench-api", place["socket"]], pid),
        "page": python(ours(ergon.connect(page=place["page"])), 200),
        "library": python(ours(ergon.connect(library=True, root=place["root"])), 200),
        "socket": python(ours(ergon.connect(socket=place["socket"])), 100, pid),
    }
    if place["peers"]:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task, tracker = codecarbon_windows(found)
            ways.update(zeus=python(zeus_window(found), 200), task=python(task, 50), tracker=python(tracker, 2))
    names = list(ways)
    rounds = []
    with contextlib.redirect_stdout(io.StringIO()):
        for k in range(ROUNDS):
            rounds.append({name: ways[name]() for name in names[k % len(names):] + names[:k % len(names)]})
    found["ways"] = {name: {
        "cpu_us": statistics.median(r[name][0] for r in rounds),
        "wall_us": statistics.median(r[name][1] for r in rounds),
        "less_cpu": {peer: statistics.median(r[peer][0] / r[name][0] for r in rounds) for peer in PEERS if peer in ways},
    } for name in names}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main()
