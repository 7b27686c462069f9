"""Types of the program's with code of their own: what is watched is found out without them."""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.sharedctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memwatch_serializer_ctypes
import memwatch_serializer_numpy
import numpy as np
import pytest

from memwatch_core import watch
from memwatch_core.errors import WatchError
from memwatch_plugins.testing.sessions import RealSession, real_session

SERIALIZERS = [*memwatch_serializer_numpy.memwatch_serializers(), *memwatch_serializer_ctypes.memwatch_serializers()]
called: list[str] = []


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        called.append(name)
        return super().__getattribute__(name)


class Told(metaclass=Meta):
    pass


class Record(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int),)

    def __getattribute__(self, name: str) -> Any:
        called.append(name)
        return super().__getattribute__(name)


class Placeless:
    pass


Placeless.__module__ = None  # type: ignore[assignment]


class Nameless(np.ndarray, metaclass=Meta):
    pass


@pytest.fixture
def session(tmp_path: Path) -> Iterator[RealSession]:
    with real_session(tmp_path, serializers=SERIALIZERS) as opened:
        called.clear()
        yield opened


@pytest.mark.parametrize("kind", [Told, Record, Placeless])
@pytest.mark.usefixtures("session")
def test_nothing_of_a_type_is_called(kind: type) -> None:
    value = kind()
    called.clear()
    watch(value)
    assert called == []


@pytest.mark.usefixtures("session")
def test_nothing_of_a_type_is_called_for_its_refusal() -> None:
    value = np.zeros(3).view(Nameless)
    called.clear()
    with pytest.raises(WatchError, match="a Nameless is more than its elements"):
        watch(value)
    assert called == []


MAPPED: dict[str, Callable[[Any], Any]] = {
    "ctypes": lambda shared: shared,
    "array": lambda shared: np.frombuffer(shared, "f8"),
    "memoryview": lambda shared: memoryview(shared).cast("B"),
    "view of a memoryview": lambda shared: np.asarray(memoryview(shared))[1:],
}


@pytest.mark.parametrize("lies", MAPPED)
@pytest.mark.usefixtures("session")
def test_what_other_processes_share_is_refused(lies: str) -> None:
    shared = multiprocessing.sharedctypes.RawArray(ctypes.c_double, 4)
    value = MAPPED[lies](shared)
    with pytest.raises(WatchError, match="its memory is a mapping"):
        watch(value)
