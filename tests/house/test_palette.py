"""Colours are defined once, and whoever paints uses them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from rich.style import Style

from memwatch_core.rendering.palette import STYLES, Role, paint, plain

ROOT = Path(__file__).parents[2]
PALETTE, STRIPPER = "memwatch_core/rendering/palette.py", "memwatch_core/printed.py"
"""What defines colours, and what leaves them out."""


def test_nothing_else_defines_a_colour() -> None:
    found = [
        str(path.relative_to(ROOT))
        for folder in ("memwatch_core", "memwatch_plugins", "plugins")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "testing" not in path.parts
        and re.search(r"\\x1b|\\033|\\e\[|click\.style|\bfg=|rich\.style", path.read_text())
    ]
    assert found == [STRIPPER, PALETTE]


@pytest.mark.parametrize("role", get_args(Role))
def test_role_looks_as_its_style_says(role: Role) -> None:
    style = STYLES.get(role, "").replace("on-", "on ")
    assert paint(role, "a b") == Style.parse(style).render("a b")
    assert paint(role, "") == ""
    assert plain(role, "a b") == "a b"
