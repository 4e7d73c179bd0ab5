#!/bin/sh
# Measures three local nodes of Warren, and in the same run another broker when its
# addresses are given, and prints the table of ratios (warrenperf suite --help).
#
#   PEER_URIS   addresses of the peer's nodes, amqp://127.0.0.1:5710,amqp://…; none: Warren alone
#   PEER_NAME   its name in the table; default: peer
#   BENCH_BIN, BENCH_DATA, BENCH_PORT   see cluster.sh
#
# With the rows of 16 KiB it first measures what Raft reaches on this disk without a
# broker, where the go command is found.
#
# Arguments go to warrenperf suite: --rows 16b,rpc --time 10 --runs 5 --json-file paired.json
set -eu
. "$(dirname "$0")/cluster.sh"

check_bench
mkdir -p "$data"

# ceiling prints MB/s, or nothing.
ceiling() {
	BENCH_DATA=$(cd "$data" && pwd) go test -buildvcs=false -run '^$' -bench RaftCeiling -benchtime 3s ./deploy/bench |
		awk '/MB\/s/ { for (i = 2; i <= NF; i++) if ($i == "MB/s") print $(i - 1) }'
}
rows=$*
case $rows in
*--rows*) ;;
*) rows=16k ;;
esac
case $rows in
*16k*)
	if command -v go >/dev/null && [ -f deploy/bench/ceiling_test.go ]; then
		mbs=$(ceiling)
		if [ -n "$mbs" ]; then
			echo "Raft without a broker: $mbs MB/s" >&2
			set -- --ceiling "$mbs" "$@"
		fi
	fi
	;;
esac

start_cluster 3
set -- --target "warren=$uris" "$@"
if [ -n "${PEER_URIS:-}" ]; then
	set -- "$@" --target "${PEER_NAME:-peer}=$PEER_URIS"
fi
# Not exec: the trap has to run.
"$bin/warrenperf" suite "$@"
