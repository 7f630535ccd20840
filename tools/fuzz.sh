#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/fuzz.sh BUILD SECONDS: runs each libFuzzer program of BUILD over its corpus for SECONDS. New
# inputs stay in BUILD/found/NAME; a crash is left there too and ends the run with status 1.
set -eu
cd -- "$(dirname -- "$0")/.."
build=$1
seconds=$2
bad=0
for program in "$build"/tests/fuzz/fuzz-*; do
	case $program in *.p | *\*) continue ;; esac
	name=${program##*/fuzz-}
	mkdir -p "$build/found/$name"
	log=$build/found/$name.log
	if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
		-artifact_prefix="$build/found/$name-" "$build/found/$name" \
		"tests/fuzz/corpus/$name" >"$log" 2>&1; then
		echo "ok   $name: $(grep -o 'Done [0-9]* runs.*' "$log" || tail -n 1 "$log")"
	else
		bad=1
		echo "FAIL $name:"
		tail -n 40 "$log"
	fi
done
exit "$bad"
