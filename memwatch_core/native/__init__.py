"""The core and the adapter's C half, built as one object, and what Python calls in it."""
