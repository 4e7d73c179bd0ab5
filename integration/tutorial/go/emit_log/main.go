// Emit_log sends one log line to everybody who listens.
package main

import (
	"fmt"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	text := "info: Hello World!"
	if len(os.Args) > 1 {
		text = strings.Join(os.Args[1:], " ")
	}
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Exchange(ch, "logs", "fanout")
	broker.Publish(ch, "logs", "", amqp.Publishing{Body: []byte(text)})
	fmt.Println("sent", text)
}
