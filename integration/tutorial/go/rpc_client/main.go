// Rpc_client asks for the Fibonacci number of each argument, one after the other.
package main

import (
	"fmt"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	queue := broker.OwnQueue(ch, "")
	replies := broker.Consume(ch, queue, true)
	for call, n := range os.Args[1:] {
		id := fmt.Sprintf("call-%d-%d", os.Getpid(), call)
		broker.Publish(ch, "", "rpc_queue", amqp.Publishing{ReplyTo: queue, CorrelationId: id, Body: []byte(n)})
		fmt.Printf("fib(%s) = %s\n", n, awaitReply(replies, id))
	}
}

// awaitReply passes over replies to calls that nobody waits for any longer.
func awaitReply(replies <-chan amqp.Delivery, id string) []byte {
	for d := range replies {
		if d.CorrelationId == id {
			return d.Body
		}
	}
	log.Fatal("the connection ended before the reply came")
	return nil
}
