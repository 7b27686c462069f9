"""Forgot the decorator."""


def memwatch_sinks() -> list[object]:
    return []
