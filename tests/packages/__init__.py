"""Packages from PyPI, whole programs that nobody edits: their own test suites, run with all variables of all their
modules watched, those of the tests as well. Every test must end as it does otherwise.

``python -m packages NAME`` in the folder above runs one and prints what differs.
"""
