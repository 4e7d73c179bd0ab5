"""What applications do with kombu: each check prints "ok NAME". AMQP_URLS holds the
addresses of the nodes: one connection publishes on the first, another one consumes on the
second."""

import os
import socket
import sys
import threading
import traceback

from kombu import Connection, Consumer, Exchange, Producer, Queue, pidbox, pools

WAIT = 60
PREFIX = f"kombu-{os.getpid()}"
URLS = os.environ["AMQP_URLS"].split(",")


def connect(i):
    c = Connection(URLS[i % len(URLS)], transport_options={"confirm_publish": True}, connect_timeout=WAIT)
    c.ensure_connection(max_retries=1)
    return c


def want(what, got, expected):
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, want {expected!r}")


def drain(connection, until):
    """Takes in events until the condition holds."""
    while not until():
        connection.drain_events(timeout=WAIT)


def produce_consume(here, there):
    exchange = Exchange(PREFIX, type="direct", durable=True)
    queue = Queue(f"{PREFIX}-tasks", exchange, routing_key="task", durable=True)
    got = []
    producer = Producer(here.channel(), exchange, serializer="json")
    for i in range(50):
        producer.publish({"n": i}, routing_key="task", declare=[queue], retry=True, delivery_mode=2)

    def take(body, message):
        got.append((body["n"], message.content_type, message.delivery_info["redelivered"]))
        message.ack()

    with Consumer(there.channel(), [queue], callbacks=[take], prefetch_count=5):
        drain(there, lambda: len(got) == 50)
    want("messages", got, [(i, "application/json", False) for i in range(50)])


def requeue_reject(here, there):
    queue = Queue(f"{PREFIX}-again", durable=True)
    got = []

    def take(body, message):
        again = message.delivery_info["redelivered"]
        got.append((body, again))
        message.reject() if again else message.requeue()

    Producer(here.channel()).publish("x", routing_key=queue.name, declare=[queue])
    with Consumer(there.channel(), [queue], callbacks=[take], accept=["text/plain"]):
        drain(there, lambda: len(got) == 2)
    want("messages", got, [("x", False), ("x", True)])
    want("left", queue(here.channel()).get(), None)


def priorities(here, there):
    queue = Queue(f"{PREFIX}-priority", durable=True, max_priority=9)
    producer = Producer(here.channel())
    for priority in [0, 5, 9, 5, 0]:
        producer.publish({"p": priority}, routing_key=queue.name, declare=[queue], priority=priority)
    got = []

    def take(body, message):
        got.append(body["p"])
        message.ack()

    with Consumer(there.channel(), [queue], callbacks=[take], prefetch_count=1):
        drain(there, lambda: len(got) == 5)
    want("order", got, [9, 5, 5, 0, 0])


def simple_queue(here, there):
    a, b = here.SimpleQueue(f"{PREFIX}-simple"), there.SimpleQueue(f"{PREFIX}-simple")
    a.put({"hello": "world"})
    m = b.get(timeout=WAIT)
    m.ack()
    want("payload", m.payload, {"hello": "world"})
    want("left", b.qsize(), 0)
    a.close()
    b.close()


def mailbox(here, there):
    """The fanout and reply queues by which Celery's workers are controlled."""
    box = pidbox.Mailbox(f"{PREFIX}-box", type="fanout")
    calls = []
    nodes, consumers = [], []
    for name in ("one", "two"):
        node = box(there).Node(name, state=None, channel=there.channel())
        node.handlers["add"] = lambda state, x, y, name=name: calls.append(name) or x + y
        consumers.append(node.listen())
        nodes.append(node)
    ended = threading.Event()

    def serve():
        while not ended.is_set():
            try:
                there.drain_events(timeout=0.1)
            except socket.timeout:
                pass

    server = threading.Thread(target=serve)
    server.start()
    try:
        replies = box(here)._broadcast("add", {"x": 40, "y": 2}, reply=True, timeout=WAIT, limit=2)
        want("replies", sorted(map(repr, replies)), [repr({"one": 42}), repr({"two": 42})])
        want("of one", box(here).call(["two"], "add", {"x": 1, "y": 1}, timeout=WAIT), [{"two": 2}])
    finally:
        ended.set()
        server.join()
    for consumer in consumers:
        consumer.cancel()


def pools_and_retries(here, there):
    queue = Queue(f"{PREFIX}-pool", durable=True)
    with pools.producers[here].acquire(block=True) as producer:
        producer.publish([1, 2], routing_key=queue.name, declare=[queue], retry=True, retry_policy={"max_retries": 3})
    with pools.connections[there].acquire(block=True) as connection:
        m = queue(connection.channel()).get()
        want("payload", m.payload, [1, 2])
        m.ack()
    pools.reset()


def main():
    for check in (produce_consume, requeue_reject, priorities, simple_queue, mailbox, pools_and_retries):
        here, there = connect(0), connect(1)
        try:
            check(here, there)
        except Exception:
            print("FAILED", check.__name__)
            traceback.print_exc()
            sys.exit(1)
        print("ok", check.__name__)
        there.release()
        here.release()
    print("ok all")


main()
