"""torch's serializer keeps the contract."""

from __future__ import annotations

from typing import Any

import memwatch_serializer_torch
import pytest
from hypothesis import strategies as st

from memwatch_plugins.testing.serializers import SerializerContract

torch = pytest.importorskip("torch", reason="torch isn't installed: make soak brings it")


class TestTensors(SerializerContract):
    plugin, name = memwatch_serializer_torch, "torch"
    values = st.binary(min_size=24, max_size=24).map(
        lambda data: torch.frombuffer(bytearray(data), dtype=torch.int16).view(3, 4).T
    )
    refused = (torch.ones(2, requires_grad=True), torch.ones(1).expand(4), torch.eye(3).to_sparse())
    foreign = (1.5, b"abc", [1, 2], torch, torch.float32, None)

    def same(self, value: Any, back: Any) -> bool:
        return bool(value.tolist() == (back.tolist() if isinstance(back, torch.Tensor) else back))

    def write(self, watched: Any, value: Any) -> None:
        watched.copy_(value)
