// Emit_log_topic publishes each argument, a routing key, with the text "about KEY".
package main

import (
	"fmt"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Exchange(ch, "topic_logs", "topic")
	for _, key := range os.Args[1:] {
		broker.Publish(ch, "topic_logs", key, amqp.Publishing{Body: []byte("about " + key)})
		fmt.Println("sent", key)
	}
}
