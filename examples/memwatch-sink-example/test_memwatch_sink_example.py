"""The sink keeps the contract of sinks: ``pip install memwatch[testing]``, then ``pytest``."""

import memwatch_sink_example

from memwatch_plugins.testing import SinkContract


class TestTally(SinkContract):
    plugin, name = memwatch_sink_example, "tally"
