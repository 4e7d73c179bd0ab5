// Receive prints what comes through the queue hello.
package main

import (
	"fmt"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Queue(ch, "hello", false)
	deliveries := broker.Consume(ch, "hello", true)
	fmt.Println("waiting")
	for d := range deliveries {
		fmt.Printf("received %s\n", d.Body)
	}
}
