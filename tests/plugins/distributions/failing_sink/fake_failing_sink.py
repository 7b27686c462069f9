"""A sink that fails where its settings say."""

from collections.abc import Iterable, Sequence

from pydantic import BaseModel

from memwatch_core.hookspecs import hookimpl
from memwatch_core.records import Record, Sink


class Settings(BaseModel):
    at: str
    after: int = 0


class Failing:
    def __init__(self, settings: Settings) -> None:
        self.at = settings.at
        self.left = settings.after
        self._call("open")

    def write(self, records: Sequence[Record]) -> None:
        self._call("write")

    def flush(self) -> None:
        self._call("flush")

    def close(self) -> None:
        self._call("close")

    def _call(self, method: str) -> None:
        if method == self.at:
            self.left -= 1
            if self.left < 0:
                raise OSError(f"no {method} today")


@hookimpl
def memwatch_sinks() -> Iterable[Sink]:
    yield Sink(name="failing", summary="fails", open=Failing, settings=Settings)
