// Warrenctl is the operator's command line: it talks to the HTTP API of a node.
// Verbs, columns and output are those of rabbitmqctl where both have them
// (https://www.rabbitmq.com/docs/man/rabbitmqctl.8).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
