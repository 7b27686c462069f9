"""Why something that a watched object holds isn't followed, in words; and what of a target that was never met."""

from __future__ import annotations

from ..printed import clean
from ..records import Unfollowed

_SHORT = {
    "max_objects": "over max_objects",
    "other watch": "in another watch, which follows less of it",
    "key": "under keys that are objects",
    "member": "in sets",
    "memory": "for want of memory",
}
_WHY = {
    "max_objects": "as many objects are as max_objects allows",
    "other watch": "it belongs to another watch, which follows less of it",
    "key": "it lies under a key that is an object",
    "member": "it is a member of a set",
    "memory": "there was no memory",
}


def short(why: str, kind: str) -> str:
    """For a list with counts: ``deque``, ``over max_objects``."""
    return _SHORT.get(why) or kind or "of other types"


def reason(record: Unfollowed) -> str:
    """To put behind ``order.queue is not followed: ``."""
    kind = clean(record.type)
    if record.why == "unmet":
        return "nothing of this name was there" + (f"; did you mean {kind}?" if kind else "")
    if record.why in _WHY:
        return _WHY[record.why] + (f" ({kind})" if kind else "")
    if record.type == "tuple":
        return "what a tuple holds isn't"
    return f"changes in it aren't told ({kind})" if kind else "changes in it aren't told"
