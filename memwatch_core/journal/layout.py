"""The byte layout of a journal: docs/journal-format.md describes it, journal_format.h defines it for the writer."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Any

from ..records import Call, End, Given, Origin, WhyNot
from .session import READER_FILE as READER_FILE

MAGIC = b"MEMWATCH"
VERSION_MAJOR = 1
VERSION_MINOR = 8
HEADER_SIZE = 4096
SLOT_SIZE = 64
SEGMENT_SLOTS = 16384
SEGMENT_SIZE = SEGMENT_SLOTS * SLOT_SIZE
RECORD_SLOTS_MAX = 255
LOSSES = 236


class Kind(IntEnum):
    """First byte of a slot."""

    FREE = 0
    STORE = 1
    CONTINUATION = 2
    PAD = 3
    VARIABLE = 4
    METADATA = 5
    CONTENT = 6
    UNREGISTERED = 7
    SITE = 8
    CONTEXT = 9
    OUTCOME = 10
    THREAD = 11
    LOST = 12
    PLACE = 13
    STACK = 14
    ALIAS = 15
    REQUEST = 16
    NOT_FOLLOWED = 17


class CellKind(IntEnum):
    """First byte of a cell."""

    ABSENT = 0
    NONE = 1
    FALSE = 2
    TRUE = 3
    INT = 4
    FLOAT = 5
    STR = 6
    BYTES = 7
    OTHER = 8
    SECRET = 9
    """A keyed hash of a value."""
    SECRET_OTHER = 10
    """The same of one of kind OTHER."""


CELL_BEGINS = 0x80
"""Added to a cell's kind, of a name of a function: what it held before belongs to another call; in this one, the name
held nothing."""
CELL_TURNS = 0x40
"""The same; what the name holds in this call is what the cell held before, and came there without an event."""
CELL_KIND = 0x3F


class CellFlag(IntFlag):
    """Third and fourth byte of a cell."""

    CUT = 1
    MOVED = 2
    """Of a list as one value: the same items in another order."""
    CLEARED = 4
    """Its place went with all the others of its dict, at once."""
    REPLACED = 8
    """Its object was given another ``__dict__``, which has this."""


class Flag(IntFlag):
    """Fourth byte of a slot."""

    INEXACT = 1
    SITE_INEXACT = 2
    ADDS_CALL = 4
    """Of a SITE."""
    OF_ACTIVATION = 4
    """Of a STORE."""
    HAS_STACK = 8
    HAS_REQUEST = 16
    NATIVE = 32
    """Of a SITE: it is native code. Of a STORE: it has the id of such a site."""
    REPEATED = 64
    MORE = 128


class StackFlag(IntFlag):
    """Head of a STACK's payload."""

    CUT = 1
    """There were more callers."""
    INEXACT = 2
    """One may be missing, or have another line."""


ORIGINS: dict[int, Origin] = {1: "announced", 2: "store", 3: "syscall", 4: "kernel", 5: "found"}
"""Third byte of a STORE; unknown numbers count as ``store``."""

WITH_CALL = frozenset({3, 4})
"""The origins whose records carry a CALL."""

CALLS = {
    1: "read", 2: "pread", 3: "readv", 4: "preadv", 5: "preadv2", 6: "recv", 7: "recvfrom", 8: "recvmsg", 9: "recvmmsg",
    10: "getrandom", 11: "fread",
}  # fmt: skip
"""The libc call of a STORE whose origin is ``syscall``."""

CALL_KERNEL, UNKNOWN_CALL = 65536, 65535
"""Added to a system call's number in a STORE whose origin is ``kernel``; the number of an unknown call."""

SYSTEM_CALLS = {
    0: "read", 5: "fstat", 16: "ioctl", 17: "pread64", 19: "readv", 45: "recvfrom", 47: "recvmsg", 55: "getsockopt",
    89: "readlink", 208: "io_getevents", 209: "io_submit", 217: "getdents64", 262: "newfstatat", 267: "readlinkat",
    278: "vmsplice", 295: "preadv", 299: "recvmmsg", 310: "process_vm_readv", 311: "process_vm_writev",
    318: "getrandom", 327: "preadv2", 332: "statx", 426: "io_uring_enter", 427: "io_uring_register",
}  # fmt: skip
"""x86-64 numbers (asm/unistd_64.h) -> names, for calls that are likely to write to memory."""

