"""Lays text out on a terminal: no line is wider, and no word is broken."""

from memwatch_core.printed import terminal_width as terminal_width
from memwatch_core.printed import width as width
from memwatch_core.printed import wrap as wrap
from memwatch_core.rendering.layout import Cell as Cell
from memwatch_core.rendering.layout import both_ends as both_ends
from memwatch_core.rendering.layout import flow as flow
from memwatch_core.rendering.layout import last_part as last_part
from memwatch_core.rendering.layout import shorten as shorten
