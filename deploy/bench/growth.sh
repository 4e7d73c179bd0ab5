#!/bin/sh
# Measures how the cost of Warren grows (warrenperf growth --help) on three local
# nodes, and for the axis nodes on one, three and five; writes points, tables and
# plots.
#
#   GROWTH_AXES   which; default: all
#   GROWTH_OUT    where the files go; default: docs/performance
#   BENCH_BIN, BENCH_DATA, BENCH_PORT   see cluster.sh
#
# Arguments go to warrenperf growth: --time 1 --max 100000
set -eu
. "$(dirname "$0")/cluster.sh"

axes=${GROWTH_AXES:-size,queues,connections,backlog,nodes}
out=${GROWTH_OUT:-docs/performance}
begin=$(date +%s)
# Each connection is a descriptor here and one in a node.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

check_bench
about="Measured on $(date -u +%Y-%m-%d), $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB of memory; $("$bin/warren" version 2>/dev/null | head -1)."
failed=0
measure() {
	"$bin/warrenperf" growth --uris "$uris" --out "$out" --about "$about" "$@" || failed=1
}

# Each axis has a cluster of its own: what one left behind costs the next nothing.
for axis in $(echo "$axes" | tr , ' '); do
	if [ "$axis" = nodes ]; then
		for n in 1 3 5; do
			start_cluster "$n"
			measure --axes nodes --nodes "$n" "$@"
			stop_cluster
		done
	else
		start_cluster 3
		measure --axes "$axis" "$@"
		stop_cluster
	fi
done
echo "growth: $(($(date +%s) - begin)) s; see $out/growth.md" >&2
exit "$failed"
