// Receive_logs prints every log line, through a queue of its own.
package main

import (
	"fmt"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Exchange(ch, "logs", "fanout")
	deliveries := broker.Consume(ch, broker.OwnQueue(ch, "logs", ""), true)
	fmt.Println("waiting")
	for d := range deliveries {
		fmt.Printf("received %s\n", d.Body)
	}
}
