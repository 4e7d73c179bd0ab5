"""Routing: a log line with its severity (first argument) as routing key."""

import sys

from broker import connect

severity = sys.argv[1] if len(sys.argv) > 1 else "info"
text = " ".join(sys.argv[2:]) or "Hello World!"

with connect() as connection:
    channel = connection.channel()
    channel.exchange_declare(exchange="direct_logs", exchange_type="direct")
    channel.basic_publish(exchange="direct_logs", routing_key=severity, body=text.encode())
    print(f"sent {severity}:{text}")
