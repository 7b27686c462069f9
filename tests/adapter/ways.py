"""Ways to write to a watched value, each with the place that its events must name.

Run as a program (by test_ways.py, once for each tracker), it tries them all and prints what came of it as JSON. The
lines that must be named are those that end in ``# <-``.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import contextvars
import ctypes
import functools
import gc
import inspect
import io
import itertools
import json
import operator
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

libc = ctypes.CDLL(None)
selector_events = asyncio.selector_events.__file__


def line_of(file: str, text: str) -> int:
    """The first line of a module of the standard library that holds the text."""
    return 1 + next(i for i, line in enumerate(Path(file).read_text().splitlines()) if text in line)


COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_ubyte), ctypes.POINTER(ctypes.c_ubyte))
COMPREHENSION = "inlined" if sys.version_info >= (3, 12) else "<listcomp>"


@dataclass(frozen=True)
class Way:
    run: Callable[[Any], Any]
    kind: str
    file: str
    lines: frozenset[int]
    function: str
    origin: str | None
    events: int | None


WAYS: dict[str, Way] = {}


def way(
    kind: str,
    function: str | None = None,
    *,
    origin: str | None = None,
    events: int | None = None,
    file: str = __file__,
    line: int | None = None,
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Registers a way: the kind of value, the function that its events name, and how many there are if it matters."""

    def register(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        lines, first = inspect.getsourcelines(run)
        marked = [first + i for i, text in enumerate(lines) if text.rstrip().endswith("# <-")]
        where = frozenset(marked if line is None else [line])
        name = run.__name__
        named = name if function in (None, "inlined") else str(function)
        WAYS[name] = Way(run, kind, file, where, named, origin, events)
        return run

    return register


def address(p: Any) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(p))


# ---- announced: the proxy's own operators ---------------------------------------------------------------------------


@way("int", origin="announced", events=1)
def assign_value(p):
    p.value = 7  # <-


@way("int", origin="announced", events=1)
def in_place_add(p):
    p += 1  # <-


@way("int", origin="announced", events=10)
def every_in_place_operator(p):
    p += 8; p -= 1; p *= 3; p //= 2; p %= 7; p **= 2; p <<= 3; p >>= 1; p &= 63; p ^= 5  # fmt: skip  # <-


@way("float", origin="announced", events=4)
def float_operators(p):
    p += 1.5; p -= 0.25; p *= 2.0; p /= 4  # fmt: skip  # <-


@way("int", origin="announced", events=1)
def operator_iadd(p):
    operator.iadd(p, 5)  # <-


@way("int", origin="announced", events=1)
def setattr_call(p):
    setattr(p, "value", 5)  # noqa: B010 # <-


@way("bytes", origin="announced", events=1)
def bytes_assign(p):
    p.value = b"other"  # <-


@way("bytes", origin="announced", events=1)
def bytes_append(p):
    p += b"!"  # <-


@way("bytearray", origin="announced", events=1)
def item(p):
    p[3] = 77  # <-


@way("bytearray", origin="announced", events=1)
def slice_same_length(p):
    p[2:6] = b"wxyz"  # <-


@way("bytearray", origin="announced", events=1)
def slice_longer(p):
    p[2:4] = b"longer than two"  # <-


@way("bytearray", origin="announced", events=1)
def slice_with_step(p):
    p[0:8:2] = b"ABCD"  # <-


@way("bytearray", origin="announced", events=1)
def delete_item(p):
    del p[5]  # <-


@way("bytearray", origin="announced", events=8)
def bytearray_methods(p):
    p.append(1); p.extend(b"ab"); p.insert(0, 9); p.pop()  # fmt: skip  # <-
    p.remove(9); p.reverse(); p += b"z"; p.clear()  # fmt: skip  # <-


@way("struct", origin="announced", events=1)
def struct_field_by_name(p):
    p.price = 2.5  # <-


