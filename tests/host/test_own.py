"""Which files are the program's own code."""

from __future__ import annotations

import json
import random
import sysconfig
from pathlib import Path

import pytest

from memwatch_core.host.own import is_own_by, is_own_by_default

OWN = [
    "/srv/app/orders.py",
    "orders.py",
    "/home/me/site-packages.py",
    "/home/me/lib/python/tools.py",
    "/srv/libpython3.11/app.py",
    "/srv/app/node.js",
    "/srv/caf\udce9.py",
]
OTHERS = [
    "",
    "<string>",
    "<frozen importlib._bootstrap>",
    "<attrs generated init orders.Order>",
    "/usr/lib/python3/dist-packages/orm/state.py",
    "/usr/lib/python3.13/random.py",
    "/srv/app/.venv/lib/python3.12/site-packages/orm/state.py",
    "/srv/app/venv/lib64/python3.11/asyncio/events.py",
    "/usr/lib/python311.zip/json/decoder.py",
    "/srv/app/node_modules/pg/lib/client.js",
    "node:internal/modules/cjs/loader",
    "evalmachine.<anonymous>",
    random.__file__,
    json.decoder.__file__,
    f"{sysconfig.get_path('purelib')}/pytest/__init__.py",
]


@pytest.mark.parametrize("file", OWN)
def test_file_beside_the_libraries_is_the_program_s_own(file: str) -> None:
    assert is_own_by_default(file)
    assert is_own_by(())(file)


@pytest.mark.parametrize("file", OTHERS)
def test_file_of_a_library_or_in_no_file_is_not(file: str) -> None:
    assert not is_own_by_default(file)


@pytest.mark.parametrize(
    ("patterns", "own", "others"),
    [
        (["/srv/app"], ["/srv/app/a.py", "/srv/app/lib/python3.11/b.py", "/srv/app"], ["/srv/apple/a.py", "/srv/a.py"]),
        (["/srv/app/../other/"], ["/srv/other/a.py"], ["/srv/app/a.py"]),
        (["/srv/*/models.py"], ["/srv/a/models.py", "/srv/a/b/models.py"], ["/srv/a/views.py"]),
        (["/a.py", "/lib/site-packages/mine"], ["/a.py", "/lib/site-packages/mine/b.py"], ["/lib/site-packages/c.py"]),
        (["/srv/a[1]b+c"], ["/srv/a1b+c/x.py"], ["/srv/abbc/x.py"]),
    ],
)
def test_what_the_configuration_names_is_own_and_nothing_else(
    patterns: list[str], own: list[str], others: list[str]
) -> None:
    is_own = is_own_by(tuple(map(Path, patterns)))
    assert [file for file in own if not is_own(file)] == []
    assert [file for file in [*others, "", "<string>"] if is_own(file)] == []
