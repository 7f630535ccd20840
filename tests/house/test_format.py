#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every C file is laid out as .clang-format says, where clang-format is at hand."""
import os
import shutil
import subprocess

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_layout():
    if not shutil.which("clang-format"):
        raise tap.Skip("clang-format is not installed (make lint checks the layout)")
    r = subprocess.run(["sh", os.path.join(ROOT, "tools", "format.sh"), "--check"], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert r.returncode == 0, "\n" + r.stdout[-4000:]


tap.run(globals())
