"""The conformance kit: pytest suites with which a plugin's author checks what every plugin must do.

A test file is a subclass that names the plugin and declares its capabilities. ``pip install memwatch[testing]`` brings
pytest and hypothesis, which only the kit needs. The complete test file of a sink:

.. code-block:: python

    import memwatch_sink_example
    from memwatch_plugins.testing import SinkContract

    class TestTally(SinkContract):
        plugin, name = memwatch_sink_example, "tally"

Each test's name is the fact that it checks, and each message says what the plugin must do. Tests of capabilities that
the plugin doesn't declare are skipped, with the reason. The modules:

* :class:`SerializerContract` (``serializers.py``), :class:`TypeFormatContract` (``type_formats.py``) and
  :class:`SinkContract` (``sinks.py``);
* :class:`SqlDriverContract` and :class:`AsyncSqlDriverContract` (``sql.py``, ``sql_async.py``), which consist of how to
  speak to a library (``library.py``), what is published (``published.py``), what may not be seen (``unseen.py``) and
  not be called (``untouched.py``);
* shared: ``plugin.py`` finds the plugin's record, ``sessions.py`` opens real sessions and reads them back,
  ``samples.py`` has records that break sinks, ``tracers.py`` stands in for the tracer, ``namespaces.py`` compares a
  library with its former state.

Unlike the rest of ``memwatch_plugins``, this package imports the writing and the reading side: a contract that isn't
tried in a real session proves little.
"""

import pytest

_WITH_ASSERTIONS = (
    "plugin",
    "published",
    "serializers",
    "sinks",
    "sql",
    "sql_async",
    "target",
    "type_formats",
    "unseen",
    "untouched",
)
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _WITH_ASSERTIONS))

from .serializers import SerializerContract  # noqa: E402
from .sinks import SinkContract  # noqa: E402
from .sql import SqlDriverContract  # noqa: E402
from .sql_async import AsyncSqlDriverContract  # noqa: E402
from .target import Way  # noqa: E402
from .type_formats import TypeFormatContract  # noqa: E402

__all__ = [
    "AsyncSqlDriverContract",
    "SerializerContract",
    "SinkContract",
    "SqlDriverContract",
    "TypeFormatContract",
    "Way",
]
