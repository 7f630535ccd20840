#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ergon ledger` on directories that were written from docs/ledger.md alone (ledger_format.py), also
beside a process that holds the lock and writes. argv[1] is ergon, argv[2] the source tree."""
import csv
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "house"))
import ledger_format as f  # noqa: E402
import make_fixture as fixture  # noqa: E402
import tap  # noqa: E402

ERGON = os.path.abspath(sys.argv[1])
SOURCE = os.path.abspath(sys.argv[2])
FIXTURE = os.path.join(HERE, "fixture-1")
S = 10 ** 9


def ergon(*words, code=0, **kw):
    r = subprocess.run([ERGON, "ledger", *words], capture_output=True, text=True, timeout=60, **kw)
    assert r.returncode == code, (words, r.returncode, r.stdout[-2000:], r.stderr[-2000:])
    return r


class Dir:
    """A state directory; of the fixture where nothing else is said."""

    def __init__(self, log=None, checkpoint=None):
        self.tmp = tempfile.TemporaryDirectory(prefix="eg-verb-")
        self.path = os.path.join(self.tmp.name, "state")
        os.mkdir(self.path)
        if log is None and checkpoint is None:
            log, checkpoint = fixture.log(), fixture.checkpoint()
        for name, data in (("ledger.log", log), ("checkpoint", checkpoint)):
            if data is not None:
                self.write(name, data)

    def write(self, name, data):
        with open(os.path.join(self.path, name), "wb") as out:
            out.write(data)

    def files(self):
        return {n: open(os.path.join(self.path, n), "rb").read() for n in os.listdir(self.path)}

    def run(self, what, *words, code=0):
        """Runs it, and asserts that nothing was changed unless it compacts."""
        before = self.files()
        r = ergon(what, "--state", self.path, *words, code=code)
        assert what == "compact" or self.files() == before, what
        return r

    def json(self, what, code=0):
        return json.loads(self.run(what, "--json", code=code).stdout)


def by_name(d):
    return {(a["device"], a["component"], a["provenance"]): a for a in d["accounts"]}


def test_T25_the_committed_files_are_what_the_document_says():
    for name, data in (("ledger.log", fixture.log()), ("checkpoint", fixture.checkpoint())):
        with open(os.path.join(FIXTURE, name), "rb") as old:
            assert old.read() == data, name


def test_show_json():
    d = Dir().json("show")
    assert d["schema"] == "ergon.ledger/1" and d["stopped"] is False and d["session"] == 2
    assert d["boot_id"] == fixture.BOOTS[1] and d["last_unix_seconds"] == 1800000161
    assert d["log"] == {"bytes": 4096, "records": 15, "damaged_records": 0, "torn_bytes": 0}
    a = by_name(d)
    assert len(a) == len(d["accounts"]) == 5
    cpu = a["cpu-0", "package", "measured"]
    assert cpu == {"key": "672897dc85f9fd0c", "device": "cpu-0", "component": "package",
                   "provenance": "measured", "source": "rapl", "boundary": "component",
                   "channel": "rapl/package-0", "joules": 10000.000456,
                   "kwh": 10000000456 / 3.6e12, "recovered_joules": 500, "gap_seconds": 39,
                   "resets": 1, "since_unix_seconds": 1800000000, "last_unix_seconds": 1800000161}
    assert a["gpu-GPU-8d1e/7", "gpu", "measured"]["joules"] == 18000
    held = a["cpu-0", "package", "estimated"]
    assert held["joules"] == 0.25 and held["channel"] is None and held["source"] is None
    assert held["last_unix_seconds"] is None
    assert a["rack-7", "cooling", "measured"]["joules"] == 0.000077  # words of a later Ergon
    assert a["node", "chassis", "measured"]["boundary"] == "node"


def test_show_text_and_csv():
    d = Dir()
    text = d.run("show").stdout
    for part in ("gpu-GPU-8d1e/7  gpu", "18000.000", "0.005000", "5 accounts in", "15 records",
                 "2027-01-15 08:02:41Z", "an agent runs, or was killed"):
        assert part in text, (part, text)
    rows = list(csv.DictReader(io.StringIO(d.run("show", "--csv").stdout)))
    assert [r["device"] for r in rows].count("cpu-0") == 2 and len(rows) == 5
    assert rows[0]["joules"] == "10000.000456" and rows[0]["channel"] == "rapl/package-0"


def test_names_do_not_steer_the_terminal():
    name = "\x1b[31mred\x07/package/measured"
    d = Dir(f.log_header() + f.text(f.ACCOUNT, 1, 0, name, name) + f.delta(1, 0, name, 5, uj=5))
    assert "\x1b" not in d.run("show").stdout and "\x07" not in d.run("show").stdout
    assert d.json("show")["accounts"][0]["device"] == "\x1b[31mred\x07"


def test_log_alone_and_checkpoint_alone():
    a = by_name(Dir(log=fixture.log()).json("show"))
    assert a["cpu-0", "package", "measured"]["joules"] == 10000.000001 and len(a) == 4
    a = by_name(Dir(checkpoint=fixture.checkpoint()).json("show"))
    assert a["cpu-0", "package", "measured"]["joules"] == 10000.000456 and len(a) == 3


def test_verify_clean():
    d = Dir()
    assert d.run("verify").stdout.endswith("ok: 5 accounts, 15 records, checkpoint of 3 accounts\n")
    v = d.json("verify")
    assert v["schema"] == "ergon.ledger-verify/1" and v["ok"] and v["damage"] == []
    assert v["unknown_accounts"] == 1 and v["nameless_accounts"] == 0


def test_verify_tells_each_damage():
    log, checkpoint = fixture.log(), fixture.checkpoint()

    def flip(data, at):
        return data[:at] + bytes([data[at] ^ 4]) + data[at + 1:]

    d = Dir(flip(log, 1024 + 60), checkpoint)  # a delta of the CPU, so the next does not go on from it
    text = d.run("verify", code=1).stdout
    assert "ledger.log: 256 bytes at 1024 are damaged" in text, text
    assert "1 records do not go on" in text and "damaged: 5 accounts, 14 records" in text, text
    v = d.json("verify", code=1)
    assert not v["ok"] and v["damage"] == [{"offset": 1024, "bytes": 256}]
    assert v["missing_before"] == 1 and v["stretches"] == 1
    # A name that only one record had.
    v = Dir(flip(log, 2048 + 99), b"").json("verify", code=1)
    assert v["nameless_accounts"] == 1
    accounts = Dir(flip(log, 2048 + 99), b"").json("show")["accounts"]
    assert [a["joules"] for a in accounts if a["device"] is None] == [0.000077]
    assert [a["key"] for a in accounts if a["device"] is None] == [f"{f.key(fixture.LATER):016x}"]
    # A torn end is what a crash leaves.
    v = Dir(log + log[-256:-1], checkpoint).json("verify")
    assert v["ok"] and v["log"]["torn_bytes"] == 255
    text = Dir(log + log[-256:-1], checkpoint).run("verify").stdout
    assert "a torn last record" in text
    # The checkpoint.
    v = Dir(log, flip(checkpoint, 4096 + 300)).json("verify", code=1)
    assert v["checkpoint"] == {"whole_slots": 1, "damaged_slots": 1, "accounts": 1,
                               "unix_seconds": 1800000160}
    text = Dir(log, flip(flip(checkpoint, 4096 + 300), 8192 + 300)).run("verify", code=1).stdout
    assert "no slot is whole" in text, text
    text = Dir(log, flip(checkpoint, 20)).run("verify", code=1).stdout
    assert "checkpoint: its header is damaged" in text, text


def test_unfinished_slot_is_no_damage():
    """Killed while the second slot was written, or before it ever was."""
    whole = fixture.checkpoint()
    unfinished = whole[:8192 + 16] + bytes(8) + whole[8192 + 24:8192 + 200] + b"x" * 50
    v = Dir(fixture.log(), unfinished.ljust(len(whole), b"\0")).json("verify")
    assert v["ok"] and v["checkpoint"]["whole_slots"] == 1


def test_export_has_every_record():
    d = Dir()
    lines = [json.loads(x) for x in d.run("export").stdout.splitlines()]
    assert d.run("export", "--json").stdout == d.run("export").stdout
    want = list(f.read_log(fixture.log()))
    log = [x for x in lines if x["record"] != "checkpoint"]
    assert len(log) == len(want) == 15
    words = {1: "start", 2: "stop", 3: "account", 4: "channel", 5: "delta"}
    for got, (offset, r) in zip(log, want):
        assert got["record"] == words[r["kind"]] and got["offset"] == offset
        assert got["session"] == r["session"]
        if r["kind"] != f.START and r["kind"] != f.STOP:
            assert int(got["key"], 16) == r["key"]
        if r["kind"] == f.DELTA:
            n = r["n"]
            assert round(got["joules"] * 1e6) == n["uj"]
            assert round(got["delta_joules"] * 1e6) == r["delta_uj"]
            assert (got["last_raw"], got["last_remainder"], got["modulus"], got["unit_den"]) == \
                (n["raw"], n["rem"], n["modulus"], n["unit_den"])
            assert f.key(got["account"]) == r["key"]
    slot, entries = f.read_checkpoint(fixture.checkpoint())
    got = [x for x in lines if x["record"] == "checkpoint"]
    assert [x["account"] for x in got] == [e[0] for e in entries]
    assert [round(x["joules"] * 1e6) for x in got] == [e[2]["uj"] for e in entries]
    rows = list(csv.DictReader(io.StringIO(d.run("export", "--csv").stdout)))
    assert len(rows) == len(lines) and None not in rows[0]
    for row, line in zip(rows, lines):
        assert row["record"] == line["record"] and row["key"] == line.get("key", "")
        assert row["joules"] == "" if "joules" not in line else \
            float(row["joules"]) == line["joules"]
    damaged = Dir(fixture.log()[:1024] + b"?" * 300 + fixture.log()[1324:])
    got = [json.loads(x) for x in damaged.run("export").stdout.splitlines()]
    assert {"record": "damaged", "offset": 1024, "bytes": 512} in got, got


def test_export_of_more_accounts_than_an_agent_keeps():
    names = [f"dev-{i}/package/measured" for i in range(4097)]
    log = f.log_header() + b"".join(f.text(f.ACCOUNT, 1, 0, n, n) + f.delta(1, 0, n, 1, uj=1)
                                    for n in names)
    d = Dir(log)
    r = d.run("show", code=1)
    assert "4096 accounts" in r.stderr and "`ergon ledger export` reads it" in r.stderr, r.stderr
    lines = [json.loads(x) for x in d.run("export").stdout.splitlines()]
    assert [x["account"] for x in lines if x["record"] == "delta"] == names


def test_a_reader_that_goes_away():
    names = [f"dev-{i}/package/measured" for i in range(3000)]
    d = Dir(f.log_header() + b"".join(f.delta(1, 0, n, 1, uj=1) for n in names))
    p = subprocess.Popen([ERGON, "ledger", "export", "--state", d.path], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    assert p.stdout.readline().startswith(b'{"record":"delta"')
    p.stdout.close()  # more than a pipe holds is still to come
    assert p.stderr.read() == b"" and p.wait(60) == 0
    p.stderr.close()


def test_compact():
    d = Dir()
    before = by_name(d.json("show"))
    out = json.loads(d.run("compact", "--json").stdout)
    assert out["schema"] == "ergon.ledger-compact/1" and out["bytes_before"] == 4096
    assert out["bytes_after"] == len(d.files()["ledger.log"])
    assert by_name(d.json("show")) == before
    d.write("checkpoint", b"")  # the log alone has every account it had, the unknown word too
    a = by_name(d.json("show"))
    assert {k: v["joules"] for k, v in a.items()} == {
        ("cpu-0", "package", "measured"): 10000.000001, ("cpu-0", "package", "estimated"): 0.25,
        ("gpu-GPU-8d1e/7", "gpu", "measured"): 18000, ("rack-7", "cooling", "measured"): 0.000077}
    text = d.run("compact").stdout
    assert "bytes, now" in text
    assert os.stat(os.path.join(d.path, "ledger.log")).st_mode & 0o777 == 0o600
    records = [r for _, r in f.read_log(d.files()["ledger.log"])]
    assert [r["base"] for r in records if r["kind"] == f.DELTA] == [True] * 4
    assert records[-1]["kind"] == f.START and records[-1]["session"] == 2  # it did not stop in order


def test_compact_mends():
    log = fixture.log()
    d = Dir(log[:1024] + b"?" * 256 + log[1280:], fixture.checkpoint())
    assert "the next start of an agent mends" in d.run("verify", code=1).stdout
    d.run("compact")
    assert d.json("verify")["ok"]


def test_T23_a_running_agent():
    d = Dir()
    lock = open(os.path.join(d.path, "lock"), "w+")
    lock.write("4711\n")
    lock.flush()
    fcntl.flock(lock, fcntl.LOCK_EX)
    d.run("show")
    d.run("verify")
    d.run("export")
    before = d.files()
    r = d.run("compact", code=1)
    assert "another agent (process 4711) uses this state directory; stop it" in r.stderr, r.stderr
    assert d.files() == before
    lock.close()
    d.run("compact")


def test_show_and_verify_beside_a_writer():
    """A slot that is just being written, a batch of which only a part is there."""
    d = Dir()
    whole, log = fixture.checkpoint(), fixture.log()
    stop = threading.Event()

    def write():
        fd = os.open(os.path.join(d.path, "checkpoint"), os.O_RDWR)
        n = 0
        while not stop.is_set():
            n += 1
            at = 4096 if n % 2 else 8192
            entries = [f.entry(fixture.CPU, fixture.CPU_FEED, uj=10000000456 + n)]
            slot = f.slot(4, entries, 12 + n, 2, n, fixture.BOOTS[1])
            os.pwrite(fd, bytes(8), at + 16)
            os.pwrite(fd, slot[128:], at + 128)
            os.pwrite(fd, slot[:16], at)
            os.pwrite(fd, slot[24:128], at + 24)
            os.pwrite(fd, slot[16:24], at + 16)
        os.close(fd)

    d.write("checkpoint", whole)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        last = 0
        for _ in range(40):
            v = json.loads(ergon("verify", "--json", "--state", d.path).stdout)
            assert v["ok"], v
            a = by_name(json.loads(ergon("show", "--json", "--state", d.path).stdout))
            assert a["cpu-0", "package", "measured"]["joules"] >= last
            last = a["cpu-0", "package", "measured"]["joules"]
    finally:
        stop.set()
        writer.join()
    assert last > 10000.000456
    assert open(os.path.join(d.path, "ledger.log"), "rb").read() == log


def test_where_it_looks():
    env = {k: v for k, v in os.environ.items() if k not in ("XDG_STATE_HOME", "HOME")}
    if os.geteuid() == 0:
        r = ergon("show", code=1, env=env) if not os.path.exists("/var/lib/ergon") else None
        assert r is None or "/var/lib/ergon" in r.stderr, r.stderr
        become = {"user": 65534, "group": 65534}
    else:
        become = {}
    with tempfile.TemporaryDirectory(prefix="eg-home-") as home:
        os.chmod(home, 0o755)
        for below, name in ((".local/state/ergon", "HOME"), ("ergon", "XDG_STATE_HOME")):
            place = os.path.join(home, name, below)
            shutil.copytree(FIXTURE, place)
            os.chmod(place, 0o755)
            # A program that others may not reach cannot be started as another user.
            try:
                r = subprocess.run([ERGON, "ledger", "show"], capture_output=True, text=True,
                                   timeout=60, env={**env, name: os.path.join(home, name)}, **become)
            except PermissionError:
                raise tap.Skip("the build cannot be reached without being root: needs root")
            assert r.returncode == 0, r
            assert place in r.stdout, r.stdout
        r = subprocess.run([ERGON, "ledger", "show"], capture_output=True, text=True, timeout=60,
                           env=env, **become)
        assert r.returncode == 1 and "name the directory with --state DIR" in r.stderr, r


def test_T24_what_is_not_ours():
    d = Dir(b"Dear diary\n" * 9)
    for what in ("show", "verify", "export", "compact"):
        r = d.run(what, code=1)
        assert "ledger.log is no file of Ergon" in r.stderr and "move it away" in r.stderr, r.stderr
        assert r.stdout == ""
    d = Dir(f.log_header(version=7) + bytes(256))
    for what in ("show", "verify", "export", "compact"):
        r = d.run(what, code=1)
        assert "ledger.log is of format version 7" in r.stderr, r.stderr
    d = Dir(fixture.log(), f.checkpoint_header(4, version=9).ljust(12288, b"\0"))
    assert "checkpoint is of format version 9" in d.run("show", code=1).stderr
    d = Dir()
    os.rename(os.path.join(d.path, "ledger.log"), os.path.join(d.tmp.name, "real"))
    os.symlink("../real", os.path.join(d.path, "ledger.log"))
    for what in ("show", "verify", "export"):
        assert "symbolic link" in d.run(what, code=1).stderr


def test_nothing_there():
    d = Dir(b"", b"")
    for what in ("show", "verify", "export"):
        assert "there is no ledger in" in d.run(what, code=1).stderr
    with tempfile.TemporaryDirectory(prefix="eg-verb-") as empty:
        for what in ("show", "verify", "export", "compact"):
            r = ergon(what, "--state", empty, code=1)
            assert "there is no" in r.stderr and "--state" in r.stderr
        assert os.listdir(empty) == []
        r = ergon("show", "--state", empty + "/none", code=1)
        assert "`ergon agent` makes it" in r.stderr


def test_usage():
    for words, part in (([], "give show, verify, compact or export"),
                        (["shwo"], "unknown word 'shwo'"),
                        (["show", "x"], "unexpected word 'x'"),
                        (["show", "--json", "--csv"], "exclude each other"),
                        (["verify", "--csv"], "has no --csv"),
                        (["compact", "--csv"], "has no --csv"),
                        (["show", "--stat", "x"], "did you mean --state?")):
        r = ergon(*words, code=2)
        assert part in r.stderr and r.stdout == "", (words, r.stderr)


def test_the_document_names_every_key():
    text = open(os.path.join(SOURCE, "docs", "ledger.md")).read()
    d = Dir(fixture.log()[:-600] + b"?" * 600, fixture.checkpoint())
    keys = set()

    def collect(v):
        if isinstance(v, dict):
            keys.update(v)
            for x in v.values():
                collect(x)
        elif isinstance(v, list):
            for x in v:
                collect(x)

    collect(d.json("show"))
    collect(json.loads(d.run("verify", "--json", code=1).stdout))
    for line in d.run("export").stdout.splitlines():
        collect(json.loads(line))
    collect(json.loads(d.run("compact", "--json").stdout))
    missing = sorted(k for k in keys if f"`{k}`" not in text)
    assert not missing, missing


tap.run(globals())
