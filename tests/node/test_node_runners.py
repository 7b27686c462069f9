"""Under each test runner, in each of its ways to share out test files, events are those of the tests' own lines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from nodejs import PACKAGE, ROOT, VERSIONS, Journal, Node, environment, plugin, records, unfit

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
RUNNERS = ROOT / ".node" / "runners" / "node_modules"
SOAK = bool(os.environ.get("MEMWATCH_SOAK"))

ORDERS = """\
{types}function add(total{array}, prices{numbers}) {{
  for (const price of prices) {{
    total[0] += price; // added
  }}
}}
"""
TEST = """\
{imports}
{types}{test}('adds up to {name}', ({argument}) => {{

  const {name} = watch(new Int32Array(
    2), {options}); // watched
  for (let n = 0; n < 3; n++)
    add({name}, [n]);
  {name}[1] = 7; // set
  {check}
}});
"""
TYPES = "interface Row {\n  readonly price: number;\n}\n\n"
"""What a compiler takes out: the lines below move."""
ASSERTED = "require('node:assert').deepEqual([...{name}], [3, 7]);"


@dataclass(frozen=True)
class Way:
    """How a runner is called, and where it then runs two files of tests."""

    runner: str
    command: tuple[str, ...]
    processes: int = 1
    workers: bool = False
    oldest: int = 20

    def __str__(self) -> str:
        return " ".join(self.command)


WAYS = {
    str(way): way
    for way in (
        Way("jest", ("jest", "--runInBand")),
        Way("jest", ("jest", "--runInBand", "--resetModules")),
        Way("jest", ("jest", "--runInBand", "--detectLeaks")),
        Way("jest", ("jest", "--maxWorkers=2"), processes=2),
        Way("jest", ("jest", "--maxWorkers=2", "--workerThreads"), workers=True),
        Way("vitest", ("vitest", "run", "--pool=forks"), processes=2),
        Way("vitest", ("vitest", "run", "--pool=forks", "--execArgv=--inspect=0"), processes=2),
        Way("vitest", ("vitest", "run", "--pool=forks", "--no-isolate", "--maxWorkers=1")),
        Way("vitest", ("vitest", "run", "--pool=threads"), workers=True),
        Way("vitest", ("vitest", "run", "--pool=vmForks", "--maxWorkers=1")),
        Way("vitest", ("vitest", "run", "--pool=vmThreads"), workers=True),
        Way("test", ("node", "--test"), processes=2),
        Way("test", ("node", "--test", "--test-isolation=none"), oldest=24),
        Way("mocha", ("mocha",)),
        Way("mocha", ("mocha", "--parallel", "--jobs=2"), processes=2),
        Way("ava", ("ava",), workers=True),
        Way("ava", ("ava", "--no-worker-threads"), processes=2),
    )
}
LOADED = ("by the tests alone", "register", "memwatch run")
FILES = {
    "jest": "{}.test.js",
    "vitest": "{}.test.ts",
    "test": "{}.test.js",
    "mocha": "{}.test.js",
    "ava": "{}.test.mjs",
}
IMPORTS = {
    "jest": "",
    "vitest": "import { expect, test } from 'vitest';",
    "test": "const { test } = require('node:test');",
    "mocha": "",
    "ava": "import test from 'ava';",
}
CHECKS = {
    "jest": "expect([...{name}]).toEqual([3, 7]); expect({name}).toBeInstanceOf(Int32Array);"
    " expect(() => watch({name})).toThrow(TypeError);",
    "vitest": "expect([...{name}]).toEqual([3, 7]);",
    "ava": "t.deepEqual([...{name}], [3, 7]);",
}


def copy(package: Path, to: Path) -> None:
    """As users have it: no link, so Jest compiles none of it, and finds what lies beside it."""
    ignored = shutil.ignore_patterns(
        "node_modules", "build" if package == PACKAGE else "obj*", "src", "deps", "core", "scripts"
    )
    shutil.copytree(package, to, ignore=ignored)


def suite(node: Node, runner: str, names: tuple[str, ...]) -> list[str]:
    """Tests for this runner, which use one module, in the folder."""
    typed, esm = runner == "vitest", runner in ("vitest", "ava")
    (node.folder / "package.json").write_text('{"name": "suite", "jest": {"cacheDirectory": "<rootDir>/cache"}}')
    source = ORDERS.format(types=TYPES if typed else "", array=": Int32Array" if typed else "",
                           numbers=": number[]" if typed else "")  # fmt: skip
    node.write(
        source + ("export { add };" if typed else "module.exports = { add };"), f"orders.{'ts' if typed else 'js'}"
    )
    (node.folder / "tests").mkdir()
    for name in names:
        loads = [
            "import { watch } from '@memwatch/node';",
            f"import {{ add }} from '../orders{'' if typed else '.js'}';",
        ]
        if not esm:
            loads = ["const { watch } = require('@memwatch/node');", "const { add } = require('../orders');"]
        text = TEST.format(
            imports="\n".join([*loads, IMPORTS[runner]]),
            types=TYPES if typed else "",
            test="it" if runner == "mocha" else "test",
            argument="t" if runner == "ava" else "",
            options=f"{{ name: '{name}' }}" if typed else "{}",
            name=name,
            check=CHECKS.get(runner, ASSERTED).format(name=name),
        )
        node.write(text, f"tests/{FILES[runner].format(name)}")
    package = node.folder / "node_modules" / "@memwatch" / "node"
    package.unlink()
    copy(PACKAGE, package)
    if runner != "test":
        (node.folder / "node_modules" / runner).symlink_to(RUNNERS / runner)
        (node.folder / "node_modules" / ".bin").symlink_to(RUNNERS / ".bin")
    return [f"tests/{FILES[runner].format(name)}" for name in names]


def run(node: Node, way: Way, files: list[str], loaded: str) -> None:
    program, *options = way.command
    command = [node.path if program == "node" else f"node_modules/.bin/{program}", *options, *files]
    if loaded == "memwatch run":
        command = [MEMWATCH, "run", "--", *command]
    path = f"{Path(node.path).parent}:{os.environ['PATH']}"
    preloaded = {"register": "@memwatch/node/register"}.get(loaded, loaded if loaded.startswith("./") else "")
    variables = {"NODE_OPTIONS": f"--require={preloaded}"} if preloaded else {}
    done = subprocess.run(
        command,
        cwd=node.folder,
        env=environment(PATH=path, CI="1", NO_COLOR="1", **variables),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"


def marked(path: Path, mark: str) -> int:
    return 1 + next(number for number, line in enumerate(path.read_text().splitlines()) if f"// {mark}" in line)


def cells() -> Iterator[object]:
    """Every way with every Node.js, with two files; with one, each way once. Of the ways to load, every other one in
    turn. Outside of make soak, each way once with two, and what once failed."""
    every = product(VERSIONS, WAYS.items(), LOADED, (("one", "two"), ("one",)))
    for number, (version, (name, way), loaded, files) in enumerate(every):
        if version < way.oldest:
            continue
        main = version == 24 and loaded == LOADED[[*WAYS].index(name) % 3]
        failed = name == "jest --runInBand" and loaded == LOADED[0] and version in (VERSIONS[0], 24)
        in_turn = SOAK and number // 2 % 2 == 0
        if main or failed or in_turn if len(files) > 1 else SOAK and main:
            described = f"{name}-node{version}-{loaded}-{len(files)}".replace(" ", "-")
            yield pytest.param(version, way, loaded, files, id=described)


@pytest.mark.parametrize(("node", "way", "loaded", "names"), list(cells()), indirect=["node"])
def test_files_of_tests_leave_the_events_of_their_own_lines(
    node: Node, way: Way, loaded: str, names: tuple[str, ...]
) -> None:
    if way.runner != "test" and (reason := unfit(RUNNERS / way.runner, node.version)):
        pytest.skip(f"{way.runner} {reason}")
    files = suite(node, way.runner, names)
    run(node, way, files, loaded)
    journal = Journal([record for folder in node.sessions() for record in records(folder)])
    assert not journal.lost
    orders = next(node.folder.glob("orders.*"))
    added = (str(orders), marked(orders, "added"), "add")
    # Vitest 5 keeps its maps to itself, unless a debugger may want them
    mapped = way.runner != "vitest" or "--execArgv=--inspect=0" in way.command
    for name, file in zip(names, files, strict=True):
        own = node.folder / file
        events = journal.of(name)
        assert [event.new for event in events] == [[0, 0], [1, 0], [3, 0], [3, 7]]
        expected = [added, added, added, (str(own), marked(own, "set"), "<anonymous>")]
        for event, place in zip(events, expected, strict=True):
            site = event.site
            assert site
            assert event.exact == mapped, "exact, where the line can be known"
            if mapped:
                assert (site.file, site.line, site.function) == place
            assert site.file == place[0]
        (watched,) = (w.variable for w in journal.watched if w.variable.name == name)
        assert (watched.watched_at is not None) == mapped
        if mapped and watched.watched_at:
            assert (watched.watched_at.file, watched.watched_at.line) == (str(own), marked(own, "watched") - 1)
    assert len(journal.events) == 4 * len(names)
    assert len({event.pid for event in journal.events}) == min(way.processes, len(names))
    in_workers = way.workers and (way.runner != "jest" or len(names) > 1)  # Jest takes one file itself
    assert {event.thread.startswith("worker") for event in journal.events} == {in_workers}


QUERIES = """\
{first}
{second}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
{early}
for (const number of [1, 2]) test(`asks ${{number}}`, async () => {{
  {late}
  const x = watch(new Int32Array(1), {{ trackSQL: true, name: '{name}' }});
  const db = new Database(':memory:');
  const ask = async (name) => {{ await null; return db.prepare(`SELECT 1 AS ${{name}}`).get(); }};
  x[0] = 1;
  await ask('{name}_a'); x[0] = 2;
  await sleep(2); x[0] = 3;
  await Promise.all([ask('{name}_b'), sleep(1)]); x[0] = 4;
  await Promise.all([5, 6, 7].map(async (n) => {{ await sleep(n % 3); await ask(`{name}_${{n}}`); await sleep(n % 2); x[0] = n; }}));
  db.close();
}});
"""
DRIVER = "{} Database = require('better-sqlite3');"
BRIDGE = "const { watch } = require('@memwatch/node');"
ORDERS_OF_LOADING = {
    "driver first": {"first": DRIVER.format("const"), "second": BRIDGE},
    "driver second": {"first": BRIDGE, "second": DRIVER.format("const")},
    "driver in a test": {"first": BRIDGE, "second": "let Database;", "late": DRIVER.format("")},
    "driver after another watch": {
        "first": BRIDGE, "second": "watch(new Int32Array(1), { trackSQL: true });", "early": DRIVER.format("const"),
    },
}  # fmt: skip


def queries() -> Iterator[object]:
    """Of all; in a short run, those with a driver that is loaded late."""
    for (n, order), version, loaded in product(enumerate(ORDERS_OF_LOADING), VERSIONS, LOADED):
        if SOAK or (version, loaded) == {2: (22, LOADED[2]), 3: (24, LOADED[0])}.get(n):
            yield pytest.param(version, order, loaded, id=f"{order}-node{version}-{loaded}".replace(" ", "-"))


def asking(node: Node, order: str) -> tuple[tuple[str, ...], list[str]]:
    """Names and files of Jest's tests that run statements."""
    driver = node.driver("better-sqlite3")
    for package in (RUNNERS / "jest", driver):
        if reason := unfit(package, node.version):
            pytest.skip(f"{package.name} {reason}")
    files = suite(node, "jest", names := ("one", "two"))
    for name, file in zip(names, files, strict=True):
        node.write(QUERIES.format(**{"early": "", "late": ""} | ORDERS_OF_LOADING[order], name=name), file)
    modules = node.folder / "node_modules"
    copy(driver, modules / "better-sqlite3")
    copy(plugin("better-sqlite3"), modules / "@memwatch" / "sql-better-sqlite3")
    for each in driver.parent.glob("*"):
        if each.name in ("bindings", "file-uri-to-path"):
            (modules / each.name).symlink_to(each)
    return names, files


