"""Values of more types than the plainest are shown as the program would write them, read out of memory.

The matrix: types x (values, subclasses that override everything, instances that were never filled, classes that change)
x what the module's own code would say. What is written is asked of the native half; that events say the same, and that
nothing is imported for it, is tried in real sessions.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import gc
import ipaddress
import pathlib
import re
import subprocess
import sys
import textwrap
import types
import uuid
import zoneinfo
from collections import namedtuple
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import memwatch_serializer_scalars
import pytest
from cells import changes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from journals import Opened

from memwatch_core import unwatch, watch, watch_place
from memwatch_core.adapter import places
from memwatch_core.native import proxy
from memwatch_core.records import TypeFormat
from memwatch_core.type_formats import declared

SHIPPED = memwatch_serializer_scalars.FORMATS
MOST = 236
"""Bytes of a text, but for its end."""
unhurried = settings(deadline=None, max_examples=60)


@pytest.fixture(autouse=True)
def shipped() -> Iterator[None]:
    proxy.declare_types(declared(SHIPPED))
    yield
    proxy.declare_types(declared(SHIPPED))


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    A = "a"


class Perm(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3


class Bits(enum.IntFlag):
    LOW = 1
    HIGH = 2


class Whole(int): ...


class Name(str): ...


class Share(float): ...


class Blob(bytes): ...


class Pair(tuple[Any, ...]): ...


class Spot(NamedTuple):
    x: Any
    y: Any = None


Point = namedtuple("Point", "x y")
Nothing = namedtuple("Nothing", "")


class Nearer(Spot):
    __slots__ = ()


def same(text: str, wanted: str) -> bool:
    """Whether a text is what is wanted, or its beginning if that is long."""
    if len(wanted.encode("utf-8", "surrogatepass")) <= MOST:
        return text == wanted
    return text.endswith("…") and wanted.startswith(text[:-1]) and len(text) > MOST // 8


def of_datetime(value: Any) -> str:
    """repr(), with UTC and fixed offsets in short, and in one order."""
    text = repr(value.replace(tzinfo=None, fold=0)).removeprefix("datetime.")[:-1]
    if value.tzinfo is not None:
        offset = dt.datetime(2000, 1, 1, tzinfo=value.tzinfo).isoformat()[19:]
        text += f", tzinfo={'UTC' if value.tzinfo is dt.UTC else offset}"
    return text + (", fold=1)" if value.fold else ")")


def module_free(value: Any) -> str:
    return repr(value).replace("datetime.", "")


deltas = st.timedeltas(-dt.timedelta(hours=23, minutes=59), dt.timedelta(hours=23, minutes=59))
zones = st.none() | st.just(dt.UTC) | deltas.map(dt.timezone) | st.builds(dt.timezone, deltas, st.text(max_size=5))
minutes = st.integers(-1439, 1439).map(lambda n: dt.timezone(dt.timedelta(minutes=n)))
ints = st.integers(-(2**70), 2**70)
plain = st.none() | st.booleans() | st.integers(-99, 99) | st.text(st.sampled_from("ab'\n"), max_size=3)

VALUES: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], str]]] = {
    "datetime": (st.datetimes(timezones=zones | minutes), of_datetime),
    "datetime, whole seconds": (st.datetimes(timezones=minutes).map(lambda d: d.replace(microsecond=0)), of_datetime),
    "datetime, fold": (st.datetimes().map(lambda d: d.replace(fold=1)), of_datetime),
    "date": (st.dates(), module_free),
    "time": (st.times(timezones=zones | minutes), of_datetime),
    "timedelta": (st.timedeltas(), module_free),
    "timezone": (zones.filter(bool), module_free),
    "Decimal": (st.decimals(), repr),
    "Decimal, of digits": (
        st.builds(
            lambda sign, digits, exponent: decimal.Decimal((sign, tuple(digits), exponent)),
            st.integers(0, 1),
            st.lists(st.integers(0, 9), min_size=1, max_size=120),
            st.integers(-130, 130) | st.integers(-(10**17), 10**17),
        ),
        repr,
    ),
    "Decimal, of payload": (
        st.builds(
            lambda sign, digits, kind: decimal.Decimal((sign, tuple(digits), kind)),
            st.integers(0, 1),
            st.lists(st.integers(0, 9), max_size=25),
            st.sampled_from("nN"),
        ),
        repr,
    ),
    "complex": (st.complex_numbers(), repr),
    "range": (st.builds(range, ints, ints, ints.filter(bool)) | st.builds(range, ints), repr),
    "slice": (st.builds(slice, plain, plain, plain), repr),
    "bytearray": (st.binary(max_size=80).map(bytearray), lambda value: f"bytearray({bytes(value)!r})"),
    "dict views": (
        st.builds(
            lambda of, view: view(of),
            st.dictionaries(st.integers(0, 9), st.booleans(), max_size=4),
            st.sampled_from([dict.keys, dict.values, dict.items]),
        ),
        repr,
    ),
    "UUID": (st.uuids(), repr),
    "Fraction": (st.fractions(), repr),
    "IPv4Address": (st.ip_addresses(v=4), repr),
    "IPv4Interface": (
        st.builds(lambda of, n: ipaddress.ip_interface((of, n)), st.ip_addresses(v=4), st.integers(0, 32)),
        repr,
    ),
    "IPv6Network": (
        st.builds(
            lambda of, n: ipaddress.ip_network((of, n), strict=False),
            st.integers(2**127, 2**128 - 1),
            st.integers(0, 128),
        ),
        repr,
    ),
    "IPv6Interface": (
        st.integers(2**112, 2**128 - 1).map(lambda n: ipaddress.ip_interface(f"{ipaddress.IPv6Address(n)}%z/64")),
        repr,
    ),
    "int subclass": (ints.map(Whole), lambda value: f"Whole({int(value)})"),
    "float subclass": (st.floats().map(Share), lambda value: f"Share({float(value)!r})"),
    "str subclass": (
        st.text(st.characters(max_codepoint=0x7E, exclude_characters="'\\", min_codepoint=0x20)).map(Name),
        lambda value: f"Name('{value!s}')",
    ),
    "bytes subclass": (
        st.binary(max_size=50).map(lambda b: Blob(b.replace(b"'", b""))),
        lambda value: f"Blob({bytes(value)!r})",
    ),
    "named tuple": (
        st.builds(Point, st.integers(), st.booleans()) | st.builds(Nearer, st.integers(), st.integers()),
        repr,
    ),
    "tuple subclass": (st.lists(st.integers(), max_size=5).map(Pair), lambda value: f"Pair({tuple(value)!r})"),
}  # fmt: skip


@pytest.mark.parametrize("kind", VALUES)
def test_value_is_shown_as_the_program_would_write_it(kind: str) -> None:
    values, wanted = VALUES[kind]

    @unhurried
    @given(values)
    def check(value: Any) -> None:
        text, expected = proxy.written(value), wanted(value)
        if "\\" in expected or '"' in expected or not expected.isascii():
            assert eval(text, NAMES) == value or "…" in text  # the same characters, by other escapes
        else:
            assert same(text, expected), (text, expected)

    check()


NAMES = {**vars(dt), **globals(), "UTC": dt.UTC}

NUMBERS = [
    "0", "-0", "0E+3", "0E-7", "0.00", "1", "-1", "1.50", "1E+400", "1E-400", "1E+999999999999999999",
    "-1E-1999999999999999997", "0.000001", "1E-7", "123E+2", "NaN", "-NaN", "sNaN", "NaN123",
    "-sNaN99999999999999999999999", "Infinity", "-Infinity", "9999999999999999999", "10000000000000000000",
    "99999999999999999999999999999999999999", "100000000000000000000000000000000000000", "0.1", "0.0000010",
    "1234567890123456789.5",
]  # fmt: skip


@pytest.mark.parametrize(
    "number", [*NUMBERS, "7" * 76, "7" * 77, "7" * 1000, f"{'8' * 500}.{'9' * 500}", "0." + "1" * 300]
)
def test_decimal_is_shown_whatever_its_size(number: str) -> None:
    value = decimal.Decimal(number)
    assert same(proxy.written(value), repr(value))
    with decimal.localcontext() as context:
        context.prec = 2000
        for made in (value.copy_negate(), value.copy_abs()):
            assert same(proxy.written(made), repr(made))


def test_results_of_decimal_arithmetic_are_shown() -> None:
    with decimal.localcontext() as context:
        context.prec = 90  # more words than a number has room for of its own, and fewer again
        value = decimal.Decimal(2)
        for _ in range(9):
            value *= value
            for made in (value, +value, 1 / value, value.normalize(), value - value, value.sqrt()):
                assert same(proxy.written(made), repr(made))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (..., "Ellipsis"),
        (NotImplemented, "NotImplemented"),
        (len, "<built-in function len>"),
        ([].append, "<built-in method append>"),
        (same, "<function same>"),
        (lambda: 0, "<function <lambda>>"),
        (Colour.RED, "Colour.RED"),
        (Colour.GREEN, "Colour.GREEN"),
        (Number.ONE, "Number.ONE"),
        (Word.A, "Word.A"),
        (Perm.READ, "Perm.READ"),
        (Perm.READ | Perm.WRITE, "Perm.BOTH"),
        (Bits.LOW | Bits.HIGH, "Bits.LOW|Bits.HIGH"),
        (Bits(9), "Bits.LOW|8"),
        (Bits(8), "Bits(8)"),
        (Perm(0), "Perm(0)"),
        (re.RegexFlag.I | re.RegexFlag.M, "RegexFlag.IGNORECASE|RegexFlag.MULTILINE"),
        (int, "<class 'int'>"),
        (Colour, f"<class '{__name__}.Colour'>"),
        (decimal.Decimal, "<class 'decimal.Decimal'>"),
        (dt.datetime, "<class 'datetime.datetime'>"),
        (type("Made", (), {"__module__": 5}), "<class 'Made'>"),
        (re, "<module 're'>"),
        (Spot(1), "Spot(x=1, y=None)"),
        (Spot(Point(1, [2]), (3,)), "Spot(x=Point(x=1, y=[2]), y=(3,))"),
        (Nothing(), "Nothing()"),
        (Pair(), "Pair(())"),
        (Pair([1]), "Pair((1,))"),
        (dt.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")), "datetime(2026, 1, 2, 0, 0, tzinfo=<ZoneInfo>)"),
        (dt.timezone.utc, "timezone.utc"),  # noqa: UP017
        (dt.timedelta(), "timedelta(0)"),
        ({Colour.RED: [decimal.Decimal(1), uuid.UUID(int=0)]},
         "{Colour.RED: [Decimal('1'), UUID('00000000-0000-0000-0000-000000000000')]}"),
        (ipaddress.ip_address("fe80::1%eth0"), "IPv6Address('fe80::1%eth0')"),
        (ipaddress.ip_address("1:0:0:2::3"), "IPv6Address('1:0:0:2::3')"),
        (ipaddress.ip_address("1::"), "IPv6Address('1::')"),
        (ipaddress.ip_address("::"), "IPv6Address('::')"),
        (ipaddress.ip_address("1:0:2:0:3:0:4:0"), "IPv6Address('1:0:2:0:3:0:4:0')"),
        (ipaddress.ip_address("::ffff:1.2.3.4"), "IPv6Address('::ffff:1.2.3.4')"),
        (ipaddress.ip_network("10.0.0.0/8"), "IPv4Network('10.0.0.0/8')"),
        (pathlib.Path(), "PosixPath('.')"),
        (pathlib.PurePosixPath("/"), "PurePosixPath('/')"),
        (pathlib.PurePosixPath("//a//b/"), "PurePosixPath('//a/b')"),
        (pathlib.PurePosixPath("///a"), "PurePosixPath('/a')"),
        (pathlib.PurePosixPath("a", "/b", "../c"), "PurePosixPath('/b/../c')"),
        (pathlib.PurePosixPath("it's"), "PurePosixPath('it\\'s')"),
    ],

)  # fmt: skip
def test_value_is_shown_as_it_should(value: Any, text: str) -> None:
    assert proxy.written(value) == text


def test_bound_methods_and_what_a_program_calls_otherwise_are_shown() -> None:
    assert proxy.written(Opened.read) == "<function Opened.read>"
    assert proxy.written(Colour.RED.__init__.__self__) == "Colour.RED"
    assert proxy.written(types.MethodType(same, 1)) == "<bound method same>"
    assert re.fullmatch("<method at 0x[0-9a-f]+>", proxy.written(types.MethodType(len, [1])))


@unhurried
@given(st.lists(st.text(st.sampled_from("ab./é' \n"), max_size=9), max_size=5))
@example(["//"])
@example(["/", "//", "a"])
@example([".", "", "./."])
def test_path_is_shown_joined_and_stays_so(segments: list[str]) -> None:
    path = pathlib.PurePosixPath(*segments)
    before = proxy.written(path)
    assert eval(before, NAMES | vars(pathlib)) == path
    assert before == proxy.written(pathlib.PurePosixPath(str(path)))
    _ = hash(path), path.parts, path.parent, path / "x", str(path), path.drive
    assert proxy.written(path) == before


# ---- nothing of the program's runs ---------------------------------------------------------------------------------


def _fails(*arguments: Any, **named: Any) -> Any:
    raise AssertionError("code of the program's ran")


LOUD = [
    "__repr__", "__str__", "__hash__", "__eq__", "__ne__", "__lt__", "__len__", "__iter__", "__bool__", "__int__",
    "__index__", "__float__", "__getattr__", "__getattribute__", "__getitem__", "__contains__", "__format__",
    "__reduce__", "__reduce_ex__", "__get__", "__fspath__", "__bytes__", "__complex__", "__instancecheck__",
    "__subclasscheck__", "__class__", "__name__", "__module__", "__qualname__", "__mro__", "int", "name", "value",
    "year", "hour", "tzinfo", "utcoffset", "numerator", "_str", "drive", "exploded", "packed", "keys", "items",
    "__length_hint__", "__sizeof__",
]  # fmt: skip


class LoudType(type):
    """A class of classes that can't be looked at."""

    def __getattribute__(cls, name: str) -> Any:
        _fails()

    __repr__ = __hash__ = __eq__ = __instancecheck__ = __subclasscheck__ = _fails  # type: ignore[assignment]


