// Rpc_server answers requests for Fibonacci numbers where their senders ask for it.
package main

import (
	"fmt"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/tutorial/go/internal/broker"
)

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func main() {
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Queue(ch, "rpc_queue", false)
	broker.Must("prefetch", ch.Qos(1, 0, false))
	requests := broker.Consume(ch, "rpc_queue", false)
	fmt.Println("waiting")
	for d := range requests {
		n, err := strconv.Atoi(string(d.Body))
		broker.Must("request", err)
		fmt.Printf("fib(%d)\n", n)
		broker.Publish(ch, "", d.ReplyTo, amqp.Publishing{
			CorrelationId: d.CorrelationId,
			Body:          []byte(strconv.Itoa(fib(n))),
		})
		broker.Must("ack", d.Ack(false))
	}
}
