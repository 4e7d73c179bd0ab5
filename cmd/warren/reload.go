package main

import (
	"log/slog"

	"warren/cmd/warren/internal/settings"
	"warren/node"
)

// setLevel sets the level of the log by its name.
func setLevel(level *slog.LevelVar, name string) error {
	l, err := settings.LogLevel(name)
	if err == nil {
		level.Set(l)
	}
	return err
}

// rereader returns what a node reads its settings again with. It changes the level of the log itself.
func rereader(reader *settings.Reader, level *slog.LevelVar) func() (node.Tuning, node.Reloaded, error) {
	return func() (node.Tuning, node.Reloaded, error) {
		v, change, err := reader.Read()
		if err != nil {
			return node.Tuning{}, node.Reloaded{}, err
		}
		level.Set(v.LogLevel)
		return node.Tuning{
			MemoryWatermark: node.Watermark(v.MemoryHighWatermark), DiskFreeLimit: diskFreeLimit(v.DiskFreeLimit),
			FrameMax: v.FrameMax, ChannelMax: v.ChannelMax, ConsumerMax: v.ConsumerMaxPerChannel,
			ConnectionMax: v.ConnectionMax, ChannelMaxPerNode: v.ChannelMaxPerNode,
			Heartbeat: v.Heartbeat, HandshakeTimeout: v.HandshakeTimeout,
			Settings: reader.Shown(),
		}, node.Reloaded{Applied: change.Applied, NeedRestart: change.NeedRestart}, nil
	}
}
