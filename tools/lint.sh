#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/lint.sh: everything that reads the source without running it. A tool that is not installed
# is named and left out; all others must find nothing.
set -eu
cd -- "$(dirname -- "$0")/.."
bad=0
have() {
	command -v "$1" >/dev/null 2>&1 || {
		echo "lint: $1 is not installed: left out"
		return 1
	}
}
step() { # name command...
	name=$1
	shift
	if out=$("$@" 2>&1); then
		echo "ok   $name"
	else
		bad=1
		echo "FAIL $name"
		printf '%s\n' "$out" | tail -n 200
	fi
}

step layers python3 tools/check-layers.py
step "banned calls" python3 tools/check-banned.py
if have clang-format; then
	step layout sh tools/format.sh --check
fi
if have shellcheck; then
	step shellcheck shellcheck run check .ci/run tools/deps tools/*.sh
fi
if have cppcheck; then
	step cppcheck cppcheck --quiet --std=c11 --language=c --enable=warning,portability \
		--inline-suppr --suppressions-list=tools/cppcheck-suppressions --error-exitcode=1 \
		-j 2 -Isrc -Iinclude -D_GNU_SOURCE -D__GLIBC__ -i src/agent/toml.cpp src
fi
if have clang-tidy; then
	CC=clang sh tools/build.sh "$PWD/build-dev/lint" all -Dtests=disabled
	# shellcheck disable=SC2016 # expanded by the inner shell
	step clang-tidy sh -c 'find src -name "*.c" -print0 |
		xargs -0 -P 2 -n 4 clang-tidy -quiet -p build-dev/lint'
fi
exit "$bad"
