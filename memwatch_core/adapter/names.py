"""The default name of a watched value: the target of the assignment that the ``watch()`` call stands in.

``total = watch(0)`` is ``total``, ``self.total = watch(0)`` is ``self.total``, ``prices["tea"] = watch(0.0)`` is
``prices['tea']``. The name is read from the caller's bytecode, once for each call site: the source may be missing.
"""

from __future__ import annotations

from itertools import zip_longest
from json.encoder import encode_basestring
from types import CodeType, FrameType

from ..records import NAME_MAX

try:
    import dis
except Exception:  # the program's folder has an `opcode.py` or `dis.py` of its own
    dis = None  # type: ignore[assignment]

UNNAMED = "value"
_KEPT = 4096
_found: dict[tuple[int, int], tuple[CodeType, str]] = {}
"""(address of a code object, instruction offset) -> the code object and the name. Holding the code object keeps its
address from being reused."""
_arguments: dict[tuple[int, int], tuple[CodeType, str]] = {}
"""The same for the first argument of a call."""


def infer_name(frame: FrameType) -> str:
    """The name that ``frame``'s current call is assigned to; ``value`` if none. Thread-safe."""
    code, at = frame.f_code, frame.f_lasti
    known = _found.get((id(code), at))
    if known is not None:
        return known[1]
    name = _target(code, at)[:NAME_MAX]  # the key of an item may be any constant
    if len(_found) >= _KEPT:
        _found.clear()
    _found[id(code), at] = (code, name)
    return name


def infer_argument(frame: FrameType, callee: str = "watch") -> str:
    """The source of the first argument of the call of ``callee`` that ``frame`` is executing, if it is a name, or
    attributes and constant items of a name; otherwise empty. Any thread."""
    code, at = frame.f_code, frame.f_lasti
    known = _arguments.get((id(code), at))
    if known is not None:
        return known[1]
    name = _argument(code, at, callee)[:NAME_MAX]
    if len(_arguments) >= _KEPT:
        _arguments.clear()
    _arguments[id(code), at] = (code, name)
    return name


def _argument(code: CodeType, at: int, callee: str) -> str:
    if dis is None or not hasattr(dis, "get_instructions"):
        return ""
    before = [step for step in dis.get_instructions(code) if step.offset < at]
    called = max((i for i, step in enumerate(before) if step.argval == callee), default=len(before))
    steps = [step for step in before[called + 1 :] if step.opname not in ("PUSH_NULL", "CACHE", "NOP")]
    name = ""
    for step, after in zip_longest(steps, steps[1:]):
        if not name and step.opname.startswith("LOAD_FAST") and isinstance(step.argval, tuple):  # two names at once
            return "" if _is_item(after) else str(step.argval[0])
        if not name and step.opname.startswith("LOAD_") and isinstance(step.argval, str) and "CONST" not in step.opname:
            name = step.argval
        elif name and step.opname == "LOAD_ATTR":
            name += f".{step.argval}"
        elif name and _is_item(after) and step.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            name += f"[{quoted(step.argval) if type(step.argval) is str else repr(step.argval)}]"
        elif not name or not _is_item(step):
            break
    return name


def _is_item(step: dis.Instruction | None) -> bool:
    """Whether it is the instruction of ``a[b]``."""
    return step is not None and (step.opname == "BINARY_SUBSCR" or (step.opname, step.argrepr) == ("BINARY_OP", "[]"))


def _target(code: CodeType, at: int) -> str:
    if dis is None or not hasattr(dis, "get_instructions"):
        return UNNAMED
    after = [step for step in dis.get_instructions(code) if step.offset > at and step.opname not in ("CACHE", "NOP")]
    stack: list[str] = []
    for step in after:
        name = step.opname
        if name == "COPY":  # a = b = watch(0), or (a := watch(0))
            continue
        if name.startswith("STORE_FAST"):
            return str(step.argval[0] if isinstance(step.argval, tuple) else step.argval)
        if name in ("STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"):
            return str(step.argval)
        if name == "STORE_ATTR":
            return f"{stack[-1]}.{step.argval}" if stack else UNNAMED
        if name == "STORE_SUBSCR":
            return f"{stack[-2]}[{stack[-1]}]" if len(stack) == 2 else UNNAMED
        if name == "LOAD_CONST":
            stack.append(repr(step.argval))
        elif name == "LOAD_ATTR" and stack:
            stack[-1] += f".{step.argval}"
        elif name == "LOAD_FAST_LOAD_FAST":
            stack += step.argval
        elif name.startswith("LOAD_") and isinstance(step.argval, str):
            stack.append(step.argval)
        else:
            return UNNAMED
    return UNNAMED


def quoted(text: str) -> str:
    """The text as JSON. Surrogates, which UTF-8 can't encode (undecodable file names), become question marks."""
    return encode_basestring(text if text.isascii() else text.encode("utf-8", "replace").decode())


def type_name(value: object) -> str:
    """``<name>`` of the value's type, read without its metaclass."""
    return f"<{str.__str__(_name_of(type(value)))[:_LONGEST].encode('utf-8', 'replace').decode()}>"


_name_of = type.__dict__["__name__"].__get__
_LONGEST = 200
