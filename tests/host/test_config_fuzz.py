"""Settings out of anything: each input is settings, or one error with the name of the file or variable."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memwatch_core import config as configuration
from memwatch_core.errors import ConfigError
from memwatch_core.settings import ALL_SECTIONS

EXAMPLES = 4_000 if os.environ.get("MEMWATCH_SOAK") else 150
HYPOTHESIS = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])

SECTIONS = st.sampled_from([*ALL_SECTIONS, "kore", "tool"])
NAMES = st.sampled_from(
    [
        *("tracker", "share_pages", "track_sql", "mutation_depth", "serializers", "sql", "sinks", "parameters"),
        *("window", "exact_lines", "folder", "max_bytes", "policy", "jsonl", "path", "x", "ä", "a.b", ""),
    ]
)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("FULL") | st.just("0:8"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else str(value)


def complaint_of(directory: Path, environment: dict[str, str]) -> str:
    """The error's text; "" if the settings were taken. They survive the way to another process then."""
    try:
        config = configuration.load(directory=directory, environment=environment)
    except ConfigError as error:
        assert all(0 < len(line) < 1000 for line in error.lines)  # noqa: PT017
        return min(error.lines, key=lambda line: ("memwatch.toml" in line, any(name in line for name in environment)))
    assert configuration.loads(config.dumps()) == config
    return ""


@HYPOTHESIS
@given(st.dictionaries(SECTIONS, VALUES | st.dictionaries(NAMES, VALUES, max_size=4), max_size=4))
def test_any_settings_are_taken_or_refused_with_the_name_of_the_file(tmp_path: Path, data: dict[str, object]) -> None:
    text = "".join(f"{key} = {toml(value)}\n" for key, value in data.items())
    (tmp_path / "memwatch.toml").write_text(text, encoding="utf-8")
    complaint = complaint_of(tmp_path, {})
    assert not complaint or "memwatch.toml" in complaint


@HYPOTHESIS
@given(st.binary(max_size=200) | st.text(alphabet="[]{}='\"\\.,#\n a1ä\0", max_size=80).map(str.encode))
def test_any_file_is_settings_or_one_error_with_its_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "memwatch.toml").write_bytes(data)
    complaint = complaint_of(tmp_path, {})
    assert not complaint or "memwatch.toml" in complaint


@HYPOTHESIS
@given(st.dictionaries(st.from_regex(r"MEMWATCH_[A-Z_]{0,30}", fullmatch=True), st.text(max_size=30), max_size=3))
def test_any_environment_is_settings_or_one_error_with_its_variable(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    environment.pop("MEMWATCH_CONFIG", None)
    complaint = complaint_of(tmp_path, environment)
    assert not complaint or any(name in complaint for name in environment)
