"""Events of places that have several names: an object is found at several places of watched ones."""

from __future__ import annotations

import msgspec

from ..records import Alias, Event


def under_all_names(event: Event) -> tuple[Event, ...]:
    """The event, and the same as if it were told under each of its other names."""
    part = event.part
    if not event.aliases or part is None:
        return (event,)
    own = Alias(event.variable, event.variable_id, part.name)
    return (event, *(_under(event, own, alias) for alias in event.aliases))


def _under(event: Event, own: Alias, name: Alias) -> Event:
    assert event.part is not None
    return msgspec.structs.replace(
        event,
        variable=name.variable,
        variable_id=name.variable_id,
        part=msgspec.structs.replace(event.part, name=name.name),
        aliases=(own, *(each for each in event.aliases if each is not name)),
    )
