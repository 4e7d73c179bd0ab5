"""Publish/subscribe: print every log line, through a queue of our own."""

from broker import connect


def on_message(channel, method, properties, body):
    print(f"received {body.decode()}", flush=True)


with connect() as connection:
    channel = connection.channel()
    channel.exchange_declare(exchange="logs", exchange_type="fanout")
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.queue_bind(exchange="logs", queue=queue)
    channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()
