"""What a watched value is called when ``watch()`` isn't told: the target of the assignment that the call stands in.

``total = watch(0)`` is ``total``, ``self.total = watch(0)`` is ``self.total``, ``prices["tea"] = watch(0.0)`` is
``prices['tea']``. It is read from the caller's bytecode, which is there when the source isn't; once for each call site.
"""

from __future__ import annotations

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
"""(address of the code object, instruction) -> the code object, which is thereby kept at that address, and the name."""


def infer_name(frame: FrameType) -> str:
    """The name that the call which ``frame`` is executing is assigned to; ``value`` if it isn't. Any thread."""
    code, at = frame.f_code, frame.f_lasti
    known = _found.get((id(code), at))
    if known is not None:
        return known[1]
    name = _target(code, at)[:NAME_MAX]  # the key of an item may be any constant
    if len(_found) >= _KEPT:
        _found.clear()
    _found[id(code), at] = (code, name)
    return name


def infer_argument(frame: FrameType) -> str:
    """The source of the first argument of the call of ``watch`` that ``frame`` is executing, if that is a name or
    attributes of one; otherwise empty. Any thread."""
    if dis is None or not hasattr(dis, "get_instructions"):
        return ""
    before = [step for step in dis.get_instructions(frame.f_code) if step.offset < frame.f_lasti]
    callee = max((i for i, step in enumerate(before) if step.argval == "watch"), default=len(before))
    name = ""
    for step in before[callee + 1 :]:
        if step.opname in ("PUSH_NULL", "CACHE", "NOP"):
            continue
        if not name and step.opname.startswith("LOAD_") and isinstance(step.argval, str) and "CONST" not in step.opname:
            name = step.argval
        elif name and step.opname == "LOAD_ATTR":
            name += f".{step.argval}"
        else:
            break
    return name[:NAME_MAX]


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
    """As JSON; what UTF-8 can't hold (the bytes of an undecodable file name) as question marks."""
    return encode_basestring(text if text.isascii() else text.encode("utf-8", "replace").decode())


def type_name(value: object) -> str:
    """``<type>``, without asking the type's metaclass."""
    return f"<{str.__str__(_name_of(type(value)))[:_LONGEST].encode('utf-8', 'replace').decode()}>"


_name_of = type.__dict__["__name__"].__get__
_LONGEST = 200
