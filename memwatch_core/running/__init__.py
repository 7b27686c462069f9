"""Starts and ends writer and reader together.

``runner`` is ``memwatch run``: the program is a child process (``child``), this process its reader. ``session`` is
``with memwatch_core.session():``, in which one process is both.
"""
