"""Transactions: take an order, and put an invoice and a parcel into other queues, all or nothing."""

from broker import connect

QUEUES = ("orders", "invoices", "parcels")


def transfer(channel):
    """Take one order within the transaction."""
    method, _, body = channel.basic_get(queue="orders")
    channel.basic_publish(exchange="", routing_key="invoices", body=b"invoice for " + body)
    channel.basic_publish(exchange="", routing_key="parcels", body=b"parcel for " + body)
    channel.basic_ack(delivery_tag=method.delivery_tag)


def counts(channel):
    """How many messages each queue has ready."""
    depths = (channel.queue_declare(queue=q, passive=True).method.message_count for q in QUEUES)
    return ", ".join(f"{q} {n}" for q, n in zip(QUEUES, depths))


with connect() as connection:
    plain = connection.channel()
    for queue in QUEUES:
        plain.queue_declare(queue=queue, durable=True)
        plain.queue_purge(queue=queue)
    plain.confirm_delivery()
    plain.basic_publish(exchange="", routing_key="orders", body=b"order 1")

    channel = connection.channel()
    channel.tx_select()
    transfer(channel)
    channel.tx_commit()
    print("moved:", counts(plain))

    plain.basic_publish(exchange="", routing_key="orders", body=b"order 2")
    transfer(channel)
    channel.tx_rollback()
    channel.close()  # the order was delivered to it, and goes back to the queue
    print("rolled back:", counts(plain))
