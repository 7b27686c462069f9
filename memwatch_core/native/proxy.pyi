"""The types and functions of python/values/. All need the GIL, which Python code holds."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import CodeType
from typing import Any, Literal, TypeVar

from typing_extensions import Buffer

T = TypeVar("T")

class Proxy:
    """A watched value. It behaves as the value does; ``value`` reads and writes it."""

    value: Any

class Int(Proxy): ...
class Float(Proxy): ...
class Bytes(Proxy): ...
class ByteArray(Proxy): ...
class Struct(Proxy): ...
class Object(Proxy): ...
class Memory(Proxy): ...

StructField = tuple[str | None, str, int, int, bool]
"""Name, letter of the struct module, offset, size in bytes, little-endian."""
StructCodec = tuple[str, tuple[StructField, ...], Callable[[tuple[Any, ...]], Any] | None]
ObjectCodec = tuple[
    Callable[[Any, Mapping[str, Any]], bytes],
    Callable[[bytes, Mapping[str, Any]], Any],
    Mapping[str, Any],
    tuple[str, int, tuple[int, ...]] | None,
]
"""encode, decode, options; and the buffer's format, item size and shape."""

def create(
    kind: Literal["int", "float", "bytes", "bytearray", "struct", "object", "memory"],
    name: str,
    data: Buffer,
    flags: int,
    depth_start: int,
    depth_stop: int,
    share: bool,
    codec: StructCodec | ObjectCodec | None,
    /,
) -> Any:
    """A proxy of that kind whose page holds ``data``, registered with the core; typed like the value it stands for.

    Raises CoreError, JournalFullError; ValueError if ``data`` doesn't have the kind's layout.
    """

def describe(proxy: object, metadata: bytes, info: object, /) -> None:
    """Records metadata for the proxy's variable. Raises CoreError, JournalFullError, SessionError."""

def get_info(proxy: object, /) -> tuple[int, int, int, Any]:
    """Variable id (0: ended), size in bytes, exported buffers, info. TypeError for a plain value."""

def end(proxy: object, /) -> Any:
    """Ends the watch and returns the plain value. SessionError if it has ended."""

def end_elsewhere(proxy: object, gone: bool, above: int, /) -> bool:
    """Ends the watch of a memory that its value has left, or of one that is gone, at the line of the frame that is
    ``above`` frames above the caller. False: it had ended."""

def is_proxy(value: object, /) -> bool: ...
def set_context_variable(variable: ContextVar[Any] | None, /) -> None:
    """Sets the ContextVar whose value, an int or a statement of the tracer, is the SQL context of every store."""

def forget_sites() -> None:
    """Releases the code objects in the cache of sites."""

def provide_origins(on: bool, /) -> None:
    """Whether to trace stores to Python frames; switched off before the interpreter ends."""

def keep_stacks(limit: int, /) -> None:
    """How many frames of a store's call stack to record, from 1 (its own line alone) to 128. Raises CoreError: no
    memory."""

def leave_out_callers() -> None:
    """From now on, the functions that run now aren't recorded as callers: those that run the program."""

def run_at_bottom(code: CodeType, globals: dict[str, Any], /) -> None:
    """Executes a program as the interpreter itself does: no function is below it, nor counted for RecursionError."""

def call_at_bottom(function: Callable[..., T], /, *arguments: Any) -> T:
    """Calls a function as the interpreter itself does: no other is below it, nor counted for RecursionError."""

class Label:
    """A label that was entered; made by :func:`enter_label`."""

def enter_label(text: str, /) -> Label:
    """Puts a label in force in the current context; ``text`` is an exact str."""

def is_label_here(label: Label, /) -> bool:
    """Whether the label was entered in the current context, and not left yet."""

def leave_label(label: Label, /) -> None:
    """Ends a label; the one around it is in force again."""

CELL: int
"""Bytes of a cell."""

def why_no_places(value: object, /) -> str | None:
    """Why :func:`open_places` rejects the value; None: it accepts it."""

