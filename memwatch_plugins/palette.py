"""MemWatch's colours; :func:`plain` leaves them out."""

from memwatch_core.rendering.palette import Role as Role
from memwatch_core.rendering.palette import paint as paint
from memwatch_core.rendering.palette import plain as plain
