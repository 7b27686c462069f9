"""The language of conditions (``when="new < 0"``), read into a tree. Nothing in it is ever evaluated by Python.

Whoever is asked for a condition reads it with :func:`read`, which says at once what is wrong with it, and where;
:mod:`memwatch_core.conditions` makes a program for a variable of it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from .errors import ConditionError

NAMES = {
    "old": "the value before the store",
    "new": "the value after it",
    "changed": "whether its bytes differ",
    "path": "what was written: order.customer.age",
    "variable": "the name of what is watched: order",
    "thread": "the writing thread's name; thread.id is its number",
    "site": "where: file:line; site.file, site.line, site.function",
    "statement": "the SQL statement in force; None if there is none",
}
"""Every name that a condition may use, and what it stands for."""
FUNCTIONS = {"abs": "of a number", "len": "of a text or bytes"}
_PARTS = {"thread": ("id", "name"), "site": ("file", "line", "function")}
_CONSTANTS = {"None": None, "True": True, "False": False}
TEXT_MAX = 2000
_DEEPEST = 30
_NAMES_SHOWN = (f"    names: {', '.join(NAMES)}", "    and: absent, None, True, False, abs(), len()")
_PREFIX = re.compile(r"((?:[\w.*?<>()-]|:(?!\s)|\[[^\]]*\])+):\s+(.+)", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|
                 (?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)(?![\w.]))
    | (?P<text>(?:[bB]|[rR])?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
    | (?P<name>[^\W\d]\w*)
    | (?P<sign><=|>=|==|!=|!~|//|[-+*/%<>()\[\].,~])
    )""",
    re.VERBOSE,
)


class Node(NamedTuple):
    """A part of a condition."""

    kind: str
    """``constant``, ``absent``, ``name``, ``tuple``, ``call``, or an operator: ``<``, ``and``, ``like``, ``negate``."""
    at: int
    """Its first character, from 0."""
    value: Any = None
    """Of a constant, the value; of a name, the name; of a call, the function."""
    parts: tuple[Node, ...] = ()
    keys: tuple[str | int, ...] = ()
    """Of a name, what stands behind it: ``new.price[0]`` has ``("price", 0)``."""

    def each(self) -> Iterator[Node]:
        """This and all below."""
        yield self
        for part in self.parts:
            yield from part.each()


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def read(text: str) -> Node:
    """The tree of a condition. Raises ConditionError, which says where it is wrong, and what may stand there; TypeError
    for what is no str."""
    if not isinstance(text, str):
        raise TypeError(f'a condition is a str, as when="new < 0", not {type(text).__name__}')
    return _Reader(text).whole()


def parted(text: str) -> tuple[str | None, str]:
    """``total: new < 0`` as the name of a variable, with ``*`` and ``?``, and the condition; without a name, None."""
    match = _PREFIX.fullmatch(text.strip())
    return (match[1], match[2]) if match else (None, text)


def names(root: Node) -> frozenset[str]:
    """The names that a condition uses."""
    return frozenset(node.value for node in root.each() if node.kind == "name")


