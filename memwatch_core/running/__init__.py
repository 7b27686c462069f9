"""Where both sides meet: who writes, and who reads it, started and ended together.

``runner`` is ``memwatch run``: the program as a child process (``child``), this process as its reader. ``session`` is
``with memwatch_core.session():``, in which one process is both.
"""
