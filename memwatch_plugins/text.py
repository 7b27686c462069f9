"""Records as lines of text, for sinks that people read: :class:`Lines` and its building blocks."""

from memwatch_core.printed import clean as clean
from memwatch_core.rendering.changes import change as change
from memwatch_core.rendering.changes import named as named
from memwatch_core.rendering.layout import shorten as shorten
from memwatch_core.rendering.palette import Role as Role
from memwatch_core.rendering.text import Lines as Lines
from memwatch_core.rendering.text import brief as brief
from memwatch_core.rendering.text import short_path as short_path
