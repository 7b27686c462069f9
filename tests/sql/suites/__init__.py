"""The drivers' own test suites, run without and with tracing: every test must end the same way both times.

``python -m suites NAME`` in the folder above runs one and prints what differs.
"""
