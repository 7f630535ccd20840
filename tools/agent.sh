#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/agent.sh ERGON: runs the agent in the foreground with state of its own, beside no installed one, and
# says where to look. Estimates are allowed, so that a machine without sensors shows something: they
# are labelled so. ERGON_AGENT_DIR keeps the state elsewhere.
set -eu

ergon=$1
dir=${ERGON_AGENT_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/ergon-try}
mkdir -p "$dir/run"
cat >&2 <<END
The agent of this tree, until Ctrl-C. Where to look:

    curl http://127.0.0.1:9102/metrics                 for Prometheus
    curl http://127.0.0.1:9102/api/v1/totals           joules of each device
    curl --unix-socket $dir/run/ergon.sock http://localhost/api/v1/sensors
    $ergon ledger show --state $dir/state

END
# The energy page as well: without this root's would be the installed agent's own.
export ERGON_AGENT_RUN_DIR="$dir/run"
exec "$ergon" agent --allow-estimates --state "$dir/state" --socket "$dir/run/ergon.sock"
