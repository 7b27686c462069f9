"""The fuzzer's corpus, and mutations of it: a journal that brings the reader down, or keeps it for ever."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import journal_target  # noqa: E402

from memwatch_core.host import decoder  # noqa: E402

CORPUS = sorted((HERE / "corpus").iterdir())
MUTATIONS = 400 if os.environ.get("MEMWATCH_SOAK") else 15  # of each
NUMBERS = [b"\0", b"\1", b"\x40", b"\x7f", b"\x80", b"\xff", b"\xff" * 4, b"\0\0\0\x80", b"\xff" * 8, b"\0" * 8]


@pytest.fixture(autouse=True)
def _loop_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "Stores", decoder.Stores)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Some bytes set, slots moved, doubled, left out, as a fuzzer does it blindly."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(out)) if rng.random() < 0.7 else rng.randrange(128, min(len(out), 352))
        match rng.randrange(4):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                number = rng.choice(NUMBERS)
                out[at : at + len(number)] = number
            case 2:
                a, b = (352 + 64 * rng.randrange(max(1, (len(out) - 352) // 64)) for _ in range(2))
                out[a : a + 64] = out[b : b + 64]
            case _:
                del out[at : at + rng.choice((1, 8, 64))]
                out = out or bytearray(1)
    return bytes(out)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_hostile_journal_is_read_to_its_end_the_same_by_both_loops(path: Path, tmp_path: Path) -> None:
    data, file = path.read_bytes(), tmp_path / "4242-python.mwj"
    journal_target.run(data, file)
    rng = random.Random(path.name)
    for _ in range(MUTATIONS):
        mutated = mutate(data, rng)
        try:
            journal_target.run(mutated, file)
        except BaseException:
            print("input:", mutated.hex())
            raise
