"""The reading side: journals decoded, plugins and sinks, sessions."""
