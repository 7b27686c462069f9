"""A program that keeps secrets in every way, and what must not be found of them anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

TEXTS = [f"{word}-{number}" for number, word in enumerate(["hunter", "sekret", "zugangs", "geheim", "kljuch"] * 6)]
"""What the program keeps, and puts in the place of what it kept."""
NUMBERS = [0x5EC2E74B1D77A301 + 0x0101010101010101 * i for i in range(8)]
REALS = [-7.348291e55, 9.18273645e-61]

PROGRAM = """
import os, signal, struct, sys, threading
from memwatch_core import label, watch, watch_place

TEXTS, NUMBERS, REALS, SECRET, END = {texts!r}, {numbers!r}, {reals!r}, {secret!r}, {end!r}
text, numbers = iter(TEXTS), iter(NUMBERS)

def t():
    return next(text)

pin = watch(next(numbers), name="pin", **SECRET)
pin.value = next(numbers)                             # announced
pin += 1
view = memoryview(pin).cast("B")
view[:] = struct.pack("<q", next(numbers))            # stores
view[1:3] = b"QZ"
rate = watch(REALS[0], name="rate", **SECRET)
rate.value = REALS[1]
name = watch(t().encode(), name="name", capacity=64, **SECRET)
name.value = t().encode()
token = watch(bytearray(t().encode()), name="token", capacity=9000, **SECRET)
token[:] = t().encode()
token[2:5] = b"XYZ"
token.extend(t().encode())
room = memoryview(token)
piece = t().encode()
room[:len(piece)] = piece
piece = t().encode()
r, w = os.pipe()
os.write(w, piece)
os.readv(r, [room[:len(piece)]])                      # the kernel, through libc
struct.pack_into("<q", room, 3, next(numbers))
fields = ["number", "owner", "limit"]
card = watch((next(numbers), t().encode(), 1.5), name="card", format="<q16sd", fields=fields, **SECRET)
card.number = next(numbers)
card.owner = t().encode()
card.value = (5, t().encode(), 2.5)

class User:
    pass

class Slots:
    __slots__ = ("secret", "public")

user, slots = User(), Slots()
user.password, user.codes, user.tags, user.more = t(), [t(), 5], {{t()}}, {{"deep": {{"er": t()}}}}
slots.secret = t()
watch(user, name="user", depth=3, **SECRET)
watch(slots, name="slots", **SECRET)
user.password = t()
user.password = TEXTS[0]
user.password = TEXTS[0] * 20                         # longer than a cell
user.password = t().encode()
user.password = next(numbers)
user.codes[0] = t()
user.codes.append(t())
user.codes.sort(key=str)
user.codes.pop()
user.tags.add(t())
user.tags.clear()
user.more["deep"]["er"] = t()
user.more["deep"] = {{"er": t()}}
user.new = (t(), [t()])
slots.secret = t()
shared = watch(0, name="shared", **SECRET)
go = threading.Barrier(2)

def count():
    go.wait()
    for i in range(300):
        held = shared.value
        if i % 50 == 7:
            go.wait()
        shared.value = held + 1

threads = [threading.Thread(target=count) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if END == "fork":
    pid = os.fork()
    if not pid:
        pin.value = NUMBERS[0]
        user.password = TEXTS[1]
        os._exit(0)
    os.waitpid(pid, 0)
    os.kill(os.getpid(), signal.SIGKILL)
try:
    name.value = TEXTS[2].encode() * 100              # doesn't fit
except ValueError as error:
    print(error)
"""
PATTERNS = ["P?N", "rate", "n*e", "token", "card.owner", "user.*", "*.secret", "shared"]


def program(folder: Path, *, secret: bool, end: str = "exit") -> Path:
    """Writes it. ``secret``: it says so itself."""
    said = {"secret": True} if secret else {}
    path = folder / "program.py"
    path.write_text(PROGRAM.format(texts=TEXTS, numbers=NUMBERS, reals=REALS, secret=said, end=end))
    return path


def found(data: bytes) -> list[str]:
    """What is found of the secrets: whole, in pieces, in other encodings."""
    lower = data.lower()
    return [shown for needle, shown in NEEDLES.items() if needle in lower]


def _needles() -> Iterator[tuple[str, bytes]]:
    for word in {text.partition("-")[0] for text in TEXTS}:
        for piece in (word[:5], word[-5:]):
            for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
                yield f"{piece} as {encoding}", piece.encode(encoding).lower()
            yield f"{piece} as hex", piece.encode().hex().encode()
    for number in NUMBERS:
        packed = struct.pack("<q", number)
        for piece in (packed[:5], packed[3:], packed[::-1][:5]):
            yield f"{number} as bytes", piece.lower()
        yield f"{number} in digits", str(number).encode()
        yield f"{number} as hex", packed.hex().encode()
    for real in REALS:
        yield f"{real} as bytes", struct.pack("<d", real)[:5].lower()
        yield f"{real} in digits", str(real)[:8].encode()


NEEDLES = {needle: shown for shown, needle in _needles()}
