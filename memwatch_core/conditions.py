"""Makes of a condition (``when="new < 0"``) the program of bytes by which the core judges events.

The instructions are those of ``memwatch_core/core/journal/predicate.h``, where the core runs them. A program is made
for one variable: what its bytes mean is known here, and not there.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from . import structs
from .condition_text import Node, names, read, refusal

__all__ = ["ALWAYS", "Field", "Shape", "check", "compile_condition", "names", "read"]

_OPERATORS = {"<": 32, "<=": 33, "==": 34, "!=": 35, ">": 36, ">=": 37, "in": 38, "like": 39}
_OPERATORS |= {"not": 40, "and": 41, "or": 42, "+": 48, "-": 49, "*": 50, "/": 51, "//": 52, "%": 53, "negate": 54}
_FUNCTIONS = {"abs": 55, "len": 56}
_INT, _FLOAT, _TEXT, _BYTES, _NONE, _TRUE, _FALSE, _ABSENT = range(1, 9)
_NUMBER, _BLOCK, _MEASURED, _CELL, _CHANGED = range(16, 21)
_PATH, _SITE, _FILE, _LINE, _FUNCTION, _THREAD, _THREAD_ID, _STATEMENT = range(24, 32)
_SITES = {"file": _FILE, "line": _LINE, "function": _FUNCTION}
_TEST, _TEST_CELL, _DECIDED = 64, 65, 66
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_PROGRAM_MAX, _VALUES_MAX = 4096, 16
ALWAYS = bytes([_TRUE])
"""The program of no condition."""


class Field(NamedTuple):
    """A number or some bytes within a value."""

    letter: str
    """Of the ``struct`` module."""
    offset: int
    size: int
    little: bool


class Shape(NamedTuple):
    """What the bytes of a variable mean."""

    kind: str
    """``number``, ``struct``, ``bytes`` (a length, then bytes), ``cells`` (places of an object), ``other``. Of an array
    of numbers, ``number``: each is judged by itself."""
    variable: str
    fields: tuple[Field, ...] = ()
    """Of a number, one."""
    named: Mapping[str, int] = MappingProxyType({})
    secret: bool = False
    sql: bool = False
    """Whether its events carry the statement in force."""
    step: int = 0
    """Of an array of numbers, the bytes of each."""

    @property
    def unit(self) -> int:
        """Bytes of a cell; 0: there are none."""
        return 64 if self.kind == "cells" else self.step


def shape_of_struct(variable: str, form: str, fields: Any = None) -> Shape:
    """Of a struct with such a format, and names of its fields."""
    import sys

    order, _ = structs.split(form)
    little = order == "<" or (order in "@=" and sys.byteorder == "little")
    found = tuple(Field(field.letter, field.offset, field.size, little) for field in structs.fields(form))
    named = {name: number for number, name in enumerate(fields or ())}
    return Shape("struct", variable, found, named)


def compile_condition(text: str, shape: Shape) -> bytes:
    """The program of a condition for such a variable. Raises ConditionError: it can't be read, or says something that
    this variable hasn't."""
    program = b"".join(_Compiler(text, shape).emit(read(text)))
    if len(program) > _PROGRAM_MAX:
        raise refusal(text, 0, "the condition is too long")
    return program


def check(text: str) -> frozenset[str]:
    """The names that a condition uses, of a variable that isn't known yet. Raises ConditionError."""
    return names(read(text))


