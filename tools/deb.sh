#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/deb.sh: builds Debian packages from the files that git knows (and those it does not ignore) in
# build-deb/, with deploy/debian as debian/, and prints where they are.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
out=$here/build-deb
sh "$here/tools/deps" deb
rm -rf "$out"
mkdir -p "$out/ergon"
# shellcheck disable=SC2016 # expanded by the inner shell
if git -C "$here" rev-parse --git-dir >/dev/null 2>&1; then
	(cd -- "$here" && git ls-files -z --cached --others --exclude-standard)
else
	(cd -- "$here" && find . -type f -not -path './build*' -print0)
fi | (cd -- "$here" && xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\\0" "$f"; done' sh) |
	tar -C "$here" --null -T - -cf - | tar -C "$out/ergon" -xf -
cp -R "$out/ergon/deploy/debian" "$out/ergon/debian"
if ! (cd "$out/ergon" && dpkg-buildpackage -b -us -uc >"$out/log" 2>&1); then
	tail -n 60 "$out/log" >&2
	echo "The build failed; the whole output is in $out/log" >&2
	exit 1
fi
ls "$out"/*.deb
