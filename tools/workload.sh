#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The workload that ./run measures when it is given none: compresses and hashes Ergon's own sources
# on every core for about three seconds, and says how much work that was. Needs no network and
# leaves nothing behind.
set -eu

cd -- "$(dirname -- "$0")/.."
seconds=${1:-3}
cores=$(nproc)
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

worker() {
	end=$(($(date +%s%N) + seconds * 1000000000))
	rounds=0
	while [ "$(date +%s%N)" -lt "$end" ]; do
		cat src/*/*.[ch] | gzip -9 | sha256sum >/dev/null
		rounds=$((rounds + 1))
	done
	echo "$rounds" >>"$counts"
}

bytes=$(cat src/*/*.[ch] | wc -c)
n=0
while [ "$n" -lt "$cores" ]; do
	worker &
	n=$((n + 1))
done
wait
rounds=0
while read -r r; do
	rounds=$((rounds + r))
done <"$counts"
echo "workload: compressed and hashed $((rounds * bytes / 1000)) kB of source text on $cores cores"
