"""Drivers' own suites: where they come from, and what became of each test, untraced and traced.

No npm package has its tests in it: they are taken from checkouts of the drivers' repositories, and run against the drivers
that ``make node`` has installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodejs import DRIVERS, PROGRAMS, ROOT, Node, environment, unfit
from recorded import contexts

CHECKOUTS = "DRIVER_CHECKOUTS"
"""Variable that names a folder with checkouts of node-postgres, node-mysql2, better-sqlite3, node-sqlite3 and postgres."""
TOOLS = ROOT / ".node" / "suites" / "node_modules"
MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
CONFIG = "[plugins]\nsinks = []\n"
MOCHA = """
const { Runnable } = require('mocha'), { timeout } = Runnable.prototype;
Runnable.prototype.timeout = function (limit) { return arguments.length ? timeout.call(this, limit * 10) : timeout.call(this); };
require('mocha/lib/cli/cli.js').main();
"""
"""With ten times as long as each test says."""
HARNESS = """
import fs from 'node:fs';
const ends = {};
let last = Promise.resolve(), waiting = 0;
export const nt = (name) => { ends[name] = 'skipped'; };
export const t = (name, options, fn = options) => {
  const key = Object.hasOwn(ends, name) ? `${name} (${Object.keys(ends).length})` : name;
  ends[key] = 'not run';
  waiting++;
  last = last.then(async () => {
    let timer;
    const late = new Promise((_, fail) => { timer = setTimeout(fail, (options.timeout ?? 5) * 5000, new Error('late')); });
    try {
      const result = await Promise.race([fn(), late]), [expected, got] = await Promise.all(result);
      ends[key] = expected === got ? 'passed' : 'failed: other';
    } catch (error) { ends[key] = `failed: ${error?.code ?? error?.name}`; }
    clearTimeout(timer);
    if (--waiting) return;
    fs.writeFileSync(process.env.OUTCOMES, JSON.stringify(ends));
    process.exit();
  });
};
export const ot = t;
process.on('unhandledRejection', () => {});
"""
"""For tests of postgres.js, whose own one stops at the first that fails."""
LATEST = 120
"""Seconds after which a test that runs as a process has failed."""
WATCHED = "require('@memwatch/node').watch(new Int32Array(1), { trackSQL: true });"
"""Each process watches something: otherwise it would tell of no statement."""
Ends = dict[str, str]
"""What became of each test."""


class SuiteMissing(Exception):
    """A suite can't be run here."""


def _postgresql(database: Any) -> dict[str, str]:
    values = {"HOST": database.host, "PORT": database.port, "USER": database.user, "PASSWORD": database.password}
    return {f"PG{name}": str(value) for name, value in values.items()} | {
        "PGDATABASE": database.database,
        "PGTESTNOSSL": "true",
        "TEST_TIMEOUT": "50000",
    }


def _mysql(database: Any) -> dict[str, str]:
    values = {"HOST": database.host, "PORT": database.port, "USER": database.user, "PASSWORD": database.password}
    return {f"MYSQL_{name}": str(value) for name, value in values.items()} | {
        "MYSQL_DATABASE": database.database,
        "CI": "1",
    }


@dataclass(frozen=True)
class Suite:
    """The tests of one npm package."""

    package: str
    source: str
    """Where they are in the checkouts: a folder that holds ``folder``."""
    tests: int
    """At least so many must pass untraced, or the suite isn't what it was taken for."""
    contexts: int
    """At least so many statements must be in the journal, or it wasn't traced."""
    files: Sequence[str] = ()
    """Each of them is a program; none: the tests are mocha's."""
    at_once: int = 1
    server: str = ""
    """Name of the fixture that gives a database; empty: none is needed."""
    connect: Callable[[Any], Mapping[str, str]] = field(default=lambda _: {})
    compiled: bool = False
    """They are in TypeScript."""
    first: str = ""
    """Makes what the tests want to find."""
    folder: str = "test"
    harness: str = ""
    """What takes the place of ``test.js``, beside ``index.js``, which is the program."""
    hurried: Mapping[str, str] = field(default_factory=dict)
    """In files of theirs, a limit of time that a busy machine doesn't keep, as it is written."""


SUITES = {
    "pg": Suite("pg", "node-postgres/packages/pg", 90, 1000, ("test/unit/**/*-tests.js", "test/integration/**/*-tests.js"),
                server="postgresql_database", connect=_postgresql, hurried={"suite.js": "this.timeout = 5000"}),
    "pg-pool": Suite("pg-pool", "node-postgres/packages/pg-pool", 50, 50, server="postgresql_database", connect=_postgresql),
    "pg-cursor": Suite("pg-cursor", "node-postgres/packages/pg-cursor", 20, 20,
                       server="postgresql_database", connect=_postgresql),
    "mysql2": Suite("mysql2", "node-mysql2", 150, 500, ("test/unit/**/*.test.mjs", "test/integration/**/*.test.mjs"),
                    at_once=4, server="mariadb_database", connect=_mysql, compiled=True),
    "better-sqlite3": Suite("better-sqlite3", "better-sqlite3", 200, 1000),
    "sqlite3": Suite("sqlite3", "node-sqlite3", 150, 1000, first="test/support/createdb.js"),
    "postgres": Suite("postgres", "postgres", 200, 300, server="postgresql_database", connect=_postgresql,
                      folder="tests", harness=HARNESS),
}  # fmt: skip


