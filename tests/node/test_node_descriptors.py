"""A program that closes descriptors that it hasn't opened, while its buffers are watched."""

from __future__ import annotations

import pytest
from matrix import record
from nodejs import Node
from trackers import need

LOSE = {
    "nothing": "",
    "fs.closeSync of ours": "for (const n of ours()) attempt(() => fs.closeSync(n));",
    "fs.close of ours": "for (const n of ours()) await new Promise((done) => fs.close(n, done));",
    "spawn with pipes": """
        for (const stdio of ['ignore', 'inherit', 'pipe'])
          spawnSync(process.execPath, ['-e', ''], { stdio: [stdio, stdio, stdio, ...ours().map(() => 'pipe')] });""",
}


@pytest.mark.parametrize("tracker", ["uffd-sigbus", "readonly", "uffd-queue"])
@pytest.mark.parametrize("way", LOSE)
def test_files_of_the_program_are_its_own_and_every_event_is_there(node: Node, way: str, tracker: str) -> None:
    record("Ways to lose descriptors, Node.js", way, tracker, "complete")
    need(tracker)
    node.write(f"""
        const fs = require('fs');
        const {{ spawnSync }} = require('child_process');
        const {{ watch }} = require('@memwatch/node');
        const x = watch(new Int32Array(1), {{ name: 'x' }});
        const big = watch(Buffer.alloc(4000), {{ name: 'big' }});
        const attempt = (call) => {{ try {{ return call(); }} catch {{ return undefined; }} }};
        const link = (n) => attempt(() => fs.readlinkSync(`/proc/self/fd/${{n}}`)) ?? '';
        const ours = () => fs.readdirSync('/proc/self/fd').map(Number)
          .filter((n) => /\\.mwj$|\\/reader$|userfaultfd/.test(link(n)));
        (async () => {{
          {LOSE[way]}
          const files = [...Array(8).keys()].map((n) => fs.openSync(`own${{n}}`, 'w+'));
          for (const [n, file] of files.entries()) fs.writeSync(file, Buffer.alloc(50000, 65 + n));
          for (let i = 1; i <= 10; i++) x[0] = i;
          for (let i = 0; i < 300; i++) fs.readSync(files[0], big, 0, 4000, 0);
          x[0] = 11;
          const more = [...Array(80).keys()].map(() => watch(new Int32Array(1024)));
          for (const [n, file] of files.entries()) {{
            const found = fs.readFileSync(`own${{n}}`);
            if (!found.equals(Buffer.alloc(50000, 65 + n))) throw new Error(`file ${{n}}`);
            fs.closeSync(file);
          }}
        }})();
    """)
    done = node.run("program.js", MEMWATCH_CORE_TRACKER=tracker)
    assert "memwatch" not in done.stderr
    journal = node.read()
    assert not journal.lost
    assert [event.new[0] for event in journal.of("x")] == list(range(1, 12))
    assert len(journal.of("big")) == 300
