"""Other people's own test suites, run as they are and beside MemWatch: where they come from, and what became of each
test."""
