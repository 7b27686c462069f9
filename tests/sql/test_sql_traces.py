"""Risk: what a driver does around a call changes what the program gets of it, is done twice or never, or an error of it
reaches the program.

Axes: what kind of function is traced, how the call ends, what the trace does before and after it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sql_support import Records

from memwatch_core.adapter.contexts import SqlContexts
from memwatch_core.errors import PluginError
from memwatch_core.native.tracing import Reader, Status, in_force
from memwatch_plugins.sql import SqlDriverBase, replaces, traces
from memwatch_plugins.sql.around import traced
from memwatch_plugins.sql.targets import is_own, named, reader


class Failed(Exception):
    pass


def result_of(fails: bool) -> str:
    if fails:
        try:
            raise LookupError
        except LookupError:
            raise Failed("the library's")  # noqa: B904  (its context is what is looked at)
    return "result"


class Library:
    """Each kind of function, called by one that hides the difference: what it gave."""

    def function(self, fails: bool) -> str:
        return result_of(fails)

    async def coroutine(self, fails: bool) -> str:
        await asyncio.sleep(0)
        return result_of(fails)

    def generator(self, fails: bool) -> Any:
        yield 1
        yield result_of(fails)

    async def async_generator(self, fails: bool) -> Any:
        yield 1
        yield result_of(fails)

    @contextmanager
    def block(self, fails: bool) -> Any:
        yield 1
        result_of(fails)

    @asynccontextmanager
    async def async_block(self, fails: bool) -> Any:
        yield 1
        result_of(fails)


async def use_async(library: Any, kind: str, fails: bool) -> Any:
    if kind == "coroutine":
        return await library.coroutine(fails)
    if kind == "async_generator":
        return [row async for row in library.async_generator(fails)]
    async with library.async_block(fails) as item:
        return item


def use(library: Any, kind: str, fails: bool) -> Any:
    if kind == "function":
        return library.function(fails)
    if kind == "generator":
        return list(library.generator(fails))
    if kind == "block":
        with library.block(fails) as item:
            return item
    return asyncio.run(use_async(library, kind, fails))


KINDS = ("function", "coroutine", "generator", "async_generator", "block", "async_block")
ROWS = ("generator", "async_generator")


class Driver(SqlDriverBase):
    name, summary, target = "dbx", "the database X", "json"

    def __init__(self) -> None:
        super().__init__()
        self.tracer = SimpleNamespace()  # type: ignore[assignment]
        self.got: list[Any] = []

    def follows(self, library: Any, fails: bool) -> Any:
        self.got.append("before")
        try:
            while (got := (yield)) is not None:
                self.got.append(got)
                if got == "result" and self.kind not in ROWS:
                    return
            self.got.append("over")
        except BaseException as error:
            self.got.append(type(error))
            raise

    def returns_early(self, library: Any, fails: bool) -> Any:
        return
        yield

    def no_generator(self, library: Any, fails: bool) -> Any:
        return None

    def other_arguments(self, library: Any) -> Any:
        yield

    def raises_before(self, library: Any, fails: bool) -> Any:
        raise ValueError("ours")
        yield

    def raises_after(self, library: Any, fails: bool) -> Any:
        try:
            yield
        finally:
            raise ValueError("ours")

    def hides_errors(self, library: Any, fails: bool) -> Any:
        try:
            while (yield) is not None and self.kind in ROWS:
                pass
        except Failed:
            pass

    def raises_another(self, library: Any, fails: bool) -> Any:
        try:
            while (yield) is not None and self.kind in ROWS:
                pass
        except Failed:
            raise KeyError("ours") from None

    def goes_on(self, library: Any, fails: bool) -> Any:
        while True:
            with suppress(Failed):
                yield

    kind = ""


TROUBLES: dict[str, Callable[[str, bool], int]] = {
    "follows": lambda kind, fails: 0,
    "returns_early": lambda kind, fails: 0,
    "no_generator": lambda kind, fails: 0,
    "other_arguments": lambda kind, fails: 0,
    "raises_before": lambda kind, fails: 1,
    "raises_after": lambda kind, fails: 1,
    "hides_errors": lambda kind, fails: 0,
    "raises_another": lambda kind, fails: int(fails),
    "goes_on": lambda kind, fails: 1,
}


def shown(error: BaseException) -> tuple[Any, ...]:
    files = []
    at = error.__traceback__
    while at is not None:
        files.append(at.tb_frame.f_code.co_name)
        at = at.tb_next
    return type(error), str(error), type(error.__context__), type(error.__cause__), [f for f in files if f in NAMES]


NAMES = {*TROUBLES, "result_of", *KINDS}


def outcome(library: Any, kind: str, fails: bool) -> Any:
    try:
        return use(library, kind, fails)
    except Exception as error:
        return shown(error)


@pytest.mark.parametrize("handling", [False, True], ids=["", "while another error is handled"])
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", TROUBLES)
def test_program_gets_the_same_whatever_the_trace_does(how: str, kind: str, fails: bool, handling: bool) -> None:
    def both() -> tuple[Any, Any]:
        driver = Driver()
        driver.kind = kind
        own: Any = type("Traced", (Library,), {kind: traced(driver, Library, kind, getattr(driver, how))})
        got = outcome(Library(), kind, fails), outcome(own(), kind, fails)
        assert driver.troubles == TROUBLES[how](kind, fails)
        return got

    if handling:
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            untraced, now = both()
    else:
        untraced, now = both()
    if fails:  # one frame more: that of the method that stands for it
        untraced[4].insert(0, kind) if untraced[4].count(kind) < now[4].count(kind) else None
    assert now == untraced


GETS = {
    "function": ["result"], "coroutine": ["result"], "generator": [1, "result", "over"],
    "async_generator": [1, "result", "over"], "block": ["over"], "async_block": ["over"],
}  # fmt: skip


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
@pytest.mark.parametrize("kind", KINDS)
def test_trace_gets_the_result_each_row_or_the_error(kind: str, fails: bool) -> None:
    driver = Driver()
    driver.kind = kind
    own: Any = type("Traced", (Library,), {kind: traced(driver, Library, kind, driver.follows)})
    outcome(own(), kind, fails)
    rows = [1] if kind in ROWS else []
    assert driver.got == ["before", *([*rows, Failed] if fails else GETS[kind])]


def test_generator_that_is_not_read_to_its_end_is_over() -> None:
    driver = Driver()
    driver.kind = "generator"
    own: Any = type("Traced", (Library,), {"generator": traced(driver, Library, "generator", driver.follows)})
    rows = own().generator(False)
    assert next(rows) == 1
    rows.close()
    assert driver.got == ["before", 1, "over"]


def test_end_of_an_iteration_reaches_the_trace_and_the_program() -> None:
    class Iterated:
        def __next__(self) -> None:
            raise StopIteration("the end")

    class Tracing(Driver):
        def steps(self, iterated: Any) -> Any:
            try:
                yield
            except StopIteration as error:
                self.got.append(str(error))
                raise

    driver = Tracing()
    traced_next = traced(driver, Iterated, "__next__", driver.steps)
    with pytest.raises(StopIteration, match="the end"):
        traced_next(Iterated())
    assert (driver.got, driver.troubles) == (["the end"], 0)


@pytest.mark.parametrize("where", ["before", "after", "failed"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, TimeoutError])
def test_signal_in_a_trace_is_the_programs_and_no_statement_runs_after_it(
    where: str, kind: type[BaseException], tracer: SqlContexts, records: Records
) -> None:
    def handler(number: int, frame: Any) -> None:
        raise kind("the program's")

    class Tracing(Driver):
        def steps(self, library: Any, fails: bool) -> Any:
            self.tracer.statement_begins("dbx", "SELECT 1")  # type: ignore[union-attr]
            if where == "before":
                signal.raise_signal(signal.SIGUSR1)
            try:
                yield
            except Failed:
                signal.raise_signal(signal.SIGUSR1)
            if where == "after":
                signal.raise_signal(signal.SIGUSR1)

    driver, old = Tracing(), signal.signal(signal.SIGUSR1, handler)
    driver.tracer = tracer
    try:
        function = traced(driver, Library, "function", driver.steps)
        with pytest.raises(kind, match="the program's"):
            function(Library(), where == "failed")
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert (driver.troubles, tracer.troubles, in_force()) == (0, 0, 0)
    assert records.outcomes == [("SELECT ?", f"failed: {kind.__name__}")]


# ---- targets ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Base:
        def inherited(self) -> str:
            return "inherited"

    class Kind(Base):
        def own(self) -> str:
            return "own"

    class Other(Base):
        pass

    module: Any = ModuleType("dbx")
    module.__spec__ = SimpleNamespace(name="dbx")
    module.Base, module.Kind, module.Other = Base, Kind, Other
    module.connect = module.open_it = lambda *args: args
    monkeypatch.setitem(sys.modules, "dbx", module)
    return module


class Declaring(SqlDriverBase):
    name, summary, target = "dbx", "the database X", "dbx"
    calls = 0

    @traces("dbx:Kind.own", "dbx:Kind.inherited", "dbx:Other.inherited", "dbx:Kind.of_a_later_version?")
    def counted(self, it: Any) -> Any:
        self.calls += 1
        yield

    @traces("dbx:open_it")
    def opened(self, *args: Any) -> Any:
        self.calls += 1
        yield


class Replacing(SqlDriverBase):
    name, summary, target = "dbx", "the database X", "dbx"

    @replaces("dbx:connect", "dbx:open_it")
    def connect(self, call: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return call(*args, "and more")


def test_what_is_named_is_traced_once_and_put_back(library: Any) -> None:
    driver, before = Declaring(), {each: dict(vars(each)) for each in (library, library.Base, library.Kind)}
    driver.install(SimpleNamespace())  # type: ignore[arg-type]
    assert [library.Kind().own(), library.Kind().inherited(), library.open_it(1)] == ["own", "inherited", (1,)]
    assert (driver.calls, driver.troubles) == (3, 0)
    driver.uninstall()
    assert {each: dict(vars(each)) for each in before} == before


def test_function_of_two_names_is_replaced_under_both(library: Any) -> None:
    driver, original = Replacing(), library.connect
    driver.install(SimpleNamespace())  # type: ignore[arg-type]
    assert library.connect is library.open_it
    assert library.connect(1) == (1, "and more")
    driver.uninstall()
    assert library.connect is library.open_it is original


def test_name_that_is_not_there_is_one_clear_error(library: Any) -> None:
    class Mistaken(Declaring):
        @traces("dbx:Kind.nothing")
        def wrong(self, it: Any) -> Any:
            yield

    driver, before = Mistaken(), dict(vars(library.Kind))
    with pytest.raises(PluginError, match=r"dbx:Kind\.nothing.*version"):
        driver.install(SimpleNamespace())  # type: ignore[arg-type]
    assert dict(vars(library.Kind)) == before
    assert named("dbx:Kind.nothing?") is None


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_what_is_no_method_of_objects_is_refused_and_can_be_replaced(library: Any, kind: Any) -> None:
    class Tracing(SqlDriverBase):
        name, summary, target = "dbx", "the database X", "dbx"

        @traces("dbx:Kind.made")
        def made(self, *args: Any) -> Any:
            yield

    class Instead(Replacing):
        @replaces("dbx:Kind.made")
        def made(self, call: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            return call(*args), "and more"

    library.Kind.made = original = kind(lambda *args: len(args))
    expected = library.Kind.made(1)
    with pytest.raises(PluginError, match=r"'made'.*replaces"):
        Tracing().install(SimpleNamespace())  # type: ignore[arg-type]
    driver = Instead()
    driver.install(SimpleNamespace())  # type: ignore[arg-type]
    assert library.Kind.made(1) == library.Kind().made(1) == (expected, "and more")
    driver.uninstall()
    assert vars(library.Kind)["made"] is original


def test_method_of_a_class_in_c_counts_as_the_own_of_a_class_in_python() -> None:
    class Kind(dict[str, int]):
        pass

    class Derived(Kind):
        pass

    assert is_own(Kind, "get")
    assert not is_own(Derived, "nothing")
    assert not is_own(Kind, "__init_subclass__")


# ---- attributes ------------------------------------------------------------------------------------------------------


class Slotted:
    __slots__ = ("below", "kept")

    def __init__(self, below: object = None) -> None:
        self.below, self.kept = below, 7

    @property
    def computed(self) -> int:
        return 8

    def asked(self) -> int:
        return 9


class Mine(Slotted):
    kept = property(lambda self: 1 / 0)  # type: ignore[assignment]
    computed = property(lambda self: 1 / 0)  # type: ignore[assignment]
    asked = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.below = None
        Slotted.__dict__["kept"].__set__(self, 7)


@pytest.mark.parametrize(("name", "value"), [("kept", 7), ("computed", 8), ("asked", 9), ("nothing", None)])
@pytest.mark.parametrize("kind", [Slotted, Mine])
def test_attribute_is_the_librarys_whatever_the_programs_class_has(name: str, value: Any, kind: type) -> None:
    assert reader(Slotted, name)(kind()) == value


def test_path_of_attributes_ends_where_there_is_none() -> None:
    read = Reader(Slotted.__dict__["below"], Slotted.__dict__["kept"])
    assert read(Slotted(Slotted())) == 7
    assert read(Slotted()) is None


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (((2, 3), (4,), 0), {0: False, 1: False, 2: True, 3: True, 4: None, 63: False, 64: False, -1: False}),
        (((1,), (), 0), {True: True, False: False, None: None}),
        (((), (), 0b101), {0: False, 1: True, 2: False, 4: True, 7: True, 1 << 40: False, None: None}),
    ],
)
def test_status_says_whether_a_transaction_is_open(status: Any, values: dict[Any, Any]) -> None:
    for value, meaning in values.items():
        assert Status(lambda connection, value=value: value, *status)(None) is meaning


@pytest.mark.parametrize("value", ["open", 2**70, object()])
def test_status_that_is_no_number_is_an_error_of_ours(value: object) -> None:
    with pytest.raises((TypeError, OverflowError)):
        Status(lambda connection: value, (1,), (), 0)(None)
    with pytest.raises(ValueError, match="0 to 63"):
        Status(lambda connection: value, (64,), (), 0)


def test_library_that_takes_names_of_the_programs_may_get_one_that_is_self() -> None:
    class Named:
        def function(this, /, **values: int) -> dict[str, int]:
            return values

        def generator(this, /, **values: int) -> Any:
            yield values

        async def coroutine(this, /, **values: int) -> dict[str, int]:
            return values

        async def async_generator(this, /, **values: int) -> Any:
            yield values

    def trace(library: Any, /, **values: int) -> Any:
        yield

    async def all_of(rows: Any) -> Any:
        return [row async for row in rows]

    make = {kind: traced(Driver(), Named, kind, trace) for kind in (*ROWS, "function", "coroutine")}
    values = {"self": 1, "args": 2}
    assert make["function"](Named(), **values) == values
    assert list(make["generator"](Named(), **values)) == [values]
    assert asyncio.run(make["coroutine"](Named(), **values)) == values
    assert asyncio.run(all_of(make["async_generator"](Named(), **values))) == [values]


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async_generator"])
def test_function_of_a_module_whose_call_is_not_over_when_it_returns_is_refused(kind: str) -> None:
    module = ModuleType("dbx")
    original = vars(Library)[kind]
    setattr(module, kind, original)
    with pytest.raises(PluginError, match=rf"'{kind}'.*replaces"):
        Driver().trace(module, kind, lambda *args: None)
    assert getattr(module, kind) is original
