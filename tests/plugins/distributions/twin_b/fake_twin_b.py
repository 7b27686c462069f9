"""One of two distributions that offer the same name; must never be imported."""

raise RuntimeError("imported, though another distribution offers the same name")
