"""A proxy behaves as its value does: random operations on a proxy and on a plain value give the same results, the same
exceptions and the same value afterwards; and the journal tells the same story."""

from __future__ import annotations

import copy
import io
import math
import operator
import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import Opened

from memwatch_core.adapter.watch import unwatch, watch

SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
I64 = st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20)
OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.and_,
    operator.or_,
    operator.xor,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
    divmod,
]
IN_PLACE = [
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.ifloordiv,
    operator.imod,
    operator.iand,
    operator.ior,
    operator.ixor,
]
MISSING = object()


def outcome(call: Callable[[], Any]) -> Any:
    """What a call came to, comparable: its value and type, or the type of its exception."""
    try:
        result = call()
    except Exception as error:
        return "raised", type(error).__name__
    if isinstance(result, float) and math.isnan(result):
        return "nan"
    return result.__class__.__name__, repr(result)


def both(plain: Any, proxy: Any, operation: Callable[[Any], Any]) -> None:
    """The operation comes to the same on both, and leaves the same behind."""
    assert outcome(lambda: operation(proxy)) == outcome(lambda: operation(plain))
    assert repr(proxy) == repr(plain)


READS: list[Callable[[Any], Any]] = [
    str,
    repr,
    bool,
    abs,
    float,
    complex,
    round,
    math.floor,
    math.ceil,
    math.trunc,
    operator.neg,
    operator.pos,
    operator.invert,
    operator.index,
    len,
    iter,
    lambda x: int(x),
    lambda x: f"{x:>30}",
    lambda x: format(x, ""),
    lambda x: f"{x:d}",
    lambda x: f"{x!r}%s" % x,
    lambda x: isinstance(x, int),
    lambda x: isinstance(x, float),
    lambda x: isinstance(x, bytes | bytearray),
    lambda x: x.__class__,
    lambda x: x.bit_length(),
    lambda x: x.is_integer(),
    lambda x: x.hex(),
    lambda x: x.nothing_of_the_kind,
    lambda x: x.to_bytes(16, "little", signed=True),
    lambda x: x[0],
    lambda x: 3 in x,
    lambda x: round(x, -2),
    lambda x: pow(x, 2, 7),
    lambda x: pow(2, x, 7),
    lambda x: sum([x, x]),
    lambda x: max(x, 3),
    lambda x: sorted([x, 3, 2]),
    lambda x: [1, 2, 3][x % 3],
    lambda x: range(10)[x % 10 :],
    lambda x: "ab" * (x % 3),
    lambda x: copy.copy(x),
    lambda x: copy.deepcopy([x]),
    lambda x: pickle.loads(pickle.dumps(x)),
    lambda x: pickle.loads(pickle.dumps({"k": x}, 2)),
    lambda x: {1: x}[1] == x,
    lambda x: np.float64(2) * x,
    lambda x: np.array([1, 2, 3]) + x,
    lambda x: np.add(x, 1),
    lambda x: math.isfinite(x),
    lambda x: x.real,
]


@SETTINGS
@given(value=I64, other=I64 | st.floats(allow_nan=False) | st.booleans() | st.text(max_size=2) | st.none())
def test_int_reads_and_arithmetic_are_those_of_the_value(journal: Opened, value: int, other: Any) -> None:
    p = watch(value)
    for read in READS:
        both(value, p, read)
    for op in OPERATORS:
        if op is operator.pow and (abs(value) > 50 or not isinstance(other, int) or abs(other) > 50):
            continue
        if op is operator.mul and isinstance(other, str) and value > 1000:
            continue
        both(value, p, lambda x, op=op: op(x, other))
        if op is not operator.pow:
            both(value, p, lambda x, op=op: op(other, x))
            both(value, p, lambda x, op=op: op(x, x))
    if isinstance(other, int) and 0 <= other < 70:
        both(value, p, lambda x: x << other)
        both(value, p, lambda x: x >> other)
    assert not journal.stores(p), "reading made events"


@SETTINGS
@given(value=st.floats(allow_nan=False), other=st.floats(-1e6, 1e6) | st.integers(-9, 9))
def test_float_reads_and_arithmetic_are_those_of_the_value(journal: Opened, value: float, other: Any) -> None:
    p = watch(value)
    for read in READS:
        both(value, p, read)
    for op in OPERATORS:
        if op is operator.pow and abs(value) > 50:
            continue
        both(value, p, lambda x, op=op: op(x, other))
        both(value, p, lambda x, op=op: op(other, x))
    assert not journal.stores(p)


@SETTINGS
@given(value=I64, steps=st.lists(st.tuples(st.sampled_from(IN_PLACE), I64), max_size=8))
def test_int_in_place_operators_are_one_event_each_or_none(journal: Opened, value: int, steps: list[Any]) -> None:
    p, plain, written = watch(value), value, [value]
    for op, operand in steps:
        same = p
        try:
            wanted = op(plain, operand)
        except ZeroDivisionError:
            with pytest.raises(ZeroDivisionError):
                op(p, operand)
            continue
        if -(2**63) <= wanted < 2**63:
            p = op(p, operand)
            plain = wanted
            written.append(plain)
        else:
            with pytest.raises(OverflowError):
                op(p, operand)
        assert p is same
        assert p == plain
    stores = journal.stores(p)
    numbers = [struct.unpack("<q", store.before + b"")[0] for store in stores]
    assert numbers == written[:-1]
    assert [struct.unpack("<q", store.after)[0] for store in stores] == written[1:]


