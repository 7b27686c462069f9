"""The reading side: from journals to what sinks and commands get.

``decoder`` turns one journal's raw records into records: a handler for each kind, in ``variables``, ``names``,
``statements`` and ``losses``; a ``batch`` takes what they make, a ``sieve`` leaves out what isn't asked for, and what
may be ``kept`` of values is counted. ``outcomes`` reads ahead what became of statements. ``merge`` makes one stream of
all journals of a session; ``follow`` hands it to the sinks of a ``pipeline`` while it grows, ``history`` reads it
afterwards. ``summary`` is what a run came to, ``health`` what this machine can do.
"""
