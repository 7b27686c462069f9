"""One Node.js after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from nodejs import PACKAGE, VERSIONS, Node, executable


@pytest.fixture(params=VERSIONS, ids=lambda version: f"node{version}")
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    """Each version of Node.js, with the package installed in an empty folder."""
    version: int = request.param
    if not executable(version).exists():
        pytest.skip(f"Node.js {version} isn't here: make node installs it (from the npm registry)")
    assert list(PACKAGE.glob("prebuilds/*/*.node")), "the addon isn't built: make node"
    return Node(version, tmp_path)