def loud(base: type, made: Callable[[type], Any], metaclass: type = LoudType) -> Any:
    body: dict[str, Any] = {
        name: property(_fails) if name[0] != "_" or name == "__class__" else _fails for name in LOUD
    }
    body = {name: of for name, of in body.items() if name not in ("__module__", "__qualname__", "__name__", "__mro__")}
    return made(metaclass("Loud", (base,), body))


BASES: dict[str, tuple[type, Callable[[Any], Any], str]] = {
    "int": (int, lambda kind: int.__new__(kind, 5), r"Loud\(5\)"),
    "str": (str, lambda kind: str.__new__(kind, "x"), r"Loud\('x'\)"),
    "float": (float, lambda kind: float.__new__(kind, 1.5), r"Loud\(1\.5\)"),
    "bytes": (bytes, lambda kind: bytes.__new__(kind, b"x"), r"Loud\(b'x'\)"),
    "tuple": (tuple, lambda kind: tuple.__new__(kind, (1, 2)), r"Loud\(\(1, 2\)\)"),
    "named tuple": (Point, lambda kind: tuple.__new__(kind, (1, 2)), r"Loud\(x=1, y=2\)"),
    "module": (types.ModuleType, lambda kind: types.ModuleType.__new__(kind), "<Loud at 0x[0-9a-f]+>"),
    **{
        base.__name__: (base, made, "<Loud at 0x[0-9a-f]+>")
        for base, made in (
            (decimal.Decimal, lambda kind: decimal.Decimal.__new__(kind, "1.5")),
            (dt.datetime, lambda kind: dt.datetime.__new__(kind, 2026, 1, 1)),
            (dt.date, lambda kind: dt.date.__new__(kind, 2026, 1, 1)),
            (dt.time, lambda kind: dt.time.__new__(kind, 1)),
            (dt.timedelta, lambda kind: dt.timedelta.__new__(kind, 1)),
            (uuid.UUID, object.__new__),
            (Fraction, object.__new__),
            (pathlib.PurePosixPath, object.__new__),
            (ipaddress.IPv4Address, object.__new__),
            (complex, lambda kind: complex.__new__(kind, 1)),
            (bytearray, lambda kind: bytearray.__new__(kind)),
            (list, lambda kind: list.__new__(kind)),
            (dict, lambda kind: dict.__new__(kind)),
            (set, lambda kind: set.__new__(kind)),
            (object, object.__new__),
        )
    },
}


