// Receive_logs_topic prints what matches the patterns that are given as
// arguments. In a pattern * stands for one word and # for any number of words.
package main

import (
	"fmt"
	"log"
	"os"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatalf("usage: %s PATTERN...", os.Args[0])
	}
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Exchange(ch, "topic_logs", "topic")
	deliveries := broker.Consume(ch, broker.OwnQueue(ch, "topic_logs", os.Args[1:]...), true)
	fmt.Println("waiting")
	for d := range deliveries {
		fmt.Printf("received %s:%s\n", d.RoutingKey, d.Body)
	}
}
