"""``python -m memwatch_core.cli``: the ``memwatch`` command, run by this interpreter."""

from . import main

main()
