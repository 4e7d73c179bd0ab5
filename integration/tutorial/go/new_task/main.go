// New_task puts each argument as a task into the queue tasks. A dot in a task
// stands for one unit of work.
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
	broker.Queue(ch, "tasks", false)
	for _, task := range os.Args[1:] {
		broker.Publish(ch, "", "tasks", amqp.Publishing{Body: []byte(task)})
		fmt.Println("sent", task)
	}
}
