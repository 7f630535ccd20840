#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/format.sh [--check]: lays out every C file as .clang-format says, or lists what differs.
set -eu
cd -- "$(dirname -- "$0")/.."
mode=-i
[ "${1:-}" = --check ] && mode='--dry-run --Werror'
# shellcheck disable=SC2086 # mode is a list of words
find src include tests examples bench -name '*.[ch]' -type f -print0 2>/dev/null |
	xargs -0 -r clang-format $mode
