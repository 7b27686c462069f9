"""Installed, and named by no configuration: importing it is the failure that a test looks for."""

raise RuntimeError("imported, though no configuration names it")