def source(suite: Suite) -> Path:
    """The folder of a suite's tests. Raises SuiteMissing."""
    if not (checkouts := os.environ.get(CHECKOUTS)):
        raise SuiteMissing(f"{CHECKOUTS} names no folder with checkouts of the drivers' repositories")
    if not (folder := Path(checkouts) / suite.source / suite.folder).is_dir():
        raise SuiteMissing(f"{folder} isn't there")
    if not TOOLS.is_dir():
        raise SuiteMissing("what the suites need isn't here: make soak installs it (from the npm registry)")
    return folder


def lay(suite: Suite, node: Node) -> None:
    """Makes the node's folder what a checkout is after ``npm install``, with the driver in ``node_modules``."""
    tests = source(suite)
    own = ROOT / ".node" / str(node.version) / "drivers" / "node_modules" / suite.package
    package = own if own.is_dir() else DRIVERS / suite.package
    if reason := unfit(package, node.version):
        raise SuiteMissing(f"{suite.package} {reason}")
    modules = node.folder / "node_modules"
    everything = {each.name: each for place in (DRIVERS, TOOLS) for each in place.iterdir() if each.name != "@memwatch"}
    for name, each in (everything | {suite.package: package}).items():
        (modules / name).symlink_to(each)
    for each in package.iterdir():  # the tests load ../lib; links lead to where it is a driver's
        if each.name not in (suite.folder, "node_modules"):
            (node.folder / each.name).symlink_to(each)
    shutil.copytree(tests, node.folder / suite.folder)
    if suite.harness:
        (node.folder / suite.folder / "test.js").write_text(suite.harness)
        file = node.folder / suite.folder / "bootstrap.js"  # our server wants passwords
        with_password = "`create user postgres_js_test with password '${process.env.PGPASSWORD}'`"
        file.write_text(file.read_text().replace("'create user postgres_js_test'", with_password))
    for name, limit in suite.hurried.items():
        file = node.folder / "test" / name
        text = file.read_text()
        assert limit in text
        file.write_text(text.replace(limit, f"{limit}0"))
    if suite.compiled:
        sources = map(str, (node.folder / "test").rglob("*.mts"))
        bundler = TOOLS / "@esbuild" / "linux-x64" / "bin" / "esbuild"
        command = [bundler, *sources, f"--outbase={node.folder}/test", f"--outdir={node.folder}/test"]
        subprocess.run([*command, "--out-extension:.js=.mjs", "--target=node20", "--log-level=error"], check=True)
    (node.folder / "memwatch.toml").write_text(CONFIG)
    # In the folder itself: there `memwatch run` looks for our package
    if not suite.harness:
        node.write((PROGRAMS / "each.js").read_text() if suite.files else MOCHA, "run.js")
    if suite.first:
        subprocess.run([node.path, suite.first], cwd=node.folder, env=environment(), check=True, capture_output=True)


def run(suite: Suite, node: Node, database: Any, traced: bool) -> tuple[Ends, int]:
    """How each test ended, and how many statements the journals hold."""
    outcomes = node.folder / f"outcomes-{traced}.json"
    outcomes.unlink(missing_ok=True)
    if suite.harness:
        command = [node.path, f"{suite.folder}/index.js"]
    elif suite.files:
        files = sorted(str(path.relative_to(node.folder)) for each in suite.files for path in node.folder.glob(each))
        command = [node.path, "run.js", str(outcomes), str(suite.at_once), str(LATEST), *files]
    else:
        options = ["--exit", "--timeout=10000", "--reporter=json", f"--reporter-option=output={outcomes}"]
        command = [node.path, "run.js", *options]
    sessions, variables = node.folder / "sessions", {"OUTCOMES": str(outcomes), **suite.connect(database)}
    if traced:
        shutil.rmtree(sessions, ignore_errors=True)
        variables["NODE_OPTIONS"] = f"--require={node.folder / node.write(WATCHED, 'watched.cjs')}"
        command = [MEMWATCH, "run", "--quiet", "--track-sql", "--folder", str(sessions), "--", *command]
    with (node.folder / f"said-{traced}").open("w") as said:
        done = subprocess.run(
            command, cwd=node.folder, env=environment(**variables), stdin=subprocess.DEVNULL, stdout=said,
            stderr=subprocess.STDOUT, timeout=3600, check=False,
        )  # fmt: skip
    if not outcomes.exists():
        said_last = (node.folder / f"said-{traced}").read_text(errors="replace")[-3000:]
        raise AssertionError(f"the suite of {suite.package} didn't run to its end: {done.returncode}\n{said_last}")
    ends = json.loads(outcomes.read_text())
    if not suite.files and not suite.harness:
        ends = {
            test["fullTitle"]: f"failed: {test['err'].get('name', '')}" if test["err"] else "passed"
            for test in ends["tests"]
        } | {test["fullTitle"]: "skipped" for test in ends["pending"]}
    return ends, sum(map(contexts, sessions.glob("*/*.mwj")))


def differences(untraced: Ends, traced: Ends) -> dict[str, tuple[str, str]]:
    """Test -> how it ended without tracing, and with it."""
    names = sorted(untraced.keys() | traced.keys())
    both = {name: (untraced.get(name, "not run"), traced.get(name, "not run")) for name in names}
    return {name: ends for name, ends in both.items() if ends[0] != ends[1]}
