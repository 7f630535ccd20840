#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/node-peers.sh BUILD-DIR: what the tests and the bench of the Node package are run beside: Express,
# Fastify, prom-client and the TypeScript compiler, installed once below BUILD-DIR/peers/node and used
# from there. Prints the directory. Where they cannot be had it says why and exits 1.
set -eu

mkdir -p "$1/peers"
dir=$(CDPATH='' cd -- "$1/peers" && pwd)/node
want='prom-client@15 express@5 express4@npm:express@4 fastify@5 fastify4@npm:fastify@4 typescript@5
@types/node@18'

exec 9>"$dir.lock"
flock 9
if [ "$(cat "$dir/done" 2>/dev/null)" != "$want" ]; then
	rm -rf "$dir"
	mkdir -p "$dir"
	echo '{"private": true}' >"$dir/package.json"
	# shellcheck disable=SC2086 # a list of words
	if ! (cd "$dir" && npm install --no-audit --no-fund --no-package-lock --no-update-notifier \
		--ignore-scripts --fetch-retries=1 --fetch-timeout=20000 $want) >"$dir.log" 2>&1 9>&-; then
		# npm 9 says ERR!, later ones error.
		code=$(sed -n 's/^npm \(ERR!\|error\) code //p' "$dir.log" | head -1)
		case $code in
		ENOTFOUND | EAI_AGAIN | ECONN* | ENETUNREACH | EHOSTUNREACH | ETIMEDOUT | ERR_SOCKET_TIMEOUT | FETCH_ERROR | E403 | E5??)
			echo "the npm registry is away: $code"
			;;
		*)
			echo "npm install failed:"
			tail -20 "$dir.log"
			;;
		esac
		exit 1
	fi
	printf '%s\n' "$want" >"$dir/done"
fi
printf '%s\n' "$dir"
