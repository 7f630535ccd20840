# SPDX-License-Identifier: Apache-2.0
"""bindings/python/README.md, literally: each block of it runs against an agent on a simulated machine, and the
extras that it names are those of the wheel."""
import ast
import os
import re
import subprocess
import sys

from rig_python import MACHINE, PACKAGE, SOURCE, Agent, Place, Sim, run_tests

with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as readme:
    README = readme.read()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def there(place, work):
    sim = place.add(Sim(place, MACHINE))
    agent = place.add(Agent(place, sim))
    env = {k: v for k, v in os.environ.items() if not k.lower().startswith("codecarbon_")}
    env.update(PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1", ERGON_SOCKET=agent.socket, HOME=place.dir)
    for words in work:
        r = subprocess.run(words, capture_output=True, text=True, timeout=120, env=env, cwd=place.dir)
        assert r.returncode == 0, (words, r.stdout, r.stderr[-3000:])
        yield r


def test_each_block_runs():
    assert len(BLOCKS) >= 7
    with Place() as place:
        for block, r in zip(BLOCKS, there(place, [[sys.executable, "-c", block] for block in BLOCKS])):
            assert "Traceback" not in r.stderr, (block, r.stderr)
            if "print(" in block:
                assert r.stdout.strip() and not r.stdout.startswith("None"), (block, r)
            if block is BLOCKS[0]:
                joules, uncertain, provenance = r.stdout.split()[:3]
                assert float(joules) > 0 and float(uncertain) > 0 and provenance == "measured", r


def test_its_commands_run():
    commands = re.findall(r"^    python -m (ergon .*)$", README, re.M)
    assert commands
    verbs = [f"ergon {verb}" for verb in re.findall(r"`(totals|power|windows|validate)`", README)]
    assert len(verbs) == 4
    verbs = [v + (" --duration 0.2" if v.endswith("validate") else "") + " --json" for v in verbs]
    with Place() as place:
        for r in there(place, [[sys.executable, "-m", *c.split()] for c in (*commands, *verbs)]):
            assert " J " in r.stderr or r.stdout.strip(), r


def test_the_extras_are_those_of_the_package():
    with open(os.path.join(PACKAGE, "pyproject.toml"), encoding="utf-8") as f:
        text = f.read()
    listed = text.partition("[project.optional-dependencies]")[2].partition("\n\n")[0]
    extras = {name: ast.literal_eval(needs) for name, needs in re.findall(r"^(\w+) = (\[.*\])$", listed, re.M)}
    assert set(extras) == set(re.findall(r"ergon\[(\w+)\]", README)) == \
        {"prometheus", "zeus", "codecarbon", "nvml"}, extras
    # The versions that the tests of compatibility run beside ours are among those that the extras bring.
    with open(os.path.join(SOURCE, "tools", "python-peers"), encoding="utf-8") as f:
        pinned = dict(re.findall(r"^(\w+)=([\d.]+)$", f.read(), re.M))
    for (need,) in extras.values():
        name, _, least = need.partition(">=")
        have = pinned.get(name.replace("-", "_"))
        if name != "prometheus_client":
            assert have and [int(n) for n in have.split(".")] >= [int(n) for n in least.split(".")], (need, have)


def test_the_modules_that_it_names_are_there():
    names = sorted(set(re.findall(r"`(ergon\.[a-z_.]+)`", README)))
    assert {"ergon.zeus", "ergon.zeus.metric", "ergon.codecarbon", "ergon.llenergymeasure", "ergon.backends"} <= set(names)
    script = "import importlib\nfor name in %r: importlib.import_module(name)\n" % names
    script += "import ergon; assert callable(ergon.validate)\n"
    for module, line in re.findall(r"\| `(ergon\.\w+)` \| (.*?) \|", README):
        words = [w for w in re.findall(r"\b[A-Za-z]+\w*\b", line.partition(";")[0])
                 if w[0].isupper() or "_" in w]
        script += f"m = importlib.import_module({module!r})\nfor n in {words!r}: getattr(m, n)\n"
        assert words, line
    env = dict(os.environ, PYTHONPATH=PACKAGE, PYTHONDONTWRITEBYTECODE="1")
    r = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=env)
    assert r.returncode == 0, r.stderr


if __name__ == "__main__":
    run_tests(dict(globals()))
