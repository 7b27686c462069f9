"""What plugins are written with: base classes (``sql``), texts of events, and test suites (``testing``)."""
