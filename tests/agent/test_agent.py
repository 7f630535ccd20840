# SPDX-License-Identifier: Apache-2.0
"""The agent as its operator meets it: start, stop, refusals, reload, log, rights, and its faces."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "store"))
import ledger_format as fmt  # noqa: E402
from rig import (ERGON, NS, SOURCE, Agent, Place, Sim, Skip, UnixConnection, ergon, ledger,  # noqa: E402
                 parse_text, run_tests, until)

MACHINE = """[scenario]
title = one package, a gauge
[machine]
cpus = 2
[proc]
utilization = 0.5
[rapl intel-rapl:0]
name = package-0
max-power = 200W
power = 100W
[hwmon 0]
name = power_meter
[hwmon 0 power1]
label = chassis
power = 250W
update = 1s
"""
CPU = ("cpu-0", "package", "measured")


def test_stop_loses_nothing():
    """T19: SIGTERM at constant power, every joule up to the stop is on disk; and SIGINT does the same."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with Place() as place:
            sim = place.add(Sim(place, MACHINE, clock=True))
            agent = place.add(Agent(place, sim))
            first = sim.time.now()
            sim.time.sleep(30.25)
            agent.process.send_signal(number)
            started = time.monotonic()
            assert agent.process.wait(30) == 0, agent.log()
            print(f"# stopped in {time.monotonic() - started:.3f} s (aim: below 1 s)")
            kept = {(a["device"], a["component"], a["provenance"]): a["joules"]
                    for a in ledger(agent.state)["accounts"]}
            truth = sim.truth(first, sim.time.now())["rapl intel-rapl:0"]
            assert abs(kept[CPU] - truth) < 0.001, (kept[CPU], truth)
            assert not os.path.exists(agent.socket) and not os.path.exists(agent.page)
            # For people: what has been read; the rest is a number.
            text = ergon("ledger", "show", "--state", agent.state).stdout
            blank = sum(not a["joules"] and not a["last_unix_seconds"] for a in ledger(agent.state)["accounts"])
            assert blank and f"and {blank} that nothing has been read for yet" in text, text
            assert " 0.000000 " not in text, text


def test_stop_under_load():
    """Scrapers, windows, fresh samples and streams while it stops: every answer is whole, and it ends with 0."""
    paths = ("/metrics", "/-/ready", "/api/v1/totals", "/api/v1/power", "/api/v1/sample", "/api/v1/windows")
    with Place() as place:
        for turn in range(8):
            sim = place.add(Sim(place, MACHINE))
            agent = place.add(Agent(place, sim, state=f"state-{turn}"))
            seen, wrong, listening = set(), [], threading.Event()

            def ask(number):
                """One connection for many requests, as scrapers have; until the agent closes it."""
                c = UnixConnection(agent.socket) if number % 2 else \
                    http.client.HTTPConnection(agent.host, agent.port, timeout=30)
                headers = {"Accept-Encoding": "gzip"} if number % 3 else {}
                try:
                    for k in range(100000):
                        path = paths[(number + k) % len(paths)]
                        post = path in paths[-2:]
                        c.request("POST" if post else "GET", path, "{}" if post else None, headers)
                        r = c.getresponse()
                        r.read()
                        seen.add(r.status)
                        if r.status not in (200, 201, 403, 429, 503):  # 403: fresh samples are for local peers
                            wrong.append((r.status, path))
                except (ConnectionError, http.client.RemoteDisconnected, FileNotFoundError):
                    pass  # closed between two answers
                except Exception as e:  # an answer that was cut off
                    wrong.append(repr(e))

            def listen():
                c = UnixConnection(agent.socket)
                c.request("GET", "/api/v1/events")
                r = c.getresponse()
                listening.set()
                text = r.read()
                if r.status != 503 and not text.endswith(b"\n\n"):
                    wrong.append((r.status, text))

            clients = [threading.Thread(target=ask, args=(n,)) for n in range(6)] + [threading.Thread(target=listen)]
            for c in clients:
                c.start()
            until("answers", lambda: {200, 201} <= seen and listening.is_set())
            time.sleep(0.02 * turn)
            assert agent.stop() == 0, agent.log()
            for c in clients:
                c.join(30)
                assert not c.is_alive()
            assert not wrong, wrong
            sim.close()