BYTE = st.integers(-2, 257)
INDEX = st.integers(-12, 12)
SLICE = st.slices(10)
DATA = st.binary(max_size=6)
MUTATIONS = st.one_of(
    st.tuples(st.just("setitem"), INDEX, BYTE | st.just("x")),
    st.tuples(st.just("setitem"), SLICE, DATA | st.lists(BYTE, max_size=4)),
    st.tuples(st.just("delitem"), INDEX | SLICE),
    st.tuples(st.just("append"), BYTE),
    st.tuples(st.just("extend"), DATA | st.lists(BYTE, max_size=4) | st.just("text") | st.just(7)),
    st.tuples(st.just("insert"), INDEX, BYTE),
    st.tuples(st.just("pop")),
    st.tuples(st.just("pop"), INDEX),
    st.tuples(st.just("remove"), BYTE),
    st.tuples(st.just("reverse")),
    st.tuples(st.just("clear")),
    st.tuples(st.just("iadd"), DATA | st.just(3)),
    st.tuples(st.just("imul"), st.integers(-1, 2)),
)


def mutate(target: Any, step: tuple[Any, ...]) -> Any:
    name, *args = step
    function = {
        "setitem": operator.setitem,
        "delitem": operator.delitem,
        "iadd": operator.iadd,
        "imul": operator.imul,
    }.get(name)
    if function is None:
        return getattr(target, name)(*args)
    result = function(target, *args)
    assert result is None or result is target
    return None


def replay(start: bytes, stores: list[Any]) -> list[bytes]:
    """The content after each event, from the events alone."""
    memory, contents = bytearray(start), []
    for store in stores:
        span = slice(store.offset, store.offset + len(store.after))
        assert memory[span] == store.before
        memory[span] = store.after
        (length,) = struct.unpack_from("<Q", memory)
        contents.append(bytes(memory[8 : 8 + length]))
    return contents


@SETTINGS
@given(value=st.binary(max_size=10), steps=st.lists(MUTATIONS, max_size=12), capacity=st.integers(10, 40))
def test_bytearray_mutations_are_those_of_the_value(
    journal: Opened, value: bytes, steps: list[Any], capacity: int
) -> None:
    p, plain = watch(bytearray(value), capacity=capacity), bytearray(value)
    history = [bytes(plain)]
    for step in steps:
        before = bytes(plain)
        expected = outcome(lambda step=step: mutate(plain, step))
        if len(plain) > capacity:
            plain[:] = before
            with pytest.raises(ValueError, match="don't fit"):
                mutate(p, step)
        else:
            assert outcome(lambda step=step: mutate(p, step)) == expected
        assert p == plain
        assert bytes(p) == bytes(plain)
        if bytes(plain) != history[-1]:
            history.append(bytes(plain))
    start = struct.pack("<Q", len(value)) + value.ljust(capacity, b"\0")
    contents = replay(start, journal.stores(p))
    changes = [value] + [now for last, now in zip([value, *contents], contents, strict=False) if now != last]
    assert changes == history, "the journal tells another story than the value"


BYTES_READS: list[Callable[[Any], Any]] = [
    bytes,
    bytearray,
    len,
    list,
    str,
    repr,
    sorted,
    lambda x: x[1:3],
    lambda x: x[::-1],
    lambda x: x[-1],
    lambda x: x[99],
    lambda x: x["a"],
    lambda x: list(reversed(x)),
    lambda x: x + b"ab",
    lambda x: b"ab" + x,
    lambda x: bytearray(b"ab") + x,
    lambda x: x * 2,
    lambda x: 2 * x,
    lambda x: b"%b" % x,
    lambda x: b"a" in x,
    lambda x: 97 in x,
    lambda x: b"-".join([x, x]),
    lambda x: x == b"abc",
    lambda x: x == b"abc",
    lambda x: x < b"b",
    lambda x: x.upper(),
    lambda x: x.split(b"b"),
    lambda x: x.hex(),
    lambda x: x.startswith(b"a"),
    lambda x: x.decode("latin-1"),
    lambda x: str(x, "latin-1"),
    lambda x: int(x),
    lambda x: memoryview(x).tolist(),
    lambda x: io.BytesIO(x).read(),
    lambda x: copy.copy(x),
    lambda x: copy.deepcopy(x),
    lambda x: pickle.loads(pickle.dumps(x)),
    lambda x: list(zip(x, x, strict=True)),
    lambda x: float(x),
    lambda x: -x,
    lambda x: x + 1,
    lambda x: bool(x),
    lambda x: x.__class__,
    lambda x: np.frombuffer(x, dtype=np.uint8).tolist() if len(x) else 0,
]


