#!/usr/bin/env bash
# Makes sure that the machine has what the tests run with: docker and
# docker-compose, npm, and Debian's amqp-tools, python3-pika, python3-kombu,
# python3-celery, ruby-bunny and chromium, and rabbitmqadmin. What is missing is installed where that is possible (Debian or Ubuntu, as root); otherwise the
# script says what to install, and fails.
set -euo pipefail

missing=()
have() { command -v "$1" >/dev/null 2>&1; }
need() { # need PACKAGE CHECK...
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

compose() { docker compose version || docker-compose version; }
python_has() { # python_has MODULE
  local python
  for python in python3 /usr/bin/python3; do
    "$python" -c "import $1" && return
  done
  return 1
}

need docker.io have dockerd
# Debian 13 has the client in a package of its own.
have docker || missing+=(docker-cli)
need docker-compose compose
need iproute2 have ip
need iptables have iptables
need amqp-tools have amqp-publish
for module in pika kombu celery; do
  need "python3-$module" python_has "$module"
done
need ruby-bunny ruby -e "require 'bunny'"
need npm have npm
need chromium have chromium

# RabbitMQ's client of the HTTP API is one file of its server's package, which need not be installed for it.
have rabbitmqadmin || missing+=(rabbitmqadmin)

if ((${#missing[@]} == 0)); then
  exit 0
fi
echo "missing on this machine: ${missing[*]}"
if ! have apt-get || ((EUID != 0)); then
  echo "Install them (Debian: apt-get install ${missing[*]}), or run this as root on Debian." >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
packages=()
for p in "${missing[@]}"; do
  # Debian 12 has no docker-cli: the client comes with docker.io.
  if [[ $p == rabbitmqadmin ]]; then
    continue
  fi
  if [[ $p != docker-cli ]] || apt-cache show docker-cli >/dev/null 2>&1; then
    packages+=("$p")
  fi
done
((${#packages[@]} == 0)) || apt-get install -q -y --no-install-recommends "${packages[@]}"

if ! have rabbitmqadmin; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
  (cd "$dir" && apt-get download -q rabbitmq-server)
  dpkg-deb --fsys-tarfile "$dir"/rabbitmq-server_*.deb | tar -xO ./usr/bin/rabbitmqadmin >"$dir/rabbitmqadmin"
  install -m 755 "$dir/rabbitmqadmin" /usr/local/bin/rabbitmqadmin
fi