def test_stop_that_cannot_write():
    """The last flush fails: the stop says so, and whether the checkpoint has what is missing in the log."""
    for gone, words in ((["ledger.log", "checkpoint"], "is gone"), (["ledger.log"], "has it all")):
        with Place() as place:
            sim = place.add(Sim(place, MACHINE, clock=True))
            agent = place.add(Agent(place, sim))
            sim.time.sleep(5)
            for name in gone:
                os.unlink(os.path.join(agent.state, name))
            os.mkdir(os.path.join(agent.state, "ledger.log"))  # in the way of a new one
            for _ in range(0 if "checkpoint" in gone else 90):
                sim.time.sleep(1)  # a flush is due in here, and the word comes before the next one
                time.sleep(0.005)
            if "checkpoint" not in gone:
                assert "cannot be written: another file lies in its place" in agent.log(), agent.log()
            assert agent.stop() == 0
            assert re.search("last flush of the log failed.*" + words, agent.log()), agent.log()


def test_second_agent_is_refused():
    """T23: the second one on a state directory ends with 1 and a cure; totals are the first one's."""
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        before = agent.totals()
        second = place.add(Agent(place, sim, "--socket", place.path("run", "b.sock"), ready=False))
        assert second.process.wait(30) == 1
        assert re.search(r"another agent|in use|holds", second.log()), second.log()
        assert str(agent.process.pid) in second.log(), second.log()
        assert agent.totals() == before


def test_foreign_state_is_refused():
    """T24: a symlink, a directory, foreign bytes: exit 1, and the file is as it was."""
    for kind in ("symlink", "directory", "foreign", "random"):
        with Place() as place:
            sim = place.add(Sim(place, MACHINE, clock=True))
            os.makedirs(place.path("state"))
            log = place.path("state", "ledger.log")
            if kind == "symlink":
                open(place.path("target"), "w").close()
                os.symlink(place.path("target"), log)
            elif kind == "directory":
                os.mkdir(log)
            else:
                with open(log, "wb") as f:
                    f.write(b"somebody's letters\n" * 50 if kind == "foreign" else os.urandom(5000))
            before = None if kind == "directory" else open(log, "rb").read()
            agent = place.add(Agent(place, sim, ready=False))
            assert agent.process.wait(30) == 1, (kind, agent.log())
            assert len(agent.log().strip().splitlines()) <= 2, agent.log()
            if before is not None:
                assert open(log, "rb").read() == before
            # Without a ledger on disk it runs.
            agent = place.add(Agent(place, sim, config="[energy]\nwal_enabled = false\n"))
            assert agent.stop() == 0


def test_reload():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim, config="[compat]\nall_smi = true\n"))
        assert "all_smi_energy_consumed_joules_total" in agent.get("/metrics").text
        with open(agent.config, "w") as f:
            f.write("[compat]\nall_smi = false\nnode_exporter = true\n")
        agent.reload()
        until("the reload", lambda: "reloaded" in agent.log())
        text = agent.get("/metrics").text
        assert "all_smi_energy" not in text and "node_rapl_package_joules_total" in text
        with open(agent.config, "w") as f:
            f.write("[compat]\nal_smi = true\n")
        agent.reload()
        until("the refusal", lambda: "al_smi" in agent.log())
        assert "2:1" in agent.log() and "all_smi" in agent.log().split("not reloaded")[1], agent.log()
        assert "node_rapl_package_joules_total" in agent.get("/metrics").text
        with open(agent.config, "w") as f:
            f.write('[agent]\ninterval = "2s"\n')
        agent.reload()
        until("the word about a restart", lambda: "agent.interval" in agent.log())
        # It is told as long as it is true, and what is told of the agent is what it does.
        assert agent.local("/api/v1/").json["interval_seconds"] == 1
        for text, pending in (('[agent]\ninterval = "2s"\n', True), ("", False)):
            with open(agent.config, "w") as f:
                f.write(text)
            count = len(re.findall("config: reloaded", agent.log()))
            agent.reload()
            until("the reload", lambda: len(re.findall("config: reloaded", agent.log())) > count)
            assert ("agent.interval" in agent.log().splitlines()[-1]) == pending, agent.log()
        assert agent.stop() == 0


