#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the fuzzers of this folder, one file name a line."""
import os

here = os.path.dirname(os.path.abspath(__file__))
names = sorted(n for n in os.listdir(here) if n.startswith("fuzz_") and n.endswith(".c"))
print("\n".join(names))
