#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# tools/install-ipw.sh PROGRAM DIR: puts energy-monitor where the Intelligence Per Watt harness looks for its
# monitor: DIR is the folder of the Python package `ipw`. One file that needs libc alone, so it may be moved.
set -eu

if [ $# -ne 2 ] || [ -z "$2" ]; then
	echo 'make install-ipw: say where the Python package ipw is: make install-ipw IPW=DIR' >&2
	echo "(python3 -c 'import ipw, os; print(os.path.dirname(ipw.__file__))' tells)" >&2
	exit 2
fi
program=$1
case $(uname -s) in
Linux) system=linux ;;
Darwin) system=macos ;;
*)
	echo "make install-ipw: the harness has no name for $(uname -s)" >&2
	exit 1
	;;
esac
case $(uname -m) in
x86_64 | amd64) machine=x86_64 ;;
aarch64 | arm64) machine=arm64 ;;
*)
	echo "make install-ipw: the harness has no name for $(uname -m)" >&2
	exit 1
	;;
esac
if [ ! -x "$program" ]; then
	echo "make install-ipw: $program was not built; sh tools/deps grpc installs what it needs" >&2
	exit 1
fi
if [ ! -d "$2" ]; then
	echo "make install-ipw: there is no folder $2" >&2
	exit 1
fi
dir=$2/telemetry/bin/$system-$machine
mkdir -p "$dir"
# A copy that runs now goes on with its own file.
cp "$program" "$dir/.energy-monitor.new"
chmod 755 "$dir/.energy-monitor.new"
mv -f "$dir/.energy-monitor.new" "$dir/energy-monitor"
echo "$dir/energy-monitor"
