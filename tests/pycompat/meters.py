# SPDX-License-Identifier: Apache-2.0
"""Runs the real meters and ours side by side, told line by line what to do (rig_compat.Meters). The processes
that Zeus starts import it again."""
import contextlib
import io
import json
import logging
import subprocess
import sys
import time
import warnings

KWH = 3.6e6


def boot_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def until_ns(t_ns):
    time.sleep(max(0.0, (t_ns - boot_ns()) / 1e9))


def boot_of(unix_seconds):
    return int(unix_seconds * 1e9) - (time.time_ns() - boot_ns())


def of_ours(m):
    return {"gpu": m.gpu_energy, "cpu": m.cpu_energy, "dram": m.dram_energy, "seconds": m.time,
            "begin_ns": boot_of(m.ergon.begin_unix_seconds),
            "end_ns": boot_of(m.ergon.end_unix_seconds), "flags": list(m.ergon.flags),
            "partial": m.ergon.partial}


def of_zeus(m, begin_ns, end_ns):
    return {"gpu": m.gpu_energy, "cpu": m.cpu_energy, "dram": m.dram_energy, "seconds": m.time,
            "begin_ns": begin_ns, "end_ns": end_ns}


class Jobs:
    def __init__(self):
        self.monitors = None

    def machine(self, root):
        """This machine is that one from here on."""
        subprocess.run(["mount", "--bind", root + "/sys", "/sys"], check=True)
        import ergon
        self.source = ergon.connect(library=True, root=root)
        ergon.set_default_source(self.source)
        return {}

    def zeus_monitors(self):
        from zeus.monitor import ZeusMonitor as Theirs

        from ergon.zeus import ZeusMonitor as Ours
        ours, error, theirs = Ours(), None, None
        try:
            theirs = Theirs()
        except Exception as e:
            error = f"{type(e).__name__}: {e}"
        self.monitors = ours, theirs
        return {"error": error, "ours_cpus": ours.cpu_indices,
                "zeus_cpus": theirs.cpu_indices if theirs else None}

    def zeus(self, begin_ns=0, seconds=1.0):
        """One window of both; the first that Zeus has if none was before."""
        ours, theirs = self.monitors
        late_ms = (boot_ns() - begin_ns) / 1e6 if begin_ns else 0.0
        until_ns(begin_ns)
        ours.begin_window("w")
        begun = boot_ns()
        if theirs:
            theirs.begin_window("w")
        time.sleep(seconds)
        found = {"late_ms": late_ms}
        if theirs:
            found["zeus"] = of_zeus(theirs.end_window("w"), begun, boot_ns())
        found["ours"] = of_ours(ours.end_window("w"))
        return found

    def zeus_short(self, from_ns, n, seconds):
        """Windows one after the other."""
        ours, theirs = self.monitors
        found = []
        for k in range(n):
            until_ns(from_ns + int(k * seconds * 1e9))
            ours.begin_window("w")
            begun = boot_ns()
            theirs.begin_window("w")
            until_ns(from_ns + int((k + 1) * seconds * 1e9))
            z = of_zeus(theirs.end_window("w"), begun, boot_ns())
            found.append({"zeus": z, "ours": of_ours(ours.end_window("w"))})
        return {"windows": found}

    def codecarbon(self, seconds=1.0, begin_ns=0, **arguments):
        from codecarbon import OfflineEmissionsTracker as Theirs

        from ergon.codecarbon import OfflineEmissionsTracker as Ours
        common = dict(log_level="error", save_to_file=False, force_carbon_intensity_g_co2e_kwh=100.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = Theirs(**common, **arguments)
        theirs.get_detected_hardware()
        ours = Ours(**common, **arguments)
        late_ms = (boot_ns() - begin_ns) / 1e6 if begin_ns else 0.0
        until_ns(begin_ns)
        ours_begin = boot_ns()
        ours.start()
        begun = boot_ns()
        theirs.start()
        time.sleep(seconds)
        theirs.stop()
        ended = boot_ns()
        ours.stop()

        def row(d):
            return {"cpu": None if d.cpu_energy is None else d.cpu_energy * KWH,
                    "ram": None if d.ram_energy is None else d.ram_energy * KWH,
                    "total": None if d.energy_consumed is None else d.energy_consumed * KWH,
                    "cpu_power": d.cpu_power, "seconds": d.duration, "emissions": d.emissions,
                    "mode": d.tracking_mode}
        return {"late_ms": late_ms, "codecarbon": dict(row(theirs.final_emissions_data), begin_ns=begun,
                                                       end_ns=ended),
                "ours": dict(row(ours.final_emissions_data), begin_ns=ours_begin, end_ns=boot_ns())}

    def validate(self, seconds):
        import ergon
        import ergon.backends
        report = ergon.validate(seconds)
        return {"text": str(report), "doc": report.to_dict()}


def main():
    with contextlib.redirect_stdout(io.StringIO()):  # what they print at import
        for name in sys.argv[1:]:
            __import__(name)
    logging.disable(logging.WARNING)
    import ergon.codecarbon
    import ergon.zeus  # noqa: F401
    jobs = Jobs()
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        what = job.pop("do")
        with contextlib.redirect_stdout(sys.stderr):
            answer = getattr(jobs, what)(**job)
        print("answer " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
