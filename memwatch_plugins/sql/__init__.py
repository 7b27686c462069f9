"""What a SQL driver plugin is written with.

* :class:`DbapiDriverBase` (``dbapi.py``): for a library with connections and cursors (PEP 249, or its like with
  ``async``). Most of a driver is inherited from it.
* :class:`SqlDriverBase` (``driver.py``): for anything else, such as an ORM: installing, undoing, containing errors.
* :func:`node_driver` (``node.py``): for a library of Node.js, traced by a ``driver.js`` beside the Python file.
* ``plain.py``: looking at what the program has passed without calling its code.
* ``around.py``: how a call of the library's is traced, be it a function, a coroutine or a generator.

The smallest driver, for a library whose ``connect`` takes a class to make connections of:

.. code-block:: python

    class Driver(DbapiDriverBase):
        name, summary, target, dialect = "dbx", "the database X", "dbx", "postgresql"

        def patch(self):
            import dbx

            def connect(call, instance, args, kwargs):
                kwargs["factory"] = self.traced_connection(kwargs.get("factory", dbx.Connection))
                return call(*args, **kwargs)

            self.replace(connect, (dbx, "connect"))

    driver = Driver()

    @hookimpl
    def memwatch_sql():
        yield driver.record

and for one whose classes are written in Python:

.. code-block:: python

        def patch(self):
            import dbx

            self.trace_cursors(dbx.Cursor, dbx.ServerCursor)
            self.trace_connections(dbx.Connection)

Connections and cursors are never proxied: C code checks their types. Tracing never raises into the program: what goes
wrong in it is counted (:attr:`SqlDriverBase.troubles`) and reported once.
"""

from memwatch_core.native.tracing import Tokens

from .dbapi import DbapiDriverBase
from .driver import Outcome, SqlDriverBase, Wrapper
from .node import node_driver

__all__ = ["DbapiDriverBase", "Outcome", "SqlDriverBase", "Tokens", "Wrapper", "node_driver"]
