#!/usr/bin/env bash
# The cluster of three containers of docker-compose.yml: cluster.sh up | down |
# wipe | leader | kill-leader. The binaries must be built ("make build").
set -euo pipefail
cd "$(dirname "$0")"

# Other ports, for a machine where these are taken; node i gets port + i.
AMQP_PORT=${AMQP_PORT:-5672}
HTTP_PORT=${HTTP_PORT:-15672}
for i in 0 1 2; do
  export "AMQP_PORT_$i=$((AMQP_PORT + i))" "HTTP_PORT_$i=$((HTTP_PORT + i))"
done
export WARREN_DOCKERFILE=deploy/Dockerfile.prebuilt
export WARRENCTL_USER=${RABBITMQ_DEFAULT_USER:-guest} WARRENCTL_PASSWORD=${RABBITMQ_DEFAULT_PASS:-guest}

compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose -p warren "$@"
  else
    docker-compose -p warren "$@"
  fi
}

# leader prints the name of the node that leads, as the first node that answers sees it.
leader() {
  local i status
  for i in 0 1 2; do
    if status=$(../bin/warrenctl -t 2 -n "127.0.0.1:$((HTTP_PORT + i))" cluster_status --formatter json 2>/dev/null); then
      sed -n 's/.*"leader": *"\([^"]\{1,\}\)".*/\1/p' <<<"$status"
      return
    fi
  done
  echo "no node answers" >&2
  return 1
}

# healthy waits until all nodes serve clients.
healthy() {
  local i
  if ! ../bin/warrenctl -t 60 -n "127.0.0.1:$HTTP_PORT_0,127.0.0.1:$HTTP_PORT_1,127.0.0.1:$HTTP_PORT_2" await_startup; then
    compose logs --tail 20 >&2
    return 1
  fi
  for i in 0 1 2; do
    echo "node$i: amqp://127.0.0.1:$((AMQP_PORT + i)) http://127.0.0.1:$((HTTP_PORT + i))"
  done
}

case ${1:-} in
up)
  compose build node0 # the image is one for all
  compose up -d
  healthy
  echo "leader: $(leader)"
  ;;
down) compose down ;;
wipe) compose down -v ;; # the volumes too
leader) leader ;;
kill-leader)
  old=$(leader)
  [[ -n $old ]] || { echo "there is no leader" >&2; exit 1; }
  echo "killing $old"
  docker kill "$(compose ps -q "$old")" >/dev/null
  for _ in $(seq 120); do
    new=$(leader) || new=
    if [[ -n $new && $new != "$old" ]]; then
      echo "leader: $new; start $old again with: make up"
      exit 0
    fi
    sleep 0.25
  done
  echo "no new leader after 30 s" >&2
  exit 1
  ;;
*)
  echo "usage: cluster.sh up | down | wipe | leader | kill-leader" >&2
  exit 2
  ;;
esac
