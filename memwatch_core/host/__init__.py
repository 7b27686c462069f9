"""The reading side: from journals to the records that sinks and commands get.

``decoder`` turns the raw records of one journal into the frozen ones; its handlers are in ``variables``, ``names``,
``statements`` and ``losses``. A ``batch`` collects their results, a ``sieve`` filters them, and ``kept`` limits the
memory that values take. ``outcomes`` finds the final outcome of statements in advance. ``merge`` orders all journals of
a session into one stream; ``follow`` hands it to the sinks of a ``pipeline`` as it grows, ``history`` reads it
afterwards. ``summary`` sums up a run, ``health`` checks what this machine can do.
"""
