"""``memwatch plugins``, ``config``, ``doctor`` and the help, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

Run = Any


def test_help_teaches_with_an_example_for_every_command(memwatch: Run) -> None:
    top = memwatch("--help")
    assert top.returncode == 0
    assert "from memwatch_core import watch" in top.stdout
    for command in ("run", "log", "plugins", "config", "doctor"):
        assert command in top.stdout
        page = memwatch(command, "--help")
        assert page.returncode == 0
        assert page.stdout.count(f"memwatch {command}") >= 2, "usage, and at least one example"


def test_script_without_run_is_pointed_the_way(memwatch: Run) -> None:
    done = memwatch("script.py", "--x")
    assert done.returncode == 2
    assert "To run a program: memwatch run script.py --x" in done.stderr


def test_plugins_shows_kind_name_distribution_version_state_and_reason(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text("[plugins]\nsinks = ['console', 'success', 'importerror', 'nosuch']")
    fakes = ("success", "importerror", "bystander")
    done = memwatch("plugins", fakes=fakes)
    assert done.returncode == 1, "what is named can't all be used"
    rows = [line.split(maxsplit=5) for line in done.stdout.splitlines()]
    assert rows[0][:5] == ["kind", "name", "distribution", "version", "state"]
    assert ["sinks", "success", "fake-success", "1.0", "loaded"] in [row[:5] for row in rows]
    assert ["sinks", "bystander", "fake-bystander", "0.9", "disabled"] in [row[:5] for row in rows]
    assert "No module named 'a_module_that_nobody_has'" in done.stdout
    assert "\x1b" not in done.stdout
    plain = [json.loads(line) for line in memwatch("plugins", "--json", fakes=fakes).stdout.splitlines()]
    states = {(p["kind"], p["name"]): p["state"] for p in plain}
    assert states["sinks", "nosuch"] == "missing"
    assert states["sinks", "importerror"] == "broken"
    assert states["sql", "importerror"] == "disabled"


def test_plugins_is_content_where_all_is_well(memwatch: Run) -> None:
    done = memwatch("plugins")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "console" in done.stdout


def test_config_shows_the_source_of_each_setting(memwatch: Run, tmp_path: Path) -> None:
    (tmp_path / "memwatch.toml").write_text("[core]\ntracker = 'readonly'\n")
    done = memwatch("config", MEMWATCH_WATCH_TRACK_SQL="1")
    assert done.returncode == 0
    rows = {row[0]: row[1:] for row in (line.split() for line in done.stdout.splitlines()) if row}
    assert rows["core.tracker"] == ['"readonly"', "memwatch.toml:2"]
    assert rows["watch.track_sql"] == ["true", "MEMWATCH_WATCH_TRACK_SQL"]
    assert rows["watch.track_threads"] == ["true", "default"]
    settings = json.loads(memwatch("config", "--json").stdout)
    assert settings["core.tracker"] == {"value": "readonly", "source": "memwatch.toml:2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[core]\ntraker = 'auto'", "memwatch: other.toml:2: unknown key core.traker; did you mean 'tracker'?\n"),
        ("[plugins]\nsinks = ['consol']", "plugins.sinks names 'consol': no installed distribution offers a sink"),
        (
            "[sinks.console]\nmax_value = 'long'",
            "other.toml:2: sinks.console.max_value = 'long': must be",
        ),
        ("[sinks.console]\nmaxvalue = 3", "unknown key sinks.console.maxvalue; did you mean 'max_value'?"),
        ("[core", "other.toml: not valid TOML: "),
        ('[journal]\nfolder = "a\\u0000b"', "other.toml:2: journal.folder = "),
        (
            '[sinks.jsonl]\npath = "a\\u0000b"',
            "other.toml:2: sinks.jsonl.path = 'a\\x00b': can't be a path",
        ),
        (
            "[sinks.jsonl]\npath = '~nosuchuser/b'",
            "sinks.jsonl.path = '~nosuchuser/b': '~nosuchuser' is no user's",
        ),
    ],
)
def test_checking_a_file_finds_what_is_wrong(memwatch: Run, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "other.toml").write_text("[core]\ntracker = 'auto'")
    fine = memwatch("config", "--check", "other.toml")
    assert (fine.returncode, fine.stdout) == (0, "other.toml: OK\n")
    (tmp_path / "other.toml").write_text(text)
    done = memwatch("config", "--check", "other.toml")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("memwatch: ")
    assert done.stderr.count("\n") == 1, "one message"
    assert done.stdout == ""


def test_checking_a_file_tells_everything_that_is_wrong(memwatch: Run, tmp_path: Path) -> None:
    """Of the core's settings, of plugins that aren't there, of plugins' own settings, of what the environment
    overrides, and of the environment."""
    (tmp_path / "other.toml").write_text(
        "[core]\ntraker = 'auto'\ntracker = 'best'\n[plugins]\nsinks = ['console', 'nosuch', 'raises']\n"
        "[sinks.console]\nmaxvalue = 1\nmax_value = 'long'\nshow = 'some'\n[sinks.jsonl]\npath = ''\n"
        "[sinks.nobody]\na = 1\n[sql.sqlite3]\nx = 1\n"
    )
    done = memwatch("config", "--check", "other.toml", fakes=("raises",), MEMWATCH_SINKS_CONSOLE_SHOW="few",
                    MEMWATCH_CORE_TRACKER="good")  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    expected = [
        "other.toml:2: unknown key core.traker; did you mean 'tracker'?",
        "other.toml:3: core.tracker = \"best\": must be 'auto'",
        "other.toml:5: plugins.sinks names 'nosuch': no installed distribution offers a sink",
        "other.toml:5: plugins.sinks: sink 'raises' (fake-raises 1.3): LookupError: no sink today",
        "other.toml:7: unknown key sinks.console.maxvalue; did you mean 'max_value'?",
        "other.toml:8: sinks.console.max_value = 'long': must be a valid integer",
        "other.toml:9: sinks.console.show = 'some': must be 'changes' or 'all'",
        "other.toml:11: sinks.jsonl.path = ''",
        "other.toml:13: [sinks.nobody] belongs to no sink",
        "other.toml:15: the SQL driver 'sqlite3' has no settings of its own",
        'environment variable MEMWATCH_CORE_TRACKER: core.tracker = "good": must be',
        "MEMWATCH_SINKS_CONSOLE_SHOW: sinks.console.show = 'few': must be",
    ]
    lines = done.stderr.splitlines()
    for start in expected:
        assert sum(line.startswith(f"memwatch: {start}") for line in lines) == 1, (start, done.stderr)
    assert len(lines) == len(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["config", "--config", ""], "the configuration's file has an empty name"),
        (["config", "--check", ""], "the configuration's file has an empty name"),
        (["run", "--config", "", "p.py"], "the configuration's file has an empty name"),
        (["log", "--folder", ""], '--folder: journal.folder = "": must be the path of a folder'),
        (["run", "--folder", "", "p.py"], '--folder: journal.folder = "": must be the path of a folder'),
        (["log", ""], "the session's name is empty"),
        (["log", "~nosuchuser"], "the session '~nosuchuser': '~nosuchuser' is no user's home folder; write "),
        (["log", "--folder", "~nosuchuser"], "--folder: journal.folder = \"~nosuchuser\": '~nosuchuser' is no"),
        (
            ["run", "--folder", "~nosuchuser/x", "p.py"],
            "--folder: journal.folder = \"~nosuchuser/x\": '~nosuchuser' is no",
        ),
        (["config", "--check", "~nosuchuser/x"], "the configuration's file '~nosuchuser/x': '~nosuchuser' is no"),
        (
            ["run", "--config", "~nosuchuser/x", "p.py"],
            "the configuration's file '~nosuchuser/x': '~nosuchuser' is no",
        ),
        (["run", "-q", "--sink", "jsonl", "--sink", "memwatch-sink-jsonl", "p.py"], "--sink: plugins.sinks"),
    ],
)
def test_name_that_can_mean_nothing_is_one_error(
    memwatch: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "p.py").write_text("")
    assert memwatch("run", "p.py").returncode == 0
    done = memwatch(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"memwatch: {message}")
    assert (done.stderr.count("\n"), done.stderr.count("did you mean")) == (1, 0)


def test_unreadable_configuration_is_one_message(memwatch: Run) -> None:
    done = memwatch("plugins", "--config", "nosuch.toml")
    assert done.returncode == 2
    assert done.stderr.endswith("nosuch.toml: the configuration can't be read: No such file or directory\n")


def test_doctor_tries_the_trackers_and_names_what_is_missing(memwatch: Run, tmp_path: Path) -> None:
    done = memwatch("doctor", "--json")
    found = {check["name"]: check for check in map(json.loads, done.stdout.splitlines())}
    for name in ("system", "cpu", "python", "memory", "userfaultfd", "tracker uffd-sigbus", "tracker readonly",
                 "tracker uffd-queue", "core",
                 "journal folder", "plugins"):  # fmt: skip
        assert name in found, done.stdout
    assert done.returncode == (1 if any(c["state"] == "problem" for c in found.values()) else 0)
    assert found["tracker readonly"]["state"] == "ok", "works wherever there is mprotect"
    (tmp_path / "occupied").write_text("")
    done = memwatch("doctor", MEMWATCH_JOURNAL_FOLDER="occupied", MEMWATCH_CORE_TRACKER="readonly")
    assert done.returncode == 1
    assert "PROBLEM  journal folder" in done.stdout
    assert "-> choose another with --folder, MEMWATCH_JOURNAL_FOLDER or [journal] folder" in done.stdout
    assert "starts, with tracker readonly: set by MEMWATCH_CORE_TRACKER" in done.stdout
    assert "1 problem: " in done.stderr
    assert not (tmp_path / ".memwatch").exists(), "looking leaves nothing behind"
