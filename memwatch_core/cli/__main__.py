"""``python -m memwatch_core.cli``: the command ``memwatch``, of this very interpreter."""

from . import main

main()
