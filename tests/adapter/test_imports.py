"""What MemWatch brings into a program's own environment: each foreign package that may be imported is named here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CORE = {"_cffi_backend": "the C core's functions are called through it"}
SQL = CORE | {"wrapt": "functions of a library are replaced with it"}
READING = CORE | {"msgspec": "records", "typing_extensions": "msgspec takes it where it is installed"}
"""``session()`` reads the journal in the program's own process."""

FOREIGN = """
import json, sys
names = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__"}
ours = "memwatch_", "__editable__", "_sysconfigdata", "_missing_stdlib_info"  # the last: Debian's
print(json.dumps(sorted(name for name in names if not name.startswith(ours))))
"""
WATCHES = "from memwatch_core import watch\nx = watch(0, name='x')\nx += 1\n"
SESSION = """
from memwatch_core import session
class Sink:
    def write(self, records): ...
    def flush(self): ...
    def close(self): ...
with session(sinks=[Sink()]) as current:
    from memwatch_core import watch
    x = watch(0, name='x')
    x += 1
    current.flush()
"""
SQLITE = "import sqlite3\nsqlite3.connect(':memory:').execute('SELECT 1').fetchall()\n"
FORKS = "import os\nif os.fork():\n    os.wait()\n    os._exit(0)\nx += 1\n"
TOML = "[watch]\ntrack_threads = false\n[plugins]\nserializers = ['scalars']\nsinks = ['jsonl']\n"


def imported(folder: Path, program: str, *command: str, **variables: str) -> set[str]:
    """The foreign packages that are imported when ``program`` has run, beyond those that an empty one finds."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MEMWATCH_", "COV_"))}
    (folder / "program.py").write_text(f"{program}{FOREIGN}")
    found = []
    for arguments in ((*(command or [sys.executable]), "program.py"), (sys.executable, "-c", FOREIGN)):
        done = subprocess.run(
            arguments, cwd=folder, env=inherited | variables, capture_output=True, text=True, check=True, timeout=60
        )
        found.append(set(json.loads(done.stdout.splitlines()[-1])))
    return found[0] - found[1]


RUN = (str(Path(sys.executable).with_name("memwatch")), "run", "--quiet", "--sink", "jsonl")


@pytest.mark.parametrize("command", [(), RUN], ids=["plain", "run"])
@pytest.mark.parametrize("settings", ["defaults", "file", "environment"])
@pytest.mark.parametrize(
    ("program", "allowed"),
    [(WATCHES, CORE), (WATCHES + FORKS, CORE), (WATCHES + SQLITE, CORE)],
    ids=["watches", "forks", "sql that isn't tracked"],
)
def test_watched_program_has_no_foreign_packages_but_these(
    tmp_path: Path, program: str, allowed: dict[str, str], settings: str, command: tuple[str, ...]
) -> None:
    if settings == "file":
        (tmp_path / "memwatch.toml").write_text(TOML)
    variables = {"MEMWATCH_CORE_SHARE_PAGES": "yes"} if settings == "environment" else {}
    assert imported(tmp_path, program, *command, **variables) == set(allowed)


@pytest.mark.parametrize("command", [(), RUN], ids=["plain", "run"])
def test_program_whose_sql_is_tracked_has_what_wraps_functions_too(tmp_path: Path, command: tuple[str, ...]) -> None:
    found = imported(tmp_path, SQLITE + WATCHES + SQLITE, *command, MEMWATCH_WATCH_TRACK_SQL="1")
    assert found == set(SQL)


def test_session_has_what_reads_a_journal_too(tmp_path: Path) -> None:
    assert imported(tmp_path, SESSION) <= set(READING)
    (tmp_path / "memwatch.toml").write_text(TOML)
    assert imported(tmp_path, SESSION) <= set(READING)


def test_wrong_setting_is_found_without_them(tmp_path: Path) -> None:
    program = f"""
from memwatch_core import watch, MemWatchError
try:
    watch(0)
except MemWatchError as error:
    assert "did you mean 'tracker'?" in str(error), error
else:
    raise SystemExit("no error")
{FOREIGN}"""
    (tmp_path / "memwatch.toml").write_text("[core]\ntraker = 'auto'")
    assert imported(tmp_path, program) == set(CORE)
