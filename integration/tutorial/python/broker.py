"""Where the broker is: AMQP_URL, or a node on this machine."""

import os

import pika


def connect():
    """Open a connection to the broker that AMQP_URL names."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
    return pika.BlockingConnection(pika.URLParameters(url))
