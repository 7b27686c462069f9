"""Counts the writes to each variable, and prints the counts at the end: ``memwatch run --sink tally program.py``."""

from collections import Counter

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Event, Sink


class Tally:
    def __init__(self, settings):
        self.writes = Counter()

    def write(self, records):
        self.writes.update(record.variable for record in records if isinstance(record, Event))

    def flush(self):
        pass

    def close(self):
        for variable, count in self.writes.most_common():
            print(f"{count:8} {variable}")


@hookimpl
def memwatch_sinks():
    yield Sink(name="tally", summary="how often each variable was written", open=Tally)
