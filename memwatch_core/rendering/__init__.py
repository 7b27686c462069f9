"""Records as people and other programs read them: lines of text, lines of JSON.

``text`` makes lines, out of what ``changes`` says of a store and ``written`` of a statement; ``layout`` fits them into
a terminal, ``palette`` colours them. ``jsonlines`` is the one schema of docs/events.md. Whoever shows records calls
these: sinks (by way of :mod:`memwatch_plugins`), the host, the command line. They read no journal and print nothing.
"""
