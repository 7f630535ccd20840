# SPDX-License-Identifier: Apache-2.0
"""ergon.codecarbon on simulated machines: the contract of its interface, part 2.2."""
import asyncio
import contextlib
import csv
import json
import logging
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig_compat import HEAD, Gateway, Place, Shared, near, raises, run_tests, until, zone  # noqa: E402
import ergon  # noqa: E402
from ergon.codecarbon import (BaseOutput, EmissionsTracker, FileOutput, LoggerOutput,  # noqa: E402
                              OfflineEmissionsTracker, OutputMethod, TaskEmissionsTracker, track_emissions,
                              track_task_emissions)
from ergon.model import Account, AccountKey  # noqa: E402
from ergon.codecarbon.data import COLUMNS, TASK_COLUMNS  # noqa: E402

KWH = 3.6e6
MACHINE = HEAD + zone("package-0", "120W") + zone("dram", "10W", at="intel-rapl:0:0")
ORDER = ("timestamp project_name run_id experiment_id duration emissions emissions_rate cpu_power gpu_power "
         "ram_power cpu_energy gpu_energy ram_energy energy_consumed water_consumed country_name "
         "country_iso_code region cloud_provider cloud_region os python_version codecarbon_version cpu_count "
         "cpu_model gpu_count gpu_model longitude latitude ram_total_size tracking_mode "
         "cpu_utilization_percent gpu_utilization_percent ram_utilization_percent ram_used_gb on_cloud pue "
         "wue").split()
PLACES = ("emissions", "emissions_rate", "country_name", "country_iso_code", "region", "cloud_provider",
          "cloud_region", "longitude", "latitude", "on_cloud")


@contextlib.contextmanager
def at_home(place, here=None, home=None, **env):
    """In folders and an environment of its own."""
    cwd, old = os.getcwd(), dict(os.environ)
    for name, text in (("home", home), ("here", here)):
        os.makedirs(place.path(name), exist_ok=True)
        if text:
            with open(place.path(name, ".codecarbon.config"), "w") as f:
                f.write("[codecarbon]\n" + text)
    os.environ.update(HOME=place.path("home"), **env)
    os.chdir(place.path("here"))
    try:
        yield
    finally:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(old)


def rows(path="emissions.csv"):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def test_a_run():
    assert COLUMNS == ORDER
    with Place() as place, at_home(place):
        m = Shared(place, MACHINE)
        tracker = EmissionsTracker(project_name="p", pue=1.5, wue=2.0, force_carbon_intensity_g_co2e_kwh=400,
                                   log_level="error")
        tracker.start()
        m.sleep(5)
        kg = tracker.stop()
        with open("emissions.csv") as f:
            assert f.readline().strip().split(",") == ORDER
        row, = rows()
        near(float(row["duration"]), 5, 0.001, "duration")
        near(float(row["cpu_energy"]), 600 / KWH * 1.5, 0.002, "kWh, with the building's share")
        near(float(row["ram_energy"]), 50 / KWH * 1.5, 0.002, "memory")
        near(float(row["energy_consumed"]), 650 / KWH * 1.5, 0.002, "sum")
        near(float(row["cpu_power"]), 120, 0.002, "D15: mean power")
        near(float(row["ram_power"]), 10, 0.002, "mean power")
        near(float(row["emissions"]), 650 / KWH * 1.5 * 0.4, 0.002, "kg")
        near(float(row["water_consumed"]), 650 / KWH * 1.5 * 2, 0.002, "litres")
        assert abs(kg - float(row["emissions"])) < 1e-12 and kg == tracker.final_emissions
        assert tracker.final_emissions_data.cpu_energy == float(row["cpu_energy"])
        assert row["gpu_energy"] == row["gpu_power"] == "" and row["gpu_count"] == "0", "a GPU of no machine"
        assert row["tracking_mode"] == "machine" and row["codecarbon_version"].startswith("ergon")
        assert os.listdir(".") == ["emissions.csv"]
        assert tracker.stop() == kg, "stopped twice"


