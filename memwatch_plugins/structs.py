"""Formats of the struct module, taken apart: which bytes each value has."""

from memwatch_core.structs import Field as Field
from memwatch_core.structs import fields as fields
