"""Settings: which source wins, and what each mistake says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_core import config as configuration
from memwatch_core.config import Config
from memwatch_core.errors import ConfigError


def load(tmp_path: Path, text: str | None = None, /, **environment: str) -> Config:
    if text is not None:
        (tmp_path / "memwatch.toml").write_text(text, encoding="utf-8")
    return configuration.load(directory=tmp_path, environment=environment)


def test_sources_override_each_other_in_order_and_are_remembered(tmp_path: Path) -> None:
    text = "[core]\ntracker = 'readonly'\n[watch]\ntrack_sql = true\ntrack_threads = false\n"
    (tmp_path / "memwatch.toml").write_text(text)
    config = configuration.load(
        directory=tmp_path,
        environment={"MEMWATCH_WATCH_TRACK_SQL": "no", "MEMWATCH_WATCH_TRACK_THREADS": "1", "HOME": "/"},
        overrides={"watch": {"track_threads": False}},
        labels={"watch.track_threads": "--no-track-threads"},
    )
    got = {key: (value, source.where) for key, value, source in config.items()}
    assert got["core.tracker"] == ("readonly", "memwatch.toml:2")
    assert got["watch.track_sql"] == (False, "MEMWATCH_WATCH_TRACK_SQL")
    assert got["watch.track_threads"] == (False, "--no-track-threads")
    assert got["watch.mutation_depth"] == ("FULL", "default")
    assert config.chosen("core.tracker")
    assert not config.chosen("watch.mutation_depth")


def test_nearest_file_wins_and_memwatch_toml_before_pyproject(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "memwatch.toml").write_text("[core]\ntracker = 'readonly'")
    assert configuration.load(directory=inner, environment={}).file == tmp_path / "memwatch.toml"
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'x'")
    assert configuration.load(directory=inner, environment={}).file == tmp_path / "memwatch.toml"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.memwatch.core]\ntracker = 'uffd-sigbus'")
    config = configuration.load(directory=inner, environment={})
    assert config.core.tracker == "uffd-sigbus"
    assert config.source("core.tracker").where.endswith("pyproject.toml:2")
    assert not config.core.share_pages, "files are never merged"
    (tmp_path / "a" / "memwatch.toml").write_text("[core]\nshare_pages = true")
    config = configuration.load(directory=inner, environment={})
    assert config.core.share_pages
    assert config.core.tracker == "auto"


def test_named_file_beats_searched_file(tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text("[core]\ntracker = 'readonly'")
    (tmp_path / "other.toml").write_text("[core]\ntracker = 'uffd-sigbus'")
    assert load(tmp_path, None, MEMWATCH_CONFIG="other.toml").core.tracker == "uffd-sigbus"
    named = configuration.load("other.toml", directory=tmp_path, environment={"MEMWATCH_CONFIG": "nosuch"})
    assert named.core.tracker == "uffd-sigbus"


def test_journal_folder_is_relative_to_whoever_names_it(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    assert configuration.load(directory=inner, environment={}).journal.folder == inner / ".memwatch"
    (tmp_path / "memwatch.toml").write_text("")
    assert configuration.load(directory=inner, environment={}).journal.folder == tmp_path / ".memwatch"
    (tmp_path / "memwatch.toml").write_text("[journal]\nfolder = 'sessions'")
    assert configuration.load(directory=inner, environment={}).journal.folder == tmp_path / "sessions"
    environment = {"MEMWATCH_JOURNAL_FOLDER": "here"}
    assert configuration.load(directory=inner, environment=environment).journal.folder == inner / "here"


def test_environment_reaches_tables_of_plugins(tmp_path: Path) -> None:
    config = load(tmp_path, "[plugins]\nsinks = ['my-sink', 'jsonl']", MEMWATCH_SINKS_JSONL_PATH="x",
                  MEMWATCH_SINKS_MY_SINK_MAX_AGE="3", MEMWATCH_SQL_PARAMETERS="none")  # fmt: skip
    assert config.sinks == {"jsonl": {"path": "x"}, "my-sink": {"max_age": "3"}}
    assert config.sql.parameters == "none"
    config = load(tmp_path, "", MEMWATCH_PLUGINS_SINKS="console, jsonl")
    assert config.plugins.sinks == ("console", "jsonl")


MISTAKES = [
    ("[core]\ntraker = 'auto'", "memwatch.toml:2: unknown key core.traker; did you mean 'tracker'?"),
    ("[core]\ntrack_sql = true", "memwatch.toml:2: unknown key core.track_sql; track_sql belongs in [watch]"),
    ("[kore]\n", "memwatch.toml:1: unknown section [kore]; did you mean 'core'?"),
    ("track_sql = true", "memwatch.toml:1: unknown section [track_sql]; track_sql belongs in [watch]"),
    ("[core]\ntracker = 'readnly'", "did you mean 'readonly'?"),
    ("[core]\n'a.b' = 3", '1: [core] "a.b": no setting or plugin has a dot in its name'),
    ("[core]\ntracker = 3", "2: core.tracker = 3: must be 'auto', 'uffd-sigbus', 'readonly' or 'uffd-queue'"),
    ("[watch]\ntrack_sql = 'yes'", "watch.track_sql = \"yes\": must be true or false"),
    ("[watch]\nmutation_depth = [8, 0]", "must be \"FULL\" or a range of bytes"),
    ("[watch]\nmutation_depth = '0:'", "must be \"FULL\" or a range of bytes"),
    ("[plugins]\nsinks = 'console'", "plugins.sinks = \"console\": must be a list of names"),
    ("[plugins]\nsinks = ['a', 'a']", "names 'a' twice"),
    ("[sinks]\njsonl = 3", "memwatch.toml:2: sinks.jsonl must be a table"),
    ("core = 1", "memwatch.toml:1: core must be a table"),
    ("[sql]\nwindow = 3", "memwatch.toml:2: sql.window = 3: must be"),
    ("[sinks.jsonl]\nrate = inf", "memwatch.toml:2: sinks.jsonl.rate = Infinity: neither inf nor nan can be a setting"),
    ("[sql.psycopg]\nlist = [1, {a = nan}]", 'memwatch.toml:2: sql.psycopg.list = [1, {"a": NaN}]: neither inf'),
    ("[journal]\nfolder = ''", "journal.folder = \"\": must be the path of a folder"),
    ("[journal]\nlimit = 3", "unknown key journal.limit; [journal] has folder, max_bytes, policy"),
    ("[journal]\nmax_bytes = 3", "journal.max_bytes = 3: must be a number of bytes, at least 4194304"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistake_is_one_message_with_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("memwatch.toml:")


def test_all_mistakes_are_told_each_with_its_place(tmp_path: Path) -> None:
    """Any of them alone gives the same line, and none hides another."""
    texts = ["[core]\ntraker = 'auto'\nshare_pages = 3", "[kore]", "[watch]\ntrack_sql = 'yes'\n'a.b' = 1",
             "[plugins]\nsinks = 'console'", "[sinks]\njsonl = 3", "[journal]\nmax_bytes = 3\nfolder = ''"]  # fmt: skip
    environment = {"MEMWATCH_CORE_TRAKER": "x", "MEMWATCH_FOO": "1", "MEMWATCH_SQL_WINDOW": "soon"}
    overrides: dict[str, Any] = {"node": {"exact_lines": 7}, "kore": {}}
    (tmp_path / "memwatch.toml").write_text("\n".join(texts))
    with pytest.raises(ConfigError) as caught:
        configuration.load(directory=tmp_path, environment=environment, overrides=overrides)
    expected = [
        "memwatch.toml:2: unknown key core.traker", "memwatch.toml:3: core.share_pages = 3: must be true or false",
        "memwatch.toml:4: unknown section [kore]", "memwatch.toml:6: watch.track_sql", 'memwatch.toml:5: [watch] "a.b"',
        "memwatch.toml:9: plugins.sinks", "memwatch.toml:11: sinks.jsonl must be a table",
        "memwatch.toml:13: journal.max_bytes = 3", 'memwatch.toml:14: journal.folder = ""',
        "environment variable MEMWATCH_CORE_TRAKER", "environment variable MEMWATCH_FOO: no setting",
        'environment variable MEMWATCH_SQL_WINDOW: sql.window = "soon"', "node.exact_lines",
        "settings of the caller: unknown",
    ]  # fmt: skip
    assert len(caught.value.lines) == len(expected)
    for start in expected:
        assert sum(line.startswith(start) for line in caught.value.lines) == 1, (start, caught.value.lines)


def test_file_that_is_no_toml_hides_no_mistake_of_the_environment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "[core", MEMWATCH_CORE_TRACKER="x")
    assert [line.partition(": ")[0] for line in caught.value.lines] == [
        str(tmp_path / "memwatch.toml"),
        "environment variable MEMWATCH_CORE_TRACKER",
    ]


@pytest.mark.parametrize(
    ("text", "key", "searched"),
    [
        ("[[tool.memwatch]]", "tool.memwatch", True),
        ("tool.memwatch = []", "tool.memwatch", False),
        ("[tool]\nmemwatch = 5", "tool.memwatch", False),
        ("tool = 5", "tool", False),
        ("[[tool]]\nmemwatch = 5", "tool", False),
    ],
)
def test_project_file_whose_settings_are_no_table_is_told(tmp_path: Path, text: str, key: str, searched: bool) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(text)
    for named in [file, None] if searched else [file]:
        with pytest.raises(ConfigError) as caught:
            configuration.load(named, directory=tmp_path, environment={})
        assert str(caught.value).startswith(f"{file}: {key} must be a table")


def test_bad_toml_says_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"memwatch\.toml: not valid TOML: .*line 2"):
        load(tmp_path, "[core]\ntracker = = 3")


def test_unreadable_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nosuch\.toml: the configuration can't be read: No such file"):
        configuration.load("nosuch.toml", directory=tmp_path, environment={})
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        configuration.load(tmp_path, directory=tmp_path, environment={})
    (tmp_path / "memwatch.toml").write_bytes(b"[core]\n# \xff\xfe\n")
    with pytest.raises(ConfigError, match="can't be read: 'utf-8' codec"):
        load(tmp_path)
    if os.geteuid() != 0:
        (tmp_path / "memwatch.toml").chmod(0)
        with pytest.raises(ConfigError, match="Permission denied"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MEMWATCH_CORE_TRAKER", "unknown key core.traker; did you mean 'tracker'?"),
        ("MEMWATCH_COER_TRACKER", "did you mean 'MEMWATCH_CORE_TRACKER'?"),
        ("MEMWATCH_SQL_PARAMETER", "did you mean 'parameters'?"),
        ("MEMWATCH_CORE_SHARE_PAGES", 'core.share_pages = "x": must be true or false'),
    ],
)
def test_wrong_variable_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, None, **{name: "x"})
    assert f"environment variable {name}" in str(caught.value)
    assert message in str(caught.value)


def test_configuration_can_not_be_changed_afterwards() -> None:
    with pytest.raises(AttributeError, match="cannot assign"):
        Config().core.tracker = "readonly"


names = st.from_regex(r"[a-z][a-z0-9_-]{0,12}", fullmatch=True)
plain = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.text(max_size=20), st.lists(st.booleans()))


@given(
    tracker=st.sampled_from(["auto", "uffd-sigbus", "readonly"]),
    depth=st.one_of(st.just("FULL"), st.tuples(st.integers(0, 99), st.integers(100, 2**40))),
    sinks=st.lists(names, max_size=4, unique=True),
    table=st.dictionaries(names, st.dictionaries(names, plain, max_size=3), max_size=3),
)
def test_settings_survive_the_way_to_another_process(
    tracker: str, depth: object, sinks: list[str], table: dict[str, dict[str, object]]
) -> None:
    overrides: dict[str, Any] = {"core": {"tracker": tracker}, "watch": {"mutation_depth": depth}, "sinks": table}
    overrides["plugins"] = {"sinks": sinks}
    config = configuration.load(overrides=overrides, directory="/", environment={})
    again = configuration.loads(config.dumps())
    assert again == config
    assert list(again.items()) == list(config.items())


@given(st.text(max_size=300))
def test_text_that_is_no_settings_is_one_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^settings\.json: not the settings of a session"):
        configuration.loads(text)
