"""Plugins: which the configuration names, what became of each, and their offers. Used by writing and reading side."""