def test_usage():
    with Place() as place:
        base = ["agent", "--state", place.path("s"), "--listen", "off", "--socket", place.path("x")]
        for words, part in ((["--interval", "0.5ms"], "interval"), (["--interval", "61s"], "interval"),
                            (["--listn", "x"], "listen"), (["--config", place.path("none.toml")], "none.toml")):
            r = subprocess.run([ERGON, *base, *words], capture_output=True, text=True, timeout=60)
            assert r.returncode == 2, (words, r.returncode, r.stderr)
            assert part in r.stderr, (words, r.stderr)
        for words in (["--listen", "127.0.0.1:notaport"], ["--root", place.path("nowhere")]):
            r = subprocess.run([ERGON, *base, *words], capture_output=True, text=True, timeout=60)
            assert r.returncode in (1, 2) and len(r.stderr.strip().splitlines()) <= 3, (words, r.stderr)
        assert "--textfile" in ergon("agent", "--help").stdout


def test_a_rate_without_need_is_told():
    for interval, words in (("1s", []), ("500ms", ["finer than", "costs more"]), ("60s", [])):
        with Place() as place:
            sim = place.add(Sim(place, MACHINE, clock=True))
            with open(os.path.join(sim.root, "sys/class/hwmon/hwmon0/update_interval"), "w") as f:
                f.write("1000\n")
            agent = place.add(Agent(place, sim, "--interval", interval))
            found = [w for w in ("finer than", "costs more") if re.search("warning agent.*" + w, agent.log())]
            assert found == words, (interval, agent.log())
            assert agent.stop() == 0


def test_taken_port():
    with Place() as place, socket.socket() as s:
        sim = place.add(Sim(place, MACHINE, clock=True))
        s.bind(("127.0.0.1", 0))
        s.listen()
        agent = place.add(Agent(place, sim, listen=f"127.0.0.1:{s.getsockname()[1]}", ready=False))
        assert agent.process.wait(30) == 1
        assert "in use" in agent.log(), agent.log()


def test_make_agent():
    """What `make agent` runs once all is built: in the foreground, state of its own, places to look that are true."""
    with Place() as place:
        env = dict(os.environ, ERGON_AGENT_DIR=place.path("try"), ERGON_HTTP_LISTEN="127.0.0.1:0")
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0")  # as in the rig
        with open(place.path("log"), "wb") as log:
            p = subprocess.Popen(["sh", os.path.join(SOURCE, "tools", "agent.sh"), ERGON], stderr=log, env=env)
        try:
            def said():
                with open(place.path("log")) as f:
                    text = f.read()
                assert p.poll() is None, text
                return text if "metrics at" in text else None
            text = until("the agent", said)
            sock = re.search(r"--unix-socket (\S+)", text).group(1)
            r = subprocess.run(["curl", "-sf", "--unix-socket", sock, "http://localhost/api/v1/sensors"],
                               capture_output=True, text=True, timeout=60)
            assert r.returncode == 0 and json.loads(r.stdout)["schema"], r
            p.send_signal(signal.SIGINT)
            assert p.wait(30) == 0
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
        show = re.search(r"(\S+ ledger show --state \S+)", text).group(1)
        r = subprocess.run(show.split(), capture_output=True, text=True, timeout=60)
        assert r.returncode == 0 and re.search(r"\d accounts? in ", r.stdout), r


def test_log_as_json():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim, config='[agent]\nlog_format = "json"\n'))
        agent.stop()
        lines = [json.loads(line) for line in agent.log().splitlines()]
        assert any("metrics at" in json.dumps(d) for d in lines) and len(lines) >= 4


