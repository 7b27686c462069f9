"""The programs of docs/node.md, and the lines that they show there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import servers
from nodejs import ONCE, ROOT, Node, environment

FENCED = re.compile(r"^```(js|)\n(.*?)^```", re.M | re.S)
LINE = re.compile(r"^(?:\d\d:\d\d:\d\d\.\d{3}  )?(\S.*  .*\b[\w-]+\.js:\d+  .*)$", re.M)
"""One of the console's, that names a line of JavaScript."""


def columns(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def examples() -> list[tuple[dict[str, str], list[list[str]]]]:
    """Programs, by the names of their files, and the columns of each line that they show.

    A file's name is in its first comment; without one, it is what the shown lines call it.
    """
    found: list[tuple[dict[str, str], list[list[str]]]] = []
    files: dict[str, str] = {}
    for language, text in FENCED.findall((ROOT / "docs/node.md").read_text()):
        if language:
            named = re.match(r"// ([\w-]+\.js)\n", text)
            files[named[1] if named else ""] = text
        elif files:
            lines = [columns(line) for line in LINE.findall(text)]
            (name,) = {re.sub(r":.*", "", part) for part in lines[0] if re.fullmatch(r"[\w-]+\.js:\d+", part)}
            found.append(({given or name: text for given, text in files.items()}, lines))
            files = {}
    assert not files, "a program that shows nothing"
    return found


def shown(node: Node, program: str, **variables: str) -> list[list[str]]:
    """The columns of what `memwatch run` shows of a program."""
    path = f"{Path(node.path).parent}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "memwatch_core.cli", "run", "--", "node", program]
    ran = subprocess.run(
        command, cwd=node.folder, env=environment(PATH=path, **variables), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return [columns(line) for line in LINE.findall(ran.stdout + ran.stderr)]


@ONCE
@pytest.mark.parametrize(("files", "lines"), [each for each in examples() if "'pg'" not in "".join(each[0].values())])
def test_a_program_shows_the_lines_that_the_document_shows(
    node: Node, files: dict[str, str], lines: list[list[str]]
) -> None:
    for name, text in files.items():
        node.write(text, name)
    found = shown(node, next(iter(files)))
    assert [line for line in found if line in lines] == lines, found


@ONCE
def test_the_program_with_a_statement_shows_the_line_that_the_document_shows(
    node: Node, postgresql_database: servers.PostgreSql
) -> None:
    ((files, lines),) = [each for each in examples() if "'pg'" in "".join(each[0].values())]
    node.install("pg")
    ((name, text),) = files.items()
    where = postgresql_database
    names = {"host": where.host, "port": where.port, "user": where.user, "password": where.password}
    node.write(
        f"""{text}
        (async () => {{
            const pool = new pg.Pool(JSON.parse(process.env.DATABASE));
            await pool.query('CREATE TABLE orders AS SELECT 7 AS price, 1 AS day');
            await add(pool, 1);
            await pool.end();
        }})();""",
        name,
    )
    found = shown(node, name, DATABASE=json.dumps(names | {"database": where.database}))
    assert [line for line in found if line in lines] == lines, found
