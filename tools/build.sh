#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/build.sh BUILD-DIR TARGET [MESON-OPTION...]: configures BUILD-DIR once and builds TARGET
# ("all" for everything) in it, quietly: the output goes to BUILD-DIR.log and is shown only when
# something fails (V=1: to the terminal). A directory that was configured by other options, for
# another place of the sources or by a tool since replaced is made anew; where files came or went, it
# is configured again, because the build lists some folders when it is configured. A lock keeps two
# builds apart.
set -eu

src=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=$1
target=$2
shift 2
# The C++ file goes with the C ones: two compilers' sanitizers do not mix.
case ${CC:-cc} in *clang*) export CXX="${CXX:-$(printf %s "$CC" | sed 's/clang/clang++/')}" ;; esac
stamp="$src ${CC:-cc} $*"
files=$(cd "$src" && find src tests examples bench man -type f \
	\( -name '*.[ch]' -o -name '*.cpp' -o -name meson.build -o -name '*.scn' \) 2>/dev/null | sort | cksum)
log=$build.log
mkdir -p "$(dirname -- "$build")"
[ "${V:-0}" = 0 ] || log=/dev/stderr

exec 9>"$build.lock"
flock 9

# Debian's python modules belong to /usr/bin/python3, and a build must not depend on a user's
# compiler flags.
configure() {
	meson setup "$build" "$src" "$@" 9>&- && printf '%s\n' "$stamp" >"$build/configured-as" &&
		printf '%s\n' "$files" >"$build/configured-for"
}
reconfigure() {
	[ "$(cat "$build/configured-for" 2>/dev/null)" = "$files" ] || {
		meson setup --reconfigure "$build" "$src" 9>&- &&
			printf '%s\n' "$files" >"$build/configured-for"
	}
}
compile() {
	if [ "$target" = all ]; then
		ninja -C "$build" 9>&-
	else
		# shellcheck disable=SC2086 # several targets in one word
		ninja -C "$build" $target 9>&-
	fi
}
is_ours() {
	[ -f "$build/build.ninja" ] && [ "$(cat "$build/configured-as" 2>/dev/null)" = "$stamp" ]
}
fail() {
	if [ -f "$log" ]; then
		# Of ninja's output only what failed, and why where that was meson under it; of meson's own,
		# which is short, all.
		if grep -q '^FAILED: ' "$log"; then
			grep '^[^ ]*meson[^ ]*: ERROR: ' "$log" >&2 || :
			sed -n '/^FAILED: /,$p' "$log" >&2
		else
			cat "$log" >&2
		fi
		echo "The build failed; the whole output is in $log" >&2
	fi
	exit 1
}

[ "$log" = /dev/stderr ] || : >"$log"
if is_ours; then
	{ reconfigure && compile; } >>"$log" 2>&1 && exit 0
	# A compiler error stays one after a fresh start, a stale directory does not.
	{ [ ! -f "$log" ] || grep -q '^FAILED: ' "$log"; } && fail
fi
rm -rf "$build"
{ configure "$@" && compile; } >>"$log" 2>&1 || fail