def test_notify():
    """READY once there is a sample, RELOADING with its time, STOPPING; WATCHDOG again and again."""
    with Place() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(place.path("notify"))
        s.settimeout(30)
        sim = place.add(Sim(place, MACHINE))
        agent = place.add(Agent(place, sim, env={"NOTIFY_SOCKET": place.path("notify"),
                                                 "WATCHDOG_USEC": "300000"}))
        assert "READY=1" in s.recv(4096).decode()
        beats = [s.recv(4096).decode() for _ in range(4)]
        assert all("WATCHDOG=1" in b for b in beats), beats
        agent.reload()
        seen = ""
        while "READY=1" not in seen:
            seen += s.recv(4096).decode() + "\n"
        assert "RELOADING=1" in seen
        assert "MONOTONIC_USEC=" in seen
        agent.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in seen:
            seen += s.recv(4096).decode()
        assert agent.process.wait(30) == 0


def test_one_line_a_change():
    """A sensor that goes and comes is said once each time, and its total does not move meanwhile."""
    text = MACHINE.replace("power = 100W", "power = 100W\nevent = 20s vanish for 20s")
    with Place() as place:
        sim = place.add(Sim(place, text, clock=True))
        agent = place.add(Agent(place, sim))
        start = sim.time.now()
        sim.time.sleep(15)
        before = agent.totals()[CPU]
        sim.time.sleep(15)
        away = agent.metrics(local=True)
        up = {dict(labels)["channel"]: value for (name, labels), value in away.items()
              if name == "ergon_sensor_up"}
        assert up["package-0"] == 0 and up["power_meter-power_meter.0-chassis"] == 1, up
        assert agent.totals()[CPU] >= before
        sim.time.sleep(30)
        log = agent.log()
        assert len(re.findall(r"rapl/package-0.*does not answer", log)) == 1, log
        assert len(re.findall(r"rapl/package-0.*answers again", log)) == 1, log
        truth = sim.truth(start, sim.time.now())["rapl intel-rapl:0"]
        got = agent.totals()[CPU]
        # The counter went on while it was away: all of it is known again, or the hole is a gap.
        assert got <= truth + 0.2, (got, truth)
        agent.stop()


def test_gauge_that_comes_back():
    """Its total stands still while it is away and goes on after; the time between is a gap, of its real length."""
    text = MACHINE.replace("update = 1s", "update = 1s\nevent = 20s vanish for 100s")
    chassis = ("node", "chassis", "measured")
    with Place() as place:
        sim = place.add(Sim(place, text, clock=True))
        agent = place.add(Agent(place, sim))
        start = sim.time.now()
        sim.time.sleep(60)
        held = agent.totals()[chassis]
        sim.time.sleep(120)
        totals, m = agent.totals(), agent.metrics(local=True)
        seconds = (sim.time.now() - start) / NS
        gap = max(v for (name, labels), v in m.items() if name == "ergon_gap_seconds_total"
                  and ("channel", "power_meter-power_meter.0-chassis") in labels)
        assert held <= 250 * 20 and 95 <= gap <= 110, (held, gap)
        joules = sum(totals.get((*chassis[:2], p), 0) for p in ("measured", "estimated"))
        assert abs(joules / 250 + gap - seconds) < 2, (joules, gap, seconds)
        agent.stop()


def test_absent_device_keeps_its_total():
    """T34, T22: unplugged between two agents, and back."""
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        sim.time.sleep(20)
        chassis = ("node", "chassis", "measured")
        before = agent.totals()[chassis]
        assert before > 0
        agent.stop()
        hwmon = os.path.join(sim.root, "sys/class/hwmon")
        os.rename(hwmon, place.path("unplugged"))
        agent = place.add(Agent(place, sim))
        sim.time.sleep(5)
        assert agent.totals()[chassis] >= before
        agent.stop()
        os.rename(place.path("unplugged"), hwmon)
        agent = place.add(Agent(place, sim))
        sim.time.sleep(5)
        assert agent.totals()[chassis] > before
        agent.stop()


