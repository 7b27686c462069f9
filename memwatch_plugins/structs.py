"""Parses formats of the ``struct`` module: the bytes of each value."""

from memwatch_core.structs import Field as Field
from memwatch_core.structs import Run as Run
from memwatch_core.structs import fields as fields
from memwatch_core.structs import runs as runs
