#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/bench.sh [OPTION...]: builds Ergon as it is released, into build-bench, and prints what
# measuring costs, beside other meters (bench/run says how). Asserts nothing.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd -- "$here"

# An option may follow the name of the developer's build, which is not the one measured.
[ "${1:-}" != build ] || shift
sh tools/build.sh "$here/build-bench" "src/cli/ergon bench/bench-meter bench/bench-window bench/bench-store" \
	-Dbuildtype=release -Dtests=disabled
exec /usr/bin/env python3 bench/run build-bench "$@"
