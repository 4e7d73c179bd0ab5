"""Hello world, the sending side: one message into the queue hello."""

import sys

from broker import connect

text = " ".join(sys.argv[1:]) or "Hello World!"

with connect() as connection:
    channel = connection.channel()
    channel.queue_declare(queue="hello")
    channel.basic_publish(exchange="", routing_key="hello", body=text.encode())
    print(f"sent {text}")