def test_nothing_is_guessed():
    with Place() as place, at_home(place):
        m = Shared(place, MACHINE)
        with EmissionsTracker(log_level="critical") as tracker:
            m.sleep(1)
        assert tracker.final_emissions is None
        row, = rows()
        assert all(row[name] == "" for name in PLACES), row
        assert float(row["energy_consumed"]) > 0
        offline = OfflineEmissionsTracker(country_iso_code="FRA", region="Bretagne", cloud_provider="c",
                                          cloud_region="r", log_level="critical")
        offline.start()
        m.sleep(1)
        assert offline.stop() is None, "a country's intensity is not known here"
        row = rows()[1]
        assert (row["country_iso_code"], row["region"], row["cloud_provider"], row["on_cloud"]) == \
            ("FRA", "bretagne", "c", "Y") and row["country_name"] == "" and row["emissions"] == ""
        # D14: what is told is the machine's, and says so.
        with EmissionsTracker(tracking_mode="process", log_level="critical", save_to_file=False) as tracker:
            m.sleep(1)
        assert tracker.final_emissions_data.tracking_mode == "machine"
        raises(ValueError, EmissionsTracker, tracking_mode="both")
        raises(ValueError, EmissionsTracker, measure_power_secs=-1)
        # What would be an estimate is left empty.
        ergon.set_default_source(ergon.NullSource())
        with EmissionsTracker(force_cpu_power=65, force_ram_power=10, log_level="critical",
                              save_to_file=False) as tracker:
            pass
        data = tracker.final_emissions_data
        assert data.cpu_energy is None and data.ram_energy is None and data.energy_consumed is None


def test_settings_in_order():
    with Place() as place:
        Shared(place, MACHINE)
        with at_home(place, home="project_name = home\nmeasure_power_secs = 3\nexperiment_name = h%h\n"
                     "save_to_file = False\n", here="project_name = here\nmeasure_power_secs = 4\n",
                     CODECARBON_PROJECT_NAME="env", CODECARBON_GPU_IDS="0,GPU-ab"):
            t = EmissionsTracker(log_level="critical")
            assert (t._project_name, t._measure_power_secs, t._experiment_name, t._output_handlers) == \
                ("env", 4.0, "h%h", [])
            assert t._gpu_ids == ["0", "GPU-ab"]
            t = EmissionsTracker(project_name="script", measure_power_secs=5, log_level="critical")
            assert (t._project_name, t._measure_power_secs) == ("script", 5.0)
        with at_home(place, CODECARBON_MEASURE_POWER_SECS="often",
                     CODECARBON_FORCE_CARBON_INTENSITY_G_CO2E_KWH="-3", CODECARBON_OUTPUT_METHODS="logger"):
            t = EmissionsTracker(log_level="critical")
            assert t._measure_power_secs == 15.0 and t._intensity is None
            assert [type(h) for h in t._output_handlers] == [LoggerOutput]


def test_append_update_and_another_kind_of_file():
    with Place() as place, at_home(place):
        m = Shared(place, MACHINE)
        for mode, expected in (("append", 3), ("update", 1)):
            tracker = EmissionsTracker(on_csv_write=mode, output_file=f"{mode}.csv", log_level="critical")
            tracker.start()
            for _ in range(2):
                m.sleep(1)
                tracker.flush()
            m.sleep(1)
            tracker.stop()
            found = rows(f"{mode}.csv")
            assert len(found) == expected, (mode, len(found))
            near(float(found[-1]["duration"]), 3, 0.01, "the last is the whole")
        with open("old.csv", "w") as f:
            f.write("a,b\n1,2\n")
        order = list(reversed(COLUMNS))
        with open("turned.csv", "w") as f:
            f.write(",".join(order) + "\n")
        data = tracker.final_emissions_data
        for name in ("old.csv", "turned.csv"):
            FileOutput(name, ".").out(data, data)
            assert rows(name)[0]["run_id"] == data.run_id, name
        aside = [name for name in os.listdir(".") if name.startswith("old.csv_")]
        assert len(aside) == 1 and open(aside[0]).read() == "a,b\n1,2\n"
        raises(OSError, EmissionsTracker, output_dir=place.path("nowhere"))
        raises(ValueError, EmissionsTracker, on_csv_write="sometimes")


def test_tasks():
    with Place() as place, at_home(place):
        m = Shared(place, MACHINE)
        tracker = EmissionsTracker(experiment_name="e", log_level="critical")
        tracker.start()
        m.sleep(1)
        tracker.start_task("a")
        tracker.start_task("b")  # one at a time: told, and passed over
        m.sleep(2)
        task = tracker.stop_task()
        near(task.cpu_energy, 240 / KWH, 0.002, "the task alone")
        near(task.duration, 2, 0.001, "duration")
        assert tracker.stop_task("b") is None
        with TaskEmissionsTracker("a", tracker):
            m.sleep(1)
        tracker.start_task("open")
        m.sleep(1)
        tracker.stop()
        path, = [name for name in os.listdir(".") if name.startswith("emissions_e_")]
        found = rows(path)
        with open(path) as f:
            assert f.readline().strip().split(",") == TASK_COLUMNS
        assert [row["task_name"].split("_")[0] for row in found] == ["a", "a", "open"]
        near(sum(float(row["cpu_energy"]) for row in found), 480 / KWH, 0.002, "tasks")
        near(float(rows()[0]["cpu_energy"]), 600 / KWH, 0.002, "the run")


