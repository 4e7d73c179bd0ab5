#!/usr/bin/env bash
# Restarts the nodes of a cluster one after the other, for an upgrade or a change of settings, while clients go on:
#
#   RESTART='ssh "$NODE" sudo systemctl restart warren' rolling-restart.sh http://a:15672 http://b:15672 http://c:15672
#
# RESTART is run by the shell for each node, with its name in NODE and its URL in NODE_URL; it installs what is new, if
# there is something, and restarts the node. Before, the cluster must be able to do without the node, and the node is drained:
# it hands leadership over and sends its clients to the others. Afterwards the node must serve again. The leader
# comes last, so leadership moves once. The first thing that fails ends the script, with the nodes behind untouched.
#
# WARRENCTL names the program (warrenctl); WARRENCTL_USER and WARRENCTL_PASSWORD who logs in, an administrator;
# TIMEOUT (300) is how many seconds each wait may take.
set -euo pipefail

ctl=${WARRENCTL:-warrenctl}
timeout=${TIMEOUT:-300}
if [[ -z ${RESTART:-} || $# -eq 0 ]]; then
  sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2
  exit 2
fi

# field URL NAME prints a field of what the node says of the cluster: node or leader.
field() {
  "$ctl" -n "$1" cluster_status --formatter json | sed -n 's/.*"'"$2"'": *"\([^"]*\)".*/\1/p' | head -n 1
}

leader=$(field "$1" leader)
order=() last=()
for url in "$@"; do
  if [[ $(field "$url" answered_by) == "$leader" ]]; then last+=("$url"); else order+=("$url"); fi
done

for url in "${order[@]}" "${last[@]}"; do
  node=$(field "$url" answered_by)
  trap 'echo "$node: failed. It may be drained: \"$ctl -n $url revive\" puts it back into service." >&2' EXIT
  echo "$node: waiting until the cluster can do without it"
  "$ctl" -q -n "$url" -t "$timeout" await_online_quorum_plus_one
  echo "$node: draining"
  "$ctl" -q -n "$url" -t "$timeout" drain
  echo "$node: restarting"
  NODE=$node NODE_URL=$url bash -c "$RESTART"
  "$ctl" -q -n "$url" -t "$timeout" await_startup
  echo "$node: serves clients again"
  trap - EXIT
done
echo "all ${#} nodes were restarted"