def test_reboot():
    """Totals go on in the next boot, after a stop in order; after none, with a new start and a gap."""
    text = MACHINE.replace("cpus = 2", "cpus = 2\nevent = 60s reboot")
    for clean in (True, False):
        with Place() as place:
            sim = place.add(Sim(place, text, clock=True))
            agent = place.add(Agent(place, sim))
            sim.time.sleep(50)
            before, started = agent.totals()[CPU], created(agent)
            agent.stop() if clean else agent.kill()
            sim.time.sleep(30)
            agent = place.add(Agent(place, sim))
            sim.time.sleep(5)
            m = agent.metrics(local=True)
            gap = max(v for (name, labels), v in m.items()
                      if name == "ergon_gap_seconds_total" and ("channel", "package-0") in labels)
            after = agent.totals()[CPU]
            print(f"# {'stop' if clean else 'kill'}, reboot: {before:.3f} J, then {after:.3f} J, gap {gap:.1f} s")
            assert before <= after <= before + 100 * 5.1, "nothing is invented for the time between"
            assert 29 <= gap <= 31
            lost = "without a stop" in agent.log()
            assert lost == (not clean), agent.log()
            assert (created(agent) > started) == (not clean)
            agent.stop()


def created(agent):
    om = agent.local("/metrics", headers={"Accept": "application/openmetrics-text"}).text
    return float(re.search(r'ergon_energy_joules_created\{device="cpu-0",component="package".*\} (\S+)', om)[1])


def test_full_ledger():
    """T33, T34: a device for whose account there is no place is said, and shows no total that would fall."""
    start = 1700000000 * NS
    boot = "00112233-4455-6677-8899-aabbccddeeff"
    names = [f"gone-{i}/gpu/measured" for i in range(4094)]
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        os.mkdir(place.path("state"))
        with open(place.path("state", "ledger.log"), "wb") as f:
            f.write(fmt.log_header(start) + fmt.mark(fmt.START, 1, start, boot))
            for i, name in enumerate(names):
                f.write(fmt.text(fmt.ACCOUNT, 1, start, name, name) +
                        fmt.delta(1, start, name, i + 1, uj=i + 1, created_unix_ns=start))
            f.write(fmt.mark(fmt.STOP, 1, start, boot))
        agent = place.add(Agent(place, sim))
        sim.time.sleep(65)
        before = agent.totals()
        assert CPU in before and ("node", "chassis", "measured") not in before, len(before)
        assert "2 accounts of the devices here find no place" in agent.log(), agent.log()
        assert [v for (name, _), v in agent.metrics().items() if name == "ergon_agent_accounts_refused_total"] == [4]
        agent.kill()
        agent = place.add(Agent(place, sim))
        after = agent.totals()
        assert len(before) > 4000 and all(after[k] >= v for k, v in before.items())
        assert after[CPU] >= 6000
        agent.stop()
        assert len(ledger(agent.state)["accounts"]) == 4096


def test_no_sensor():
    """A machine without sensors is served all the same, without a single joule."""
    with Place() as place:
        sim = place.add(Sim(place, "no-sensor", clock=True))
        agent = place.add(Agent(place, sim))
        m = agent.metrics()
        assert not [k for k in m if k[0] in ("ergon_energy_joules_total", "ergon_power_watts")]
        assert [k for k in m if k[0] == "ergon_build_info"]
        assert "no sensor" in agent.log()
        assert agent.stop() == 0


