"""The wheels, built once, and environments that are made of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from built_wheels import Environment, Wheels, build, install


@pytest.fixture(scope="session")
def wheels() -> Wheels:
    return build()


@pytest.fixture(scope="module")
def environment(wheels: Wheels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Environment]]:
    """``environment("memwatch-core", ...)``: one with these distributions, outside of the checkout."""
    made: list[Path] = []

    def make(*distributions: str) -> Environment:
        made.append(tmp_path_factory.mktemp("outside"))
        return install(wheels, made[-1], *distributions)

    yield make
    for folder in made:
        shutil.rmtree(folder)
