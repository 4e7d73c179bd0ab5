"""Hello world, the receiving side: print what comes through the queue hello."""

from broker import connect


def on_message(channel, method, properties, body):
    print(f"received {body.decode()}", flush=True)


with connect() as connection:
    channel = connection.channel()
    channel.queue_declare(queue="hello")
    channel.basic_consume(queue="hello", on_message_callback=on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()