def test_openmetrics_and_gzip():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        sim.time.sleep(5)
        plain = agent.get("/metrics")
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
        om = agent.get("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
        assert om.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert om.text.endswith("# EOF\n") and "_created" in om.text
        packed = agent.get("/metrics", {"Accept-Encoding": "gzip"})
        assert packed.headers.get("content-encoding") == "gzip"
        import gzip
        assert set(parse_text(gzip.decompress(packed.body).decode())) == set(parse_text(plain.text))
        try:
            from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict
        except ImportError:
            raise Skip("prometheus_client is not installed")
        assert len(list(strict(om.text))) > 10
        promtool = shutil.which("promtool")
        if promtool:
            with open(agent.config, "w") as f:
                f.write("[compat]\nall_smi = false\n")
            agent.reload()
            until("the reload", lambda: "reloaded" in agent.log())
            r = subprocess.run([promtool, "check", "metrics"], input=agent.get("/metrics").text,
                               capture_output=True, text=True, timeout=60)
            # The name is the one asked for; the counter in it is the hardware's.
            assert r.stderr.splitlines() == ["ergon_counter_resets_total metric name should not "
                                             "include type 'counter'"] and not r.stdout, r
        agent.stop()


def test_textfile():
    with Place() as place:
        sim = place.add(Sim(place, MACHINE))
        os.mkdir(place.path("collector"))
        out = place.path("collector", "ergon.prom")
        agent = place.add(Agent(place, sim, "--textfile", out, config="[compat]\nnode_exporter = true\n"))
        until("the file", lambda: os.path.exists(out))
        with open(out) as f:
            m = parse_text(f.read())
        assert any(k[0] == "ergon_energy_joules_total" for k in m)
        # node_exporter has these itself: it would show now our value and now its own.
        assert any(k[0].startswith("node_") for k in agent.metrics())
        assert not any(k[0].startswith("node_") for k in m)
        assert os.listdir(place.path("collector")) == ["ergon.prom"]
        assert agent.stop() == 0
        # The collector would go on to show the last power of who is not there.
        assert os.listdir(place.path("collector")) == []


def test_textfile_that_cannot_be_written():
    """A directory that goes away, and a disk that is full: said once, nothing half written is left."""
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        folder = place.path("collector")
        os.mkdir(folder)
        out = os.path.join(folder, "ergon.prom")
        agent = place.add(Agent(place, sim, "--textfile", out))
        sim.time.sleep(10)
        until("the file", lambda: os.path.exists(out))
        os.rename(folder, folder + "-2")
        sim.time.sleep(60)
        until("a word", lambda: "cannot be written: No such file" in agent.log())
        os.rename(folder + "-2", folder)
        sim.time.sleep(20)
        until("a word", lambda: "can be written again" in agent.log())
        assert len(re.findall("textfile.*cannot be written", agent.log())) == 1, agent.log()
        os.rename(folder, folder + "-2")
        os.mkdir(folder)  # a new one, which the agent has no right to once it gave its rights up
        sim.time.sleep(20)
        until("a word", lambda: "restart the agent" in agent.log() or os.path.exists(out))
        assert agent.stop() == 0


def test_textfile_on_a_full_disk():
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        folder = place.path("collector")
        os.mkdir(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "ergon-test", folder],
                          capture_output=True).returncode != 0:
            raise Skip("no mounting here")
        try:
            out = os.path.join(folder, "ergon.prom")
            agent = place.add(Agent(place, sim, "--textfile", out))
            sim.time.sleep(10)
            until("the file", lambda: os.path.exists(out))
            with open(out) as f:
                was = f.read()
            with open(os.path.join(folder, "fill"), "wb") as f:
                try:
                    f.write(b"x" * 65536)
                    f.flush()
                except OSError:
                    pass
            sim.time.sleep(20)
            until("a word", lambda: "cannot be written: No space" in agent.log())
            with open(out) as f:
                assert f.read().endswith("\n")  # an old page, whole
            # A try that is going on has a file of its own.
            until("nothing half written", lambda: sorted(os.listdir(folder)) == ["ergon.prom", "fill"])
            os.unlink(os.path.join(folder, "fill"))
            sim.time.sleep(20)
            until("a word", lambda: "can be written again" in agent.log())
            with open(out) as f:
                assert parse_text(f.read()) != parse_text(was)
            assert agent.stop() == 0
        finally:
            subprocess.run(["umount", folder], check=True)


