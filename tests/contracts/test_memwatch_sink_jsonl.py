"""The plugin keeps the sinks' contract."""

import memwatch_sink_jsonl

from memwatch_plugins.testing import SinkContract


class TestJsonLines(SinkContract):
    plugin, name = memwatch_sink_jsonl, "jsonl"
    capabilities = ("events", "files")
    failing = {"path": "/dev/full"}


class TestJsonLinesOnStandardOutput(SinkContract):
    plugin, name = memwatch_sink_jsonl, "jsonl"
    capabilities = ("events",)
    settings = {"path": "-"}
