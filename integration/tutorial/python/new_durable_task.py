"""Durable work queue: persistent tasks, confirmed by the broker, into task_queue."""

import sys

import pika

from broker import connect

persistent = pika.BasicProperties(delivery_mode=2)

with connect() as connection:
    channel = connection.channel()
    channel.confirm_delivery()  # basic_publish returns when the broker has the task
    channel.queue_declare(queue="task_queue", durable=True)
    for task in sys.argv[1:] or ["Hello World!"]:
        channel.basic_publish(
            exchange="", routing_key="task_queue", body=task.encode(), properties=persistent
        )
        print(f"sent {task}")
