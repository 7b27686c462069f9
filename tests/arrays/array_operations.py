"""What numpy programs do to arrays: each operation makes its arrays, which are watched, and writes to some of them.

Run by test_truth.py; one list for whoever changes how stores are caught.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import os
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Make = Callable[[np.random.Generator], tuple[Array, ...]]


class Operation(NamedTuple):
    """One of them."""

    name: str
    make: Make
    """Its arrays: the same ones for the same generator."""
    run: Callable[..., Any]
    """Gets them, watched or not; what it returns is the same for both."""


OPERATIONS: dict[str, Operation] = {}
INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
FLOATS = ("f2", "f4", "f8", "g")
COMPLEX = ("c8", "c16", "G")
NUMBERS = (*INTEGERS, *FLOATS, *COMPLEX)
ALL = (*NUMBERS, "?", "S7", "U5", "V9", "M8[s]", "m8[ns]", ">i4", ">f8")
NUMPY = vars(np)
ORDERS = np.dtype([("qty", "i4"), ("price", "f8"), ("pos", "f4", (2, 3)), ("tag", "S5")])


def case(name: str, make: Make, run: Callable[..., Any]) -> None:
    assert name not in OPERATIONS, name
    OPERATIONS[name] = Operation(name, make, run)


def some(dtype: Any, *shape: int, order: Any = "C") -> Make:
    """One array of random elements."""
    return lambda chance: (filled(chance, np.dtype(dtype), shape or (97,), order),)


def two(dtype: Any, *shape: int, other: Any = None) -> Make:
    return lambda chance: (*some(dtype, *shape)(chance), *some(other or dtype, *shape)(chance))


def three(dtype: Any, *shape: int) -> Make:
    return lambda chance: (*two(dtype, *shape)(chance), *some(dtype, *shape)(chance))


def filled(chance: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any = "C") -> Array:
    made = np.zeros(shape, dtype, order=order)
    if dtype.names is not None:
        for name in dtype.names:
            made[name] = filled(chance, dtype[name].base, made[name].shape)
    elif dtype.kind in "SU":
        made[...] = np.array([f"{n:x}" for n in chance.integers(0, 1 << 30, made.size)]).reshape(shape).astype(dtype)
    elif dtype.kind == "V":
        made.reshape(-1, order="A").view("u1")[:] = chance.integers(0, 256, made.nbytes, "u1")
    elif dtype.kind == "?" or dtype.kind == "b":
        made[...] = chance.integers(0, 2, shape)
    elif dtype.kind in "fc":
        made[...] = chance.integers(1, 200, shape) / 8
        if dtype.kind == "c":
            made.imag[...] = chance.integers(-100, 100, shape) / 4
    else:
        made[...] = chance.integers(1, 100, shape).astype("i8").astype(dtype)
    return made


def set_item(a: Array, key: Any, value: Any) -> None:
    a[key] = value


# ---- every dtype -----------------------------------------------------------------------------------------------------

for d in ALL:
    case(f"{d}: one element", some(d), lambda a: set_item(a, 5, a[17]))
    case(f"{d}: fill from an element", some(d, 300), lambda a: a[3:].fill(a[1]))
    case(
        f"{d}: every third from others", two(d), lambda a, b: set_item(a, slice(None, None, 3), b[: (len(a) + 2) // 3])
    )
    case(f"{d}: reversed into itself", some(d), lambda a: set_item(a, slice(None), a[::-1]))
    case(f"{d}: fancy indices", some(d), lambda a: set_item(a, [3, 1, 3, 96, -5], a[[0, 1, 2, 3, 4]]))
    case(f"{d}: copyto where", two(d), lambda a, b: np.copyto(a, b, where=np.arange(97) % 4 == 1))
    case(f"{d}: roll", some(d), lambda a: set_item(a, slice(None), np.roll(a, 7)))
for d in (*NUMBERS, "S7", "U5", "M8[s]", "m8[ns]", ">i4", "?"):
    case(f"{d}: sort", some(d, 400), lambda a: a.sort())
    case(f"{d}: stable sort of columns", some(d, 20, 9), lambda a: a.sort(axis=0, kind="stable"))
for d in NUMBERS:
    case(f"{d}: += scalar", some(d, 210), lambda a: a.__iadd__(3))
    case(f"{d}: *= array", two(d, 210), lambda a, b: a.__imul__(b))
    case(f"{d}: subtract out", three(d), lambda a, b, c: np.subtract(a, b, out=c))
    case(f"{d}: cumsum out", two(d), lambda a, b: np.cumsum(a, out=b))
    case(f"{d}: add.at", some(d), lambda a: np.add.at(a, [1, 1, 2, 50], a[:4].copy()))
    case(
        f"{d}: sum into 0-d",
        lambda r, d=d: (filled(r, np.dtype(d), (64,)), np.zeros((), d)),
        lambda a, b: np.sum(a, out=b),
    )
for d in (*INTEGERS, "?"):
    case(f"{d}: ^= and &=", two(d, 210), lambda a, b: (a.__ixor__(b), a.__iand__(b ^ b[::-1])))
for d in INTEGERS:
    case(f"{d}: <<= and //=", some(d, 130), lambda a: (a.__ilshift__(1), a.__ifloordiv__(3)))
    case(f"{d}: partition", some(d, 300), lambda a: a.partition(40))
for d in FLOATS:
    case(f"{d}: sqrt out where", some(d, 130), lambda a: np.sqrt(a, out=a, where=a > 9))
    case(f"{d}: partition", some(d, 300), lambda a: a.partition([10, 200]))

# ---- ufuncs ----------------------------------------------------------------------------------------------------------

for name in (
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "hypot", "arctan2", "copysign", "fmod",
    "power", "nextafter", "logaddexp",
):  # fmt: skip
    case(f"np.{name} out", three("f8"), lambda a, b, c, f=NUMPY[name]: f(a, b, out=c))
for name in (
    "negative", "absolute", "exp", "log", "sin", "cos", "tanh", "floor", "ceil", "rint", "square",
    "reciprocal", "sign", "cbrt", "expm1", "log1p", "degrees",
):  # fmt: skip
    case(f"np.{name} in place", some("f8"), lambda a, f=NUMPY[name]: f(a * 0.1, out=a))
for name in ["gcd", "lcm", "bitwise_or", "bitwise_xor", "right_shift", "floor_divide", "remainder"]:
    case(f"np.{name} out", three("i4"), lambda a, b, c, f=NUMPY[name]: f(a, b, out=c))
for name in ["logical_and", "logical_or", "greater", "less_equal", "equal", "not_equal"]:
    case(
        f"np.{name} out",
        lambda r: (*two("i4")(r), np.zeros(97, "?")),
        lambda a, b, c, f=NUMPY[name]: f(a, b, out=c),
    )
for name in ["add", "multiply", "maximum", "minimum", "bitwise_or"]:
    case(
        f"np.{name}.reduce out",
        lambda r: (*some("i8", 7, 9)(r), np.zeros(9, "i8")),
        lambda a, b, f=NUMPY[name]: f.reduce(a, axis=0, out=b, dtype="i8"),
    )
    case(
        f"np.{name}.accumulate out",
        two("i8", 7, 9),
        lambda a, b, f=NUMPY[name]: f.accumulate(a, axis=1, out=b, dtype="i8"),
    )
for name in ["add", "subtract", "multiply", "maximum", "bitwise_xor"]:
    case(f"np.{name}.at", some("i8"), lambda a, f=NUMPY[name]: f.at(a, [0, 0, 5, 96, 5], 7))
case("np.negative.at", some("f8"), lambda a: np.negative.at(a, [1, 1, 4]))
case(
    "np.add.reduceat out",
    lambda r: (*some("f8", 60)(r), np.zeros(4)),
    lambda a, b: np.add.reduceat(a, [0, 9, 20, 41], out=b),
)
case(
    "np.multiply.outer out",
    lambda r: (*some("f4", 9)(r), *some("f4", 11)(r), np.zeros((9, 11), "f4")),
    lambda a, b, c: np.multiply.outer(a, b, out=c),
)
case("np.modf two out", three("f8"), lambda a, b, c: np.modf(a, b, c))
case("np.divmod two out", lambda r: (*two("i4")(r), *two("i4")(r)), lambda a, b, c, d: np.divmod(a, b, out=(c, d)))
case("np.frexp two out", lambda r: (*two("f8")(r), np.zeros(97, "i4")), lambda a, b, c: np.frexp(a, b, c))
case(
    "cast on the way out",
    lambda r: (*two("f8")(r), np.zeros(97, "i2")),
    lambda a, b, c: np.add(a, b, out=c, casting="unsafe"),
)
case(
    "from bytes in the other order",
    lambda r: (*some(">f8")(r), np.zeros(97, "f4")),
    lambda a, b: np.multiply(a, 2, out=b, casting="unsafe"),
)
case("a frompyfunc", some("f8"), lambda a: set_item(a, slice(None), np.frompyfunc(lambda x: x / 3, 1, 1)(a)))
case("np.vectorize", some("i4"), lambda a: set_item(a, slice(None), np.vectorize(lambda x: x * x % 97)(a)))
case("np.clip out", two("f8"), lambda a, b: np.clip(a, 3, 9, out=b))
case("np.round out", two("f8"), lambda a, b: np.round(a / 3, 2, out=b))
case(
    "nan_to_num in place",
    some("f8"),
    lambda a: (set_item(a, slice(None, None, 5), np.nan), np.nan_to_num(a, copy=False)),
)
case("overlapping ufunc forwards", some("f8"), lambda a: np.add(a[:-1], a[1:], out=a[1:]))
case("overlapping ufunc backwards", some("f8"), lambda a: np.add(a[1:], a[:-1], out=a[:-1]))
case("overlapping copy", some("u1", 3000), lambda a: set_item(a, slice(5, None), a[:-5]))

# ---- reductions ------------------------------------------------------------------------------------------------------

for name in ["sum", "prod", "max", "min", "mean", "std", "var", "any", "all", "argmax", "argmin"]:
    kind = {"any": "?", "all": "?", "argmax": "i8", "argmin": "i8"}.get(name, "f8")
    case(
        f"a.{name} out",
        lambda r, k=kind: (*some("f8", 11, 13)(r), np.zeros(13, k)),
        lambda a, b, n=name: getattr(a, n)(axis=0, out=b),
    )
for name in ["nansum", "nanmax", "nanmean", "median"]:
    case(
        f"np.{name} out",
        lambda r: (*some("f8", 11, 13)(r), np.zeros(11)),
        lambda a, b, f=NUMPY[name]: f(a, axis=1, out=b),
    )
case("np.cumprod out", two("f8", 5, 8), lambda a, b: np.cumprod(a / 9, axis=0, out=b.reshape(5, 8)))
case("np.trace out", lambda r: (*some("f8", 8, 8)(r), np.zeros(())), lambda a, b: np.trace(a, out=b))
case(
    "np.percentile out",
    lambda r: (*some("f8", 40)(r), np.zeros(3)),
    lambda a, b: np.percentile(a, [10, 50, 90], out=b, overwrite_input=True),
)
case(
    "np.histogram into",
    lambda r: (*some("f8", 300)(r), np.zeros(10, "i8")),
    lambda a, b: set_item(b, slice(None), np.histogram(a, 10)[0]),
)

# ---- indexing --------------------------------------------------------------------------------------------------------

case("boolean mask, scalar", some("f8", 12, 13), lambda a: set_item(a, a > 12, 0))
case("boolean mask, values", some("f8", 120), lambda a: set_item(a, a > 12, a[a > 12][::-1]))
case("boolean rows", some("i4", 12, 13), lambda a: set_item(a, np.arange(12) % 3 == 0, 5))
case("two lists of indices", some("f8", 12, 13), lambda a: set_item(a, ([1, 5, 5], [2, 3, 3]), [1, 2, 3]))
case("np.ix_", some("f8", 12, 13), lambda a: set_item(a, np.ix_([1, 3], [0, 12, 5]), 9))
case("slices and lists", some("f8", 6, 7, 8), lambda a: set_item(a, (slice(1, 5, 2), [1, 2], slice(None)), -1))
case("ellipsis and None", some("f8", 6, 7), lambda a: set_item(a, (..., None, 3), 8))
case("one column", some("f8", 40, 40), lambda a: set_item(a, (slice(None), 3), 1))
case("one row", some("f8", 40, 40), lambda a: set_item(a, 7, np.arange(40)))
case("broadcast a row", some("f8", 9, 12), lambda a: set_item(a, slice(None), np.arange(12)))
case(
    "negative steps",
    some("i2", 9, 12),
    lambda a: set_item(a, (slice(None, None, -2), slice(None, None, -1)), a[:5].copy()),
)
case("np.put", some("f8"), lambda a: np.put(a, [3, 90, 4], [1, 2]))
case("np.put wrap", some("f8"), lambda a: np.put(a, [300, -1000], [1, 2], mode="wrap"))
case("np.place", some("f8"), lambda a: np.place(a, a > 10, [1, 2, 3]))
case("np.putmask", some("f8"), lambda a: np.putmask(a, a > 10, np.arange(97) * 1.0))
case(
    "np.put_along_axis", some("f8", 9, 8), lambda a: np.put_along_axis(a, np.array([[3], [1]] * 4 + [[0]]), 99, axis=1)
)
case("np.fill_diagonal", some("f8", 9, 9), lambda a: np.fill_diagonal(a, 4))
case("np.take out", two("f8"), lambda a, b: np.take(a, np.arange(97)[::-1], out=b, mode="clip"))
case("np.choose out", three("i4", 30), lambda a, b, c: np.choose(a % 2, [b, a], out=c))
case(
    "np.compress out",
    lambda r: (*some("f8", 60)(r), np.zeros(30)),
    lambda a, b: np.compress(np.arange(60) % 2 == 0, a, out=b),
)
case("a.flat of a scalar", some("f4", 7, 9), lambda a: set_item(a.flat, slice(3, 40), 6))
case("a.flat of indices", some("f4", 7, 9), lambda a: set_item(a.flat, [0, 62, 5], [1, 2, 3]))
case(
    "np.nditer readwrite",
    some("f8", 5, 6),
    lambda a: [set_item(x, ..., 2 * x) for x in np.nditer(a, op_flags=["readwrite"])][0:0],
)
case("nditer with a buffer", some("f4", 50), lambda a: nditer_buffered(a))
case("a.itemset by index", some("f8", 5, 6), lambda a: set_item(a, (2, 3), 7))
case("np.ndenumerate", some("i4", 5, 6), lambda a: [set_item(a, i, x + 1) for i, x in np.ndenumerate(a)][0:0])


def nditer_buffered(a: Array) -> None:
    with np.nditer(
        a, flags=["buffered", "external_loop"], op_flags=["readwrite"], op_dtypes=["f8"], casting="same_kind"
    ) as it:
        for x in it:
            x *= 3


# ---- sorting, sets ---------------------------------------------------------------------------------------------------

for kind in ("quicksort", "heapsort", "stable"):
    case(f"{kind} of 5,000", some("f8", 5000), lambda a, k=kind: a.sort(kind=k))
case("sort by rows", some("i4", 9, 30), lambda a: a.sort(axis=1))
case("sort records by a field", some(ORDERS, 40), lambda a: a.sort(order="qty"))
case("argsort into", two("i8"), lambda a, b: set_item(b, slice(None), np.argsort(a)))
case("shuffle", some("i4"), lambda a: np.random.default_rng(3).shuffle(a))
case("shuffle of rows", some("f8", 9, 8), lambda a: np.random.default_rng(3).shuffle(a))
case("permuted out", two("f8", 9, 8), lambda a, b: np.random.default_rng(3).permuted(a, axis=1, out=b))
case("np.unique into", some("i4"), lambda a: set_item(a, slice(0, 5), np.unique(a)[:5]))
case("legacy shuffle", some("i8"), lambda a: np.random.RandomState(5).shuffle(a))

# ---- linear algebra, einsum, FFT -------------------------------------------------------------------------------------

for d in ("f4", "f8", "c8", "c16"):
    case(f"np.dot out {d}", three(d, 17, 17), lambda a, b, c: np.dot(a, b, out=c))
    case(f"np.matmul out {d}", three(d, 12, 12), lambda a, b, c: np.matmul(a, b.T, out=c))
    case(
        f"matmul of a vector {d}",
        lambda r, d=d: (*some(d, 12, 12)(r), *two(d, 12)(r)),
        lambda a, b, c: np.matmul(a, b, out=c),
    )
    case(f"np.einsum out {d}", three(d, 9, 9), lambda a, b, c: np.einsum("ij,kj->ik", a, b, out=c))
    case(
        f"fft out {d}",
        lambda r, d=d: (*some(d, 60)(r), np.zeros(60, "c16" if d in ("f8", "c16") else "c8")),
        lambda a, b: np.fft.fft(a, out=b),
    )
case("integer matmul", three("i8", 9, 9), lambda a, b, c: np.matmul(a, b, out=c))
case("stacked matmul", lambda r: (*two("f8", 3, 5, 5)(r), np.zeros((3, 5, 5))), lambda a, b, c: np.matmul(a, b, out=c))
case("dot with itself", some("f8", 20, 20), lambda a: set_item(a, slice(None), a @ a.T))
case(
    "np.linalg.solve into",
    lambda r: (*some("f8", 9, 9)(r), *some("f8", 9)(r)),
    lambda a, b: set_item(b, slice(None), np.linalg.solve(a + 90 * np.eye(9), b)),
)
case("np.linalg.inv into", some("f8", 9, 9), lambda a: set_item(a, slice(None), np.linalg.inv(a + 90 * np.eye(9))))
case("np.linalg.qr into", some("f8", 9, 9), lambda a: set_item(a, slice(None), np.linalg.qr(a)[0]))
case("np.linalg.multi_dot out", three("f8", 6, 6), lambda a, b, c: np.linalg.multi_dot([a, b, a], out=c))
case("np.tensordot into", two("f8", 6, 6), lambda a, b: set_item(b, slice(None), np.tensordot(a, b, 1)))
case("np.outer out", lambda r: (*two("f8", 9)(r), np.zeros((9, 9))), lambda a, b, c: np.outer(a, b, out=c))
case("einsum of a diagonal", some("f8", 9, 9), lambda a: np.einsum("ii->i", a).fill(3))
case("einsum sums", lambda r: (*some("f8", 7, 9)(r), np.zeros(7)), lambda a, b: np.einsum("ij->i", a, out=b))
case("np.fft.rfft out", lambda r: (*some("f8", 64)(r), np.zeros(33, "c16")), lambda a, b: np.fft.rfft(a, out=b))
case("np.fft.irfft out", lambda r: (*some("c16", 33)(r), np.zeros(64)), lambda a, b: np.fft.irfft(a, out=b))
case("np.fft.fft2 into", some("c16", 8, 8), lambda a: set_item(a, slice(None), np.fft.fft2(a)))
case("np.convolve into", two("f8"), lambda a, b: set_item(b, slice(None), np.convolve(a, b[:9], "same")))
case("np.interp into", some("f8"), lambda a: set_item(a, slice(None), np.interp(a, [0, 10, 30], [1, 2, 3])))

# ---- random ----------------------------------------------------------------------------------------------------------

for name in ["random", "standard_normal", "standard_exponential"]:
    for d in ("f4", "f8"):
        case(
            f"{name} out {d}", some(d, 200), lambda a, n=name, d=d: getattr(np.random.default_rng(4), n)(out=a, dtype=d)
        )
case("standard_gamma out", some("f8", 60), lambda a: np.random.default_rng(4).standard_gamma(2.0, out=a))
case(
    "random integers into", some("i4"), lambda a: set_item(a, slice(None), np.random.default_rng(4).integers(0, 99, 97))
)
case(
    "random bytes into",
    some("u1", 500),
    lambda a: set_item(a, slice(None), np.frombuffer(np.random.default_rng(4).bytes(500), "u1")),
)

# ---- layouts and views -----------------------------------------------------------------------------------------------

case("Fortran: += scalar", some("f8", 13, 17, order="F"), lambda a: a.__iadd__(1))
case("Fortran: one row", some("f8", 13, 17, order="F"), lambda a: set_item(a, 3, 1))
case("Fortran: one column", some("f8", 13, 17, order="F"), lambda a: set_item(a, (slice(None), 3), 1))
case(
    "Fortran: from C",
    lambda r: (*some("f8", 13, 17, order="F")(r), *some("f8", 13, 17)(r)),
    lambda a, b: set_item(a, ..., b),
)
case("Fortran: sort", some("i4", 13, 17, order="F"), lambda a: a.sort(axis=0))
case(
    "Fortran: BLAS",
    lambda r: tuple(some("f8", 9, 9, order="F")(r)[0] for _ in range(3)),
    lambda a, b, c: np.dot(a, b, out=c.T),
)
case("permuted axes", lambda r: (filled(r, np.dtype("f4"), (3, 4, 5)).transpose(2, 0, 1),), lambda a: a.__imul__(2))
case("transposed view", some("f8", 9, 12), lambda a: a.T.__iadd__(np.arange(9)))
case("reshaped view", some("f8", 9, 12), lambda a: a.reshape(3, 36)[1].fill(2))
case("raveled view", some("f8", 9, 12), lambda a: set_item(a.ravel(), slice(10, 20), 2))
case("diagonal by strides", some("f8", 9, 9), lambda a: set_item(a.reshape(-1), slice(None, None, 10), 0))
case(
    "sliding windows",
    some("f8", 60),
    lambda a: np.lib.stride_tricks.sliding_window_view(a, 5, writeable=True)[::5].__iadd__(1),
)
case("view of other dtype", some("f8", 30), lambda a: a.view("u1").__ixor__(255))
case("view of halves", some("u4", 30), lambda a: set_item(a.view("u2"), slice(1, None, 2), 7))
case("complex: imag", some("c16", 30), lambda a: a.imag.__imul__(-1))
case("complex: real of a column", some("c8", 6, 7), lambda a: set_item(a.real, (slice(None), 2), 5))
case("complex: conjugate in place", some("c16", 30), lambda a: np.conjugate(a, out=a))
case("np.swapaxes view", some("i2", 4, 5, 6), lambda a: np.swapaxes(a, 0, 2).__iadd__(1))
case("a 0-d array", lambda r: (np.array(5.0),), lambda a: (a.__iadd__(2), set_item(a, ..., 9), set_item(a, (), 4)))
case("no elements", lambda r: (np.zeros((0, 3)),), lambda a: (a.__iadd__(2), a.sort(), a.fill(3)))
case("one element", some("f8", 1, 1, 1), lambda a: a.__iadd__(2))
case(
    "unaligned fields",
    some(np.dtype([("a", "u1"), ("b", "f8"), ("c", "i2")]), 40),
    lambda a: (a["b"].__imul__(2), a["c"].sort()),
)
case("broadcast view as source", two("f8", 9, 12), lambda a, b: set_item(a, ..., np.broadcast_to(b[:1], (9, 12))))
case("swap of rows", some("f8", 9, 12), lambda a: set_item(a, [1, 5], a[[5, 1]]))
case("swap of elements", some("f8"), lambda a: (set_item(a, slice(0, 2), a[1::-1].copy()),))
case("byteswap in place", some("i4"), lambda a: a.byteswap(inplace=True))
case("np.rot90 view", some("f8", 6, 9), lambda a: np.rot90(a)[2].fill(1))
case("as_strided", some("f8", 60), lambda a: np.lib.stride_tricks.as_strided(a, (5, 4), (96, 16)).fill(3))

# ---- records ---------------------------------------------------------------------------------------------------------

case("records: a field", some(ORDERS, 30), lambda a: a["price"].__imul__(2))
case("records: one value", some(ORDERS, 30), lambda a: set_item(a["price"], 3, 9.5))
case("records: one record", some(ORDERS, 30), lambda a: set_item(a, 3, (1, 2.5, 3, b"xy")))
case("records: a record from another", some(ORDERS, 30), lambda a: set_item(a, 3, a[4]))
case("records: a slice", two(ORDERS, 30), lambda a, b: set_item(a, slice(3, 9), b[:6]))
case("records: an inner array", some(ORDERS, 30), lambda a: set_item(a["pos"], (slice(None), 1, 2), 4))
case("records: a text", some(ORDERS, 30), lambda a: set_item(a["tag"], slice(5, 9), b"abc"))
case(
    "records: several fields",
    two(ORDERS, 30),
    lambda a, b: set_item(a[["qty", "price"]], slice(None), b[["qty", "price"]]),
)
case("records: void scalar", some(ORDERS, 30), lambda a: set_item(a[3], "qty", 77))
case("records: where", some(ORDERS, 30), lambda a: set_item(a["qty"], a["price"] > 9, 0))
case("records: fill", some(ORDERS, 30), lambda a: a.fill((1, 2, 3, b"z")))
case("np.rec over them", some(ORDERS, 30), lambda a: setattr(a.view(np.recarray), "qty", 5))

# ---- texts and times -------------------------------------------------------------------------------------------------

case("text: upper into", some("U8", 40), lambda a: set_item(a, slice(None), np.char.upper(a)))
case("text: longer is cut", some("S4", 40), lambda a: set_item(a, slice(0, 9), b"longer than that"))
case(
    "times: += days", lambda r: ((np.arange(40) * 86400).astype("M8[s]"),), lambda a: a.__iadd__(np.timedelta64(1, "D"))
)
case(
    "times: NaT",
    lambda r: ((np.arange(40) * 86400).astype("M8[s]"),),
    lambda a: set_item(a, slice(None, None, 4), "NaT"),
)
case("spans: //=", some("m8[ns]", 40), lambda a: a.__ifloordiv__(3))

# ---- from elsewhere --------------------------------------------------------------------------------------------------


def read_into(a: Array) -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(range(1, 251)) * (a.nbytes // 250 + 1))
        file.seek(0)
        file.readinto(memoryview(a).cast("B"))


def pipe_into(a: Array) -> None:
    r, w = os.pipe()
    os.write(w, b"abcdefgh" * (a.nbytes // 8))
    os.readv(r, [memoryview(a).cast("B")])
    os.close(r), os.close(w)


case("file.readinto", some("u1", 6000), read_into)
case("readv of a pipe", some("f8", 40), pipe_into)
case("BytesIO.readinto", some("u1", 600), lambda a: io.BytesIO(bytes(range(256)) * 2).readinto(a))
case("memoryview slice", some("u1", 600), lambda a: set_item(memoryview(a), slice(7, 11), b"abcd"))
case("memoryview cast", some("f8", 60), lambda a: set_item(memoryview(a), 7, 2.5))
case(
    "ctypes.memmove",
    some("u1", 6000),
    lambda a: ctypes.memmove(a.ctypes.data + 11, bytes(range(256)) * 20, 5000) and None,
)
case("ctypes.memset", some("u1", 6000), lambda a: ctypes.memset(a.ctypes.data + 3, 7, 5900) and None)
case("ctypes pointer", some("f8", 60), lambda a: set_item(a.ctypes.data_as(ctypes.POINTER(ctypes.c_double)), 5, 4.5))
case("np.frombuffer of it", some("f8", 60), lambda a: np.frombuffer(a, "i4").__iadd__(1))
case("np.asarray of it", some("f8", 60), lambda a: np.asarray(a)[3:5].fill(1))
case("dlpack", some("f8", 60), lambda a: np.from_dlpack(a)[3:5].sum())
case("np.concatenate out", lambda r: (*two("f8", 30)(r), np.zeros(60)), lambda a, b, c: np.concatenate([a, b], out=c))
case("np.stack out", lambda r: (*two("f8", 30)(r), np.zeros((2, 30))), lambda a, b, c: np.stack([a, b], out=c))
case("np.nan* and where", some("f8"), lambda a: set_item(a, slice(None), np.where(a > 9, a, -a)))
case("np.apply_along_axis", some("f8", 6, 7), lambda a: set_item(a, ..., np.apply_along_axis(np.sort, 1, a)))
case("loop in Python", some("f8"), lambda a: [set_item(a, i, a[i - 1] + 1) for i in range(1, 60)][0:0])
case("np.save and load", some("f8"), lambda a: saved(a))
case("np.require of it", some("f8"), lambda a: np.require(a, requirements="W")[5:].fill(1))
case("np.polyval into", some("f8"), lambda a: set_item(a, slice(None), np.polyval([1, 2, 3], a)))
case("np.gradient into", some("f8"), lambda a: set_item(a, slice(None), np.gradient(a)))
case("a.setfield", some("f8"), lambda a: a.setfield(5, "i4", 4))
case("a.__setstate__ of a copy", some("f8"), lambda a: set_item(a, slice(None), a.copy()[::-1]))
case(
    "np.random.Generator.multivariate into",
    some("f8", 9, 3),
    lambda a: set_item(a, ..., np.random.default_rng(1).multivariate_normal([0, 0, 0], np.eye(3), 9)),
)

# ---- large -----------------------------------------------------------------------------------------------------------

case("large: a few places", some("f8", 40_000), lambda a: set_item(a, [3, 20_000, 39_999], 1))
case("large: a row over a page's end", some("f8", 100, 300), lambda a: set_item(a, 5, 2))
case(
    "large: zeros that nobody touched",
    lambda r: (np.zeros(1 << 20),),
    lambda a: (set_item(a, slice(1000, 1100), 1), set_item(a, -1, 2)),
)
case("large: a column", some("f4", 400, 300), lambda a: set_item(a, (slice(None), 7), 3))


def saved(a: Array) -> None:
    file = io.BytesIO()
    np.save(file, a)
    file.seek(0)
    a[...] = np.load(file)[::-1]


def sample(count: int) -> list[Operation]:
    """So many of them, from all of the list."""
    every = list(OPERATIONS.values())
    return list(itertools.islice(every, 0, None, max(1, len(every) // count)))
