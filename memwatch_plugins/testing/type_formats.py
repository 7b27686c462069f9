"""What the format of a type must keep: what it says is the value, read out of memory, for as long as the value is."""

from __future__ import annotations

import copy
import sys
from types import FrameType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_core import unwatch, watch
from memwatch_core.native import proxy
from memwatch_core.records import Event
from memwatch_core.type_formats import declared

from .plugin import PluginContract, shown
from .serializers import unhurried
from .sessions import real_session

SHORT = 60
"""Bytes of a text that an event has as a whole."""


class TypeFormatContract(PluginContract):
    """The suite of a format: say which values there are, and how each is to be written.

    .. code-block:: python

        class TestMoney(TypeFormatContract):
            plugin, name = memwatch_serializer_money, "money.Money"
            values = st.builds(Money, st.integers(), st.sampled_from(CURRENCIES))

            def written(self, value):
                return f"Money({value.cents}, {value.currency.code})"
    """

    kind = "serializers"

    values: ClassVar[st.SearchStrategy[Any]]
    """Values of the type, as a strategy of hypothesis."""

    def written(self, value: Any) -> str:
        """How the value is to be written; its ``repr()`` unless this is overridden."""
        return repr(value)

    def use(self, value: Any) -> None:
        """What a program does with a value that isn't changed by it, but may remember something: override it."""
        _ = repr(value), str(value), hash(value), copy.copy(value)

    @pytest.fixture(autouse=True)
    def _declared(self) -> None:
        proxy.declare_types(declared([self.record]))

    @given(data=st.data())
    @unhurried
    def test_value_is_written_as_the_program_would_write_it(self, data: st.DataObject) -> None:
        value = data.draw(self.values)
        self._check(value, proxy.written(value))

    @given(data=st.data())
    @unhurried
    def test_value_is_written_the_same_after_it_was_used(self, data: st.DataObject) -> None:
        value = data.draw(self.values)
        before = proxy.written(value)
        self.use(value)
        after = proxy.written(value)
        assert before == after, f"leave out what a value only remembers: {before} became {after}, and it is the same"

    @given(data=st.data())
    @settings(unhurried, max_examples=10)
    def test_no_code_runs_for_it(self, data: st.DataObject) -> None:
        value, calls = data.draw(self.values), []

        def called(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                calls.append(frame.f_code.co_qualname)

        sys.setprofile(called)
        try:
            proxy.written(value)
        finally:
            sys.setprofile(None)
        assert not calls

    @given(data=st.data())
    @unhurried
    def test_value_that_was_never_filled_is_written_without_an_error(self, data: st.DataObject) -> None:
        kind = type(data.draw(self.values))
        try:
            empty = object.__new__(kind)
        except TypeError:
            pytest.skip(f"no {kind.__name__} can be made without its own __new__")
        assert isinstance(proxy.written(empty), str)

    @given(data=st.data())
    @settings(unhurried, max_examples=10)
    def test_event_of_a_watched_object_shows_it(self, data: st.DataObject) -> None:
        value, holder = data.draw(self.values), SimpleNamespace(place=None)
        with real_session(self.folder / "sessions", formats=[self.record]) as session:
            watch(holder, name="holder")
            holder.place = value
            unwatch(holder)
            (event,) = (record for record in session.records() if isinstance(record, Event))
        assert event.part is not None
        self._check(value, str(event.part.new))

    def _check(self, value: Any, text: str) -> None:
        wanted = self.written(value)
        short = text.endswith("…") and len(wanted.encode()) > SHORT and wanted.startswith(text[:-1])
        assert text == wanted or short, f"{shown(value)} is to be written {wanted}, and is {text}"
