#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ergon config` as a user meets it, with Python's own TOML reader (3.11) as the judge of what is TOML."""
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from cli import ERGON, contains, equal, run_tests, Skip  # noqa: E402

SOAK = max(1, int(os.environ.get("ERGON_SOAK") or 1))
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("ERGON_", "ALL_SMI_", "XDG_", "LC_"))
       and k not in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "LANG")}
DIR = tempfile.TemporaryDirectory(prefix="ergon-config-")
ENV["HOME"] = DIR.name
SYNTAX = re.compile(r"\S+:(\d+):(\d+): (Error while|this is not UTF-8|more than 64 dots|a text holds|"
                    r"such a character|after a backslash|a quote cannot)")


def config(*words, code=0, env=None, **kw):
    r = subprocess.run([ERGON, "config", *words], capture_output=True, text=True, timeout=60, cwd=DIR.name,
                       env={**ENV, **(env or {})}, **kw)
    assert r.returncode == code, (words, r.returncode, r.stdout, r.stderr)
    return r


def path(name):
    return os.path.join(DIR.name, name)


def write(name, data):
    with open(path(name), "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path(name)


def values(*words, env=None):
    r = config("print", "--json", *words, env=env)
    equal(r.stderr, "")
    return {v["key"]: v for v in json.loads(r.stdout)["values"]}


def flat(table):
    """{"section.key": value} of what tomllib read."""
    return {f"{s}.{k}": v for s, keys in table.items() for k, v in keys.items()}


# ---- init ----

def uncommented(text):
    """The file that init writes with every key's # removed."""
    return re.sub(r"(?m)^#(\w+ = )", r"\1", text)


def test_init_writes_the_defaults():
    text = config("init").stdout
    equal(tomllib.loads(text), {s: {} for s in ("agent", "energy", "http", "grpc", "zeusd", "socket", "page", "access",
                                                "compat", "drivers")})
    whole = flat(tomllib.loads(uncommented(text)))
    built_in = values()
    equal(set(whole), set(built_in))
    write("init.toml", text)
    equal(config("validate", "init.toml").stdout, "init.toml: ok\n")
    equal({k: v["value"] for k, v in values("--config", "init.toml").items()},
          {k: v["value"] for k, v in built_in.items()})
    write("whole.toml", uncommented(text))
    r = config("validate", "whole.toml")
    equal((r.stdout, r.stderr), ("whole.toml: ok\n", ""))
    given = values("--config", "whole.toml")
    for key, v in given.items():
        equal(v["source"], "file", key)
        if key != "energy.price_per_kwh":  # which has no default, and an example
            equal(v["value"], built_in[key]["value"], key)
    for key in built_in:
        contains(text, "\n#" + key.split(".")[1] + " = ")
    assert max(map(len, text.splitlines())) <= 100


def test_init_keeps_a_file_that_is_there():
    name = write("kept.toml", "# mine\n")
    r = config("init", name, code=1)
    contains(r.stderr, "kept.toml is there already; --force replaces it")
    equal(open(name).read(), "# mine\n")
    config("init", name, "--force")
    equal(open(name).read(), config("init").stdout)
    os.symlink("kept.toml", path("link.toml"))
    os.mkdir(path("folder"))
    for other in ("link.toml", "folder"):
        contains(config("init", other, "--force", code=1).stderr, "and no regular file")
    assert os.path.islink(path("link.toml"))
    contains(config("init", path("none/x.toml"), code=1).stderr, "No such file or directory")
    config("init", "new.toml")
    equal(sorted(n for n in os.listdir(DIR.name) if "new.toml" in n), ["new.toml"])
    contains(config("init", "a", "b", code=2).stderr, "unexpected word 'b'")
    equal(config("init", "-").stdout, config("init").stdout)


# ---- print ----

OTHER = {
    "agent": {"interval": "250ms", "state": "/s t", "run_dir": "/r", "user": "nobody", "log_level": "debug",
              "log_format": "json", "history": "1h", "seccomp": False},
    "energy": {"price_per_kwh": 0.1234, "currency": "€", "show_cost": False, "wal_path": "/w\\\"'#",
               "wal_enabled": False, "wal_flush": "90s", "wal_max_bytes": 1000001,
               "gap_interpolate_seconds": 12.5, "hold_max": "1ms", "backend": "rapl,-dram",
               "allow_estimates": True},
    "http": {"listen": "[::1]:0", "tls_certificate": "/c", "tls_key": "/k", "tls_client_ca": "/ca",
             "basic_auth_file": "/b", "token_file": "/t", "max_clients": 7, "textfile": "/x.prom"},
    "grpc": {"listen": "[::1]:1", "tls_listen": "127.0.0.1:2", "tls_certificate": "/gc", "tls_key": "/gk",
             "tls_client_ca": "/gca", "token_file": "/gt", "interval": "20ms", "gpus": "0,1", "cpu_as_primary": True},
    "zeusd": {"listen": "[::1]:3", "socket": "/z", "mode": "0600", "token_file": "/zt", "claim_control": True},
    "socket": {"path": "off", "mode": "0640", "group": "g"},
    "page": {"enabled": False, "path": "/p", "group": "h"},
    "access": {"anonymous": "none", "authenticated": "coarse", "group": "coarse", "others": "none",
               "coarse_interval": "5s", "max_windows": 9, "window_expiry": "2h"},
    "compat": {"all_smi": False, "all_smi_rows": True, "node_exporter": True, "dcgm": True, "estimates": True},
}


def toml_value(v):
    """TOML's basic strings, numbers and booleans are JSON's."""
    return json.dumps(v, ensure_ascii=False)


def toml_text(tables):
    return "".join(f"[{s}]\n" + "".join(f"{k} = {toml_value(v)}\n" for k, v in keys.items())
                   for s, keys in tables.items())


def test_what_is_printed_can_be_read_back():
    name = write("other.toml", toml_text(OTHER) + "[drivers.cpu_model]\nidle_watts = 5.25\n")
    for env in ({}, {"LANG": "C"}, {"LANG": "C.UTF-8"}):
        r = config("print", "--config", name, env=env)
        equal(r.stderr, "")
        again = tomllib.loads(r.stdout)
        equal(again.pop("drivers"), {"cpu_model": {"idle_watts": "5.25"}})
        equal(flat(again), flat(OTHER))
    default = values()
    equal(set(flat(OTHER)), set(default))  # every key is tried
    for key, v in values("--config", name).items():
        if not key.startswith("drivers"):
            assert v["value"] != default[key]["value"], key
    write("again.toml", r.stdout)
    a, b = values("--config", name), values("--config", "again.toml")
    equal({k: v["value"] for k, v in a.items()}, {k: v["value"] for k, v in b.items()})
    equal(config("print", "--config", "again.toml").stdout.replace("again.toml", name).count(name), len(b))


def test_every_value_shows_where_it_came_from():
    name = write("source.toml", '[http]\nlisten = "off"\nmax_clients = 5\n[energy]\n\ncurrency = "EUR"\n')
    env = {"ERGON_HTTP_MAX_CLIENTS": "6", "ALL_SMI_ENERGY_SHOW_COST": "no", "ERGON_DRIVERS_CPU_MODEL_TDP_WATTS": "9"}
    words = ["--config", name, "--interval", "2s", "--set", "cpu_model.idle_watts=4"]
    text = config("print", *words, env=env).stdout
    for key, source in (("listen", f"{name}:2"), ("max_clients", "ERGON_HTTP_MAX_CLIENTS"),
                        ("currency", f"{name}:6"), ("show_cost", "ALL_SMI_ENERGY_SHOW_COST"),
                        ("interval", "--interval"), ("all_smi", "default"),
                        ("cpu_model.idle_watts", "--set"),
                        ("cpu_model.tdp_watts", "ERGON_DRIVERS_CPU_MODEL_TDP_WATTS")):
        equal(re.search(rf"(?m)^{key} = .*# (.*)$", text).group(1), source, key)
    contains(text, "\n#price_per_kwh is not set\n")
    got = values(*words, env=env)
    equal(got["http.listen"], {"key": "http.listen", "value": "off", "source": "file", "file": name, "line": 2})
    equal(got["http.max_clients"], {"key": "http.max_clients", "value": 6, "source": "environment",
                                    "name": "ERGON_HTTP_MAX_CLIENTS"})
    equal(got["agent.interval"], {"key": "agent.interval", "value": 2, "source": "flag", "name": "--interval"})
    equal(got["energy.price_per_kwh"], {"key": "energy.price_per_kwh", "value": None, "source": "default"})


def test_a_name_of_many_lines_stays_in_its_comment():
    name = "a\nb = 1\n\x1b[31m.toml"
    write(name, "[http]\nmax_clients = 5\n")
    equal(tomllib.loads(config("print", "--config", name).stdout)["http"]["max_clients"], 5)
    equal(values("--config", name)["http.max_clients"]["file"], name)


# ---- validate ----

def test_a_typical_mistake():
    write("typo.toml", '# mine\n[http]\nlistn = "127.0.0.1:9102"\n')
    r = config("validate", "typo.toml", code=2)
    equal((r.stdout, r.stderr), ("", "typo.toml:3:1: unknown key 'listn' in [http]; did you mean listen?\n"))
    for words in (["print"], ["path"], ["validate"]):
        equal(config(*words, "--config", "typo.toml", code=2).stderr, r.stderr)
    contains(config("validate", "none.toml", code=2).stderr, "none.toml: there is no such file\n")
    contains(config("validate", "--config", "none.toml", code=2).stderr, "none.toml: there is no such file\n")
    equal(config("validate", "--listen", "here", code=2).stderr,
          "--listen: 'here' is no address; give a numeric address and a port, such as 127.0.0.1:9102, "
          "0.0.0.0:9102 or [::1]:9102, or off\n")
    contains(config("validate", "x", "--config", "y", code=2).stderr, "FILE and --config exclude each other")
    contains(config("validate", env={"ALL_SMI_ENERGY_PRICE": "NaN"}, code=2).stderr,
             "ALL_SMI_ENERGY_PRICE: 'NaN' is no number; give a number, 0 or more")


def test_the_agent_says_the_same():
    write("typo.toml", '[http]\nlistn = "127.0.0.1:9102"\n[agent]\ninterval = "0s"\n')
    want = config("validate", "typo.toml", code=2).stderr.splitlines()
    r = subprocess.run([ERGON, "agent", "--config", "typo.toml"], capture_output=True, text=True, cwd=DIR.name,
                       env=ENV, timeout=60)
    equal((r.returncode, r.stdout), (2, ""))
    for line in want:
        contains(r.stderr, line)


def test_warnings_are_told_and_are_no_mistakes():
    name = write("open.toml", '[http]\nlisten = "0.0.0.0:9102"\n')
    r = config("validate", name, env={"ERGON_HTTP_LISTN": "x"})
    equal(r.stdout, f"{name}: ok\n")
    contains(r.stderr, f"ergon: warning: {name}:2:10: whoever reaches 0.0.0.0:9102 sees")
    contains(r.stderr, "ergon: warning: unknown variable ERGON_HTTP_LISTN; did you mean ERGON_HTTP_LISTEN?\n")
    equal(config("validate", name, "--listen", "off").stderr, "")


def test_a_file_that_may_not_be_read():
    if os.geteuid() != 0:
        raise Skip("needs root")
    os.chmod(DIR.name, 0o755)
    name = write("secret.toml", "")
    os.chmod(name, 0o600)
    r = config("validate", name, code=2, user=65534, group=65534, extra_groups=[])
    equal(r.stderr, f"{name}: cannot be read: Permission denied\n")


def test_words():
    contains(config(code=2).stderr, "give init, print, validate or path")
    contains(config("pirnt", code=2).stderr, "give init, print, validate or path")
    contains(config("print", "x", code=2).stderr, "unexpected word 'x'")
    contains(config("path", "--lisen", "x", code=2).stderr, "did you mean --listen?")
    for words in (["init"], ["print"], ["print", "--json"], ["validate"], ["path"]):
        with open("/dev/full", "w") as full:
            r = subprocess.run([ERGON, "config", *words], stdout=full, stderr=subprocess.PIPE, text=True, env=ENV)
        equal(r.returncode, 1, words)
        contains(r.stderr, "No space left on device")


# ---- path ----

def test_path():
    r = config("path", "--state", "/s", "--socket", "off", env={"XDG_RUNTIME_DIR": "/run/u"})
    lines = r.stdout.splitlines()
    equal(lines[0], "file    none")
    equal(lines[1:3], [f"        {DIR.name}/.config/ergon/config.toml is not there",
                       "        /etc/ergon/config.toml is not there"])
    equal(lines[3:5], ["state   /s", "socket  none"])
    os.makedirs(path("xdg/ergon"))
    name = write("xdg/ergon/config.toml", '[agent]\nrun_dir = "/r"\nstate = "/s"\n')
    got = json.loads(config("path", "--json", env={"XDG_CONFIG_HOME": path("xdg")}).stdout)
    equal(got, {"schema": "ergon.config-path/1", "file": name, "state": "/s", "socket": "/r/ergon.sock",
                "page": "/r/energy"})
    # The places of a user, of the system and of a service are the library's test (test_file.c).
    contains(config("path", "--socket", "/" + "s" * 107, code=2).stderr, "--socket PATH")


# ---- TOML, judged by tomllib ----

def is_toml(data):
    try:
        tomllib.loads(data.decode("utf-8"))
        return True
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return False


PIECES = [b"[", b"]", b"{", b"}", b'"', b"'", b"=", b".", b",", b"#", b"\n", b"\r", b"\r\n", b"\t", b" ", b"\\",
          b"0", b"1", b"9", b"a", b"e", b"t", b"u", b"n", b"T", b"Z", b":", b"-", b"+", b"_", b"\xc3\xa9",
          b"\xff", b"\x00", b"\x7f", b'"""', b"'''", b"[[", b"]]", b"0x", b"0o", b"true", b"inf", b"1979-05-27"]


def changed(rnd, base):
    lines = base.split(b"\n")
    text = bytearray(base if rnd.random() < 0.3 else b"\n".join(rnd.sample(lines, rnd.randint(1, 6))) + b"\n")
    for _ in range(rnd.randint(1, 3)):
        at = rnd.randrange(len(text) + 1)
        kind = rnd.random()
        if kind < 0.4:
            text[at:at] = rnd.choice(PIECES)
        elif kind < 0.7:
            text[at:at + 1] = rnd.choice(PIECES)
        else:
            del text[at:at + rnd.randint(1, 4)]
    return bytes(text)


def test_what_is_toml_is_judged_as_tomllib_does():
    base = open(os.path.join(HERE, "all-kinds.toml"), "rb").read()
    assert is_toml(base)
    seed = random.SystemRandom().randrange(1 << 32) if SOAK > 1 else 20261125
    rnd = random.Random(seed)
    seen = {True: 0, False: 0}
    for n in range(250 * SOAK):
        data = base if n == 0 else changed(rnd, base)
        write("random.toml", data)
        r = subprocess.run([ERGON, "config", "validate", "random.toml"], capture_output=True, cwd=DIR.name, env=ENV)
        said = r.stderr.decode()
        assert r.returncode in (0, 2), (seed, data, r.returncode, said)
        m = SYNTAX.match(said)
        seen[is_toml(data)] += 1
        # What toml++ cannot read is refused by name (toml.cpp), and Python's numbers have no bounds.
        if not (m and (m.group(3) == "after a backslash" or "not representable in 64 bits" in said)):
            assert is_toml(data) == (m is None), (seed, data, said)
        if m:
            lines = data.split(b"\n")
            assert 1 <= int(m.group(1)) <= len(lines), (seed, data, said)
            line = lines[int(m.group(1)) - 1].decode("utf-8", "replace")
            assert 1 <= int(m.group(2)) <= len(line) + 2, (seed, data, said)
            equal(said.count("\n"), 1)
    assert min(seen.values()) > 20, seen


run_tests(globals())
