"""What a plugin is written with: bases (``sql``), the texts of events, and the suites that test it (``testing``)."""