def test_decorators():
    with Place() as place, at_home(place):
        m = Shared(place, MACHINE)
        quiet = dict(log_level="critical")

        @track_emissions(project_name="f", **quiet)
        def f(x):
            m.sleep(1)
            return 2 * x

        @track_emissions(offline=True, country_iso_code="CAN", project_name="g", **quiet)
        async def g(x):
            m.sleep(1)
            return 3 * x

        @track_emissions(project_name="h", **quiet)
        def h():
            raise KeyError("mine")

        @track_emissions
        def plain():
            return "bare"

        assert f(2) == 4 and asyncio.run(g(2)) == 6 and f.__name__ == "f" and plain() == "bare"
        raises(KeyError, h)
        found = {row["project_name"]: row for row in rows()}
        assert set(found) == {"f", "g", "h", "codecarbon"} and found["g"]["country_iso_code"] == "CAN"
        near(float(found["f"]["cpu_energy"]), 120 / KWH, 0.01, "f")
        assert "ISO Code" in raises(Exception, track_emissions(lambda: 0, offline=True))

        tracker = EmissionsTracker(save_to_file=False, **quiet)

        @track_task_emissions(tracker=tracker, task_name="t")
        def task():
            m.sleep(1)
        task()
        task()
        assert len(tracker._tasks) == 2
        tracker.stop()


def test_gpu_ids_are_the_drivers_numbers():
    with Place() as place, at_home(place, CUDA_VISIBLE_DEVICES="2,1"):
        gpus = [Account(AccountKey(f"gpu-GPU-{k}{k}", "gpu", "measured"), "nvml", "component",
                        f"nvml/gpu-{k}", "total", True) for k in range(3)]

        class Fake(ergon.NullSource):
            def accounts(self):
                return gpus
        ergon.set_default_source(Fake())
        for ids, numbers in ((None, [2, 1]), ("1", [1]), ([0, "GPU-22"], [0, 2])):
            with EmissionsTracker(gpu_ids=ids, save_to_file=False, log_level="critical") as t:
                assert [t._parts.gpus[i].number for i in t._chosen()] == numbers, ids
        ergon.set_default_source(None)


class Kept(BaseOutput):
    def __init__(self):
        self.live, self.outs, self.exits = [], [], 0

    def live_out(self, total, delta):
        self.live.append((total, delta))

    def out(self, total, delta):
        self.outs.append((total, delta))

    def exit(self):
        self.exits += 1


class Broken(BaseOutput):
    def out(self, total, delta):
        raise OSError("full")


def test_outputs():
    with Place() as place, at_home(place):
        m, gateway = Shared(place, MACHINE), Gateway(place)
        kept, lines = Kept(), []
        logger = logging.Logger("mine")
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())
        logger.addHandler(handler)
        tracker = EmissionsTracker(
            output_methods=[OutputMethod.PROMETHEUS, OutputMethod.LOGGER],
            logging_logger=LoggerOutput(logger),
            prometheus_url=gateway.url, output_handlers=[Broken(), kept], measure_power_secs=0.05,
            api_call_interval=1, project_name="a b", log_level="critical")
        tracker.start()
        for _ in range(3):
            m.sleep(1)
            n = len(kept.live)
            until("a live result", lambda: len(kept.live) > n + 1, 30)
        tracker.stop()
        assert kept.exits == 1 and len(kept.outs) == 1
        total = kept.outs[0][0]
        parts = [delta.cpu_energy for _, delta in kept.live + kept.outs]
        near(sum(parts), total.cpu_energy, 1e-6, "deltas make the whole")
        assert all(part >= 0 for part in parts)
        assert json.loads(lines[-1])["run_id"] == total.run_id
        puts = [g for g in gateway.got if g[0] == "PUT"]
        assert puts[-1][1] == "/metrics/job/a_b_base" and gateway.got[-1][0] == "DELETE"
        gateway.got[:] = puts
        found = {name.partition("{")[0]: value for name, value in gateway.samples().items()}
        near(found["codecarbon_energy_total"], total.energy_consumed, 1e-6, "counter")
        assert "codecarbon_cpu_power" in found and "codecarbon_emissions" not in found, found


if __name__ == "__main__":
    run_tests(dict(globals()))