@SETTINGS
@given(value=st.binary(max_size=12) | st.sampled_from([b"12", b"abc"]), mutable=st.booleans())
def test_bytes_reads_are_those_of_the_value(journal: Opened, value: bytes, mutable: bool) -> None:
    plain = bytearray(value) if mutable else value
    p = watch(plain)
    for read in BYTES_READS:
        both(plain, p, read)
    assert not journal.stores(p)
    assert type(unwatch(p)) is type(plain)


@SETTINGS
@given(st.lists(DATA, max_size=6))
def test_bytes_proxy_takes_whole_values_only(journal: Opened, values: list[bytes]) -> None:
    p, plain, contents = watch(b"", capacity=64), b"", []
    for i, more in enumerate(values):
        same = p
        if i % 2:
            p += more
            plain += more
        else:
            p.value = plain = more
        contents.append(plain)
        assert p is same
        assert p == plain
    with pytest.raises(TypeError):
        p[0] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        del p[0]  # type: ignore[attr-defined]
    assert memoryview(p).readonly
    assert replay(bytes(72), journal.stores(p)) == contents


FORMATS = st.sampled_from(["<qd4s", ">hI?", "bBhHiIlLqQnN", "!efd", "c3sx2p", "<3h2xi", "@bqb", "=bqb", "10p5s"])


@SETTINGS
@given(data=st.data(), form=FORMATS)
def test_struct_fields_are_those_of_the_struct_module(journal: Opened, data: Any, form: str) -> None:
    raw = data.draw(st.binary(min_size=struct.calcsize(form), max_size=struct.calcsize(form)))
    plain = list(struct.unpack(form, raw))
    plain = [0.5 if isinstance(v, float) else v for v in plain]
    p = watch(tuple(plain), format=form)
    assert tuple(p) == struct.unpack(form, struct.pack(form, *plain))
    plain = list(p)
    for _ in range(4):
        i = data.draw(st.integers(0, len(plain) - 1))
        old = plain[i]
        number = st.integers(-(2**70), 2**70) | st.integers(-130, 300)
        new = data.draw(
            st.binary(max_size=7)
            if isinstance(old, bytes)
            else st.floats(-9, 9)
            if isinstance(old, float)
            else st.booleans()
            if isinstance(old, bool)
            else number
        )
        try:
            wanted = struct.unpack(form, struct.pack(form, *plain[:i], new, *plain[i + 1 :]))
            cut = isinstance(new, bytes) and len(new) > len(wanted[i])
        except struct.error:
            cut = True
        if cut:
            with pytest.raises((OverflowError, ValueError)):
                p[i] = new
        else:
            p[i] = new
            plain = list(wanted)
        assert repr(tuple(p)) == repr(tuple(plain))
        assert repr(p[i]) == repr(plain[i])
        assert bytes(memoryview(p)) == struct.pack(form, *plain)


def test_struct_fields_by_name_are_fields_by_index(journal: Opened) -> None:
    p = watch((3, 1.5, b"ab"), format="<qd4s", fields=["qty", "price", "tag"])
    p.qty = 4
    p.price += 1
    p[-1] = b"xyz"
    p[0:2] = (9, 8.0)
    assert (p.qty, p.price, p.tag) == (9, 8.0, b"xyz\0")
    spans = [(store.offset, len(store.after)) for store in journal.stores(p)]
    assert spans == [(0, 8), (8, 8), (16, 4), (0, 16)]


class Point(NamedTuple):
    x: int
    y: float


def test_named_tuple_stays_what_it_is(journal: Opened) -> None:
    p = watch(Point(1, 2.5), format="<qd")
    p.x += 1
    assert isinstance(p, Point)
    assert p == Point(2, 2.5)
    assert p._asdict() == {"x": 2, "y": 2.5}
    assert pickle.loads(pickle.dumps(p)) == Point(2, 2.5)
    assert type(copy.copy(p)) is Point
    unnamed = watch((1, 2), format="<qq", fields=["a", "b"])
    assert type(pickle.loads(pickle.dumps(unnamed))) is tuple
    a, b = unnamed
    assert (a, b) == unnamed == (1, 2)


def test_hash_is_refused_and_says_what_to_use(journal: Opened) -> None:
    for p in (watch(1), watch(1.5), watch(b"a"), watch(bytearray(1))):
        with pytest.raises(TypeError, match=r"d\[p\.value\]"):
            hash(p)


def test_value_can_be_another_proxy(journal: Opened) -> None:
    a, b = watch(2), watch(40)
    a += b
    assert a + b == 82
    b.value = a
    assert b == 42
    assert a == b


def test_numpy_scalars_are_taken_and_floats_refused_for_int(journal: Opened) -> None:
    p = watch(1)
    p.value = np.int32(7)
    p += np.int64(1)
    assert p == 8
    for wrong in (1.5, "1", None, np.float64(2)):
        with pytest.raises(TypeError, match="can't become"):
            p.value = wrong
    assert p == 8
    assert len(journal.stores(p)) == 2
