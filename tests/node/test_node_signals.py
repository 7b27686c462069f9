"""SIGSEGV and SIGBUS that are sent to the program are its own, while its buffers are watched."""

from __future__ import annotations

import os
import signal

import pytest
from nodejs import Node


@pytest.mark.parametrize("tracker", ["auto", "readonly"] if os.environ.get("MEMWATCH_SOAK") else ["readonly"])
def test_handlers_of_the_program_are_called_and_stores_go_on(node: Node, tracker: str) -> None:
    node.write("""
        const seen = [];
        process.on('SIGSEGV', (name) => seen.push(name));
        const { watch } = require('@memwatch/node');
        const x = watch(new Int32Array(1));
        process.on('SIGBUS', (name) => seen.push(name));
        const sleep = () => new Promise((done) => setTimeout(done, 20));
        (async () => {
          for (const name of ['SIGSEGV', 'SIGBUS', 'SIGSEGV']) {
            x[0]++;
            process.kill(process.pid, name);
            await sleep();
          }
          process.removeAllListeners('SIGBUS');
          x[0]++;
          console.log(seen.join(), x[0]);
        })();
    """)
    assert node.run("program.js", MEMWATCH_CORE_TRACKER=tracker).stdout == "SIGSEGV,SIGBUS,SIGSEGV 4\n"
    assert [event.new[0] for event in node.read().of("x")] == [1, 2, 3, 4]


def test_signal_without_a_handler_ends_the_program(node: Node) -> None:
    node.write("""
        const { watch } = require('@memwatch/node');
        const x = watch(new Int32Array(1));
        process.on('SIGSEGV', () => {});
        x[0] = 1;
        process.removeAllListeners('SIGSEGV');
        x[0] = 2;
        process.kill(process.pid, 'SIGSEGV');
        setTimeout(() => {}, 5000);
    """)
    node.run("program.js", check=-signal.SIGSEGV)
    assert [event.new[0] for event in node.read().of("x")] == [1, 2]
