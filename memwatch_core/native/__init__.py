"""The core and the C half of the Python adapter, built as one shared object, and their Python interface."""
