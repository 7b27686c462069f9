"""A broken plugin: what it raises on import is let through by stevedore."""

raise AssertionError("only on Tuesdays")