FLAGS = {1: "track_threads", 2: "track_sql", 4: "track_all_vars", 8: "track_locals", 16: "secret"}
"""Bits of VARIABLE.flags -> names in :attr:`memwatch_core.records.Variable.flags`."""

TAG_SHIFT = 4
"""Behind these bits of a cell's flags there may be more of a secret's hash."""
SECRET, MASK_BYTES, MASK_WHOLE, UNTOLD, LATER = 16, 32, 64, 128, 256
"""Bits of VARIABLE.flags: its value is a secret; each of its bytes is masked; its 8 bytes are hashed as one; bytes
without a CONTENT record aren't known; each page has one before its first STORE, with zeros at its end left out."""
PAGE = 4096

HEADER = Struct("<8sHHIIIQQ16s16s16sII")
"""magic, version major, minor, header_size, slot_size, segment_slots, pid, started, runtime, tracker, session,
page_size, abi_version."""
VERSION_AT, VERSION = 8, Struct("<HH")
"""The version in it."""
HEADER_RESERVED, HEADER_LOST, HEADER_CLOSED, HEADER_FRONT, HEADER_STORES_BEFORE = 128, 192, 200, 208, 216
"""Offsets of the u64 fields that change while the journal is written."""
COUNTERS = Struct("<Q56xQQQQQ")
"""reserved, lost, closed, front, stores_before (two of them), from ``HEADER_RESERVED`` on."""
HEADER_MAX_BYTES, LIMIT = 232, Struct("<QI")
"""max_bytes, policy."""
HEADER_READ, READ = 256, Struct("<QQ")
"""read, and its complement: written by the reader."""
HEADER_LOSSES, LOSS = 320, Struct("<I4xQ")
"""variable, count; ``LOSSES`` of them."""

WORD = Struct("<I")
"""kind | slots << 8 | origin << 16 | flags << 24: see :func:`word` and :func:`parts_of`."""
KIND_AT, FLAGS_AT = 0, 3
"""Offsets of these bytes in a slot."""
STORE = Struct("<IIQIIIII28s")
"""word, tid, time, variable, offset, length, site, context, payload of the first slot."""
BLOB = Struct("<IIQII40s")
"""word, tid, time, id, length, payload of the first slot: of all :data:`BLOB_KINDS`."""
VARIABLE = Struct("<IIQIIQQQQ8x")
"""word, tid, time, id, flags, size, depth_start, depth_stop, address."""
REGISTERED = Struct("<IQQQQ8x")
"""The payload of a VARIABLE: flags, size, depth_start, depth_stop, address."""
CALL = Struct("<IiI")
"""number in CALLS, fd, bytes: before the bytes of a STORE whose origin is ``syscall``."""
SITE = Struct("<IIHH")
"""Head of a SITE's payload: line, column, length of file, length of function."""
ENDING = Struct("<IBBB36sx")
"""The payload of an UNREGISTERED: site, number in ENDS, flags, length of the target, target."""
ENDS: dict[int, End] = {
    1: "unwatched", 2: "rebound", 3: "replaced", 4: "deleted", 5: "left", 6: "dropped", 7: "collected", 8: "exit",
    9: "closed", 10: "released", 11: "taken", 12: "moved",
}  # fmt: skip
"""Why a watch ended; unknown numbers count as unknown."""
GIVEN: dict[int, Given] = {1: "computed", 2: "plain", 3: "computed"}
"""An ENDING's flags, of which more may come -> what is known of the new value."""
CONTENT = Struct("<Q")
"""Head of a CONTENT's payload: offset of the bytes that follow."""
STACK_ID = Struct("<I")
"""Behind the bytes of a STORE with HAS_STACK."""
STACK_UNKNOWN = 2**32 - 1
"""The id of a stack for which the writer had no room."""
STACK = Struct("<I")
"""Head of a STACK's payload: :class:`StackFlag`. The ids of its sites follow, u32 each, the innermost first."""
STACK_MOST = 255
"""Sites of a stack."""
REQUEST_ID = Struct("<I")
"""At the end of a STORE with HAS_REQUEST, behind STACK_ID."""
ACTIVATION = Struct("<I")
"""At the end of a STORE with OF_ACTIVATION, behind those: which call of a function it belongs to."""
NATIVE_ID = Struct("<I")
"""At the end of a STORE with NATIVE, behind REQUEST_ID."""
LOST = Struct("<Q")
"""Head of a LOST's payload: the count; the reason follows."""
LOST_REASON_MAX = 200
"""Bytes of the reason that are read."""
PLACE = Struct("<I")
"""Head of a PLACE's payload: offset of a cell in the variable. The path follows."""
ALIAS = Struct("<II")
"""Head of an ALIAS's payload: offset of a cell in the variable, 1 if there are more names than follow."""
ALIAS_NAME = Struct("<IH")
"""Before each name: id of a variable, length of the path behind its name."""
ALIASES_MOST = 8
"""Names of an ALIAS."""
NOT_FOLLOWED = Struct("<QBBH")
"""Head of a NOT_FOLLOWED's payload: how often so far, number in NOT_FOLLOWED_WHY, length of the type's name, 0. That
name and the path of the last one follow."""
NOT_FOLLOWED_WHY: dict[int, WhyNot] = {
    1: "kind", 2: "max_objects", 3: "other watch", 4: "key", 5: "member", 6: "memory", 7: "unmet",
}  # fmt: skip
"""Why something isn't followed; unknown numbers count as ``kind``."""
CELL_SIZE = 64
"""Bytes of a cell."""
CELL = Struct("<BBH")
"""Head of a cell: :class:`CellKind`, length of its payload, :class:`CellFlag`. The payload follows."""
CUT = Struct("<QI")
"""Head of the payload of a cell whose value doesn't fit: hash and length of the whole value."""
UNNAMED = ".?"
"""The name of a place whose PLACE record is missing."""

