#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/fuzz.sh BUILD SECONDS [PATTERN]: runs each libFuzzer program of BUILD over its corpus for SECONDS, and so
# the parsers of the Python package (Atheris) and of the Node package (coverage of V8 itself): those whose name
# matches PATTERN (*), as `page`, `python-http`, `node-*`. New inputs stay in BUILD/found/NAME; a crash is left
# there too and ends the run with status 1.
set -eu
cd -- "$(dirname -- "$0")/.."
build=$1
seconds=$2
pattern=${3-*}
bad=0

# one NAME COMMAND...: its findings go to BUILD/found/NAME.
one() {
	name=$1
	shift
	# shellcheck disable=SC2254 # a pattern
	case $name in $pattern) ;; *) return 0 ;; esac
	mkdir -p "$build/found/$name"
	log=$build/found/$name.log
	if "$@" >"$log" 2>&1; then
		echo "ok   $name: $(grep -o 'Done [0-9]* runs.*' "$log" || tail -n 1 "$log")"
	else
		bad=1
		echo "FAIL $name:"
		tail -n 40 "$log"
	fi
}

for program in "$build"/tests/fuzz/fuzz-*; do
	case $program in *.p | *\*) continue ;; esac
	name=${program##*/fuzz-}
	one "$name" "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
		-artifact_prefix="$build/found/$name-" "$build/found/$name" "tests/fuzz/corpus/$name"
done

if atheris=$(tools/python-fuzz "$build"); then
	for target in totals window sensors index windows events stream http page settings; do
		name=python-$target
		one "$name" "$atheris" tests/python/fuzz_run.py . "$target" -max_total_time="$seconds" \
			-timeout=10 -rss_limit_mb=1024 -max_len=65536 -artifact_prefix="$build/found/$name-" \
			"$build/found/$name" "tests/fuzz/clients/$target"
	done
else
	echo "not run, the parsers of the Python package: $atheris"
fi

if command -v node >/dev/null; then
	for target in json:totals totals window events http settings settlement:page; do
		name=node-${target%:*}
		one "$name" node tests/node/fuzz_run.js "${target%:*}" "$seconds" "$build/found/$name" \
			"tests/fuzz/clients/${target#*:}"
	done
else
	echo "not run, the parsers of the Node package: node is not installed"
fi
exit "$bad"
