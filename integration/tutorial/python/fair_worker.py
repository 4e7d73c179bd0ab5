"""Durable work queue: take one task at a time, so that a slow worker holds up none.

The argument is how many seconds a dot in a task takes (default 1).
"""

import sys

from broker import connect

pace = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0

with connect() as connection:

    def on_task(channel, method, properties, body):
        task = body.decode()
        print(f"received {task} mode {properties.delivery_mode}", flush=True)
        connection.sleep(pace * task.count("."))
        print(f"done {task}", flush=True)
        channel.basic_ack(delivery_tag=method.delivery_tag)

    channel = connection.channel()
    channel.queue_declare(queue="task_queue", durable=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue="task_queue", on_message_callback=on_task)
    print("waiting", flush=True)
    channel.start_consuming()
