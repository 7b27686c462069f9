"""One Node.js after the other."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from zlib import crc32

import pytest
from nodejs import PACKAGE, PROGRAMS, VERSIONS, Node, executable

SOAK = bool(os.environ.get("MEMWATCH_SOAK"))
PAIRS = ((20, 26), (22, 24))
LONG = ("test_node_stores.py", "test_node_lines.py", "test_node_pair.py", "test_node_workers.py")
"""In a short run, these are for the oldest and the newest version; other tests for either pair, by turns."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves versions out."""
    out = set()
    for item in items:
        version = re.search(r"\bnode(\d+)\b", item.name)
        if version and not SOAK:
            others = item.path.name + item.name.replace(version[0], "")
            turn = 0 if item.path.name in LONG else crc32(others.encode()) % len(PAIRS)
            if int(version[1]) not in PAIRS[turn]:
                out.add(item)
    config.hook.pytest_deselected(items=list(out))
    items[:] = [item for item in items if item not in out]


@pytest.fixture(params=VERSIONS, ids=lambda version: f"node{version}")
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    """Each version of Node.js, with the package installed in an empty folder."""
    version: int = request.param
    if not executable(version).exists():
        pytest.skip(f"Node.js {version} isn't here: make node installs it (from the npm registry)")
    assert list(PACKAGE.glob("prebuilds/*/*.node")), "the addon isn't built: make node"
    return Node(version, tmp_path)


@pytest.fixture
def foreign(node: Node) -> Node:
    """With ``foreign.node`` built from programs/foreign.c."""
    headers = Path(node.path).parents[1] / "include" / "node"
    subprocess.run(
        ["gcc", "-std=c11", "-O2", "-shared", "-fPIC", "-DNODE_GYP_MODULE_NAME=foreign", "-I", headers,
         PROGRAMS / "foreign.c", "-o", "foreign.node", "-pthread"],
        cwd=node.folder, check=True,
    )  # fmt: skip
    return node
