"""Topics: print what matches the patterns that are given as arguments.

In a pattern * stands for one word and # for any number of words.
"""

import sys

from broker import connect

patterns = sys.argv[1:]
if not patterns:
    sys.exit(f"usage: {sys.argv[0]} PATTERN...")


def on_message(channel, method, properties, body):
    print(f"received {method.routing_key}:{body.decode()}", flush=True)


with connect() as connection:
    channel = connection.channel()
    channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for pattern in patterns:
        channel.queue_bind(exchange="topic_logs", queue=queue, routing_key=pattern)
    channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()