@pytest.mark.parametrize("kind", BASES)
def test_subclass_that_overrides_everything_is_not_asked(kind: str) -> None:
    base, made, wanted = BASES[kind]
    value = loud(base, made, LoudType if type(base) is type else type(base))
    for shown in (value, [value], {1: value}, (value,), Point(value, value), slice(value, value, value)):
        assert re.search(wanted, proxy.written(shown))
    assert re.fullmatch("<class '.*Loud'>", proxy.written(type(value)))


@pytest.mark.parametrize("kind", [Colour, Number, Word, Perm])
def test_enumeration_that_overrides_everything_is_not_asked(kind: Any) -> None:
    base = next(base for base in kind.__mro__ if base.__module__ == "enum")

    class Loud(base):  # type: ignore[misc, valid-type]
        ONE = "1" if kind is Word else 1

        @property
        def name(self) -> Any:
            _fails()

        @property
        def value(self) -> Any:
            _fails()

    member = Loud.ONE
    for name in ("__repr__", "__str__", "__hash__", "__eq__", "__getattribute__", "__format__", "__len__", "__bool__"):
        setattr(Loud, name, _fails)
    assert proxy.written([member]) == "[Loud.ONE]"


def test_no_python_runs_for_any_value() -> None:
    calls: list[str] = []
    values = [Colour.RED, uuid.uuid4(), Fraction(1, 3), pathlib.Path("a"), ipaddress.ip_network("::/0"), Spot(1)]
    values += [decimal.Decimal(1), dt.datetime.now(dt.UTC), dt.datetime.now(zoneinfo.ZoneInfo("UTC")), Whole(1), Colour]
    proxy.declare_types(declared(SHIPPED))  # what is known of types is found out again
    sys.setprofile(lambda frame, event, argument: calls.append(frame.f_code.co_qualname) if event == "call" else None)
    try:
        for value in values:
            proxy.written(value)
    finally:
        sys.setprofile(None)
    assert not calls


