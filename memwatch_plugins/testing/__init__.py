"""The conformance kit: what every plugin must keep, as pytest suites that its author runs over it.

A test file is a subclass that names the plugin and says what it can do. ``pip install memwatch[testing]`` brings
pytest and hypothesis, which nothing else needs. The complete one of a sink:

.. code-block:: python

    import memwatch_sink_example
    from memwatch_plugins.testing import SinkContract

    class TestTally(SinkContract):
        plugin, name = memwatch_sink_example, "tally"

Each test is named by the fact that it holds, each message says what the plugin has to do, and what a plugin doesn't
declare among its ``capabilities`` is skipped with the reason. Where things are:

* :class:`SerializerContract` (``serializers.py``), :class:`TypeFormatContract` (``type_formats.py``) and
  :class:`SinkContract` (``sinks.py``);
* :class:`SqlDriverContract` and :class:`AsyncSqlDriverContract` (``sql.py``, ``sql_async.py``), which consist of how to
  speak to a library (``library.py``), what is published (``published.py``), what may not be seen (``unseen.py``) and
  not be called (``untouched.py``);
* what they share: ``plugin.py`` finds the plugin's record, ``sessions.py`` opens real sessions and reads them back,
  ``samples.py`` has the records that break sinks, ``tracers.py`` what SQL drivers publish to, ``namespaces.py``
  compares a library with what it was.

Unlike the rest of ``memwatch_plugins``, this package uses the writing and the reading side: a contract that isn't tried
in a real session proves little.
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
