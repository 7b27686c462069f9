"""Records as lines of JSON, in MemWatch's only schema (docs/events.md)."""

from memwatch_core.rendering.jsonlines import encode as encode
from memwatch_core.rendering.jsonlines import parts as parts
from memwatch_core.rendering.jsonlines import record_json as record_json
from memwatch_core.rendering.jsonlines import value_json as value_json
