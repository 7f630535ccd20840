#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the state directory that every later Ergon must read: make_fixture.py DIR. The files are
committed (fixture-1, format version 1); a test compares them with what this writes, and another reads
their totals with the program's own code (contract test T25)."""
import os
import sys

from ledger_format import (ACCOUNT, CHANNEL, START, STOP, checkpoint_header, delta, entry, log_header,
                           mark, slot, text)

S = 10 ** 9
T = 1800000000 * S
BOOTS = ["00112233-4455-6677-8899-aabbccddeeff", "ffeeddcc-bbaa-9988-7766-554433221100"]
CPU, CPU_FEED = "cpu-0/package/measured", "rapl/component/rapl/package-0"
GPU, GPU_FEED = "gpu-GPU-8d1e/7/gpu/measured", "nvml/component/nvml/gpu-0"
HELD, NODE = "cpu-0/package/estimated", "node/chassis/measured"
LATER = "rack-7/cooling/measured"  # a component that version 0.2 has no word for


def log():
    cpu = dict(created_unix_ns=T, boot=BOOTS[0], unit_num=1, unit_den=1000,
               modulus=262143328911360, counter=1)
    gpu = dict(created_unix_ns=T + S, boot=BOOTS[0], unit_num=1000, unit_den=1, counter=1)
    return b"".join([
        log_header(T),
        mark(START, 1, T, BOOTS[0]),
        text(ACCOUNT, 1, T + 60 * S, CPU, CPU),
        text(CHANNEL, 1, T + 60 * S, CPU, CPU_FEED),
        delta(1, T + 60 * S, CPU, 6000000001, CPU_FEED, uj=6000000001, raw=6000000001000,
              t_ns=60 * S, awake_ns=59 * S, unix_ns=T + 60 * S, rem=7, **cpu),
        text(ACCOUNT, 1, T + 60 * S, GPU, GPU),
        text(CHANNEL, 1, T + 60 * S, GPU, GPU_FEED),
        delta(1, T + 60 * S, GPU, 18000000000, GPU_FEED, uj=18000000000, raw=18000000, t_ns=60 * S,
              awake_ns=60 * S, unix_ns=T + 60 * S, **gpu),
        text(ACCOUNT, 1, T + 60 * S, LATER, LATER),
        delta(1, T + 60 * S, LATER, 77, uj=77, created_unix_ns=T),
        mark(STOP, 1, T + 61 * S, BOOTS[0]),
        mark(START, 2, T + 100 * S, BOOTS[1]),
        text(ACCOUNT, 2, T + 160 * S, CPU, CPU),
        delta(2, T + 160 * S, CPU, 4000000000, CPU_FEED, uj=10000000001, recovered_uj=500000000,
              gap_ns=39 * S, resets=1, raw=123, t_ns=70 * S, awake_ns=70 * S,
              unix_ns=T + 160 * S, **dict(cpu, boot=BOOTS[1])),
        text(ACCOUNT, 2, T + 160 * S, HELD, HELD),
        delta(2, T + 160 * S, HELD, 250000, uj=250000, created_unix_ns=T + 100 * S),
    ])


def checkpoint():
    cpu = entry(CPU, CPU_FEED, uj=10000000456, recovered_uj=500000000, gap_ns=39 * S, resets=1,
                created_unix_ns=T, boot=BOOTS[1], raw=578, t_ns=71 * S, awake_ns=71 * S,
                unix_ns=T + 161 * S, unit_num=1, unit_den=1000, modulus=262143328911360, counter=1)
    held = entry(HELD, uj=250000, created_unix_ns=T + 100 * S)
    node = entry(NODE, "ipmi/node/ipmi/psu-1", uj=42, created_unix_ns=T + 100 * S, boot=BOOTS[1],
                 unix_ns=T + 161 * S, t_ns=71 * S)
    return b"".join([
        checkpoint_header(4, T),
        slot(4, [cpu, held, node], 12, 2, T + 161 * S, BOOTS[1], t_ns=71 * S),
        slot(4, [held], 11, 2, T + 160 * S, BOOTS[1], t_ns=70 * S),
    ])


def main():
    for name, data in (("ledger.log", log()), ("checkpoint", checkpoint())):
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
