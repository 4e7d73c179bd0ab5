"""RPC: ask for the Fibonacci number of each argument, one after the other."""

import sys
import uuid

import pika

from broker import connect


class Fibonacci:
    """Calls over one connection, with one queue for all replies."""

    def __init__(self, connection):
        self.connection = connection
        self.channel = connection.channel()
        self.replies = self.channel.queue_declare(queue="", exclusive=True).method.queue
        self.channel.basic_consume(
            queue=self.replies, on_message_callback=self.on_reply, auto_ack=True
        )
        self.waiting_for = None
        self.reply = None

    def on_reply(self, channel, method, properties, body):
        # A reply to a call that we no longer wait for is passed over.
        if properties.correlation_id == self.waiting_for:
            self.reply = body

    def call(self, n):
        self.reply = None
        self.waiting_for = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="",
            routing_key="rpc_queue",
            properties=pika.BasicProperties(
                reply_to=self.replies, correlation_id=self.waiting_for
            ),
            body=str(n).encode(),
        )
        while self.reply is None:
            self.connection.process_data_events(time_limit=None)
        return int(self.reply)


with connect() as connection:
    fibonacci = Fibonacci(connection)
    for n in sys.argv[1:] or ["30"]:
        print(f"fib({n}) = {fibonacci.call(int(n))}", flush=True)
