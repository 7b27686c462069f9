"""Reads journals: the layout, one journal's slots, a session's folder.

``layout`` has the numbers of docs/journal-format.md, ``file`` reads the header and the bytes of an untrusted file,
``records`` parses slots, ``reader`` decides which slots may be read, ``liveness`` whether their writer still runs.
``stores`` turns runs of STORE records into events, from what is ``followed`` of each variable. ``session`` creates and
opens folders, and ``claim`` marks the reader that frees what it has read. What records mean is up to
:mod:`memwatch_core.host.decoder`.
"""
