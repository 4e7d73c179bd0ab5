# Functions of the scripts beside it, read with ". deploy/bench/cluster.sh".
#
#   BENCH_BIN   where warren and warrenperf are; default: bin
#   BENCH_DATA  where the nodes' data goes; made new, and removed at the end. It must be
#               on the disk that is to be measured: on a tmpfs a sync costs nothing.
#               Default: .data/bench
#   BENCH_PORT  first of the AMQP ports; HTTP ports are 100 above, cluster ports 200. Default: 6700

bin=${BENCH_BIN:-bin}
data=${BENCH_DATA:-.data/bench}
port=${BENCH_PORT:-6700}
cluster=

# check_bench wants the programs there, and the directory for data not.
check_bench() {
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
	trap stop_all EXIT
	trap 'stop_all; exit 130' INT
	trap 'stop_all; exit 143' TERM
}

# start_cluster N starts as many nodes, waits until they serve, and sets uris.
start_cluster() {
	mkdir -p "$data"
	"$bin/warren" dev --nodes "$1" --data-dir "$data" --amqp-port "$port" \
		--http-port $((port + 100)) --cluster-port $((port + 200)) </dev/null >"$data/dev.log" 2>&1 &
	cluster=$!
	tries=0
	until grep -q "$1 of $1 nodes serve clients" "$data/dev.log"; do
		tries=$((tries + 1))
		if [ "$tries" -gt 300 ] || ! kill -0 "$cluster" 2>/dev/null; then
			echo "bench: the cluster did not start:" >&2
			cat "$data/dev.log" >&2
			exit 1
		fi
		sleep 0.2
	done
	uris=
	i=0
	while [ "$i" -lt "$1" ]; do
		uris=$uris${uris:+,}amqp://127.0.0.1:$((port + i))
		i=$((i + 1))
	done
}

# stop_cluster ends the nodes and removes their data.
stop_cluster() {
	if [ -n "$cluster" ]; then
		kill -INT "$cluster" 2>/dev/null || true
		wait "$cluster" 2>/dev/null || true
		cluster=
	fi
	rm -rf "$data"
}

stop_all() {
	trap - EXIT INT TERM
	stop_cluster
}
