"""Functions of the standard library take a proxy for its value, but for those that docs/proxies.md lists."""

from __future__ import annotations

import sys

import every_function
from journals import Opened


def test_only_documented_functions_tell_a_proxy_from_its_value(journal: Opened) -> None:
    documented = set(every_function.documented().splitlines())
    seen = every_function.table().splitlines()
    assert [row for row in seen if row not in documented] == []
    if sys.version_info[:2] == (3, 11):  # the table's; in others some rows may be missing
        assert set(seen) == documented
