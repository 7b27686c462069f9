"""What the client has been shown while the program stands still: to which expression a line of its view belongs.

A client names a variable by a number, ``variablesReference``, and a name. The numbers are debugpy's, and good until the
program goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

_GROUPS = frozenset(("special variables", "function variables", "class variables", "protected variables"))
"""Lines by which debugpy folds variables of an object."""


@dataclass(frozen=True, slots=True)
class Line:
    """A variable in the client's view. ``expression`` names it in the frame; "": a scope itself."""

    expression: str
    frame: int | None
    scope: str = ""
    """``locals`` or ``globals`` of a name; "" of what is in something else."""


class Shown:
    """The lines since the last stop."""

    def __init__(self) -> None:
        self._containers: dict[int, Line] = {}
        self._lines: dict[tuple[int, str], Line] = {}

    def forget(self) -> None:
        """The program has gone on."""
        self._containers.clear()
        self._lines.clear()

    def scopes(self, frame: object, body: dict[str, Any]) -> None:
        """A response to ``scopes``."""
        if not isinstance(frame, int):
            return
        for scope in _dicts(body.get("scopes")):
            reference, name = scope.get("variablesReference"), scope.get("presentationHint") or scope.get("name")
            if isinstance(reference, int):
                kind = "globals" if str(name).lower() == "globals" else "locals"
                self._containers[reference] = Line("", frame, kind)

    def evaluated(self, frame: object, expression: object, body: dict[str, Any]) -> None:
        """A response to ``evaluate``: what it holds may be asked for next."""
        reference = body.get("variablesReference")
        if isinstance(reference, int) and reference and isinstance(expression, str):
            self._containers[reference] = Line(expression, frame if isinstance(frame, int) else None)

    def variables(self, reference: object, body: dict[str, Any]) -> None:
        """A response to ``variables``."""
        if not isinstance(reference, int):
            return
        container = self._containers.get(reference, Line("", None))
        for variable in _dicts(body.get("variables")):
            name, inner = variable.get("name"), variable.get("variablesReference")
            if not isinstance(name, str):
                continue
            line = container
            if name not in _GROUPS:
                line = self._lines[reference, name] = _line(container, name, variable.get("evaluateName"))
            if isinstance(inner, int) and inner:
                self._containers[inner] = line if name in _GROUPS else replace(line, scope="")

    def find(self, reference: int, name: str) -> Line | None:
        """The line of a variable; None: the client was shown none of this name."""
        return self._lines.get((reference, name))


def _line(container: Line, name: str, expression: object) -> Line:
    folded = isinstance(expression, str) and expression.startswith(tuple(_GROUPS))
    if not isinstance(expression, str) or not expression or folded:
        expression = f"{container.expression}.{name}" if container.expression else name
    return Line(expression, container.frame, container.scope if expression == name else "")


def _dicts(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
