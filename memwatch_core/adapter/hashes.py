"""HMAC and SHA-256 hashes, computed once for each text. ``node_bridge/lib/sql/hashes.js`` computes the same ones.
Parameters, which are hashed at each execution, are hashed in C."""

from __future__ import annotations

import hmac
from hashlib import sha256


def keyed(key: bytes, purpose: str, text: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes. A text has a different hash for each ``purpose``."""
    return hmac.digest(key, purpose.encode() + b"\0" + text, "sha256")


def digest(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return sha256(data).digest()