@pytest.mark.parametrize(("node", "order", "loaded"), list(queries()), indirect=["node"])
def test_statements_of_drivers_that_jest_has_loaded_are_those_of_the_flow(node: Node, order: str, loaded: str) -> None:
    names, files = asking(node, order)
    run(node, WAYS["jest --runInBand"], files, loaded)
    journal = Journal([record for folder in node.sessions() for record in records(folder)])
    for name in names:
        named = {2: "a", 3: "a", 4: "b", 5: "5", 6: "6", 7: "7"}
        expected = [(1, None), *((n, f"SELECT ? AS {name}_{what}") for n, what in named.items())]
        assert sorted(journal.blamed(name), key=lambda blamed: blamed[0]) == sorted(
            expected * 2, key=lambda blamed: blamed[0]
        )
        lines = (node.folder / f"tests/{name}.test.js").read_text().splitlines()
        for event in journal.of(name):
            assert event.site
            assert event.exact
            assert f"x[0] = {'n' if event.new[0] > 4 else event.new[0]};" in lines[event.site.line - 1]


COUNT = """
const { promiseHooks } = require('node:v8'), { createHook } = promiseHooks;
let started = 0, stopped = 0;
promiseHooks.createHook = (callbacks) => { // Node's own have other names
  const stop = createHook(callbacks), ours = callbacks.init?.name === 'init';
  started += ours;
  return () => { stopped += ours; stop(); };
};
process.on('exit', () => require('node:fs').writeFileSync('hooks', `${started} ${stopped}`));
"""


@pytest.mark.parametrize("node", VERSIONS if SOAK else VERSIONS[-1:], indirect=True)
def test_promises_are_followed_once_however_many_test_files_jest_has_run(node: Node) -> None:
    _, files = asking(node, "driver first")
    node.write(COUNT, "count.js")
    run(node, WAYS["jest --runInBand"], files, "./count.js")
    assert (node.folder / "hooks").read_text() == "2 1"