@way("struct", origin="announced", events=1)
def struct_field_by_index(p):
    p[0] = 12  # <-


@way("struct", origin="announced", events=1)
def struct_whole(p):
    p.value = (1, 2.0, b"ab")  # <-


@way("struct", origin="announced", events=1)
def struct_augmented_field(p):
    p.qty += 1  # <-


# ---- stores through the buffer --------------------------------------------------------------------------------------


@way("int", origin="store", events=1)
def memoryview_item(p):
    memoryview(p).cast("B").cast("q")[0] = 5  # <-


@way("bytearray", origin="store")
def memoryview_slice(p):
    memoryview(p)[4:12] = b"12345678"  # <-


@way("bytearray", origin="store", events=1)
def memoryview_cast(p):
    memoryview(p).cast("d")[2] = 2.5  # <-


@way("bytearray", origin="store", events=1)
def memoryview_of_memoryview(p):
    memoryview(memoryview(p)[8:16])[3] = 1  # <-


@way("big", origin="store")
def memoryview_big_slice(p):
    memoryview(p)[100:8000] = bytes(range(79)) * 100  # <-


@way("bytearray", origin="store")
def pack_into(p):
    struct.pack_into("<qid", p, 8, 1, 2, 3.0)  # <-


@way("struct", origin="store")
def pack_into_struct(p):
    struct.pack_into("<qd4s", p, 0, 9, 1.25, b"wxyz")  # <-


@way("struct", origin="store")
def struct_object_pack_into(p):
    struct.Struct("<d").pack_into(p, 8, 4.5)  # <-


@way("bytearray", origin="store")
def bytesio_readinto(p):
    io.BytesIO(b"q" * 50).readinto(p)  # <-


@way("bytearray", origin="store")
def buffered_readinto(p):
    io.BufferedReader(io.BytesIO(b"r" * 50)).readinto(memoryview(p)[:20])  # <-


@way("bytearray", origin="store")
def array_of_watched(p):
    memoryview(p).cast("d")[:4] = array.array("d", [1, 2, 3, 4])  # <-


@way("bytearray", origin="store")
def bytearray_join_into(p):
    memoryview(p)[:6] = b"".join([b"abc", b"def"])  # <-


# ---- filled by the kernel -------------------------------------------------------------------------------------------


def zeros() -> int:
    return os.open("/dev/zero", os.O_RDONLY)


