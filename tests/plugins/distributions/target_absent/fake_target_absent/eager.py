"""Imports its optional extra at once, as many plugins do."""

import nosuchdb_eager  # type: ignore[import-not-found]  # noqa: F401