STORE_PAYLOAD = 36
BLOB_PAYLOAD = 24
VARIABLE_PAYLOAD = SLOT_SIZE - REGISTERED.size
CONTINUATION_PAYLOAD = 4
"""Offset of the payload in a record's first slot, and in each further one."""
STORE_ROOM = SLOT_SIZE - STORE_PAYLOAD
BLOB_ROOM = SLOT_SIZE - BLOB_PAYLOAD
CONTINUATION_ROOM = SLOT_SIZE - CONTINUATION_PAYLOAD
"""Bytes of payload in such a slot."""
DEPTH_FULL = (0, 2**64 - 1)
PAYLOAD_MAX: dict[int, int] = {
    Kind.METADATA: 1 << 16,
    Kind.CONTEXT: 1 << 18,
    Kind.OUTCOME: 1 << 18,
    Kind.SITE: SITE.size + 2 * 4096,
    Kind.THREAD: 4096,
    Kind.PLACE: PLACE.size + 4096,
    Kind.STACK: STACK.size + 4 * STACK_MOST,
    Kind.ALIAS: PLACE.size + 4096,
    Kind.NOT_FOLLOWED: 4096,
    Kind.REQUEST: 4096,
}
"""Largest payload that a writer makes, in bytes (memwatch.h, core/journal/sites.c)."""
PAYLOAD_MAX_OF_OTHERS = 1 << 14
"""The same for all other kinds."""
BLOB_KINDS = frozenset(
    {
        *(Kind.METADATA, Kind.CONTENT, Kind.SITE, Kind.CONTEXT, Kind.OUTCOME, Kind.THREAD, Kind.LOST, Kind.PLACE),
        *(Kind.STACK, Kind.ALIAS, Kind.NOT_FOLLOWED, Kind.REQUEST),
    },
)


def payload_size(length: int, origin: int, flags: int) -> tuple[int, int]:
    """Bytes of a STORE's payload before the bytes of its variable, and with them all."""
    ahead = CALL.size if origin in WITH_CALL else 0
    behind = sum(head.size for flag, head in _BEHIND if flags & flag)
    return ahead, ahead + 2 * length + behind


