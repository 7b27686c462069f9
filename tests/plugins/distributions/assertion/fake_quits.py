"""A broken plugin: it ends the program that imports it."""

raise SystemExit(3)
