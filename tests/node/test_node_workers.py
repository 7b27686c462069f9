"""One array, several threads: every store of each is seen, and attributed to it."""

from __future__ import annotations

import os
from collections import Counter

from nodejs import Node

ADDING = """
    const { Worker, isMainThread, workerData, threadId } = require('node:worker_threads');
    const { watch, share, receive } = require('@memwatch/node');
    const N = Number(process.argv[2]);
    function add(a, n) {
      for (let i = 0; i < n; i++) Atomics.add(a, 0, 1);
    }
    if (isMainThread) {
      const total = watch(new Int32Array(1));
      let running = 4;
      for (let i = 0; i < 4; i++) {
        new Worker(__filename, { workerData: share(total), argv: [N] })
          .on('exit', () => --running || console.log(total[0]));
      }
    } else {
      add(receive(workerData), N);
    }
"""


def test_atomic_additions_of_four_workers_are_all_seen_with_thread_and_line(node: Node) -> None:
    n = 100_000 if node.version == 24 or os.environ.get("MEMWATCH_SOAK") else 10_000
    node.write(ADDING)
    assert node.run("program.js", str(n), timeout=120).stdout == f"{4 * n}\n"
    journal = node.read()
    assert not journal.lost
    assert [event.new[0] for event in journal.of("total")] == list(range(1, 4 * n + 1))
    assert Counter(event.thread for event in journal.events) == {f"worker {i}": n for i in range(1, 5)}
    assert len({event.tid for event in journal.events}) == 4
    assert {(event.site.line, event.site.function) for event in journal.events if event.site} == {(6, "add")}
    assert all(event.exact for event in journal.events)


def test_main_thread_and_workers_write_one_array_and_each_its_own(node: Node) -> None:
    node.write("""
        const { Worker, isMainThread, workerData, parentPort, threadId } = require('node:worker_threads');
        const { watch, share, receive, unwatch } = require('@memwatch/node');
        if (isMainThread) {
          const board = watch(new Float64Array(8));
          const worker = new Worker(__filename, { workerData: share(board.subarray(2, 4)) });
          worker.on('message', () => {
            board[0] = board[2] + 1;
            unwatch(board);
            board[1] = 1;
            worker.postMessage('end');
          });
          worker.on('exit', () => console.log(...board));
        } else {
          const mine = receive(workerData), own = watch(new Uint8Array(2), { name: 'own' });
          mine[0] = 41;
          own[1] = threadId;
          parentPort.postMessage('done');
          parentPort.once('message', () => {
            let said;
            try { receive(workerData); } catch (e) { said = e.name; }
            mine[1] = said === 'SessionError' ? 5 : 6;
          });
        }
    """)
    assert node.run("program.js").stdout == "42 1 41 5 0 0 0 0\n"
    journal = node.read()
    seen = [(event.variable, event.offset, event.thread) for event in journal.events]
    assert seen == [("board", 16, "worker 1"), ("own", 1, "worker 1"), ("board", 0, "main")]
    watched = {watched.variable.name: watched.variable for watched in journal.watched}
    assert (watched["board"].thread, watched["own"].thread_ident, watched["own"].thread) == ("main", 1, "worker 1")


def test_worker_ended_in_the_middle_of_its_stores_leaves_everything_in_order(node: Node) -> None:
    node.write("""
        const { Worker, isMainThread, workerData } = require('node:worker_threads');
        const { watch, share, receive } = require('@memwatch/node');
        if (isMainThread) {
          const x = watch(new Int32Array(2));
          const worker = new Worker(__filename, { workerData: share(x) });
          const timer = setInterval(() => {
            if (x[0] < 500) return;
            clearInterval(timer);
            worker.terminate().then(() => { x[1] = 7; console.log(x[0], x[1]); });
          }, 1);
        } else {
          const x = receive(workerData);
          for (let i = 1; ; i++) x[0] = i;
        }
    """)
    last, seven = map(int, node.run("program.js").stdout.split())
    journal = node.read()
    assert not journal.lost
    assert [event.new for event in journal.of("x")] == [*([i, 0] for i in range(1, last + 1)), [last, seven]]