_BEHIND = (
    (Flag.HAS_STACK.value, STACK_ID),
    (Flag.HAS_REQUEST.value, REQUEST_ID),
    (Flag.NATIVE.value, NATIVE_ID),
    (Flag.OF_ACTIVATION.value, ACTIVATION),
)


def ids_behind(payload: bytes, end: int, flags: int) -> tuple[int, int, int, int]:
    """Ids of stack, request and native site behind the bytes of a STORE, and the number of an activation; 0: it has
    none."""
    found = [0, 0, 0, 0]
    for number, (flag, head) in enumerate(_BEHIND):
        if flags & flag:
            (found[number],) = head.unpack_from(payload, end)
            end += head.size
    return found[0], found[1], found[2], found[3]


_OTHERS = frozenset({CellKind.OTHER.value, CellKind.SECRET_OTHER.value})
_SECRETS = frozenset({CellKind.SECRET.value, CellKind.SECRET_OTHER.value})


def is_other(kind: int) -> bool:
    """Whether a cell has a value of kind OTHER, secret or not."""
    return kind & CELL_KIND in _OTHERS


def is_explained(last: int, before: int) -> bool:
    """Whether a cell of one kind may have become one of another kind, or another of its own, without an event: what is
    below is told by places of its own; and from some time on, the place may be a secret."""
    last, before = last & CELL_KIND, before & CELL_KIND
    return (last in _OTHERS and before in _OTHERS) or (before in _SECRETS and last not in _SECRETS)


def is_begun(cell: bytes) -> bool:
    """Whether what the cell held before is another call's."""
    return bool(cell) and bool(cell[0] & (CELL_BEGINS | CELL_TURNS))


def held(cell: bytes) -> bytes:
    """The bytes of a cell's value, without remains of earlier values behind it."""
    kind, used, _ = head_of(cell[: CELL.size], CELL)
    return bytes((kind & CELL_KIND,)) + cell[1 : CELL.size + used]


def call(number: int, fd: int, size: int) -> Call:
    """Decodes a CALL."""
    if number >= CALL_KERNEL:
        number -= CALL_KERNEL
        known = "" if number == UNKNOWN_CALL else f"system call {number}"
        return Call(SYSTEM_CALLS.get(number, known), fd, size)
    return Call(CALLS.get(number) or f"call {number}", fd, size)


def word(kind: int, slots: int = 1, origin: int = 0, flags: int = 0) -> int:
    """The first four bytes of a slot as a number."""
    return kind | slots << 8 | origin << 16 | flags << 24


def parts_of(word: int) -> tuple[int, int, int, int]:
    """kind, slots, origin, flags: the inverse of :func:`word`."""
    return word & 0xFF, word >> 8 & 0xFF, word >> 16 & 0xFF, word >> 24


def head_of(payload: bytes, head: Struct) -> tuple[Any, ...]:
    """The head of a payload; missing bytes read as 0."""
    return head.unpack_from(payload.ljust(head.size, b"\0"))


def room(first: int, slots: int) -> int:
    """Bytes of payload in a record of ``slots`` slots, of which ``first`` are in its first slot."""
    return first + CONTINUATION_ROOM * (slots - 1)


def payload_of(record: memoryview, start: int, length: int) -> bytes:
    """The payload of a whole record, from ``start`` in its first slot, without the heads of the further slots."""
    if start + length <= SLOT_SIZE:
        return bytes(record[start : start + length])
    parts = [record[start:SLOT_SIZE]]
    parts += [record[at + CONTINUATION_PAYLOAD : at + SLOT_SIZE] for at in range(SLOT_SIZE, len(record), SLOT_SIZE)]
    return b"".join(parts)[:length]


def is_continued(view: memoryview, slot: int, slots: int) -> bool:
    """Whether all further slots of a record are continuations."""
    return all(
        view[at] == Kind.CONTINUATION for at in range((slot + 1) * SLOT_SIZE, (slot + slots) * SLOT_SIZE, SLOT_SIZE)
    )
