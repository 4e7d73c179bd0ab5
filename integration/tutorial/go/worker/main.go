// Worker does tasks from the queue tasks and acknowledges each when it is done.
// The argument is how many seconds a dot in a task takes (default 1).
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"warren/integration/tutorial/go/internal/broker"
)

func main() {
	pace := 1.0
	if len(os.Args) > 1 {
		var err error
		pace, err = strconv.ParseFloat(os.Args[1], 64)
		broker.Must("seconds a dot takes", err)
	}
	conn, ch := broker.Connect()
	defer broker.Close(conn)
	broker.Queue(ch, "tasks", false)
	deliveries := broker.Consume(ch, "tasks", false)
	fmt.Println("waiting")
	for d := range deliveries {
		fmt.Printf("received %s\n", d.Body)
		dots := float64(bytes.Count(d.Body, []byte(".")))
		time.Sleep(time.Duration(pace * dots * float64(time.Second)))
		fmt.Printf("done %s\n", d.Body)
		broker.Must("ack", d.Ack(false))
	}
}
