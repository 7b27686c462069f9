"""The corpus and a few mutations of each input, once, with the reader as it is built: for valgrind."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import journal_target
import test_fuzz_corpus

file = Path(sys.argv[1])
for path in test_fuzz_corpus.CORPUS:
    data, rng = path.read_bytes(), random.Random(path.name)
    journal_target.run(data, file)
    for _ in range(5):
        journal_target.run(test_fuzz_corpus.mutate(data, rng), file)
os._exit(0)  # what the interpreter does at its end isn't ours
