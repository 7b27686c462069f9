"""The reading side of the journal: its layout, one journal's slots, a session's folder.

``layout`` has the numbers of docs/journal-format.md, ``file`` the header and the bytes of a file that nobody vouches
for, ``records`` takes slots apart, ``reader`` finds out which of them may be read, ``liveness`` whether their writer
still runs. ``stores`` turns runs of STORE records into events, with what is ``followed`` of each variable. ``session``
makes and opens folders, ``claim`` is whose reader frees what was read.
What the records mean is the business of :mod:`memwatch_core.host.decoder`.
"""
