# counter.py
"""Two threads count visits, seven in all, and in the end there are four."""

import threading

from memwatch_core import watch

visits = watch(0, name="visits")
read, written = threading.Event(), threading.Event()


def visit(meanwhile=lambda: None):
    seen = int(visits)
    meanwhile()  # whatever takes long enough for the other thread to have its turn
    visits.value = seen + 1


def crawl():
    for _ in range(3):
        visit()
    visit(lambda: (read.set(), written.wait()))


def serve():
    read.wait()
    for _ in range(3):
        visit()
    written.set()


threads = [threading.Thread(target=work, name=work.__name__) for work in (crawl, serve)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"{visits} visits of 7")