def received(kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket at which 40 bytes have arrived."""
    here, there = socket.socketpair(type=kind)
    here.send(b"s" * 40)
    return there


@way("bytearray", origin="syscall", events=1)
def file_readinto(p):
    with open(zeros(), "rb", buffering=0) as file:
        file.readinto(p)  # <-


@way("bytearray", origin="syscall", events=1)
def buffered_file_readinto(p):
    with open(zeros(), "rb", buffering=16) as file:
        file.readinto(memoryview(p)[:40])  # <-


@way("int", origin="syscall", events=1)
def file_readinto_number(p):
    with open(zeros(), "rb", buffering=0) as file:
        file.readinto(p)  # <-


@way("bytearray", origin="syscall", events=2)
def os_readv(p):
    os.readv(zeros(), [memoryview(p)[:7], bytearray(5), memoryview(p)[20:30]])  # <-


@way("bytearray", origin="syscall", events=1)
def os_preadv(p):
    os.preadv(zeros(), [memoryview(p)[1:30]], 9)  # <-


@way("bytearray", origin="syscall", events=1)
def recv_into(p):
    received().recv_into(p)  # <-


@way("bytearray", origin="syscall", events=1)
def recvfrom_into(p):
    received(socket.SOCK_DGRAM).recvfrom_into(p, 10)  # <-


@way("bytearray", origin="syscall", events=2)
def recvmsg_into(p):
    received().recvmsg_into([memoryview(p)[:3], bytearray(3), memoryview(p)[9:12]])  # <-


@way(
    "bytearray",
    "readinto",
    origin="syscall",
    events=1,
    file=socket.__file__,
    line=line_of(socket.__file__, "return self._sock.recv_into(b)"),
)
def socket_file_readinto(p):
    received().makefile("rb", buffering=0).readinto(p)


@way("big", origin="syscall", events=2)
def readinto_array(p):
    with open(zeros(), "rb", buffering=0) as file:
        file.readinto(np.frombuffer(p, dtype=np.float64))  # <-


@way("bytearray", origin="syscall", events=1)
def read_by_ctypes(p):
    libc.read(zeros(), ctypes.c_void_p(address(p)), 10)  # <-


@way("bytearray", origin="syscall", events=1)
def getrandom_by_ctypes(p):
    libc.getrandom(ctypes.c_void_p(address(p)), 16, 0)  # <-


@way("bytearray", origin="syscall", events=1)
def fread_by_ctypes(p):
    libc.fdopen.restype = ctypes.c_void_p
    file = libc.fdopen(zeros(), b"r")
    libc.fread(ctypes.c_void_p(address(p)), 4, 5, ctypes.c_void_p(file))  # <-


@way("bytearray", "fill", origin="syscall", events=1)
def readinto_in_thread(p):
    def fill() -> None:
        with open(zeros(), "rb", buffering=0) as file:
            file.readinto(p)  # <-

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()


@way(
    "bytearray",
    "sock_recv_into",
    origin="syscall",
    events=1,
    file=selector_events,
    line=line_of(selector_events, "return sock.recv_into(buf)"),
)
def recv_into_in_a_loop(p):
    async def fill() -> None:
        there = received()
        there.setblocking(False)
        await asyncio.get_running_loop().sock_recv_into(there, memoryview(p))

    asyncio.run(fill())


# ---- ctypes ---------------------------------------------------------------------------------------------------------


@way("bytearray", origin="store")
def ctypes_memmove(p):
    ctypes.memmove(address(p), b"x" * 40, 40)  # <-


@way("bytearray", origin="store")
def ctypes_memset(p):
    ctypes.memset(address(p), 7, 33)  # <-


@way("big", origin="store")
def ctypes_memset_two_pages(p):
    ctypes.memset(address(p), 9, 8000)  # <-


class Point(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_double)]


@way("bytearray", origin="store", events=1)
def ctypes_structure_field(p):
    point = Point.from_buffer(p)
    point.b = 1.25  # <-


@way("bytearray", origin="store", events=1)
def ctypes_array_item(p):
    items = (ctypes.c_int * 4).from_buffer(p)
    items[2] = 5  # <-


@way("int", origin="store", events=1)
def ctypes_scalar_value(p):
    ctypes.c_int64.from_buffer(p).value = 99  # <-


@way("int", origin="store", events=1)
def ctypes_pointer(p):
    ctypes.cast(address(p), ctypes.POINTER(ctypes.c_int64))[0] = 4  # <-


@way("bytearray", origin="store")
def libc_function(p):
    libc.snprintf(ctypes.c_void_p(address(p)), ctypes.c_size_t(20), b"%d-%d", 12, 34)  # <-


@way("bytearray", origin="store")
def qsort_of_watched(p):
    keep = COMPARE(lambda a, b: b[0] - a[0])
    libc.qsort(ctypes.c_void_p(address(p)), 20, 1, keep)  # <-


@way("bytearray", "compare", origin="announced")
def in_qsort_callback(p):
    def compare(a, b):
        p[0] = 3  # <-
        return 0

    items = (ctypes.c_ubyte * 3)(3, 1, 2)
    libc.qsort(items, 3, 1, COMPARE(compare))


# ---- numpy ----------------------------------------------------------------------------------------------------------


@way("bytearray", origin="store")
def numpy_fill(p):
    a = np.frombuffer(p, dtype=np.float64)
    a[:] = 1.5  # <-


@way("int", origin="store", events=1)
def numpy_item(p):
    a = np.frombuffer(p, dtype=np.int64)
    a[0] = 25  # <-


@way("big", origin="store")
def numpy_ufunc_out(p):
    a = np.frombuffer(p, dtype=np.float64)
    np.add(np.arange(1024.0), 1.0, out=a)  # <-


@way("big", origin="store")
def numpy_in_place(p):
    a = np.frombuffer(p, dtype=np.float64)
    a += np.arange(1024.0)  # <-


@way("big", origin="store")
def numpy_sort(p):
    a = np.frombuffer(p, dtype=np.int32)
    a.sort()  # <-


@way("big", origin="store")
def numpy_copyto(p):
    np.copyto(np.frombuffer(p, dtype=np.uint8), np.arange(8192, dtype=np.uint8))  # <-


@way("bytearray", origin="store")
def numpy_fancy(p):
    a = np.frombuffer(p, dtype=np.uint8)
    a[[1, 5, 9]] = [1, 2, 3]  # <-


@way("big", origin="store")
def numpy_random_out(p):
    np.random.default_rng(3).random(1024, out=np.frombuffer(p, dtype=np.float64))  # <-


@way("big", origin="store")
def numpy_strided(p):
    np.frombuffer(p, dtype=np.float64)[::3] = 4  # <-


# ---- statements of every shape --------------------------------------------------------------------------------------


@way("bytearray")
def call_on_many_lines(p):
    struct.pack_into(  # <-
        "<q",
        p,
        8,
        5,
    )


@way("int", origin="announced")
def assignment_on_many_lines(p):
    # fmt: off
    p.value = [  # <-
        7,
        8,
    ][
        0
    ]
    # fmt: on


@way("int")
def argument_on_a_later_line(p):
    return (
        1,
        len(
            str(
                operator.iadd(p, 3),  # <-
            ),
        ),
    )


@way("bytearray", COMPREHENSION, events=3)
def list_comprehension(p):
    [p.__setitem__(i, i) for i in range(3)]  # <-


@way("bytearray", "<genexpr>", events=3)
def generator_expression(p):
    list(p.__setitem__(i, i) for i in range(3))  # noqa: C400 # <-


@way("int", "<lambda>")
def in_lambda(p):
    (lambda: memoryview(p).cast("B").cast("q").__setitem__(0, 4))()  # <-


@way("int", "innermost")
def nested_functions(p):
    def outer():
        def innermost():
            nonlocal p
            p += 1  # <-

        innermost()

    outer()


def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        function(*args)
        return function(*args)

    return wrapper


@way("int", "decorated", events=2)
def through_decorator(p):
    @twice
    @functools.lru_cache(maxsize=None)  # noqa: UP033
    def cached(n):
        return n

    @twice
    def decorated(n):
        memoryview(p).cast("B").cast("q")[0] = cached(n)  # <-

    decorated(3)


@way("int", "setter")
def in_property_setter(p):
    class Holder:
        @property
        def it(self):
            return p

        @it.setter
        def setter(self, v):
            memoryview(p).cast("B").cast("q")[0] = v  # <-

    Holder().setter = 3


@way("int", "Body")
def in_class_body(p):
    class Body:
        memoryview(p).cast("B").cast("q")[0] = 1  # <-


@way("int")
def in_except_clause(p):
    try:
        raise KeyError
    except KeyError:
        memoryview(p).cast("B").cast("q")[0] = 1  # <-


@way("int")
def in_finally_clause(p):
    try:
        for _ in range(3):
            continue
    finally:
        p.value = 4  # <-


@way("int")
def in_with_block(p):
    with memoryview(p).cast("B").cast("q") as view:
        view[0] = 4  # <-


@way("int", "leave")
def in_exit_of_context_manager(p):
    @contextlib.contextmanager
    def leave():
        yield
        memoryview(p).cast("B").cast("q")[0] = 8  # <-

    with leave():
        pass


@way("int")
def in_match(p):
    match p:
        case int() if memoryview(p).cast("B").cast("q").__setitem__(0, 3) is None:  # <-
            pass


@way("int", "key", events=3)
def in_sort_key(p):
    def key(n):
        memoryview(p).cast("B").cast("q")[0] = n  # <-
        return n

    sorted([3, 1, 2], key=key)


@way("bytearray", events=3)
def through_map(p):
    list(map(p.__setitem__, range(3), range(3)))  # <-


@way("bytearray", events=2)
def through_partial(p):
    put = functools.partial(operator.setitem, p, 1)
    for n in itertools.repeat(4, 2):
        put(n)  # <-


@way("int", "generator")
def in_generator(p):
    def generator():
        yield 1
        memoryview(p).cast("B").cast("q")[0] = 2  # <-
        yield 2

    list(generator())


@way("int", "generator")
def in_generator_after_throw(p):
    def generator():
        try:
            yield 1
        except ValueError:
            p.value = 2  # <-
        yield 2

    g = generator()
    next(g)
    g.throw(ValueError)


@way("int", "coroutine")
def in_coroutine(p):
    async def coroutine():
        await asyncio.sleep(0)
        memoryview(p).cast("B").cast("q")[0] = 2  # <-

    asyncio.run(coroutine())


@way("int", "task", events=20)
def in_concurrent_tasks(p):
    async def task(n):
        for _ in range(5):
            memoryview(p).cast("B").cast("q")[0] = n  # <-
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(task(n) for n in range(4)))

    asyncio.run(main())


@way("int", "__del__")
def in_destructor(p):
    class Dying:
        def __del__(self):
            memoryview(p).cast("B").cast("q")[0] = 4  # <-

    dying = Dying()
    del dying


@way("int", "callback")
def in_weakref_callback(p):
    class Target:
        pass

    def callback(_):
        p.value = 6  # <-

    target = Target()
    reference = weakref.ref(target, callback)
    del target
    assert reference() is None


@way("int", "__del__")
def in_destructor_run_by_the_collector(p):
    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            memoryview(p).cast("B").cast("q")[0] = 4  # <-

    Cycle()
    gc.collect()


@way("int", "traced")
def under_a_tracer(p):
    def tracer(frame, event, arg):
        return tracer

    def traced():
        q = 1
        memoryview(p).cast("B").cast("q")[0] = q  # <-

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        traced()
    finally:
        sys.settrace(before)


@way("int", "tracer")
def in_a_tracer(p):
    def tracer(frame, event, arg):
        if event == "line" and frame.f_code.co_name == "traced":
            memoryview(p).cast("B").cast("q")[0] = 5  # <-
        return tracer

    def traced():
        return 1

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        traced()
    finally:
        sys.settrace(before)


@way("int", "profiler")
def in_a_profiler(p):
    def profiler(frame, event, arg):
        if event == "return" and frame.f_code.co_name == "profiled":
            p.value = 9  # <-

    def profiled():
        return 1

    sys.setprofile(profiler)
    profiled()
    sys.setprofile(None)


@way("int", "worker", events=50)
def in_thread(p):
    def worker():
        view = memoryview(p).cast("B").cast("q")
        for n in range(50):
            view[0] = n  # <-

    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()


@way("big", "worker")
def in_thread_without_the_interpreter_lock(p):
    def worker():
        a = np.frombuffer(p, dtype=np.float64)
        np.sqrt(np.arange(1024.0), out=a)  # <-

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@way("int", "in_context")
def in_copied_context(p):
    def in_context():
        memoryview(p).cast("B").cast("q")[0] = 3  # <-

    contextvars.copy_context().run(in_context)


@way("int", "deep")
def deep_recursion(p):
    def deep(n):
        if n:
            deep(n - 1)
        else:
            memoryview(p).cast("B").cast("q")[0] = 1  # <-

    deep(500)


@way("int", "<module>", file="made.py", line=4)
def in_exec(p):
    exec(compile("\n\n\nmemoryview(p).cast('B').cast('q')[0] = 1", "made.py", "exec"), {"p": p})


@way("int", "f", file="long.py", line=3002)
def far_down_in_a_long_function(p):
    lines = (
        ["def f(p):"]
        + [f"    x{i} = {i}" for i in range(3000)]
        + ["    memoryview(p).cast('B').cast('q')[0] = p.value = 1"]
    )
    names: dict[str, Any] = {}
    exec(compile("\n".join(lines), "long.py", "exec"), names)
    for _ in range(3):
        names["f"](p)


@way("int", "измени", file="данные/πρόγραμμα.py", line=2)
def names_that_are_not_ascii(p):
    names: dict[str, Any] = {}
    exec(
        compile(
            "def измени(p):\n    memoryview(p).cast('B').cast('q')[0] = p.value = 1", "данные/πρόγραμμα.py", "exec"
        ),
        names,
    )
    names["измени"](p)


@way("int", "nobody", file="", line=0)
def in_thread_unknown_to_python(p):
    thread = ctypes.c_void_p()
    libc.pthread_create(ctypes.byref(thread), None, libc.time, ctypes.c_void_p(address(p)))
    libc.pthread_join(thread, None)


# ---- the program ----------------------------------------------------------------------------------------------------


def values() -> dict[str, Callable[[], Any]]:
    from memwatch_core.adapter.watch import watch

    return {
        "int": lambda: watch(3, name="int"),
        "float": lambda: watch(1.5, name="float"),
        "bytes": lambda: watch(b"some", name="bytes", capacity=64),
        "bytearray": lambda: watch(bytearray(range(64, 128)), name="bytearray", capacity=128),
        "big": lambda: watch(bytearray(random.Random(1).randbytes(8192)), name="big"),
        "struct": lambda: watch((1, 1.5, b"tag."), name="struct", format="<qd4s", fields=["qty", "price", "tag"]),
    }


def reused_addresses(path: Path, read: Callable[[Path], Any]) -> dict[str, int]:
    """exec in a loop: each code object lies where the one before did. How many lines came out wrong, of each kind."""
    from memwatch_core.adapter.watch import variable

    wrong = {}
    for kind, statement in (("announced", "p.value = 1"), ("store", "m[0] = 1")):
        p = values()["int"]()
        addresses = set()
        for n in range(300):
            code = compile("\n" * (n % 50) + statement, "made.py", "exec")
            addresses.add(id(code))
            exec(code, {"p": p, "m": memoryview(p).cast("B").cast("q")})
        del code
        stores = read(path).of(variable(p).id)
        lines = [store.line for store in stores]
        expected = [n % 50 + 1 for n in range(300)]
        wrong[kind] = sum(a != b for a, b in zip(lines, expected, strict=True))
        wrong[f"{kind} addresses"] = len(addresses)
    return wrong


def main() -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import journals

    from memwatch_core import config
    from memwatch_core.adapter import process
    from memwatch_core.adapter.watch import variable
    from memwatch_core.journal.session import create_session

    with tempfile.TemporaryDirectory() as folder:
        journal = process.open_journal(create_session(folder, sys.argv), config.load())
        make = values()
        results: dict[str, Any] = {}
        for name, way in WAYS.items():
            p = make[way.kind]()
            number = variable(p).id
            way.run(p)
            results[name] = {"number": number, "final": bytes(memoryview(p)).hex()}
        contents = journals.read(journal.path)
        for result in results.values():
            result["stores"] = [
                [s.file, s.line, s.function, s.origin, s.exact, s.before.hex(), s.after.hex(), s.offset]
                for s in contents.of(result["number"])
            ]
        results["reused addresses"] = reused_addresses(journal.path, journals.read)
        results["tracker"] = journal.tracker
        process.close_journal()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
