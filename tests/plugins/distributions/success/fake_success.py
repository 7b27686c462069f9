"""A plugin that does everything right: a sink that keeps what it gets, and a serializer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Layout, Record, Serializer, Sink

seen: list[Record] = []
calls: list[str] = []


class Settings(BaseModel):
    label: str = "none"
    limit: int = 3


class Keeper:
    def __init__(self, settings: Settings) -> None:
        calls.append(f"open {settings.label} {settings.limit}")

    def write(self, records: Sequence[Record]) -> None:
        seen.extend(records)

    def flush(self) -> None:
        calls.append("flush")

    def close(self) -> None:
        calls.append("close")


@hookimpl
def memwatch_sinks() -> Iterable[Sink]:
    yield Sink(name="success", summary="keeps records", open=Keeper, settings=Settings)
    yield Sink(name="other", summary="offered, and not named by an entry point", open=Keeper)


def _layout(value: Any, options: Mapping[str, Any]) -> Layout:
    return Layout("object", 1)


@hookimpl
def memwatch_serializers() -> Iterable[Serializer]:
    yield Serializer(
        name="flag",
        summary="one bit",
        accepts=lambda value: isinstance(value, bool),
        layout=_layout,
        encode=lambda value, options: bytes([value]),
        decode=lambda data, options: data != b"\0",
    )
