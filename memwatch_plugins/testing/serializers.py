"""The contract of serializers: fixed-size bytes that give the value back, in any version of the program."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memwatch_core import unwatch, watch
from memwatch_core.errors import WatchError
from memwatch_core.records import Event, Layout, Watched

from .plugin import PluginContract, shown
from .sessions import real_session

REFUSALS = (TypeError, ValueError, OverflowError)
_PROXIES = ("int", "float", "bytes", "bytearray", "struct", "object", "memory")

# A contract's tests run once for each subclass, and look at their own data only.
unhurried = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)


class SerializerContract(PluginContract):
    """The suite of a serializer: declare the values that it takes, and those that it must refuse.

    .. code-block:: python

        class TestDecimal2(SerializerContract):
            plugin, name = memwatch_serializer_decimal2, "decimal2"
            values = st.decimals(-(10**9), 10**9, places=2)
            refused = (Decimal("NaN"), Decimal(10**30))
            foreign = (1.5, "1.50", None)
    """

    kind = "serializers"

    values: ClassVar[st.SearchStrategy[Any]]
    """The values that it takes, as a hypothesis strategy."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Extra keywords of ``watch()`` for these values: ``{"format": "<qd"}``."""
    refused: ClassVar[Sequence[Any]] = ()
    """Values of an accepted type that it can't hold."""
    foreign: ClassVar[Sequence[Any]] = ()
    """Values that it must not accept."""

    def same(self, value: Any, back: Any) -> bool:
        """Whether a decoded value is the same: of equal type, and equal, or both not equal to themselves (nan). If
        ``==`` compares item by item, as for an array, all items must be the same."""
        return type(value) is type(back) and (_all(value == back) or (_all(value != value) and _all(back != back)))

    def write(self, watched: Any, value: Any) -> None:
        """Gives a watched value another one's content. Of an array: ``watched[...] = value``."""
        watched.value = value

    # ---- the value and its bytes ------------------------------------------------------------------------------------

    @given(data=st.data())
    @unhurried
    def test_value_comes_back_as_it_was(self, data: st.DataObject) -> None:
        record, value = self.record, data.draw(self.values)
        layout = self._layout(value)
        encoded = bytes(record.encode(value, layout.options))
        back = record.decode(encoded, layout.options)
        assert self.same(value, back), f"make decode the inverse of encode: {shown(value)} came back as {shown(back)}"

    @given(data=st.data())
    @unhurried
    def test_encoded_value_has_the_size_of_its_page(self, data: st.DataObject) -> None:
        value = data.draw(self.values)
        layout = self._layout(value)
        encoded = self.record.encode(value, layout.options)
        if layout.proxy == "memory":
            encoded = memoryview(encoded).cast("B")
        else:
            assert type(encoded) is bytes, f"return bytes from encode, not {type(encoded).__name__}"
        assert len(encoded) == layout.size, f"encode {shown(value)} into exactly layout.size = {layout.size} bytes"

    @given(data=st.data())
    @unhurried
    def test_decode_takes_the_bytes_of_another_program(self, data: st.DataObject) -> None:
        record, value = self.record, data.draw(self.values)
        layout = self._layout(value)
        repeated = st.sampled_from([b"\0", b"\xff", b"\x80", b"\x7f"])
        made = (data.draw(st.one_of(st.binary(max_size=layout.size), repeated)) or b"\0") * layout.size
        try:
            record.decode(made[: layout.size], layout.options)
        except Exception as error:
            pytest.fail(
                f"decode must not raise on any {layout.size} bytes, since it also reads journals of other versions: "
                f"return something for {made[: layout.size]!r} with {dict(layout.options)}, not {error!r}"
            )

    @given(data=st.data())
    @unhurried
    def test_options_survive_the_journal(self, data: st.DataObject) -> None:
        record, value = self.record, data.draw(self.values)
        layout = self._layout(value)
        try:
            stored = json.loads(json.dumps(dict(layout.options), allow_nan=False))
        except (TypeError, ValueError) as error:
            pytest.fail(f"put into Layout.options only what JSON has, with text as keys: {error}: {layout.options!r}")
        encoded = bytes(record.encode(value, layout.options))
        back = record.decode(encoded, stored)
        assert self.same(value, back), (
            "decode gets the options as JSON gives them back (a tuple is a list then): "
            f"{shown(value)} came back as {shown(back)}"
        )

    @given(data=st.data())
    @unhurried
    def test_options_are_left_as_they_were_given(self, data: st.DataObject) -> None:
        record, value = self.record, data.draw(self.values)
        given_options = copy.deepcopy(dict(self.options))
        layout = record.layout(value, given_options)
        assert given_options == dict(self.options), "leave the options that layout() is given as they are"
        before = copy.deepcopy(dict(layout.options))
        record.decode(bytes(record.encode(value, layout.options)), layout.options)
        assert dict(layout.options) == before, "leave Layout.options as they are in encode and decode"

    @given(data=st.data())
    @unhurried
    def test_format_shows_the_values_that_decode_does(self, data: st.DataObject) -> None:
        record = self.record
        if record.format is None:
            pytest.skip("the serializer has no format: readers call its decode")
        layout = self._layout(data.draw(self.values))
        size = struct.calcsize(record.format)
        assert size == layout.size, f"format {record.format!r} takes {size} bytes, and the layout has {layout.size}"
        bits = data.draw(st.binary(min_size=size, max_size=size))
        short, called = struct.unpack(record.format, bits), record.decode(bits, layout.options)
        assert len(short) == 1, f"use format for one single number only: {record.format!r} has {len(short)}"
        assert self.same(short[0], called), (
            f"readers use format in place of decode: {record.format!r} gives {short[0]!r}, decode gives {shown(called)}"
        )

    @given(data=st.data())
    @unhurried
    def test_part_is_where_the_bytes_are(self, data: st.DataObject) -> None:
        record = self.record
        if record.part is None:
            pytest.skip(
                "the serializer has no part: stores are shown by the whole value, and large values by their bytes"
            )
        layout = self._layout(data.draw(self.values))
        start = data.draw(st.integers(0, layout.size - 1))
        stop = data.draw(st.integers(start + 1, layout.size))
        head = st.binary(min_size=record.head, max_size=record.head)
        heads = data.draw(st.just((b"", b"")) | st.tuples(head, head)) if record.head else ()
        extent = record.part(start, stop, json.loads(json.dumps(dict(layout.options))), *heads)
        if extent is None:
            return
        name, first, last, *decoders = extent
        where = f"part({start}, {stop}) of {layout.size} bytes gave {name!r}, bytes {first} to {last}"
        assert type(name) is str, f"name the part by text: {where}"
        assert 0 <= first <= start < stop <= last <= layout.size, f"the part must hold the bytes asked for: {where}"
        made = data.draw(st.binary(min_size=1, max_size=last - first)) * (last - first)
        try:
            for decode in filter(None, decoders):
                decode(made[: last - first])
        except Exception as error:
            pytest.fail(f"a part's decode must not raise on any {last - first} bytes: {error!r}; {where}")

    # ---- what it takes and what it refuses --------------------------------------------------------------------------

    @given(data=st.data())
    @unhurried
    def test_value_is_accepted(self, data: st.DataObject) -> None:
        value = data.draw(self.values)
        assert self.record.accepts(value) is True, f"return True from accepts({shown(value)})"

    def test_value_of_another_kind_is_left_to_others(self) -> None:
        accepts = self.record.accepts
        for value in (*self.foreign, object(), _Hostile()):
            try:
                accepted = accepts(value)
            except Exception as error:
                pytest.fail(f"accepts must not raise: it is asked about every value. {shown(value)}: {error!r}")
            assert accepted is False, f"return False from accepts() for {shown(value)}; look at its type first"

    def test_refused_value_is_explained(self) -> None:
        if not self.refused:
            pytest.skip(f"{type(self).__name__}.refused is empty: it holds every value that it accepts")
        for value in self.refused:
            assert self.record.accepts(value) is True, f"{shown(value)} isn't accepted: it belongs to foreign"
            error = self._refusal(self._encoded, value)
            assert error is not None, f"refuse {shown(value)}, in layout() or in encode(): it was encoded silently"
            _check_refusal(error, f"a value that doesn't fit, {shown(value)}")

    @given(data=st.data())
    @settings(unhurried, max_examples=5)
    def test_writing_a_value_of_another_kind_is_explained(self, data: st.DataObject) -> None:
        options = self._layout(data.draw(self.values)).options
        for value in (object(), *self.foreign):
            error = self._refusal(self.record.encode, value, options)
            if error is not None:
                _check_refusal(error, f"encode({shown(value)})")

    @given(data=st.data())
    @settings(unhurried, max_examples=5)
    def test_misspelt_keyword_of_watch_is_refused(self, data: st.DataObject) -> None:
        value = data.draw(self.values)
        error = self._refusal(self.record.layout, value, {**self.options, "no_such_option": 1})
        assert error is not None, "raise TypeError in layout() for an option that it doesn't know: it is misspelt"
        _check_refusal(error, "an unknown option")
        assert "no_such_option" in str(error), f"name the unknown option in the message: {error}"

    @given(data=st.data())
    @settings(unhurried, max_examples=10)
    def test_buffer_shows_the_items_of_the_value(self, data: st.DataObject) -> None:
        value = data.draw(self.values)
        layout = self._layout(value)
        own = _buffer_of(value)
        with real_session(self.folder / "sessions", serializers=[self.record]):
            watched: Any = watch(value, name="watched", **self.options)
            shown_buffer = _buffer_of(watched)
            unwatch(watched)
        if layout.proxy != "object":
            return
        if layout.buffer is None:
            assert shown_buffer is None
        elif own is not None:
            assert shown_buffer == own, (
                f"the value's own buffer is {own}, and Layout.buffer shows {shown_buffer}: numpy would take it for "
                "something else. Leave Layout.buffer out, or make both the same"
            )
        elif layout.buffer.shape == ():
            encoded = self.record.encode(value, layout.options)
            (number,) = struct.unpack(layout.buffer.format, encoded)
            assert self.same(value, number), (
                f"Layout.buffer {layout.buffer.format!r} shows {number!r}, and the value is {shown(value)}"
            )

    # ---- in a real session ------------------------------------------------------------------------------------------

    @given(data=st.data())
    @settings(unhurried, max_examples=10)
    def test_events_show_the_values_that_the_program_had(self, data: st.DataObject) -> None:
        record = self.record
        first, *others = data.draw(st.lists(self.values, min_size=2, max_size=5))
        layout = self._layout(first)
        if layout.proxy == "memory":
            self._stores_in_memory(first, [value for value in others if self._fits(value, layout)])
            return
        with real_session(self.folder / "sessions", serializers=[record]) as session:
            watched = watch(first, name="watched", **self.options)
            before, stores = first, []
            for value in others:
                if self._fits(value, layout):
                    self.write(watched, value)
                    stores.append((before, value))
                    before = value
            plain = unwatch(watched)
            assert self.same(before, plain), f"the program reads {shown(plain)}, and has written {shown(before)}"
            records = session.records()
        (seen,) = (found for found in records if isinstance(found, Watched))
        assert seen.variable.serializer == self.name
        assert self.same(first, seen.value), f"watched as {shown(first)}, and shown as {shown(seen.value)}"
        events = [found for found in records if isinstance(found, Event)]
        assert len(events) == len(stores), f"{len(stores)} writes, and {len(events)} events"
        for (old, new), event in zip(stores, events, strict=True):
            assert self.same(old, event.old), f"it was {shown(old)}, and the event says {shown(event.old)}"
            assert self.same(new, event.new), f"the store wrote {shown(new)}, and the event says {shown(event.new)}"

    @given(data=st.data())
    @settings(unhurried, max_examples=5)
    def test_refused_value_leaves_the_watched_one(self, data: st.DataObject) -> None:
        if not self.refused:
            pytest.skip(f"{type(self).__name__}.refused is empty: it holds every value that it accepts")
        first = data.draw(self.values)
        if self._layout(first).proxy == "memory":
            pytest.skip("the program writes to its value itself: its serializer isn't asked")
        with real_session(self.folder / "sessions", serializers=[self.record]) as session:
            watched: Any = watch(first, name="watched", **self.options)
            for value in self.refused:
                with pytest.raises(REFUSALS):
                    watched.value = value
            plain = unwatch(watched)
            assert self.same(first, plain), f"a refused value was written: {shown(first)} became {shown(plain)}"
            assert session.events() == []

    def _stores_in_memory(self, first: Any, others: Sequence[Any]) -> None:
        """Of a value that lies in watched memory itself: it is of the same type, and what the events wrote to its bytes
        is what it holds."""
        with real_session(self.folder / "sessions", serializers=[self.record]) as session:
            watched: Any = watch(first, name="watched", **self.options)
            assert type(watched) is type(first), f"make a {type(first).__name__}, not a {type(watched).__name__}"
            with pytest.raises(WatchError):  # the serializer's lies.memory finds it
                watch(watched, name="again", **self.options)
            options = self.record.layout(first, self.options).options
            last, state = first, bytearray(self.record.encode(first, options))
            for last in others:
                self.write(watched, last)
            plain = unwatch(watched)
            assert type(plain) is type(first), f"lies.copy made a {type(plain).__name__}"
            events = session.events()
        for event in events:
            assert event.part is not None, "with by_parts, name the part of any bytes"
            state[event.offset : event.offset + len(event.after)] = event.after
        assert bytes(state) == bytes(self.record.encode(plain, options)), "the events don't lead to the last value"
        assert self.same(last, self.record.decode(bytes(state), options))

    # ---- pieces -----------------------------------------------------------------------------------------------------

    def _layout(self, value: Any) -> Layout:
        layout = self.record.layout(value, self.options)
        assert isinstance(layout, Layout), f"return a memwatch_core.records.Layout from layout(), not {layout!r}"
        assert layout.proxy in _PROXIES, f"Layout.proxy is one of {', '.join(_PROXIES)}, not {layout.proxy!r}"
        assert type(layout.size) is int, f"Layout.size is a number of bytes, not {layout.size!r}"
        assert layout.size > 0, f"Layout.size is a number of bytes, from 1, not {layout.size!r}"
        return layout

    def _encoded(self, value: Any) -> object:
        return self.record.encode(value, self.record.layout(value, self.options).options)

    def _refusal(self, call: Callable[..., object], *arguments: Any) -> Exception | None:
        try:
            call(*arguments)
        except Exception as error:
            return error
        return None

    def _fits(self, value: Any, layout: Layout) -> bool:
        """Whether a value can be written to a variable that was watched with another value."""
        try:
            self.record.encode(value, layout.options)
        except REFUSALS:
            return False
        return True


def _all(answer: Any) -> bool:
    """The truth of a comparison: of one result, or of all items of an array."""
    every = getattr(answer, "all", None)
    return bool(every() if callable(every) else answer)


def _buffer_of(value: object) -> tuple[str, tuple[int, ...] | None] | None:
    """Format and shape; None if the value has no buffer."""
    try:
        with memoryview(value) as view:  # type: ignore[arg-type]
            return view.format, view.shape
    except (TypeError, ValueError, BufferError):
        return None


class _Hostile:
    """An object of which nothing but the type may be read."""

    def _refuse(self, *args: object) -> Any:
        raise RuntimeError("a value was compared, measured or shown before its type was known")

    __eq__ = __len__ = __iter__ = __bool__ = __repr__ = __getattr__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def _check_refusal(error: BaseException, what: str) -> None:
    assert isinstance(error, REFUSALS), (
        f"refuse {what} with a TypeError, ValueError or OverflowError, not with {type(error).__name__}: {error}"
    )
    words = str(error).split()
    assert len(words) >= 3, f"refuse {what} with a sentence that tells the user what is wrong, not just {str(error)!r}"
