# SPDX-License-Identifier: Apache-2.0
"""The wheel builds without a network, installs into a clean environment, and works there against the agent;
the types check; the code is that of Python 3.9; lines fit."""
import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile

from rig_python import MACHINE, PACKAGE, SOURCE, Agent, Place, Sim, ergon, run_tests

LINE_MAX = 110


def run(*words, **kw):
    r = subprocess.run(words, capture_output=True, text=True, timeout=300, **kw)
    assert r.returncode == 0, (words, r.stdout[-3000:], r.stderr[-3000:])
    return r


def sources():
    for folder, folders, files in os.walk(os.path.join(PACKAGE, "ergon")):
        folders[:] = [f for f in folders if f != "__pycache__"]
        for name in files:
            if name.endswith(".py"):
                yield os.path.join(folder, name)


def wheel(place):
    """Built of a copy: a build leaves folders behind."""
    copy, out = place.path("copy"), place.path("wheels")
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    run(sys.executable, "-m", "pip", "wheel", "--no-index", "--no-build-isolation", "--no-deps", "-q", "-w",
        out,
        copy)
    names = os.listdir(out)
    assert len(names) == 1 and names[0].endswith("-py3-none-any.whl"), names
    return os.path.join(out, names[0])


def test_the_wheel_in_a_clean_environment():
    with Place() as place:
        path = wheel(place)
        with zipfile.ZipFile(path) as z:
            names = z.namelist()
            licences = [z.read(n) for n in names if n.rpartition("/")[2] == "LICENSE"]
            meta = z.read(next(n for n in names if n.endswith("/METADATA"))).decode()
        wanted = {os.path.relpath(p, PACKAGE) for p in sources()} | {"ergon/py.typed"}
        assert wanted <= set(names), wanted - set(names)
        junk = [n for n in names if not n.startswith(("ergon/", "ergon-")) or "test" in n or ".pyc" in n]
        assert not junk, junk
        with open(os.path.join(SOURCE, "LICENSE"), "rb") as f:
            assert licences == [f.read()], "the licence goes with the package"
        assert f"Version: {ergon.__version__}" in meta and "Requires-Python: >=3.9" in meta, meta
        required = [line for line in meta.splitlines() if line.startswith("Requires-Dist")]
        assert all("extra ==" in line for line in required), required  # nothing at run time
        venv = place.path("venv")
        run(sys.executable, "-m", "venv", "--without-pip", venv)
        python = os.path.join(venv, "bin", "python")
        run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "-q", path)
        sim = place.add(Sim(place, MACHINE))
        agent = place.add(Agent(place, sim))
        env = {"PATH": os.environ["PATH"], "ERGON_SOCKET": agent.socket}
        out = run(python, "-I", "-c", "import ergon, sys, time\n"
                  "assert 'site-packages' in ergon.__file__, ergon.__file__\n"
                  "with ergon.measure('x') as m: time.sleep(0.2)\n"
                  "print(m.measurement.to_json())\n"
                  "import ergon.middleware.asgi as a, ergon.middleware.wsgi\n"
                  "try: a.EnergyMiddleware(None)\n"
                  "except ergon.Unavailable as e: assert 'ergon[prometheus]' in str(e), e\n"
                  "a.EnergyMiddleware(None, registry=False).meter.close()\n", env=env, cwd=place.dir).stdout
        assert json.loads(out)["joules"] > 0
        r = run(python, "-m", "ergon", "run", "--", "true", env=env, cwd=place.dir)
        assert " J " in r.stderr, r


def test_types():
    with Place() as place:
        cache = place.path("cache")
        base = ("mypy", "--strict", "--python-version", "3.9", "--cache-dir", cache)
        run(*base, "-p", "ergon", cwd=PACKAGE)
        user = place.path("user.py")
        with open(user, "w") as f:
            f.write("import ergon\n"
                    "@ergon.measured\n"
                    "def f(x: int) -> str:\n    return str(x)\n"
                    "@ergon.measured('name', log='x.csv')\n"
                    "async def g(x: int) -> str:\n    return str(x)\n"
                    "y: str = f(3)\n"
                    "with ergon.connect().begin('w') as w:\n    w.units('x', 2)\n"
                    "reveal_type(w.end().joules)\n"
                    "f('wrong')\n")
        r = subprocess.run([*base, user], capture_output=True, text=True, timeout=300,
                           env=dict(os.environ, MYPYPATH=PACKAGE))
        assert 'Revealed type is "Union[builtins.float, None]"' in r.stdout, r
        assert r.stdout.count("error:") == 1 and 'incompatible type "str"; expected "int"' in r.stdout, r


def test_it_is_python_3_9():
    n = 0
    for path in sources():
        with open(path, encoding="utf-8") as f:
            text = f.read()
        ast.parse(text, path, feature_version=(3, 9))
        assert "from __future__ import annotations" in text or not text.strip(), path
        n += 1
        for i, line in enumerate(text.splitlines(), 1):
            assert len(line) <= LINE_MAX, f"{path}:{i}: {len(line)} characters"
    assert n > 15


def test_nothing_but_the_standard_library_is_imported():
    """Of optional parts only by name, when they are asked for."""
    r = run(sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {PACKAGE!r})\n"
            "sys.dont_write_bytecode = True\nbefore = set(sys.modules)\n"
            "import ergon, threading, os\n"
            "assert not {'asyncio', 'ssl', 'http.client', 'ctypes'} & set(sys.modules), sorted(sys.modules)\n"
            "assert threading.active_count() == 1\n"
            "import ergon.agent, ergon.page, ergon.library\n"
            "import ergon.middleware.asgi, ergon.middleware.wsgi\n"
            "new = {m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
            "print(sorted(new))")
    assert r.stdout.strip() == "['ergon']", r.stdout


if __name__ == "__main__":
    run_tests(dict(globals()))
