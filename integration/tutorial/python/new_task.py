"""Work queue: put each argument as a task into the queue tasks.

A dot in a task stands for one unit of work.
"""

import sys

from broker import connect

with connect() as connection:
    channel = connection.channel()
    channel.queue_declare(queue="tasks")
    for task in sys.argv[1:] or ["Hello World!"]:
        channel.basic_publish(exchange="", routing_key="tasks", body=task.encode())
        print(f"sent {task}")
