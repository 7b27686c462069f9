"""What a SQL driver plugin is written with. ``docs/sql.md`` (Writing a driver) shows how; begin with a copy of
``plugins/_template``.

* :class:`DbapiDriverBase` (``dbapi.py``): for a library with connections and cursors (PEP 249, or its like with
  ``async``), whose classes are written in Python. Most of a driver is inherited from it.
* :class:`ComposedDriverBase` (``composed.py``): for one whose classes are written in C.
* ``libpq.py``, ``mysql.py``, ``sqlite.py``: for libraries on top of libpq, of MySQL, of SQLite.
* :class:`SqlDriverBase` (``driver.py``): for anything else, such as an ORM: installing, undoing, containing errors.
* ``targets.py``: how a driver names what it traces; ``around.py``: what it does around a call.
* ``plain.py``: looking at what the program has passed without calling its code.
* :func:`node_driver` (``node.py``): for a library of Node.js, traced by a ``driver.js`` beside the Python file.

The smallest driver, whose object is the plugin that the entry point names:

.. code-block:: python

    class Driver(DbapiDriverBase):
        name, summary, target, dialect = "dbx", "the database X", "dbx", "postgresql"
        cursors, connections = ("dbx:Cursor",), ("dbx:Connection",)

    driver = Driver()

Connections and cursors are never proxied: C code checks their types. Tracing never raises into the program: what goes
wrong in it is counted (:attr:`SqlDriverBase.troubles`) and reported once.
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
