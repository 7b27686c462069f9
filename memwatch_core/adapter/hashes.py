"""Hashes that are made once a text: HMAC and SHA-256, which both runtimes have (``node_bridge/lib/sql/hashes.js`` makes
the same). Those of parameters, made for each execution, are made in C."""

from __future__ import annotations

import hmac
from hashlib import sha256


def keyed(key: bytes, purpose: str, text: bytes) -> bytes:
    """32 bytes. ``purpose``: the same text has another hash for each."""
    return hmac.digest(key, purpose.encode() + b"\0" + text, "sha256")


def digest(data: bytes) -> bytes:
    """32 bytes."""
    return sha256(data).digest()
