"""Reads a session as `memwatch run` does, into a summary and the console sink's lines, and prints the sentence."""

from __future__ import annotations

import sys

from decoding import SERIALIZERS

from memwatch_core.host.merge import SessionDecoder
from memwatch_core.host.summary import Summary
from memwatch_core.rendering.text import Lines

summary, lines = Summary(), Lines(show="changes")
decoder = SessionDecoder(sys.argv[1], SERIALIZERS)
for batch in decoder.batches():
    summary.write(batch)
    for _ in lines.format(batch):
        pass
print(summary.sentence(), *summary.lines(), sep="\n")
