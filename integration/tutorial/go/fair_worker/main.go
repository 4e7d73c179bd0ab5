// Fair_worker does tasks from the durable queue task_queue, one at a time, so
// that a slow worker holds up none. The argument is how many seconds a dot in a
// task takes (default 1).
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
	broker.Queue(ch, "task_queue", true)
	broker.Must("prefetch", ch.Qos(1, 0, false))
	deliveries := broker.Consume(ch, "task_queue", false)
	fmt.Println("waiting")
	for d := range deliveries {
		fmt.Printf("received %s mode %d\n", d.Body, d.DeliveryMode)
		dots := float64(bytes.Count(d.Body, []byte(".")))
		time.Sleep(time.Duration(pace * dots * float64(time.Second)))
		fmt.Printf("done %s\n", d.Body)
		broker.Must("ack", d.Ack(false))
	}
}
