#!/bin/sh
# Lets a backlog stand on three local nodes (TestLargeBacklog): fills a queue with
# messages of 1 KiB, kills a node and starts it again, wipes another one, which gets all
# from the others while they have other traffic, drains the queue, and looks at
# memory and disk meanwhile. Prints a report in Markdown. Fails when a message was
# lost, doubled or out of order, when a node had more than 1 GiB resident, or when the
# disk is not free again.
#
#   backlog.sh [MESSAGES]   default: 5000000, which takes some 16 GB of the disk of TMPDIR
#   BENCH_BIN               where the programs are; default: bin
set -eu
cd "$(dirname "$0")/../.."
messages=${1:-5000000}
bin=$(cd "${BENCH_BIN:-bin}" && pwd)
report=$(mktemp)
log=$(mktemp)
trap 'rm -f "$report" "$log"' EXIT
code=0
WARREN_BIN=$bin WARREN_BACKLOG=$messages WARREN_REPORT=$report \
	go test -v -buildvcs=false -count=1 -timeout 2h -run '^TestLargeBacklog$' ./integration >"$log" 2>&1 || code=$?
cat "$report"
[ "$code" = 0 ] || cat "$log" >&2
exit "$code"
