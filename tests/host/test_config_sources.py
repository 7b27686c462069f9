"""Settings: which source wins, and what each mistake says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_core import config as configuration
from memwatch_core.config import Config
from memwatch_core.errors import ConfigError, SessionError
from memwatch_core.host import history


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


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("pin,x", ("pin", "x")),
        (" pin , x ,", ("pin", "x")),
        ('*["a,b"],c{d, e},[f,g', ('*["a,b"]', "c{d, e}", "[f", "g")),
    ],
)
def test_secrets_are_named_in_a_file_as_in_the_environment(
    written: str, meant: tuple[str, ...], tmp_path: Path
) -> None:
    assert load(tmp_path, None, MEMWATCH_PRIVACY_VARIABLES=written).privacy.variables == meant
    single = json.dumps([f" {each} " for each in meant])
    assert load(tmp_path, f"[privacy]\nvariables = {single}").privacy.variables == meant
    with pytest.raises(ConfigError, match=r"must be single names: .* has a comma"):
        load(tmp_path, f"[privacy]\nvariables = [{json.dumps(written)}]")
    with pytest.raises(ConfigError, match=r"(?m)^--secret: .* has a comma"):
        configuration.load(
            directory=tmp_path,
            environment={},
            overrides={"privacy": {"variables": [written]}},
            labels={"privacy.variables": "--secret"},
        )


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
    ("[plugins]\nsinks = ['a', 'a']", "names 'a' twice; leave one out"),
    ("[plugins]\nsql = ['memwatch-sql-psycopg', 'psycopg']",
     "plugins.sql = [\"memwatch-sql-psycopg\", \"psycopg\"]: names 'psycopg' twice ('memwatch-sql-psycopg' is its"),
    ("[plugins]\nsinks = ['memwatch-sink-jsonl', 'memwatch-sink-jsonl']", "names 'jsonl' twice"),
    ("[plugins]\nserializers = ['bytes', 'memwatch-serializer-bytes']", "names 'bytes' twice"),
    ("[plugins]\nbridges = ['node', 'memwatch-bridge-node']", "names 'node' twice"),
    ("[journal]\nfolder = '~nosuchuser/x'",
     "memwatch.toml:2: journal.folder = \"~nosuchuser/x\": '~nosuchuser' is no user's home"),
    ("[journal]\nfolder = \"a\\u0000b\"", "can't be a path: it has a NUL character; leave it out"),
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


def test_number_that_python_does_not_read_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"memwatch\.toml: not valid TOML: "):
        load(tmp_path, f"[journal]\nmax_bytes = {'1' * 5000}")


@pytest.mark.parametrize("name", ["memwatch.toml", "pyproject.toml"])
@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_mark_of_utf_8_is_no_mistake(tmp_path: Path, name: str, named: bool) -> None:
    """Editors on Windows write one."""
    header = "[core]" if name == "memwatch.toml" else "[tool.memwatch.core]"
    (tmp_path / name).write_text(f"{header}\ntracker = 'readonly'\n", encoding="utf-8-sig")
    config = configuration.load(tmp_path / name if named else None, directory=tmp_path, environment={})
    assert (config.core.tracker, config.source("core.tracker").where) == ("readonly", f"{name}:2")


@pytest.mark.parametrize(
    "text",
    [
        "[tool]\nmemwatch = {core = {tracker = 'readonly'}}",
        "tool = {memwatch = {core.tracker = 'readonly'}}",
        "[tool]\nmemwatch.core.tracker = 'readonly'",
        "tool.memwatch.core.tracker = 'readonly'",
        "[tool.'memwatch'.core]\ntracker = 'readonly'",
        '["tool"."memwatch"]\ncore = {tracker = "readonly"}',
        "[ tool . memwatch . core ]\ntracker = 'readonly'",
        "[tool]\n[tool.memwatch.core]\ntracker = 'readonly'",
    ],
)
def test_project_file_has_settings_however_toml_writes_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    config = configuration.load(directory=tmp_path, environment={})
    assert (config.file, config.core.tracker) == (tmp_path / "pyproject.toml", "readonly")


@pytest.mark.parametrize(
    "text",
    ["", "# memwatch", "[project]\nname = 'memwatch'", "[tool.memwatcher]\na = 1", "tool = 'x' # memwatch",
     "= memwatch", "[project]\ndescription = '''\n[tool.memwatch]\n'''", f"memwatch = {'1' * 5000}"],
)  # fmt: skip
def test_project_file_that_only_mentions_us_is_not_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert configuration.load(directory=tmp_path, environment={}).file is None


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("~nosuchuser/a.toml", "'~nosuchuser' is no user's home folder; write the path in full"),
        ("a\0b", "can't be a path: it has a NUL character; leave it out"),
        ("a\ud800", "can't be a path: it has a character that no name of a file has"),
    ],
)
def test_name_that_can_be_no_path_is_one_error_however_it_is_given(tmp_path: Path, name: str, cause: str) -> None:
    variables: dict[str, str]
    for file, variables, overrides, where in (
        (name, {}, None, f"the configuration's file {name!r}: "),
        (None, {"MEMWATCH_CONFIG": name}, None, f"the configuration's file {name!r}: "),
        (None, {"MEMWATCH_JOURNAL_FOLDER": name}, None, "environment variable MEMWATCH_JOURNAL_FOLDER: journal.folder"),
        (None, {}, {"journal": {"folder": name}}, "--folder: journal.folder"),
        (None, {}, {"journal": {"folder": Path(name)}}, "--folder: journal.folder"),
    ):
        with pytest.raises(ConfigError) as caught:
            configuration.load(file, overrides=overrides, labels={"journal.folder": "--folder"}, directory=tmp_path,
                               environment=variables)  # fmt: skip
        (line,) = caught.value.lines
        assert line.startswith(where)
        assert cause in line
    with pytest.raises(SessionError, match="the session ") as refused:
        history.find(tmp_path, name)
    assert cause in str(refused.value)


def test_home_folders_are_found_and_a_name_may_begin_like_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for written, meant in (("~/x", tmp_path / "home" / "x"), ("./~nosuchuser", tmp_path / "~nosuchuser")):
        assert load(tmp_path, None, MEMWATCH_JOURNAL_FOLDER=written).journal.folder == meant


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
        ("MEMWATCH_SINK", "did you mean 'MEMWATCH_PLUGINS_SINKS'?"),
        ("MEMWATCH_TRACKER", "did you mean 'MEMWATCH_CORE_TRACKER'?"),
        ("MEMWATCH_FOO", "no setting; memwatch config lists them: MEMWATCH_<SECTION>_<KEY>"),
        ("MEMWATCH_VERBOSE", "no setting; memwatch config lists them: MEMWATCH_<SECTION>_<KEY>"),
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
