"""The writing side: ``watch()``, this process's journal, and the contexts of SQL statements."""
