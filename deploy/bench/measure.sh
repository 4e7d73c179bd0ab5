#!/bin/sh
# Measures everything that docs/performance.md tells, part by part, each with its
# output in DIR. Run it with nothing else on the machine.
#
#   measure.sh DIR             all parts that DIR does not have yet, in this order
#   measure.sh DIR PART...     these parts, again if they are there
#
#   growth    growth/: points, tables and plots          some 10 minutes
#   paired    paired.md, paired.json: beside a peer      some 15 minutes with PEER_URIS (see bench.sh)
#   mixed     mixed.md: old messages beside traffic      10 minutes
#   queues    queues.md: 10,000 queues, and channels     some 2 minutes
#   calm      calm.md: full load without an election     10 minutes
#   backlog   backlog.md: 5,000,000 messages             some 10 minutes
#
# What a part says on its way is in PART.log. The exit code is 1 when a part failed; the
# others are run all the same. Needs "make build".
#
#   MIXED_TIME, CALM_TIME, BACKLOG_MESSAGES, RUNS   smaller or larger: 10m, 10m, 5000000, 5
set -eu
if [ $# = 0 ]; then
	echo "usage: measure.sh DIR [growth|paired|mixed|queues|calm|backlog]..." >&2
	exit 64
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/../.."
WARREN_BIN=$(cd "${BENCH_BIN:-bin}" && pwd)
export WARREN_BIN

# tests PART PATTERN runs Go tests that write a report.
tests() {
	rm -f "$dir/$1.md"
	WARREN_REPORT=$dir/$1.md go test -v -buildvcs=false -count=1 -timeout 2h -parallel 1 -run "$2" ./integration
}

growth() { GROWTH_OUT=$dir/growth deploy/bench/growth.sh; }
paired() { deploy/bench/bench.sh --runs "${RUNS:-5}" --json-file "$dir/paired.json" >"$dir/paired.md"; }
mixed() { WARREN_MIXED=${MIXED_TIME:-10m} tests mixed '^TestMixedLife$'; }
queues() { WARREN_MANY_QUEUES=10000 WARREN_MANY_CONNECTIONS=500 tests queues '^(TestManyQueues|TestManyChannels)$'; }
calm() { WARREN_CALM=${CALM_TIME:-10m} tests calm '^TestCalmLoad$'; }
backlog() { deploy/bench/backlog.sh "${BACKLOG_MESSAGES:-5000000}" >"$dir/backlog.md"; }

parts=$*
failed=0
for part in ${parts:-growth paired mixed queues calm backlog}; do
	case $part in
	growth | paired | mixed | queues | calm | backlog) ;;
	*)
		echo "measure: there is no part $part" >&2
		exit 64
		;;
	esac
	if [ -z "$parts" ] && [ -e "$dir/$part.done" ]; then
		echo "measure: $part is there"
		continue
	fi
	rm -f "$dir/$part.done"
	begin=$(date +%s)
	if "$part" >"$dir/$part.log" 2>&1; then
		touch "$dir/$part.done"
		echo "measure: $part: done in $(($(date +%s) - begin)) s"
	else
		echo "measure: $part: FAILED after $(($(date +%s) - begin)) s, see $dir/$part.log"
		failed=1
	fi
done
exit "$failed"
