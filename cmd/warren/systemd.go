package main

import (
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// What the node tells systemd, for a unit with Type=notify; nothing where no such unit started it. See sd_notify(3).
const (
	sdOpened  = daemon.SdNotifyReady + "\nSTATUS=waits until it can serve clients"
	sdServing = "STATUS=serves clients"
)

func tellSystemd(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd was not told", "state", state, "err", err)
	}
}

// watchdog tells systemd, twice in the time that its WatchdogSec= allows, that the node is alive, as long as alive returns. It ends with done.
func watchdog(done <-chan struct{}, log *slog.Logger, alive func()) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		alive()
		tellSystemd(log, daemon.SdNotifyWatchdog)
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}