def open_places(
    value: object,
    name: str,
    metadata: bytes,
    flags: int,
    depth: int,
    most: int,
    fields: frozenset[str] | None,
    skip: frozenset[str] | None,
    info: object,
    key: object = ...,
    /,
) -> int:
    """Watches an object or a dict in place; returns its variable id. ``metadata`` is JSON without the last brace. With
    ``key``, as :func:`place_of` returns it, watches this place alone.

    Raises CoreError, JournalFullError, MemoryError; TypeError with the reason of :func:`why_no_places`.
    """

def open_names(
    object: object,
    name: str,
    metadata: bytes,
    flags: int,
    depth: int,
    most: int,
    skip: frozenset[str] | None,
    pattern: bytes | None,
    classes: str | None,
    quiet: bool,
    info: object,
    /,
) -> int:
    """As :func:`open_places`, of names of a module or a class: those that ``pattern`` (``*``, ``?``) is of. Classes of
    the module ``classes`` are followed. ``quiet``: what defines a function, a class or a module isn't told."""

def open_route(
    object: object,
    name: str,
    metadata: bytes,
    flags: int,
    depth: int,
    most: int,
    names: tuple[object, ...],
    brackets: int,
    info: object,
    /,
) -> int:
    """As :func:`open_places`, of the place that ``names`` lead to from an object (None: it isn't there), whatever they
    mean by then: plain keys, two at least. ``brackets``: a bit for each that is a key or an index. Of an attribute of a
    class, also that of each of its instances, from birth."""

def route_end(object: object, names: tuple[object, ...], brackets: int, /) -> str:
    """What such names lead to now, in words."""

def widen_names(id: int, pattern: bytes | None, classes: str | None, /) -> None:
    """A watch of :func:`open_names` is of those of another pattern too, or of all (None), and of classes of a module
    (None: as before). What is there by now isn't told."""

def executor(exchange: Callable[[CodeType, dict[str, Any]], CodeType], /) -> Callable[..., None]:
    """A function like ``exec``, that executes what ``exchange`` makes of the code and its globals; no frame of it is on
    the stack meanwhile."""

def keep_places(id: int, /) -> None:
    """:func:`close_places` doesn't end this watch from now on."""

def has_held(id: int, /) -> bool:
    """Whether the place of a variable has ever held something; True too if its watch has ended."""

def tell_unmet(id: int, near: bytes, /) -> None:
    """Records that the name of a variable's watch was never there; ``near``: one that is like it, or nothing."""

def place_of(owner: object, key: object, /) -> tuple[str, Any, str, str | None, Any, bool]:
    """Path of a place, its key for the other functions, its value in words, why it can't be watched alone (None: it
    can), and the info of the watch of the whole owner that has this place (None: there is none)."""

def find_places(value: object, key: object = ..., /) -> tuple[int, int, Any, bool, int] | None:
    """Variable id, bytes, info, whether it is the watched object itself, number of objects that weren't followed; None
    if it isn't watched in place. With ``key``, of this place if it is watched alone."""

def describe_places(value: object, metadata: bytes, key: object = ..., /) -> None:
    """Records other metadata for an object, or a place, that is watched. Raises CoreError, JournalFullError."""

def close_places(value: object, key: object = ..., /) -> bool:
    """Ends the watch of an object and those of its places; with ``key``, of this place. Returns False if there was
    none."""

def declare_types(
    all: tuple[tuple[str, str, bool, tuple[tuple[str | tuple[int, tuple[str, ...]], ...], ...]], ...], /
) -> None:
    """Says how values of types are written, as :func:`memwatch_core.type_formats.declared` makes it; instead of all
    that was said before."""

def written(value: object, /) -> str:
    """A value as a cell says it in words, of up to 240 bytes; none of its own code runs."""

def set_secrets(patterns: tuple[bytes, ...], /) -> None:
    """Which variables and places are secrets from now on: names in UTF-8, with ``*`` and ``?``; instead of all that was
    said before."""

