"""V8's code caches: those of ordinary runs stay as they are, and no line that comes out of one is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from nodejs import Journal, Node, environment, records

MEMWATCH = str(Path(sys.executable).with_name("memwatch"))
STORING = "module.exports =\n  (function add(total, n) {\n\n  total[0] = n;\n});\n"
"""In parentheses: compiled at once, and so in the cache."""
PROGRAM = """
require('node:module').enableCompileCache?.('cache');
const add = require('./storing');
const total = require('@memwatch/node').watch(new Int32Array(1));
add(total, 5);
"""


def test_run_leaves_the_compile_cache_of_ordinary_runs_alone(node: Node) -> None:
    if node.version < 22:
        pytest.skip("NODE_COMPILE_CACHE came with Node.js 22")
    node.write(STORING, "storing.js")
    node.write(PROGRAM)
    node.write("require('./storing');", "plain.js")
    variables = environment(NODE_COMPILE_CACHE="cache", NODE_DEBUG_NATIVE="COMPILE_CACHE")

    def ran(*command: str) -> list[str]:
        """What became of the cached module."""
        done = subprocess.run(command, cwd=node.folder, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return re.findall(r"storing\.js was (accepted|rejected)", done.stdout + done.stderr)

    run = (MEMWATCH, "run", "--", node.path, "program.js")
    assert [ran(node.path, "plain.js"), ran(node.path, "plain.js")] == [[], ["accepted"]]
    assert [ran(*run), ran(*run)] == [[], []]
    assert ran(node.path, "plain.js") == ["accepted"]
    assert len(node.sessions()) == 2
    for session in node.sessions():
        events = Journal(list(records(session))).events
        assert [(e.site.line, e.site.function, e.exact) for e in events if e.site] == [(4, "add", True)]


CACHED = """
const fs = require('node:fs'), vm = require('node:vm');
const [what, file] = process.argv.slice(2);
const source = '(function add(total, n) {\\n\\n  total[0] = n;\\n})';
const cachedData = what === 'use' ? fs.readFileSync(file) : undefined;
const script = new vm.Script(source, { filename: '/nowhere/add.js', cachedData });
const add = script.runInThisContext();
add([], 0);
if (what === 'make') fs.writeFileSync(file, script.createCachedData());
else {
  add(require('@memwatch/node').watch(new Int32Array(1), { name: 'total' }), 5);
  console.log(script.cachedDataRejected ? 'rejected' : 'accepted');
}
"""


def test_cached_code_is_taken_under_the_flags_it_was_made_with_and_says_that_its_lines_are_unknown(node: Node) -> None:
    node.write(CACHED)
    node.run("program.js", "make", "ordinary", register=False)
    node.run("program.js", "make", "ours")
    for cache, exact_lines, fate, place in (
        ("ordinary", True, "rejected", (3, True)),
        ("ours", True, "accepted", (1, False)),
        ("ordinary", False, "accepted", (1, False)),
    ):
        known = set(node.sessions())
        assert node.run("program.js", "use", cache, exact_lines=exact_lines).stdout == f"{fate}\n"
        (session,) = set(node.sessions()) - known
        (event,) = Journal(list(records(session))).events
        assert event.site
        assert (event.site.line, event.exact) == place, (cache, exact_lines)
