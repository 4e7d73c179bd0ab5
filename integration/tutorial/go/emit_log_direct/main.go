// Emit_log_direct sends a log line with its severity (the first argument) as
// routing key.
package main

import (
	"fmt"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	severity, text := "info", "Hello World!"
	if len(os.Args) > 1 {
		severity = os.Args[1]
	}
	if len(os.Args) > 2 {
		text = strings.Join(os.Args[2:], " ")
	}
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Exchange(ch, "direct_logs", "direct")
	broker.Publish(ch, "direct_logs", severity, amqp.Publishing{Body: []byte(text)})
	fmt.Printf("sent %s:%s\n", severity, text)
}
