"""The base classes of SQL driver plugins. ``docs/sql.md`` (Writing a driver) shows how; start from a copy of
``plugins/_template``.

* :class:`DbapiDriverBase` (``dbapi.py``): for a library with connections and cursors (PEP 249, or an ``async`` variant)
  whose classes are written in Python. Most of a driver is inherited from it.
* :class:`ComposedDriverBase` (``composed.py``): for a library whose classes are written in C.
* ``libpq.py``, ``mysql.py``, ``sqlite.py``: for libraries on top of libpq, MySQL, SQLite.
* :class:`SqlDriverBase` (``driver.py``): for anything else, such as an ORM: installs, restores, contains errors.
* ``targets.py``: how a driver names the methods it traces; ``around.py``: what it does around a call.
* ``plain.py``: inspects the program's arguments without calling its code.
* :func:`node_driver` (``node.py``): for a library of Node.js, traced by a ``driver.js`` beside the Python file.

The smallest driver; its object is the plugin that the entry point names:

.. code-block:: python

    class Driver(DbapiDriverBase):
        name, summary, target, dialect = "dbx", "the database X", "dbx", "postgresql"
        cursors, connections = ("dbx:Cursor",), ("dbx:Connection",)

    driver = Driver()

Connections and cursors are never proxied: C code checks their types. Tracing never raises into the program: its errors
are counted (:attr:`SqlDriverBase.troubles`) and reported once.
"""

from memwatch_core.native.tracing import Tokens

from .around import Steps
from .composed import ComposedDriverBase, Factory
from .dbapi import DbapiDriverBase, Status
from .driver import Outcome, SqlDriverBase, Wrapper
from .node import node_driver
from .targets import of_connections, of_cursors, replaces, tells, traces

__all__ = [
    "ComposedDriverBase", "DbapiDriverBase", "Factory", "Outcome", "SqlDriverBase", "Status", "Steps", "Tokens",
    "Wrapper", "node_driver", "of_connections", "of_cursors", "replaces", "tells", "traces",
]  # fmt: skip
