#!/bin/sh
# Measures three local nodes of Warren, and in the same run another broker when its
# addresses are given, and prints the table of ratios (warrenperf suite --help).
#
#   PEER_URIS   addresses of the peer's nodes, amqp://127.0.0.1:5710,amqp://…; none: Warren alone
#   PEER_NAME   its name in the table; default: peer
#   BENCH_BIN   where warren and warrenperf are; default: bin
#   BENCH_DATA  where the nodes' data goes; made new, and removed at the end. It must be
#               on the disk that is to be measured: on a tmpfs a sync costs nothing.
#               Default: .data/bench
#   BENCH_PORT  first of the AMQP ports; HTTP ports are 100 above, cluster ports 200. Default: 6700
#
# With the rows of 16 KiB it first measures what Raft reaches on this disk without a
# broker, where the go command is found.
#
# Arguments go to warrenperf suite: --rows 16b,rpc --time 10 --repeat 5
set -eu

bin=${BENCH_BIN:-bin}
data=${BENCH_DATA:-.data/bench}
port=${BENCH_PORT:-6700}

for tool in warren warrenperf; do
	if [ ! -x "$bin/$tool" ]; then
		echo "bench: $bin/$tool is missing: run \"make build\" first" >&2
		exit 1
	fi
done
if [ -e "$data" ]; then
	echo "bench: $data is there already: remove it, or name another with BENCH_DATA" >&2
	exit 1
fi
mkdir -p "$data"

cluster=
stop() {
	trap - EXIT INT TERM
	if [ -n "$cluster" ]; then
		kill -INT "$cluster" 2>/dev/null || true
		wait "$cluster" 2>/dev/null || true
	fi
	rm -rf "$data"
}
trap stop EXIT
trap 'stop; exit 130' INT
trap 'stop; exit 143' TERM

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

"$bin/warren" dev --nodes 3 --data-dir "$data" --amqp-port "$port" \
	--http-port $((port + 100)) --cluster-port $((port + 200)) </dev/null >"$data/dev.log" 2>&1 &
cluster=$!

tries=0
until grep -q '3 of 3 nodes serve clients' "$data/dev.log"; do
	tries=$((tries + 1))
	if [ "$tries" -gt 300 ] || ! kill -0 "$cluster" 2>/dev/null; then
		echo "bench: the cluster did not start:" >&2
		cat "$data/dev.log" >&2
		exit 1
	fi
	sleep 0.2
done

uris="amqp://127.0.0.1:$port,amqp://127.0.0.1:$((port + 1)),amqp://127.0.0.1:$((port + 2))"
set -- --target "warren=$uris" "$@"
if [ -n "${PEER_URIS:-}" ]; then
	set -- "$@" --target "${PEER_NAME:-peer}=$PEER_URIS"
fi
# Not exec: the trap has to run.
"$bin/warrenperf" suite "$@"
