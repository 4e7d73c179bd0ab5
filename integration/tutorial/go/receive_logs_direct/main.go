// Receive_logs_direct prints the log lines of the severities that are named as
// arguments.
package main

import (
	"fmt"
	"log"
	"os"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatalf("usage: %s [info] [warning] [error]", os.Args[0])
	}
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Exchange(ch, "direct_logs", "direct")
	deliveries := broker.Consume(ch, broker.OwnQueue(ch, "direct_logs", os.Args[1:]...), true)
	fmt.Println("waiting")
	for d := range deliveries {
		fmt.Printf("received %s:%s\n", d.RoutingKey, d.Body)
	}
}
