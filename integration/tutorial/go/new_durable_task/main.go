// New_durable_task puts each argument as a persistent task into the durable
// queue task_queue and waits until the broker has confirmed all of them.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Queue(ch, "task_queue", true)
	broker.Must("confirm mode", ch.Confirm(false))

	var open []*amqp.DeferredConfirmation
	for _, task := range os.Args[1:] {
		conf, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", "task_queue", false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "text/plain", Body: []byte(task)})
		broker.Must("publish", err)
		open = append(open, conf)
	}
	for i, conf := range open {
		if !conf.Wait() {
			log.Fatalf("the broker refused %s", os.Args[i+1])
		}
		fmt.Println("sent", os.Args[i+1])
	}
}
