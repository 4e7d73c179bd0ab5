"""RPC: answer requests for Fibonacci numbers where their senders ask for it."""

import pika

from broker import connect


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def on_request(channel, method, properties, body):
    n = int(body)
    print(f"fib({n})", flush=True)
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=str(fib(n)).encode(),
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)


with connect() as connection:
    channel = connection.channel()
    channel.queue_declare(queue="rpc_queue")
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue="rpc_queue", on_message_callback=on_request)
    print("waiting", flush=True)
    channel.start_consuming()
