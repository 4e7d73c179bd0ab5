#!/usr/bin/env bash
# Makes sure that a docker engine answers. Where none does, and there is no init
# system that would start one (a container, a small virtual machine), it starts
# dockerd by hand, as root, and says how that went. The engine stays.
set -euo pipefail

log=${DOCKERD_LOG:-/tmp/warren-dockerd.log}

answers() { docker info >/dev/null 2>&1; }

if answers; then
  exit 0
fi
if ((EUID != 0)); then
  echo "No docker engine answers. Start it (systemctl start docker), or allow this user to use it." >&2
  exit 1
fi

# An engine cannot do without control groups; some sandboxes come without.
if ! grep -q ' /sys/fs/cgroup' /proc/mounts; then
  echo "mounting control groups"
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

: >"$log"

# runs PIDFILE tells whether the process of an engine's pid file is alive. One
# that nobody has waited for (a zombie, under an init that does not reap) is not.
runs() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && grep -qE '^Name:.*(dockerd|containerd)' "/proc/$pid/status" 2>/dev/null &&
    ! grep -q '^State:.*Z' "/proc/$pid/status"
}

# try_engine FLAGS... starts dockerd and waits until it answers or ends.
try_engine() {
  echo "starting dockerd $* (log: $log)"
  # What an engine that was killed left behind keeps a new one from starting.
  local left
  for left in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
    runs "$left" || rm -f "$left"
  done
  setsid dockerd "$@" >>"$log" 2>&1 </dev/null &
  local pid=$!
  for _ in $(seq 120); do
    if answers; then
      echo "docker engine $(docker version --format '{{.Server.Version}}') answers, process $pid"
      return 0
    fi
    if ! kill -0 "$pid" 2>/dev/null; then
      wait "$pid" || echo "dockerd ended with exit code $?"
      return 1
    fi
    sleep 0.5
  done
  echo "dockerd does not answer after 60 s"
  kill "$pid" && wait "$pid" || true
  return 1
}

# The overlay driver does not work on top of another overlay; vfs works anywhere.
try_engine || try_engine --storage-driver=vfs || {
  echo "no docker engine could be started; the end of $log:" >&2
  tail -n 30 "$log" >&2
  exit 1
}