def refusal(text: str, at: int, why: str, *, names: bool = False) -> ConditionError:
    """The error for a condition that is wrong at a character: the text, a mark below, what is wrong, and which names
    there are."""
    shown = text.expandtabs(1).replace("\n", " ")
    start = max(0, at - 50)
    cut = shown[start : start + 70]
    return ConditionError(
        f"when={text!r}" if len(text) <= 60 else "when=…",
        f"    {cut}",
        f"    {' ' * (at - start)}^ {why}",
        *_NAMES_SHOWN * names,
    )


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > TEXT_MAX:
            raise refusal(text, TEXT_MAX, f"a condition has at most {TEXT_MAX} characters")
        self.tokens = list(self._tokens())
        self.next = 0
        self.depth = 0

    def _tokens(self) -> Iterator[_Token]:
        at = 0
        while at < len(self.text.rstrip()):
            match = _TOKEN.match(self.text, at)
            if match is None:
                at += len(self.text[at:]) - len(self.text[at:].lstrip())
                raise refusal(self.text, at, self._no_token(self.text[at:]))
            kind = str(match.lastgroup)
            yield _Token(kind, match[kind], match.start(kind))
            at = match.end()
        yield _Token("end", "", len(self.text.rstrip()))

    @staticmethod
    def _no_token(rest: str) -> str:
        if rest.startswith(":"):
            return "a variable's name stands at the beginning, and a blank behind its colon: total: new < 0"
        if rest.startswith("="):
            return "equality is written =="
        if rest[:2] in ("&&", "||"):
            return "write and, or"
        if rest[0] == "!":
            return "write not"
        if rest[0] in "'\"":
            return "this text has no end"
        if rest[0].isdigit():
            return "this is no number"
        return f"{rest[0]!r} has no meaning here"

    # ---- tokens ----

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these words or signs."""
        token = self.token
        if token.kind not in ("name", "sign") or token.text not in texts:
            return None
        self.next += 1
        return token

    def expect(self, text: str, why: str) -> None:
        if not self.take(text):
            raise refusal(self.text, self.token.at, f"expected {text!r}, {why}")

    # ---- from what binds least to what binds most ----

    def whole(self) -> Node:
        if self.token.kind == "end":
            raise refusal(self.text, 0, "a condition is expected: new < 0", names=True)
        root = self.either()
        if self.token.kind != "end":
            raise refusal(self.text, self.token.at, "expected an operator (<, ==, and, in, like, +), or the end")
        return root

    def either(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise refusal(self.text, self.token.at, f"a condition is nested {_DEEPEST} deep at most")
        node = self.all_of()
        while token := self.take("or"):
            node = Node("or", token.at, parts=(node, self.all_of()))
        self.depth -= 1
        return node

    def all_of(self) -> Node:
        node = self.negated()
        while token := self.take("and"):
            node = Node("and", token.at, parts=(node, self.negated()))
        return node

    def negated(self) -> Node:
        count, first = 0, self.token
        while self.take("not"):
            count += 1
        node = self.compared()
        for _ in range(count):
            node = Node("not", first.at, parts=(node,))
        return node

    def compared(self) -> Node:
        """``0 < new <= 10`` is ``0 < new and new <= 10``, as in Python."""
        left, found = self.sum(), None
        while operator := self._comparison():
            kind, at = operator
            right = self.sum()
            negative = kind.startswith("not ")
            one = Node(kind[4:] if negative else kind, at, parts=(left, right))
            one = Node("not", at, parts=(one,)) if negative else one
            found = one if found is None else Node("and", at, parts=(found, one))
            left = right
        return left if found is None else found

    def _comparison(self) -> tuple[str, int] | None:
        if token := self.take("<", "<=", "==", "!=", ">", ">=", "in", "like"):
            return token.text, token.at
        if token := self.take("~", "!~"):
            return ("like" if token.text == "~" else "not like"), token.at
        if token := self.take("is"):
            return ("!=" if self.take("not") else "=="), token.at
        if token := self.take("not"):
            kind = self.take("in", "like")
            if kind is None:
                raise refusal(self.text, self.token.at, "expected in, or like, behind not")
            return f"not {kind.text}", token.at
        return None

    def sum(self) -> Node:
        node = self.product()
        while token := self.take("+", "-"):
            node = Node(token.text, token.at, parts=(node, self.product()))
        return node

    def product(self) -> Node:
        node = self.signed()
        while token := self.take("*", "/", "//", "%"):
            node = Node(token.text, token.at, parts=(node, self.signed()))
        return node

    def signed(self) -> Node:
        signs = []
        while token := self.take("-", "+"):
            signs.append(token)
        node = self.value()
        for token in reversed(signs):
            if token.text == "-":
                number = node.kind == "constant" and type(node.value) in (int, float)
                node = node._replace(value=-node.value) if number else Node("negate", token.at, parts=(node,))
        return node

    # ---- values ----

    def value(self) -> Node:
        token = self.token
        self.next += token.kind != "end"
        if token.kind in ("number", "text"):
            return Node("constant", token.at, self._literal(token))
        if token.kind == "sign" and token.text in ("(", "["):
            return self._group(token)
        if token.kind == "name" and token.text not in ("and", "or", "not", "in", "is", "like", "if", "else", "for"):
            return self._named(token)
        found = f", not {token.text!r}" if token.text else ""
        raise refusal(self.text, token.at, f"expected a value{found}: a number, a text or a name", names=True)

    def _literal(self, token: _Token) -> Any:
        if token.kind == "text" and "\\u" in token.text and token.text[0] in "bB":
            raise refusal(self.text, token.at, "bytes have no \\u")
        try:
            value = ast.literal_eval(token.text)
            if isinstance(value, str):
                value.encode()
        except (ValueError, SyntaxError, UnicodeEncodeError) as error:
            raise refusal(self.text, token.at, f"this can't be read: {error.args[0]}") from None
        if isinstance(value, int) and value >= 2**64:
            raise refusal(self.text, token.at, "a whole number of a condition has at most 64 bits")
        return value

    def _group(self, opened: _Token) -> Node:
        close = ")" if opened.text == "(" else "]"
        parts, is_tuple = [], opened.text == "["
        while not self.take(close):
            parts.append(self.either())
            if self.take(","):
                is_tuple = True
            else:
                self.expect(close, f"for the {opened.text!r} at character {opened.at + 1}")
                break
        if not is_tuple and len(parts) == 1:
            return parts[0]
        return Node("tuple", opened.at, parts=tuple(parts))

    def _named(self, token: _Token) -> Node:
        name = token.text
        if name in FUNCTIONS and self.take("("):
            inner = self.either()
            self.expect(")", f"of {name}(")
            return Node("call", token.at, name, parts=(inner,))
        if name in _CONSTANTS:
            return Node("constant", token.at, _CONSTANTS[name])
        if name == "absent":
            return Node("absent", token.at)
        if name not in NAMES:
            from difflib import get_close_matches

            near = get_close_matches(name, [*NAMES, *FUNCTIONS, "absent"], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise refusal(self.text, token.at, f"there is no name {name!r}{hint}", names=True)
        node = Node("name", token.at, name, keys=tuple(self._keys()))
        self._check_parts(node)
        return node

    def _keys(self) -> Iterator[str | int]:
        while token := self.take(".", "["):
            key = self.token
            self.next += key.kind != "end"
            if token.text == "." and key.kind == "name":
                yield key.text
            elif token.text == "[" and key.kind in ("number", "text"):
                yield self._literal(key)
                self.expect("]", "behind an index")
            else:
                what = "a name" if token.text == "." else "a number, or a field's name in quotes"
                raise refusal(self.text, key.at, f"expected {what}")

    def _check_parts(self, node: Node) -> None:
        if not node.keys or node.value in ("old", "new"):
            return
        parts = _PARTS.get(node.value, ())
        if len(node.keys) != 1 or node.keys[0] not in parts:
            has = f"it has {', '.join(f'{node.value}.{part}' for part in parts)}" if parts else "it has no parts"
            raise refusal(self.text, node.at, f"{node.value}: {has}")