def is_secret(name: str, /) -> bool:
    """Whether one of these patterns matches a name."""

def audit_places() -> int:
    """Compares everything watched in place with what was recorded of it, and records differences. Returns the number of
    places that differed."""

def close_all_places() -> None:
    """Ends all watches of objects."""

class Function:
    """A function whose names are watched, as a constant of its code. Asked for its truth by that code, it begins an
    activation: it announces the parameters of the running frame. Marshalled and pickled as bytes."""

    def __bool__(self) -> bool: ...

class LocalSite:
    """A binding of a name, as a constant of the code that binds it. Asked for its truth by that code, it announces that
    the name is about to be bound to the value below it on the stack, or deleted. Marshalled and pickled as bytes."""

    def __bool__(self) -> bool: ...

def open_function(
    name: str,
    metadata: bytes,
    flags: int,
    info: Any,
    parameters: tuple[tuple[str, int, bool], ...],
    shared: tuple[int, ...],
    constant: int,
    /,
) -> Function:
    """A function whose names are watched from now on, whenever a journal is open. ``metadata``: JSON without its last
    brace. ``parameters``: name, slot of the frame, whether the slot has a cell. ``shared``: slots of cells that inner
    functions bind. ``constant``: which one of its code's it becomes. Raises MemoryError."""

def local_site(
    function: Function, kind: int, does: int, slot: int, name: str, own: bool, constant: int, depth: int, /
) -> LocalSite:
    """A binding of a name of a function. ``kind``: 0 in a slot of the frame, 1 in a cell in a slot, 2 in the namespace
    of a class's body, 3 in the module's. ``does``: 0 stores what is below it on the stack, 1 deletes, 2 adds to what
    the name holds, 3 has stored the sum. ``own``: in the function's own code. ``constant``: which one of the code's it
    becomes; ``depth``: how many values are below it on the stack. Raises MemoryError."""

def end_function(function: Function, /) -> None:
    """Ends the watch of its names."""

def find_function(function: Function, /) -> tuple[int, int, Any]:
    """Variable id, 0 if nothing of it is in the journal; bytes, info."""

def judge_function(function: Function, program: bytes | None, handle: int, /) -> None:
    """Has what a function's names are bound to judged, in this journal and later ones; None: by this handle no more."""

def record_locals(on: bool, flags: int = 0, /) -> None:
    """Whether a journal is open, and the flags of variables in it. Watches in the one before have ended."""

Hit = tuple[int, int, int, int, int, int, int, int, int, str, str, int, str, bytes, bytes]
"""Handle, variable id, thread's number, how (mwj_origin), whether it is unknown if it is met, offset of the value, its
size (0: a secret), time, others like it, path (UTF-8), file, line, function, the bytes before, and after: of the whole
value if it is of at most 256."""

def react_by(function: Callable[[list[Hit]], Sequence[BaseException | Callable[[], object]]], /) -> None:
    """What is done when conditions are met: exceptions are raised, functions called, in the thread that wrote. Raises
    RuntimeError, OSError."""

def call_untraced(function: Callable[..., T], /, *arguments: Any) -> T:
    """Calls it so that no trace function and no tool of sys.monitoring is told of what it does in this thread."""

def ask_statements() -> None:
    """Conditions ask for SQL statements from now on: their texts are kept."""

def hits_forked() -> None:
    """In a forked child: what other threads had met, nobody acts on."""

def set_condition(variable: int, program: bytes, unit: int, handle: int, /) -> None:
    """Has the events of a variable judged; ``unit``: bytes of a cell, or 0. Raises CoreError."""

def drop_condition(variable: int, handle: int, /) -> None:
    """Ends what :func:`set_condition` has begun."""

def judge_places(variable: int, program: bytes | None, handle: int, /) -> bool:
    """Has the events of an object that is watched in place judged; None: by this handle no more. Returns False if there
    is no such watch. Raises CoreError."""

def info_of_places(variable: int, /) -> Any:
    """The info of an object's or a place's watch; None: there is none of this id."""
