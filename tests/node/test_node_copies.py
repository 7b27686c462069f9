"""One core serves a process, and one state a thread, however many copies of the package are loaded in whatever realms."""

from __future__ import annotations

import shutil

import pytest
from nodejs import PACKAGE, Node


@pytest.fixture
def copies(node: Node) -> Node:
    """The package in two folders, neither a link."""
    shutil.rmtree(node.folder / "node_modules")
    for name in ("a", "b"):
        package = node.folder / name / "node_modules" / "@memwatch" / "node"
        ignored = shutil.ignore_patterns("node_modules", "build", "src", "core", "scripts")
        shutil.copytree(PACKAGE, package, ignore=ignored)
    return node


LOAD = "const load = (name) => require(`./${name}/node_modules/@memwatch/node`);\n"


def test_what_one_copy_watches_another_knows(copies: Node) -> None:
    copies.write(
        LOAD
        + """
        const [a, b] = [load('a'), load('b')];
        console.log(a.watch !== b.watch, a.session().journal === b.session().journal);
        const one = a.watch(new Int32Array(1)), two = b.watch(new Int32Array(1));
        for (let i = 1; i < 4; i++) { one[0] = i; two[0] = i; }
        for (const [watching, array] of [[b, one], [a, two]]) {
          try { watching.watch(array); } catch (error) { console.log(error.message); }
        }
        console.log(b.unwatch(one)[0], a.share(two).name);
    """
    )
    assert copies.run("program.js", register=False).stdout.splitlines() == [
        "true true",
        "'Int32Array' is watched already: use it as it is; views of it are watched too",
        "'Int32Array' is watched already: use it as it is; views of it are watched too",
        "3 two",
    ]
    journal = copies.read()
    assert [(event.variable, event.new[0]) for event in journal.events] == [
        (name, n) for n in (1, 2, 3) for name in ("one", "two")
    ]


def test_worker_with_another_copy_writes_to_the_same_pages(copies: Node) -> None:
    copies.write(
        LOAD
        + """
        const { Worker, isMainThread, workerData } = require('node:worker_threads');
        if (isMainThread) {
          const a = load('a'), total = a.watch(new Int32Array(1));
          total[0] = 1;
          new Worker(__filename, { workerData: a.share(total) }).on('exit', () => { total[0]++; });
        } else {
          load('b').receive(workerData)[0]++;
        }
    """
    )
    copies.run("program.js", register=False)
    events = copies.read().of("total")
    assert [(event.new[0], event.thread, event.exact) for event in events] == [
        (1, "main", False),  # compiled before the package was loaded
        (2, "worker 1", False),
        (3, "main", True),
    ]


def test_copies_of_process_and_realms_of_their_own_start_nothing_twice(node: Node) -> None:
    """As a test runner does it, once a file of tests."""
    node.write("""
        const fs = require('node:fs'), path = require('node:path'), vm = require('node:vm');
        function realm() { // the package's modules anew, with globals and a `process` of their own
          const process_ = Object.assign(Object.create(Object.getPrototypeOf(process)), process);
          const context = vm.createContext({ process: process_, Buffer, performance, structuredClone });
          const loaded = new Map();
          const load = (file) => {
            if (loaded.has(file)) return loaded.get(file).exports;
            const module = { exports: {} };
            loaded.set(file, module);
            const from = require('node:module').createRequire(file);
            const own = (id) => {
              const found = from.resolve(id);
              return path.isAbsolute(found) && found.endsWith('.js') ? load(found) : require(found);
            };
            own.cache = {};
            vm.compileFunction(fs.readFileSync(file, 'utf8'), ['module', 'exports', 'require', '__filename', '__dirname'],
              { parsingContext: context, filename: file })(module, module.exports, own, file, path.dirname(file));
            return module.exports;
          };
          return load(require.resolve('@memwatch/node'));
        }
        const realms = [realm(), realm(), realm()];
        for (const { watch } of realms) {
          const x = watch(new Int32Array(1), { name: 'x' });
          x[0] = 5;
          if (x.buffer.transfer) {
            try { x.buffer.transfer(); } catch (error) { console.log(error.constructor.name); }
          }
        }
        console.log(realms[0].watch !== realms[1].watch);
    """)
    done = node.run("program.js", register=False)
    refused = [] if node.version == 20 else ["TypeError"] * 3
    assert done.stdout.splitlines() == [*refused, "true"]
    assert [event.new for event in node.read().of("x")] == [[5]] * 3
