// Warrenperf makes load on any AMQP 0-9-1 broker and measures rates and
// latencies. Options are named as those of RabbitMQ's PerfTest where it has them
// (https://perftest.rabbitmq.com).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	go func() { <-ctx.Done(); stop() }()
	code := Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
