# SPDX-License-Identifier: Apache-2.0
"""fuzz_run.py SOURCE TARGET [libFuzzer's words...]: searches for inputs with coverage of the Python package, by
Atheris. Run by tools/fuzz.sh with the interpreter of tools/python-fuzz."""
import logging
import os
import sys

import atheris

SOURCE, TARGET = sys.argv[1:3]
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(SOURCE, "bindings", "python"), os.path.dirname(os.path.abspath(__file__))]
for name in list(os.environ):
    if name.startswith("ERGON_"):
        del os.environ[name]
with atheris.instrument_imports(include=["ergon", "json", "http", "configparser", "urllib"]):
    import fuzz_targets
logging.disable(logging.CRITICAL)  # settings that are passed over

atheris.Setup([sys.argv[0], *sys.argv[3:]], lambda data: fuzz_targets.one(TARGET, data) and None)
atheris.Fuzz()
