# SPDX-License-Identifier: Apache-2.0
"""The corpus of what the clients parse, and changed copies of it, through the Python package: each input is
parsed or refused with an error of the package, within seconds. `make fuzz` searches further (fuzz_run.py)."""
import json
import logging
import os
import random
import signal
import traceback

from rig_python import SOURCE, run_tests

import fuzz_targets

CORPUS = os.path.join(SOURCE, "tests", "fuzz", "clients")
logging.disable(logging.CRITICAL)  # settings that are passed over
COPIES = 400 * int(os.environ.get("ERGON_SOAK") or 1)
SECONDS = 20
REFUSED = ("access", "denied", "header", "odd", "begun", "exponent", "negative", "broken")
BITS = [b"", b"0", b"-1", b"1e999", b"null", b"true", b"{}", b"[]", b'"', b"\\", b"\xff", b"\xc2\xb2", b",",
        b":", b"\n", b"18446744073709551616", b"1e308", b"NaN", b"Infinity", b"0.0000001", b"\r\n\r\n",
        b"=" * 100, b"9" * 5000]
WORTHS = [None, True, 0, 1, -1, 0.5, 1e-7, 1e300, -1e300, 2 ** 53, 2 ** 64 - 1, 2 ** 64, 10 ** 40, "", "x",
          "ok", "total", "estimated", "\u00b2", "gpu-GPU-1/gpu-" + "9" * 5000, [], [None], {}, {"joules": 1},
          [[]] * 3]


def change_values(rng, doc):
    """Some members of a document hold something else, or are not there, or are there twice."""
    places = []

    def walk(node):
        for key in (range(len(node)) if isinstance(node, list) else list(node)):
            places.append((node, key))
            if isinstance(node[key], (list, dict)):
                walk(node[key])
    walk(doc)
    for _ in range(rng.choice((1, 1, 1, 2, 4)) if places else 0):
        node, key = rng.choice(places)
        how = rng.random()
        if how < 0.1 and isinstance(node, dict):
            node.pop(key, None)
        elif how < 0.2 and isinstance(node, list):
            node.append(node[0] if node else None)
        elif how < 0.3:
            other, there = rng.choice(places)
            if isinstance(other, list) and there >= len(other) or \
                    isinstance(other, dict) and there not in other:
                continue
            value = json.loads(json.dumps(other[there]))
            if isinstance(node, dict) or key < len(node):
                node[key] = value
        elif isinstance(node, dict) or key < len(node):
            node[key] = rng.choice(WORTHS)
    return json.dumps(doc).encode()


def change(rng, data, others):
    if data[:1] == b"{" and rng.random() < 0.7:
        return change_values(rng, json.loads(data))
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at, how = rng.randrange(len(data) + 1), rng.random()
        n = rng.choice((1, 1, 2, 4, 8, rng.randint(1, 200)))
        if how < 0.25 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif how < 0.5:
            data[at:at + rng.choice((0, n))] = rng.choice(BITS)
        elif how < 0.6:
            del data[at:at + n]
        elif how < 0.7:
            data[at:at] = data[at:at + n]
        elif how < 0.85:
            # A value of a member by another one.
            marks = [i for i, c in enumerate(data) if c in b":=,"]
            if marks:
                begin = rng.choice(marks) + 1
                end = next((i for i in range(begin, len(data)) if data[i] in b",}]\n"), len(data))
                data[begin:end] = rng.choice(BITS)
        else:
            other = rng.choice(others)
            data[at:] = other[rng.randrange(len(other) + 1):]
    return bytes(data[:65536])


class Hang(BaseException):
    """It was not done in time."""


def late(*_):
    raise Hang


def played(name):
    folder = os.path.join(CORPUS, name)
    seeds = []
    for file in sorted(os.listdir(folder)):
        with open(os.path.join(folder, file), "rb") as f:
            seeds.append(f.read())
    rng = random.Random(name)
    for file, data in zip(sorted(os.listdir(folder)), seeds):
        assert fuzz_targets.one(name, data) == (file not in REFUSED), file
    inputs = seeds + [change(rng, rng.choice(seeds), seeds) for _ in range(COPIES)]
    good = 0
    signal.signal(signal.SIGALRM, late)
    for data in inputs:
        signal.alarm(SECONDS)
        try:
            good += fuzz_targets.one(name, data)
        except BaseException as error:
            raise AssertionError(f"{name}: {data!r:.3000}\n{traceback.format_exc()[-3000:]}") from error
        finally:
            signal.alarm(0)
    print(f"# {name}: {len(inputs)} inputs, {good} parsed, {len(inputs) - good} refused")
    assert good and (name == "settings" or good < len(inputs)), "nothing is told by this"


def test_every_target_has_a_corpus():
    assert set(fuzz_targets.TARGETS) <= set(os.listdir(CORPUS))


for _name in fuzz_targets.TARGETS:
    globals()[f"test_{_name}"] = lambda name=_name: played(name)


if __name__ == "__main__":
    run_tests(dict(globals()))