def test_decimal_context_of_the_program_is_left_alone() -> None:
    script = """
        import decimal
        from memwatch_core.native import proxy
        number = decimal.Decimal.__new__(decimal.Decimal, "1.5", decimal.BasicContext)
        assert proxy.written(number) == "Decimal('1.5')"
        decimal.DefaultContext.prec = 51
        assert decimal.getcontext().prec == 51, "a context was made before the program asked for one"
        assert not any(decimal.DefaultContext.flags.values())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


# ---- broken instances, broken classes ------------------------------------------------------------------------------

ADDRESS = "<{} at 0x[0-9a-f]+>"


@pytest.mark.parametrize(
    "kind",
    [
        uuid.UUID,
        Fraction,
        pathlib.PosixPath,
        ipaddress.IPv4Address,
        ipaddress.IPv6Address,
        ipaddress.IPv4Network,
        Colour,
    ],
)
def test_instance_that_was_never_filled_is_shown_by_its_address(kind: type) -> None:
    assert re.fullmatch(ADDRESS.format(kind.__name__), proxy.written(object.__new__(kind)))


@pytest.mark.parametrize("wrong", [-1, 2**128, 2**5000, "x", None, Whole(5), 1.5, True, [], object()])
def test_part_of_another_kind_is_not_taken_for_it(wrong: Any) -> None:
    made: Any = object.__new__(uuid.UUID)
    object.__setattr__(made, "int", wrong)
    assert re.fullmatch(ADDRESS.format("UUID"), proxy.written(made))
    address: Any = object.__new__(ipaddress.IPv4Address)
    address._ip = wrong
    assert re.fullmatch(ADDRESS.format("IPv4Address"), proxy.written(address))
    network: Any = object.__new__(ipaddress.IPv4Network)
    network.network_address, network._prefixlen = wrong, 8
    assert re.fullmatch(ADDRESS.format("IPv4Network"), proxy.written(network))
    path: Any = object.__new__(pathlib.PosixPath)
    segments = "_raw_paths" if hasattr(path, "with_segments") else "_parts"  # of CPython 3.11
    setattr(path, segments, wrong if wrong != [] else [b"x"])
    assert re.fullmatch(ADDRESS.format("PosixPath"), proxy.written(path))
    setattr(path, segments, ["a", wrong] if wrong != "x" else [None])
    assert re.fullmatch(ADDRESS.format("PosixPath"), proxy.written(path))


def test_value_that_holds_itself_ends() -> None:
    made: Any = object.__new__(Fraction)
    made._numerator = made._denominator = made
    text = proxy.written(made)
    assert text.startswith("Fraction(Fraction(")
    assert len(text) <= 240
    held: list[Any] = []
    held.append(Point(held, Spot(held)))
    assert proxy.written(held).startswith("[Point(x=[")
    deep: Any = 1
    for _ in range(10_000):
        deep = slice(deep, Pair((deep,)), None)
    assert len(proxy.written(deep)) <= 240
    while type(deep) is slice:  # no deep recursion when it is freed
        deep = deep.start


def test_member_is_shown_while_its_class_is_made() -> None:
    seen = []

    class Early(enum.Enum):
        ONE = 1

        def __init__(self, value: object) -> None:
            seen.append(proxy.written(self))

        def __init_subclass__(cls) -> None:
            seen.append(proxy.written(cls))

        def __set_name__(self, owner: type, name: str) -> None:
            seen.append(proxy.written(self))

    assert proxy.written(Early.ONE) == "Early.ONE"
    assert all(re.fullmatch(r"Early\(1\)|Early\.ONE|<Early at 0x[0-9a-f]+>", text) for text in seen)
    assert seen


def test_enumeration_with_a_dict_of_any_kind_is_shown() -> None:
    class Odd(enum.Enum):
        ONE = 1

    class Lying(dict[str, Any]):
        __getitem__ = __contains__ = get = __iter__ = _fails

    vars(Odd.ONE)  # the dict is made
    assert proxy.written(Odd.ONE) == "Odd.ONE"
    object.__setattr__(Odd.ONE, "__dict__", Lying(vars(Odd.ONE)))
    assert proxy.written(Odd.ONE) == "Odd.ONE"

    class Key(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

    object.__setattr__(Odd.ONE, "__dict__", {Key("_name_"): "ONE", "_value_": 1})
    assert re.fullmatch(ADDRESS.format("Odd"), proxy.written(Odd.ONE))
    object.__setattr__(Odd.ONE, "__dict__", {})
    assert re.fullmatch(ADDRESS.format("Odd"), proxy.written(Odd.ONE))
    object.__setattr__(Odd.ONE, "__dict__", {"_value_": [1]})
    assert proxy.written(Odd.ONE) == "Odd([1])"


def test_class_of_the_same_name_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class UUID:
        __slots__ = ("int",)
        __module__ = "uuid"

    other = UUID()
    other.int = 5
    assert re.fullmatch(ADDRESS.format("UUID"), proxy.written(other))
    real = uuid.UUID(int=1)
    text = proxy.written(real)
    monkeypatch.setattr(uuid, "UUID", UUID)
    assert proxy.written(real) == text  # what was found out stays
    assert re.fullmatch(ADDRESS.format("UUID"), proxy.written(other))
    proxy.declare_types(declared(SHIPPED))
    assert proxy.written(other) == "UUID('00000000-0000-0000-0000-000000000005')"


@pytest.mark.parametrize("module", [None, 5, types.SimpleNamespace(Thing=int)])
def test_module_that_is_none_is_not_asked(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Thing:
        __slots__ = ("a",)

    thing = Thing()
    thing.a = 1
    proxy.declare_types(declared([TypeFormat("made_up.Thing", ("Thing({a})",))]))
    monkeypatch.setitem(sys.modules, "made_up", module)
    assert re.fullmatch(ADDRESS.format("Thing"), proxy.written(thing))

    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("asked")

    made = Lazy("made_up")
    types.ModuleType.__getattribute__(made, "__dict__")["Thing"] = Thing
    monkeypatch.setitem(sys.modules, "made_up", made)
    proxy.declare_types(declared([TypeFormat("made_up.Thing", ("Thing({a})",))]))
    assert proxy.written(thing) == "Thing(1)"


def made_up(monkeypatch: pytest.MonkeyPatch, kind: type, *templates: str, subclasses: bool = False) -> None:
    module = types.ModuleType("made_up")
    module.Thing = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up", module)
    proxy.declare_types(declared([TypeFormat("made_up.Thing", templates, subclasses)]))


def test_slot_that_a_class_no_longer_has_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Thing:
        __slots__ = ("a", "b")

    class Wide:
        __slots__ = tuple("cdefghijklmnopqrstuvwxyz")

    made_up(monkeypatch, Thing, "Thing({a}, {b})", "only {a}")
    thing = Thing()
    thing.a, thing.b = 1, "x"
    assert proxy.written(thing) == "Thing(1, 'x')"
    a, b = Thing.a, Thing.b  # type: ignore[attr-defined]
    Thing.b = property(_fails)
    assert proxy.written(thing) == "only 1"
    Thing.b = Wide.z  # type: ignore[attr-defined]
    assert proxy.written(thing) == "only 1"
    Thing.b = a
    assert proxy.written(thing) == "Thing(1, 1)"
    Thing.b = b
    assert proxy.written(thing) == "Thing(1, 'x')"
    del thing.b
    assert proxy.written(thing) == "only 1"
    del Thing.a, Thing.b
    assert re.fullmatch(ADDRESS.format("Thing"), proxy.written(thing))


def test_subclasses_are_shown_where_a_format_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Base:
        __slots__ = ("a",)

    class Above(Base):
        a = property(_fails)  # type: ignore[assignment]

    class Below(Above):
        __slots__ = ("b",)

    thing = Below()
    Base.a.__set__(thing, [1])  # type: ignore[attr-defined]
    thing.b = 2
    made_up(monkeypatch, Base, "{class}:{a}{{}}")
    assert re.fullmatch(ADDRESS.format("Below"), proxy.written(thing))
    made_up(monkeypatch, Base, "{class}:{a}{{}}", subclasses=True)
    assert proxy.written(thing) == "Below:[1]{}"
    Below.__name__ = "It's"
    assert proxy.written(thing) == "It's:[1]{}"


def test_class_at_the_address_of_another_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_up")
    monkeypatch.setitem(sys.modules, "made_up", module)
    proxy.declare_types(declared([TypeFormat("made_up.Thing", ("Thing({a})",))]))
    addresses: dict[int, int] = {}
    for i in range(1200):
        kind = i % 4
        if kind == 0:
            made = type("Thing", (), {"__slots__": ("a", "b")})
            module.Thing = made  # type: ignore[attr-defined]
        elif kind == 1:
            made = type("Other", (), {"__slots__": ("b", "a")})
        elif kind == 2:
            made = type("Pair", (tuple,), {"_fields": (f"f{i}",)})
        else:
            made = type("Whole", (int,), {})
        value: Any = made.__new__(made, (1,)) if kind == 2 else made()
        if kind < 2:
            value.a = value.b = i
        wanted = ["Thing\\({i}\\)", ADDRESS.format("Other"), "Pair\\(f{i}=1\\)", "Whole\\(0\\)"][kind]
        assert re.fullmatch(wanted.replace("{i}", str(i)), proxy.written(value))
        addresses[id(made)] = addresses.get(id(made), 0) + 1
        module.Thing = None  # type: ignore[attr-defined]
        del made, value
        gc.collect(0)
    assert max(addresses.values()) > 1, "no address came twice: nothing was tried"


@pytest.mark.parametrize("fields", [("a",), ("a", 5), ["a", "b"], "ab", (), None, ("a", Name("b"))])
def test_fields_that_name_no_items_are_left_out(fields: Any) -> None:
    made = type("Named", (tuple,), {"_fields": fields})
    assert proxy.written(tuple.__new__(made, (1, 2))) == "Named((1, 2))"


def test_fields_that_change_are_named_anew() -> None:
    made: Any = type("Named", (tuple,), {"_fields": ("a" * 3, "b" * 3)})
    value = tuple.__new__(made, (1, 2))
    assert proxy.written(value) == "Named(aaa=1, bbb=2)"
    made._fields = ("c" * 3, "d" * 3)
    assert proxy.written(value) == "Named(ccc=1, ddd=2)"


# ---- in a watched object -------------------------------------------------------------------------------------------


def test_events_show_values_of_many_types(journal: Opened) -> None:
    holder = types.SimpleNamespace(a=None, b=None)
    watch(holder, name="holder")
    values = {
        "Decimal('1.50')": decimal.Decimal("1.50"),
        "datetime(2026, 11, 30, 12, 1, 2, 345678, tzinfo=+01:00)": dt.datetime(
            2026, 11, 30, 12, 1, 2, 345678, dt.timezone(dt.timedelta(hours=1))
        ),
        "UUID('00000000-0000-0000-0000-000000000007')": uuid.UUID(int=7),
        "Colour.RED": Colour.RED,
        "PosixPath('/etc/x')": pathlib.Path("/etc", "x"),
        "Fraction(1, 3)": Fraction(1, 3),
        "IPv4Address('10.0.0.1')": ipaddress.ip_address("10.0.0.1"),
        "Spot(x=1, y=None)": Spot(1),
    }
    for value in values.values():
        holder.a = value
    for value in values.values():  # what they remember from now on isn't a change
        _ = repr(value), str(value), hash(value)
    assert proxy.audit_places() == 0
    unwatch(holder)
    assert [change.new for change in changes(journal)] == [("shown", text) for text in values]


def test_values_are_not_followed_though_they_have_attributes(journal: Opened) -> None:
    holder = types.SimpleNamespace(
        colour=Colour.RED, network=ipaddress.ip_network("10.0.0.0/8"), other=types.SimpleNamespace()
    )
    watch(holder, name="holder", depth=5)
    assert proxy.find_places(holder.other) is not None
    assert proxy.find_places(Colour.RED) is None
    assert proxy.find_places(holder.network) is None
    unwatch(holder)


def test_first_place_that_is_watched_shows_its_value_as_all_do(
    journal: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_formats", ())
    proxy.declare_types(())  # as it is in a process that has watched nothing yet
    holder = types.SimpleNamespace(colour=Colour.RED)
    watch_place(holder, "colour", name="c")
    assert [each["shown"] for each in journal.read().metadata.values()] == ["Colour.RED"]


def test_exception_on_its_way_stays(journal: Opened) -> None:
    holder: Any = types.SimpleNamespace(a=None)
    watch(holder, name="holder")
    broken = object.__new__(uuid.UUID)
    object.__setattr__(broken, "int", -1)

    def fails() -> None:
        try:
            raise ZeroDivisionError
        finally:
            holder.a = broken
            holder.a = range(2**100, 2**200, 3)

    with pytest.raises(ZeroDivisionError):
        fails()
    unwatch(holder)


COLD = {
    "decimal": ("decimal.Decimal('2.50')", "Decimal('2.50')"),
    "datetime": ("datetime.date(2026, 1, 2)", "date(2026, 1, 2)"),
    "uuid": ("uuid.UUID(int=3)", "UUID('00000000-0000-0000-0000-000000000003')"),
    "fractions": ("fractions.Fraction(1, 3)", "Fraction(1, 3)"),
    "ipaddress": ("ipaddress.ip_network('10.0.0.0/8')", "IPv4Network('10.0.0.0/8')"),
    "enum": ("enum.Enum('Colour', 'RED').RED", "Colour.RED"),
    "pathlib": ("pathlib.Path('a//b')", "PosixPath('a/b')"),
    "collections": ("collections.namedtuple('P', 'x')(1)", "P(x=1)"),
}


@pytest.mark.parametrize("module", COLD)
def test_value_of_a_module_that_is_imported_later_is_shown(module: str, tmp_path: Any) -> None:
    made, text = COLD[module]
    script = f"""
        import sys, types
        from memwatch_core import watch
        holder = types.SimpleNamespace(a=None)
        watch(holder, name="holder")
        for lazy in ("decimal", "_decimal", "_pydecimal", "uuid", "fractions"):
            assert lazy not in sys.modules, lazy
        holder.a = object()
        holder.a = len
        import {module}
        holder.a = {made}
    """
    (tmp_path / "cold.py").write_text(textwrap.dedent(script))
    command = [sys.executable, "-m", "memwatch_core.cli", "run", "-q", "--sink", "jsonl", "cold.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl")) + done.stdout
    assert f'"new":{{"shown":"{text}"}}' in written.replace(": ", ":"), written


# ---- templates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (TypeFormat("UUID", ("x",)), "no dotted name"),
        (TypeFormat("uuid.class", ("x",)), "no dotted name"),
        (TypeFormat("uuid.UUID", ()), "one or more"),
        (TypeFormat("uuid.UUID", "{int}"), "one or more"),  # type: ignore[arg-type]
        (TypeFormat("uuid.UUID", ("{int:hex}",)), "no form is called 'hex'"),
        (TypeFormat("uuid.UUID", ("{int",)), "stands alone"),
        (TypeFormat("uuid.UUID", ("int}",)), "stands alone"),
        (TypeFormat("uuid.UUID", ("{}",)), "no name of a slot"),
        (TypeFormat("uuid.UUID", ("{a.}",)), "no name of a slot"),
        (TypeFormat("uuid.UUID", ("{class:text}",)), "no name of a slot"),
        (TypeFormat("uuid.UUID", ("{0}",)), "no name of a slot"),
    ],
)
def test_format_that_is_none_is_refused(made: TypeFormat, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        declared([made])
