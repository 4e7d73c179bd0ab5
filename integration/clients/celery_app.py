"""Celery tasks. What a task does is a line in the file EFFECTS, "KIND NUMBER"; it is
acknowledged when that is written."""

import os

from celery import Celery

app = Celery("warren", broker=os.environ["AMQP_URLS"].replace(",", ";"), backend="rpc://")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue=os.environ["TASK_QUEUE"],
    worker_prefetch_multiplier=4,
    worker_concurrency=2,
    broker_connection_timeout=5,
    broker_connection_max_retries=None,
    broker_transport_options={"confirm_publish": True},
    task_publish_retry_policy={"max_retries": 100, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.5},
)


def effect(kind, n):
    f = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(f, f"{kind} {n}\n".encode())
    finally:
        os.close(f)


@app.task
def plain(n):
    effect("plain", n)
    return 2 * n


@app.task(bind=True, max_retries=5)
def flaky(self, n):
    """Fails the first time."""
    if self.request.retries == 0:
        raise self.retry(countdown=0.5)
    effect("flaky", n)
    return 2 * n


@app.task
def later(n):
    """Called with a countdown."""
    effect("later", n)
    return 2 * n


@app.task
def distant(n):
    """Called with a countdown longer than the test takes."""
    effect("distant", n)
