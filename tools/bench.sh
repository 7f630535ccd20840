#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/bench.sh BUILD: runs the benchmarks of bench/ one after another and prints what they print:
# bench/run where there is one, else what meson knows as benchmarks. Nothing is asserted.
set -eu
cd -- "$(dirname -- "$0")/.."
build=$1
if [ -x bench/run ]; then
	exec bench/run "$build"
fi
exec meson test -C "$build" --benchmark --no-rebuild --num-processes 1 --verbose
