"""Work queue: do tasks from the queue tasks and acknowledge each when it is done.

The argument is how many seconds a dot in a task takes (default 1).
"""

import sys

from broker import connect

pace = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0

with connect() as connection:

    def on_task(channel, method, properties, body):
        task = body.decode()
        print(f"received {task}", flush=True)
        # Not time.sleep: the connection keeps its heartbeats while we work.
        connection.sleep(pace * task.count("."))
        print(f"done {task}", flush=True)
        channel.basic_ack(delivery_tag=method.delivery_tag)

    channel = connection.channel()
    channel.queue_declare(queue="tasks")
    channel.basic_consume(queue="tasks", on_message_callback=on_task)
    print("waiting", flush=True)
    channel.start_consuming()
