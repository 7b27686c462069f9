"""Both loops of the reading side: in C, and in Python."""

from __future__ import annotations

import pytest

from memwatch_core.host import decoder
from memwatch_core.journal import stores


@pytest.fixture(params=["C", "Python"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with the loop in C and with the one in Python."""
    if request.param == "C" and stores.Stores is stores.PythonStores:
        pytest.fail("memwatch_core.journal._reader isn't built: run `python setup.py build_ext --inplace`")
    if request.param == "Python":
        monkeypatch.setattr(decoder, "Stores", stores.PythonStores)
    return str(request.param)
