"""The example of a pair: Python and Node.js on one PostgreSQL database, followed in one timeline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import servers
from nodejs import ROOT, Node, environment

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))


def test_who_lost_the_chairs_stands_in_one_timeline(node: Node, postgresql_database: servers.PostgreSql) -> None:
    node.install("pg", plugins=False)  # under memwatch run the Python distribution's is used
    for name in ("stockroom.py", "shipping.js"):
        shutil.copy(ROOT / "examples" / "stockroom" / name, node.folder)
    where = postgresql_database
    variables = environment(
        PATH=f"{Path(node.path).parent}:{os.environ['PATH']}",
        MEMWATCH_SINKS_JSONL_PATH="events.jsonl",
        PGHOST=where.host,
        PGPORT=str(where.port),
        PGUSER=where.user,
        PGPASSWORD=where.password,
        PGDATABASE=where.database,
    )
    command = [MEMWATCH, "run", "--track-sql", "--sink", "jsonl", "stockroom.py"]
    done = subprocess.run(command, cwd=node.folder, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "stockroom.py: 11 chairs, shipping.js: 4\n"
    assert "nothing lost" in done.stderr

    lines = [json.loads(line) for line in (node.folder / "events.jsonl").read_text().splitlines()]
    events = [line for line in lines if "seq" in line]
    timeline = [
        (
            e["runtime"],
            e["variable"],
            e["new"],
            Path(e["site"]["file"]).name,
            e["site"]["function"],
            e["context"]["driver"],
        )
        for e in events
    ]
    python, javascript = ("stockroom.py", "deliver", "psycopg"), ("shipping.js", "ship", "pg")
    assert timeline == [
        ("python", "in_stock", 10, *python),
        ("node", "left", [6], *javascript),
        ("python", "in_stock", 11, *python),
        ("node", "left", [4], *javascript),
    ]
    assert {e["context"]["database"] for e in events} == {where.database}
    assert len({e["context"]["server"] for e in events}) == 1
    text = "UPDATE stock SET chairs = chairs"
    assert {e["context"]["statement"].split(" + ")[0].split(" - ")[0] for e in events} == {text}

    log = subprocess.run(
        [MEMWATCH, "log", "--rolled-back"], cwd=node.folder, env=variables, capture_output=True, text=True
    )
    (rolled,) = [line for line in log.stdout.splitlines() if "shipping.js" in line or "stockroom.py" in line]
    assert "left[0]" in rolled
    assert "6 -> 4" in rolled
