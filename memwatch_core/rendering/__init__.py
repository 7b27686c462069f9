"""Renders records for people and other programs: as lines of text, and as lines of JSON.

``text`` makes the lines; ``changes`` puts a store into words, ``written`` collects the writes under a statement,
``layout`` fits text into a terminal, ``palette`` colours it. ``jsonlines`` is the schema of docs/events.md. Used by
sinks (through :mod:`memwatch_plugins`), the host and the command line. Nothing here reads journals or prints.
"""
