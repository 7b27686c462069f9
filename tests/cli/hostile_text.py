"""Characters that steer a terminal, and a check that none of them is in what was printed."""

from __future__ import annotations

import re

HOSTILE = {
    "escape": "\x1b[31m\x1b]0;owned\x07",
    "bell": "\a",
    "backspace": "\b\x7f",
    "return": "x\ry",
    "csi": "\x9b31m",
    "nel": "\x85",
    "bidi": "\u202egnp.exe\u202c",
    "isolate": "\u2067a\u2069",
    "mark": "\u200f\u061c",
    "separator": "a\u2028b\u2029c",
    "bom": "\ufeff",
}
OURS = re.compile(r"\x1b\[[0-9;]*m")
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def check(printed: bytes | str, *, terminal: bool = False) -> None:
    """``terminal``: the colours of ours are allowed, and what the terminal makes of our line ends."""
    text = printed.decode("utf-8", "surrogateescape") if isinstance(printed, bytes) else printed
    if terminal:
        text = text.replace("\r\n", "\n")
        allowed = set(OURS.findall(text))
        assert "\x1b[31m\x1b]" not in text
        assert len(allowed) < 40
        text = OURS.sub("", text)
    found = STEERS.search(text)
    assert found is None, (found, text[max(0, found.start() - 60) : found.end() + 60])