def test_make_agent_stays_in_its_folder():
    """The one that is tried out leaves no page or socket where an installed one has its own."""
    with Place() as place:
        env = dict(os.environ, ERGON_AGENT_DIR=place.path("try"), ERGON_HTTP_LISTEN="127.0.0.1:0",
                   ASAN_OPTIONS="detect_leaks=0")  # as in rig.py
        p = subprocess.Popen(["sh", os.path.join(SOURCE, "tools/agent.sh"), ERGON], stderr=subprocess.PIPE,
                             text=True, env=env)
        try:
            lines = []
            while not lines or "state in" not in lines[-1]:
                lines.append(p.stderr.readline())
                assert lines[-1], lines
            text = "".join(lines)
            assert re.search(r"socket " + re.escape(place.path("try", "run", "ergon.sock")) + "$", text, re.M), text
            assert re.search(r"page " + re.escape(place.path("try", "run", "energy")) + "$", text, re.M), text
        finally:
            p.send_signal(signal.SIGINT)
            assert p.wait(30) == 0
            p.stderr.close()


def test_rights_are_given_up():
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        for task in os.listdir(f"/proc/{agent.process.pid}/task"):
            with open(f"/proc/{agent.process.pid}/task/{task}/status") as f:
                status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
            assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0, status["CapEff"]
            assert status["NoNewPrivs"].strip() == "1"
        sim.time.sleep(100)  # flushes, and reads on
        assert agent.totals()[CPU] > 9000
        assert agent.stop() == 0
        assert "cannot" not in agent.log(), agent.log()


def test_as_nobody():
    """uid 65534 reads what it may, serves it, and names what it may not."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        os.chmod(place.dir, 0o777)
        sim = place.add(Sim(place, MACHINE, clock=True))
        os.makedirs(place.path("run"))
        os.chmod(place.path("run"), 0o777)
        os.chmod(sim.clock, 0o666)
        agent = place.add(Agent(place, sim, user=65534))
        totals = agent.totals()
        assert CPU not in totals and ("node", "chassis", "measured") in totals, totals
        assert re.search(r"rapl.*(permission|root|group|capab)", agent.log(), re.I), agent.log()
        assert agent.stop() == 0


def test_new_account():
    """A home with nothing in it is enough: ~/.local/state is made."""
    with Place() as place:
        env = {"PATH": os.environ["PATH"], "HOME": place.path("home"), "ERGON_AGENT_RUN_DIR": place.path("a", "run"),
               "ASAN_OPTIONS": "detect_leaks=0"}
        who = {}
        if os.geteuid() == 0:  # root's state is elsewhere
            os.chmod(place.dir, 0o777)
            who = {"user": 65534, "group": 65534, "extra_groups": []}
        os.mkdir(place.path("home"))
        os.chmod(place.path("home"), 0o777)
        p = subprocess.Popen([ERGON, "agent", "--listen", "off"], stderr=subprocess.PIPE, text=True, env=env, **who)
        lines = []
        while not lines or "state in" not in lines[-1]:
            lines.append(p.stderr.readline())
            assert lines[-1], lines
        p.terminate()
        assert p.wait(30) == 0
        p.stderr.close()
        assert "checkpoint" in os.listdir(place.path("home", ".local", "state", "ergon"))


def test_unprivileged_reader_is_coarse():
    """A peer that is neither root, the agent's user nor in its group sees nothing fresher than a second."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place() as place:
        os.chmod(place.dir, 0o755)
        sim = place.add(Sim(place, MACHINE, clock=True))
        agent = place.add(Agent(place, sim))
        script = ("import json,socket,sys\n"
                  "s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n"
                  "s.sendall(b'GET /api/v1/totals HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n')\n"
                  "b=b''\n"
                  "while True:\n p=s.recv(65536)\n if not p: break\n b+=p\n"
                  "print(b.decode().split('\\r\\n\\r\\n',1)[1])\n")

        def nobody():
            r = subprocess.run(["/usr/bin/python3", "-c", script, agent.socket], user=65534,
                               capture_output=True, text=True, timeout=60)
            assert r.returncode == 0, r.stderr
            return json.loads(r.stdout)
        seen = []
        for _ in range(8):
            sim.time.sleep(0.25)
            seen.append(tuple(a["joules"] for a in nobody()["accounts"]))
        assert len(set(seen)) <= 3, len(set(seen))
        fine = set()
        for _ in range(8):
            sim.time.sleep(0.25)
            fine.add(agent.totals()[CPU])
        assert len(fine) == 8
        agent.stop()


if __name__ == "__main__":
    run_tests(globals())
