"""Routing: print the log lines of the severities that are named as arguments."""

import sys

from broker import connect

severities = sys.argv[1:]
if not severities:
    sys.exit(f"usage: {sys.argv[0]} [info] [warning] [error]")


def on_message(channel, method, properties, body):
    print(f"received {method.routing_key}:{body.decode()}", flush=True)


with connect() as connection:
    channel = connection.channel()
    channel.exchange_declare(exchange="direct_logs", exchange_type="direct")
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for severity in severities:
        channel.queue_bind(exchange="direct_logs", queue=queue, routing_key=severity)
    channel.basic_consume(queue=queue, on_message_callback=on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()
