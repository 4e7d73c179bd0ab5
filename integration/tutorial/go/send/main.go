// Send puts one message into the queue hello.
package main

import (
	"fmt"
	"os"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	text := "Hello World!"
	if len(os.Args) > 1 {
		text = strings.Join(os.Args[1:], " ")
	}
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Queue(ch, "hello", false)
	broker.Publish(ch, "", "hello", amqp.Publishing{Body: []byte(text)})
	fmt.Println("sent", text)
}
