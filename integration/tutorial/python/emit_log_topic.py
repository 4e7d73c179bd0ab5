"""Topics: publish each argument, a routing key, with the text "about KEY"."""

import sys

from broker import connect

with connect() as connection:
    channel = connection.channel()
    channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
    for key in sys.argv[1:] or ["anonymous.info"]:
        channel.basic_publish(
            exchange="topic_logs", routing_key=key, body=f"about {key}".encode()
        )
        print(f"sent {key}")
