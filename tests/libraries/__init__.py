"""Libraries whose objects people watch: their own test suites, run with each instance of their classes watched where it
lies. Every test must end as it does otherwise.

``python -m libraries NAME`` in the folder above runs one and prints what differs.
"""
