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
login=${RABBITMQ_DEFAULT_USER:-guest}:${RABBITMQ_DEFAULT_PASS:-guest}

compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose -p warren "$@"
  else
    docker-compose -p warren "$@"
  fi
}

ask() { ../bin/warren healthcheck --timeout 2s --url "http://$1" 2>&1; }

# leader prints the name of the node that leads, as the first node that answers sees it.
leader() {
  local i answer
  for i in 0 1 2; do
    if answer=$(ask "$login@127.0.0.1:$((HTTP_PORT + i))/api/cluster"); then
      sed -n 's/.*"leader": *"\([^"]\{1,\}\)".*/\1/p' <<<"$answer"
      return
    fi
  done
  echo "no node answers" >&2
  return 1
}

# healthy waits until all nodes say that they are well.
healthy() {
  local i said
  for i in 0 1 2; do
    for _ in $(seq 120); do
      if said=$(ask "127.0.0.1:$((HTTP_PORT + i))/health"); then
        echo "node$i is up: amqp://127.0.0.1:$((AMQP_PORT + i)) http://127.0.0.1:$((HTTP_PORT + i))"
        continue 2
      fi
      sleep 0.5
    done
    echo "node$i is not well after a minute: $said" >&2
    compose logs --tail 20 "node$i" >&2
    return 1
  done
}

case ${1:-} in
up)
  compose up -d --build
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
