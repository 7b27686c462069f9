"""The reading side of the journal: its layout, one journal's slots, a session's folder.

``layout`` has the numbers of docs/journal-format.md, ``liveness`` says whether a journal's writer still runs,
``reader`` turns a file into raw records, ``stores`` turns runs of STORE records into events, ``session`` makes and
opens folders.
What the records mean is the business of :mod:`memwatch_core.host.decoder`.
"""
