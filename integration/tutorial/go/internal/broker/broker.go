// Package broker is what the tutorial programs share: how to reach the broker,
// and what to do when something fails. It is not a client library.
package broker

import (
	"context"
	"log"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Connect opens a connection to the broker that AMQP_URL names (by default a
// node on this machine) and a channel on it. It ends the program when it cannot.
func Connect() (*amqp.Connection, *amqp.Channel) {
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@localhost:5672/"
	}
	conn, err := amqp.Dial(url)
	Must("connect", err)
	ch, err := conn.Channel()
	Must("open channel", err)
	return conn, ch
}

// Close closes the connection, and with it whatever was sent arrives first.
func Close(conn *amqp.Connection) { Must("close", conn.Close()) }

// Must ends the program when err is not nil.
func Must(what string, err error) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

// Publish sends a message.
func Publish(ch *amqp.Channel, exchange, key string, m amqp.Publishing) {
	m.ContentType = "text/plain"
	Must("publish", ch.PublishWithContext(context.Background(), exchange, key, false, false, m))
}

// Queue declares a queue by name.
func Queue(ch *amqp.Channel, name string, durable bool) {
	_, err := ch.QueueDeclare(name, durable, false, false, false, nil)
	Must("declare queue", err)
}

// OwnQueue declares a queue that the broker names and that goes with the
// connection, and binds it by each key.
func OwnQueue(ch *amqp.Channel, exchange string, keys ...string) string {
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	Must("declare queue", err)
	for _, key := range keys {
		Must("bind queue", ch.QueueBind(q.Name, key, exchange, false, nil))
	}
	return q.Name
}

// Exchange declares an exchange.
func Exchange(ch *amqp.Channel, name, kind string) {
	Must("declare exchange", ch.ExchangeDeclare(name, kind, false, false, false, false, nil))
}

// Consume subscribes to a queue.
func Consume(ch *amqp.Channel, queue string, autoAck bool) <-chan amqp.Delivery {
	deliveries, err := ch.Consume(queue, "", autoAck, false, false, false, nil)
	Must("consume", err)
	return deliveries
}
