"""Sends TASKS tasks of three kinds to a Celery worker and collects their results; first
some whose time comes long after: they must not keep the worker from the others."""

import os

from celery_app import app, distant, flaky, later, plain

total = int(os.environ["TASKS"])
# More than the worker's prefetch count: it has to raise that for tasks that wait.
held = [distant.apply_async((n,), countdown=3600) for n in range(20)]
results = []
for n in range(total):
    if n % 5 == 3:
        results.append(flaky.apply_async((n,)))
    elif n % 5 == 4:
        results.append(later.apply_async((n,), countdown=1))
    else:
        results.append(plain.apply_async((n,)))
    if n + 1 == total // 4:
        print("a quarter sent", flush=True)
print("all sent", flush=True)
for n, result in enumerate(results):
    got = result.get(timeout=120)
    assert got == 2 * n, (n, got)
    if n + 1 == total // 4:
        print("a quarter done", flush=True)
print("all results", flush=True)
for result in held:
    assert not result.ready()
app.control.purge()
app.control.shutdown()
