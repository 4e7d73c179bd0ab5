"""Publish/subscribe: one log line to everybody who listens."""

import sys

from broker import connect

text = " ".join(sys.argv[1:]) or "info: Hello World!"

with connect() as connection:
    channel = connection.channel()
    channel.exchange_declare(exchange="logs", exchange_type="fanout")
    channel.basic_publish(exchange="logs", routing_key="", body=text.encode())
    print(f"sent {text}")
