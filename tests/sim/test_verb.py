# SPDX-License-Identifier: Apache-2.0
"""`ergon sim` as a program: argv[1] is ergon. Lock-step for a day, real time, truth, refusals."""
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

ERGON = sys.argv[1]


def sim(*words, code=0):
    p = subprocess.run([ERGON, "sim", *words], capture_output=True, text=True, timeout=60)
    assert p.returncode == code, (words, p.returncode, p.stderr)
    return p


def uj(folder, zone):
    with open(f"{folder}/sys/class/powercap/{zone}/energy_uj") as f:
        return int(f.read())


def start(folder, *words):
    p = subprocess.Popen([ERGON, "sim", "node", "--dir", folder, *words])
    for _ in range(1000):
        if os.path.exists(folder + "/ERGON-SIM"):
            return p
        assert p.poll() is None, p.returncode
        time.sleep(0.01)
    p.kill()
    raise AssertionError("the machine did not start")


def test_list_and_show():
    names = [line.split()[0] for line in sim("list").stdout.splitlines()]
    assert names[0] == "default" and len(names) >= 45
    for name in ("wrap-in", "node-24h", "hwmon-zoo", "jetson", "perf-unread", "hang", "battery"):
        assert name in names
    assert "[rapl intel-rapl:0]" in sim("show", "default").stdout


def test_truth():
    t = json.loads(sim("truth", "--scenario", "node-24h", "--from", "0", "--to", "24h", "--json").stdout)
    assert [c["joules"] for c in t["channels"]] == [25920000, 2160000, 25920000, 2160000]
    a = json.loads(sim("truth", "--scenario", "default", "--from", "1.5", "--to", "7", "--json").stdout)
    b = json.loads(sim("truth", "--scenario", "default", "--from", "7", "--to", "20.25", "--json").stdout)
    c = json.loads(sim("truth", "--scenario", "default", "--from", "1.5", "--to", "20.25", "--json").stdout)
    for x, y, z in zip(a["channels"], b["channels"], c["channels"]):
        if "joules" in z:
            assert abs(x["joules"] + y["joules"] - z["joules"]) <= 2e-6


def test_lock_step_day():
    with tempfile.TemporaryDirectory() as d:
        clock = d + "/clock"
        p = start(d + "/m", "--scenario", "node-24h", "--clock", clock, "--duration", "24h")
        sim("sleep", "--clock", clock, "24h")
        assert p.wait(20) == 0
        units = 25920000 * 10**9 // 61035
        assert uj(d + "/m", "intel-rapl:0") == units % 2**32 * 61035 // 1000


def test_real_time():
    with tempfile.TemporaryDirectory() as d:
        p = start(d + "/m", "--scenario", "constant-200w")
        with open(d + "/m/ERGON-SIM") as f:
            t0 = int(f.readline().split("=")[1])
        for _ in range(20):
            # What was shown lies between the truth before the read, less a tick, and after it.
            shown = uj(d + "/m", "intel-rapl:0")
            after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            assert shown <= (after - t0) * 200 // 1000
            time.sleep(0.01)
        assert shown > 0
        p.terminate()
        assert p.wait(10) == 0


def test_refusals():
    with tempfile.TemporaryDirectory() as d:
        assert "--clock" in sim("node", "--dir", d + "/a", "--scenario", "suspend", code=1).stderr
        assert "--fuse" in sim("node", "--dir", d + "/a", "--scenario", "hang", code=1).stderr
        os.mkdir(d + "/b")
        with open(d + "/b/mine", "w") as f:
            f.write("x")
        assert "nothing was changed" in sim("node", "--dir", d + "/b", code=1).stderr
        assert os.listdir(d + "/b") == ["mine"]
        with open(d + "/bad.scn", "w") as f:
            f.write("[machine]\ncpus = 4\n[rapl intel-rapl:0]\nnam = x\n")
        e = sim("node", "--dir", d + "/c", "--scenario", d + "/bad.scn", code=2).stderr
        assert "bad.scn:4: unknown key 'nam'; did you mean 'name'?" in e, e
        assert not os.path.exists(d + "/c")
        # a file without a dot in its name is a file all the same
        os.rename(d + "/bad.scn", d + "/mine")
        e = subprocess.run([os.path.abspath(ERGON), "sim", "node", "--dir", d + "/c", "--scenario",
                            "mine"], cwd=d, capture_output=True, text=True, timeout=20).stderr
        assert "mine:4: unknown key" in e, e
    for words, says in (
        (["nodes"], "did you mean 'node'"), (["node"], "--dir"), (["node", "--drr", "x"], "'--dir'"),
        (["truth", "--from", "1", "--to", "2"], "either"), (["show", "defalt"], "'default'"),
        (["truth", "--scenario", "default", "--from", "2", "--to", "1"], "before"),
        (["node", "--dir", "/tmp/x", "--speed", "0"], "--speed"), ([], "one of"),
    ):
        e = sim(*words, code=2).stderr
        assert says in e, (words, e)


def test_clean():
    with tempfile.TemporaryDirectory() as d:
        sim("node", "--dir", d + "/m", "--duration", "50ms", "--clean")
        assert not os.path.exists(d + "/m")


def main():
    cases = [(n, f) for n, f in globals().items() if n.startswith("test_")]
    print(f"1..{len(cases)}")
    failed = 0
    for i, (name, case) in enumerate(cases, 1):
        try:
            case()
            print(f"ok {i} - {name}", flush=True)
        except Exception:
            failed += 1
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print(f"not ok {i} - {name}", flush=True)
    sys.exit(1 if failed else 0)


main()