class _Compiler:
    def __init__(self, text: str, shape: Shape) -> None:
        self.text, self.shape = text, shape
        self.held = 0

    def emit(self, node: Node) -> list[bytes]:
        """The instructions that leave the value of a part."""
        if node.kind == "constant" and isinstance(node.value, int) and not -(2**63) <= node.value < 2**63:
            return self._large(node)
        if node.kind == "constant":
            return [self._push(node, self._constant(node.value))]
        if node.kind == "absent":
            return [self._push(node, bytes([_ABSENT]))]
        if node.kind == "name":
            return [self._push(node, self._named(node))]
        if node.kind == "call":
            return [*self.emit(node.parts[0]), bytes([_FUNCTIONS[node.value]])]
        if node.kind == "tuple":
            raise refusal(self.text, node.at, "a list stands behind in, or not in: new in (1, 2)")
        if node.kind == "in" and node.parts[1].kind == "tuple":
            return self._one_of(node)
        if node.kind in ("like", "=="):
            patterns = self._patterns(node)
            if patterns:
                return self._any_of(node.parts[0], patterns)
        if node.kind == "!=" and self._patterns(node):
            return [*self.emit(node._replace(kind="==")), bytes([_OPERATORS["not"]])]
        self._check_kinds(node)
        if node.kind in ("and", "or"):
            return self._short(node)
        if node.kind in _MIRRORED and (tested := self._tested(node)):
            return [self._push(node, tested)]
        code = [instruction for part in node.parts for instruction in self.emit(part)]
        self.held -= len(node.parts) - 1
        return [*code, bytes([_OPERATORS[node.kind]])]

    def _short(self, node: Node) -> list[bytes]:
        """``a and b``: b is left out where a decides."""
        left, right = self.emit(node.parts[0]), self.emit(node.parts[1])
        self.held -= 1
        operator = bytes([_OPERATORS[node.kind]])
        rest = b"".join(right) + operator
        return [*left, struct.pack("<BBH", _DECIDED, operator[0], len(rest)), rest]

    def _tested(self, node: Node) -> bytes:
        """``new < 0`` in one instruction; empty: it is none of these."""
        left, right, kind = *node.parts, node.kind
        if left.kind == "constant":
            left, right, kind = right, left, _MIRRORED[kind]
        number = right.kind == "constant" and type(right.value) is int and -(2**63) <= right.value < 2**63
        if not number or left.kind != "name" or left.value not in ("old", "new") or self.shape.secret:
            return b""
        side = int(left.value == "new")
        if self.shape.kind == "cells" and not left.keys:
            return struct.pack("<BBBq", _TEST_CELL, side, _OPERATORS[kind], right.value)
        if self.shape.kind not in ("number", "struct") or (self.shape.kind == "number" and left.keys):
            return b""
        field = self.shape.fields[self._index(left) if self.shape.kind == "struct" else 0]
        if field.letter != "q" or not field.little:
            return b""
        return struct.pack("<BBBIq", _TEST, side, _OPERATORS[kind], field.offset, right.value)

    def _push(self, node: Node, instruction: bytes) -> bytes:
        self.held += 1
        if self.held > _VALUES_MAX:
            raise refusal(self.text, node.at, "the condition is nested too deep")
        return instruction

    def _large(self, node: Node) -> list[bytes]:
        """A whole number that the instruction for one has no room for."""
        high, low = divmod(node.value, 2**32)
        parts = Node("*", node.at, parts=(Node("constant", node.at, high), Node("constant", node.at, 2**32)))
        return self.emit(Node("+", node.at, parts=(parts, Node("constant", node.at, low))))

    @staticmethod
    def _constant(value: Any) -> bytes:
        if value is None or isinstance(value, bool):
            return bytes([_NONE if value is None else _TRUE if value else _FALSE])
        if isinstance(value, int):
            return struct.pack("<Bq", _INT, value)
        if isinstance(value, float):
            return struct.pack("<Bd", _FLOAT, value)
        data = value.encode() if isinstance(value, str) else value
        return struct.pack("<BH", _TEXT if isinstance(value, str) else _BYTES, len(data)) + data

    # ---- several ----

    def _one_of(self, node: Node) -> list[bytes]:
        """``new in (1, 2)``: each is compared; an empty list has nothing."""
        left, right = node.parts
        code: list[bytes] = []
        for number, part in enumerate(right.parts):
            code += self.emit(Node("==", node.at, parts=(left, part)))
            if number:
                code.append(bytes([_OPERATORS["or"]]))
                self.held -= 1
        return code or [self._push(node, bytes([_FALSE]))]

    def _any_of(self, left: Node, patterns: list[str]) -> list[bytes]:
        code: list[bytes] = []
        for number, pattern in enumerate(patterns):
            code += self.emit(left)
            code += [self._push(left, self._constant(pattern)), bytes([_OPERATORS["like"]])]
            self.held -= 1
            if number:
                code.append(bytes([_OPERATORS["or"]]))
                self.held -= 1
        return code

    def _patterns(self, node: Node) -> list[str]:
        """Of a place in the source: a file is named by the end of its path, as people do."""
        left, right = node.parts
        of_file = left.kind == "name" and left.value == "site" and left.keys in ((), ("file",))
        if not of_file or right.kind != "constant" or not isinstance(right.value, str):
            return []
        text: str = right.value
        return [text] if text.startswith(("/", "*")) else [text, f"*/{text}"]

    # ---- names ----

    def _named(self, node: Node) -> bytes:
        name, key = node.value, node.keys[0] if node.keys else None
        if name in ("old", "new"):
            return self._value(node)
        if name == "variable" or (name == "path" and self.shape.kind != "cells"):
            return self._constant(self.shape.variable)
        if name == "site":
            return bytes([_SITE if key is None else _SITES[str(key)]])
        if name == "thread":
            return bytes([_THREAD_ID if key == "id" else _THREAD])
        return bytes([{"changed": _CHANGED, "path": _PATH, "statement": _STATEMENT}[name]])

    def _value(self, node: Node) -> bytes:
        side, shape = int(node.value == "new"), self.shape
        if shape.secret:
            raise refusal(
                self.text,
                node.at,
                f"{shape.variable!r} is a secret: its value isn't judged; changed says if it is another",
            )
        if shape.kind == "struct":
            return self._field(side, self._index(node))
        if node.keys:
            raise refusal(self.text, node.at, f"{self._what()} has no parts: compare {node.value}")
        if shape.kind == "cells":
            return bytes([_CELL, side])
        if shape.kind == "bytes":
            return bytes([_MEASURED, side])
        if shape.kind == "number":
            return self._field(side, 0)
        raise refusal(
            self.text, node.at, f"values like that of {shape.variable!r} aren't compared; changed can be asked"
        )

    def _what(self) -> str:
        return "the value of a place" if self.shape.kind == "cells" else f"the value of {self.shape.variable!r}"

    def _index(self, node: Node) -> int:
        fields, named = self.shape.fields, self.shape.named
        key = node.keys[0] if len(node.keys) == 1 else None
        if isinstance(key, str) and key in named:
            return named[key]
        if isinstance(key, int) and 0 <= key < len(fields):
            return key
        has = (
            ", ".join(f"{node.value}.{name}" for name in named) or f"{node.value}[0] to {node.value}[{len(fields) - 1}]"
        )
        raise refusal(self.text, node.at, f"{self.shape.variable!r} is a struct, of which a field is compared: {has}")

    def _field(self, side: int, number: int) -> bytes:
        field = self.shape.fields[number]
        if field.letter in "sp":
            skipped = int(field.letter == "p")
            return struct.pack("<BBII", _BLOCK, side, field.offset + skipped, field.size - skipped)
        return struct.pack("<BBBBI", _NUMBER, side, ord(field.letter), field.little, field.offset)

    # ---- what can't be right ----

    def _kind(self, node: Node) -> str:
        """``number``, ``text``, ``bytes``; empty: it isn't known."""
        if node.kind == "constant":
            kinds = {int: "number", float: "number", bool: "number", str: "text", bytes: "bytes"}
            return kinds.get(type(node.value), "")
        if node.kind in ("+", "-", "*", "/", "//", "%", "negate", "call"):
            return "number"
        if node.kind != "name":
            return ""
        if node.value in ("old", "new"):
            return self._kind_of_value(node)
        if node.value == "changed" or node.keys in (("line",), ("id",)):
            return "number"
        return "text" if node.value != "statement" else ""

    def _kind_of_value(self, node: Node) -> str:
        if self.shape.kind == "struct" and not self.shape.secret:
            return "bytes" if self.shape.fields[self._index(node)].letter in "sp" else "number"
        return {"number": "number", "bytes": "bytes"}.get(self.shape.kind, "")

    def _check_kinds(self, node: Node) -> None:
        """A comparison that could never be known is a mistake."""
        if len(node.parts) != 2 or node.kind in ("and", "or"):
            return
        left, right = map(self._kind, node.parts)
        if node.kind in "+-*/%" or node.kind == "//":
            wrong = [kind for kind in (left, right) if kind not in ("", "number")]
            if wrong:
                raise refusal(self.text, node.at, f"{node.kind} computes with numbers, not with {wrong[0]}")
            return
        if node.kind == "like" and (right not in ("", "text") or left not in ("", "text")):
            raise refusal(self.text, node.at, 'like compares a text with a pattern: path like "*.total"')
        if left and right and left != right:
            raise refusal(self.text, node.at, f"{left} is never compared with {right}")
