"""What the kernel writes to a watched buffer arrives as in any other, and its event says which call brought it."""

from __future__ import annotations

import os

import pytest
from nodejs import Node
from trackers import need

FILES = """
    const fs = require('node:fs');
    const { watch } = require('@memwatch/node');
    const x = watch(new Uint8Array(64), { name: 'x' });
    const y = watch(Buffer.alloc(16), { name: 'y' });
    const data = Buffer.from(Array.from({ length: 256 }, (_, i) => i + 1));
    fs.writeFileSync('data', data);
    const fd = fs.openSync('data');
    const same = (view, at) => { if (Buffer.compare(Buffer.from(view), data.subarray(at, at + view.length))) throw new Error(`not ${at}`); };
    async function main() {
      fs.readSync(fd, x, 0, 8, 0); same(x.subarray(0, 8), 0); // pread
      fs.readSync(fd, x, 8, 8, null); same(x.subarray(8, 16), 0); // read
      fs.readSync(fd, y); same(y, 8); // read
      fs.readvSync(fd, [x.subarray(0, 5), Buffer.alloc(5), y.subarray(0, 5)], 20); same(x.subarray(0, 5), 20); same(y.subarray(0, 5), 30);
      fs.readvSync(fd, [x.subarray(0, 5), y.subarray(0, 5)]); same(y.subarray(0, 5), 29);
      await new Promise((done) => fs.read(fd, x, 0, 64, 100, done)); same(x, 100);
      const file = await fs.promises.open('data');
      const { bytesRead } = await file.read(y, 0, 16, 50); same(y, 50);
      await file.readv([x.subarray(1, 3), y.subarray(1, 3)], 7); same(y.subarray(1, 3), 9);
      await file.close();
      console.log(fd, bytesRead, Buffer.from(x).toString('hex'), y.toString('hex'));
    }
    main();
"""


@pytest.mark.parametrize("tracker", ["auto", "readonly", "uffd-queue"] if os.environ.get("MEMWATCH_SOAK") else ["auto"])
def test_files_are_read_into_watched_buffers(node: Node, tracker: str) -> None:
    need(tracker)
    node.write(FILES)
    fd, count, x, y = node.run("program.js", MEMWATCH_CORE_TRACKER=tracker).stdout.split()
    journal = node.read()
    assert count == "16"
    assert not journal.lost
    assert (journal.replayed("x", 64).hex(), journal.replayed("y", 16).hex()) == (x, y)
    got = [
        (event.variable, event.call.name, event.call.bytes, event.site.line if event.site else 0, event.exact)
        for event in journal.events
        if event.call
    ]
    lines = {text.strip(): number for number, text in enumerate(FILES.splitlines(), 1)}
    line = {what: next(n for text, n in lines.items() if what in text) for what in ("pread", "// read", "(fd, y)")}
    first = line["pread"]
    assert got == [
        ("x", "pread", 8, first, True),
        ("x", "read", 8, first + 1, True),
        ("y", "read", 16, first + 2, True),
        ("x", "preadv", 15, first + 3, True),
        ("y", "preadv", 15, first + 3, True),
        ("x", "readv", 10, first + 4, True),
        ("y", "readv", 10, first + 4, True),
        ("x", "pread", 64, 0, True),  # in a thread of libuv's pool: no line of the program is running it
        ("y", "pread", 16, 0, True),
        ("x", "preadv", 4, 0, True),
        ("y", "preadv", 4, 0, True),
    ]
    assert [event.call.fd for event in journal.events if event.call][:3] == [int(fd)] * 3
    assert all(event.origin == ("syscall" if event.call else "store") for event in journal.events)


def test_io_uring_that_reads_into_a_watched_buffer_is_seen_where_all_is_asked_for(node: Node) -> None:
    """libuv uses it for files if it is told to, and its threads where there is none: both are events."""
    need("uffd-queue")
    node.write("""
        const fs = require('node:fs');
        const { watch } = require('@memwatch/node');
        const x = watch(new Uint8Array(5000), { name: 'x' });
        fs.writeFileSync('data', Buffer.alloc(5000, 7));
        fs.read(fs.openSync('data'), x, 0, 5000, 0, (error, n) => {
          x[0] = 8;
          console.log(error, n, Buffer.from(x).equals(Buffer.concat([Buffer.from([8]), Buffer.alloc(4999, 7)])));
        });
    """)
    done = node.run("program.js", MEMWATCH_CORE_KERNEL_WRITES="all", UV_USE_IO_URING="1")
    assert done.stdout == "null 5000 true\n"
    journal = node.read()
    assert not journal.lost
    assert journal.replayed("x", 5000) == b"\x08" + b"\x07" * 4999
    assert {event.origin for event in journal.of("x")} in ({"kernel", "store"}, {"syscall", "store"})


def test_socket_reads_into_a_watched_buffer(node: Node) -> None:
    node.write("""
        const net = require('node:net');
        const { watch } = require('@memwatch/node');
        const buffer = watch(Buffer.alloc(32), { name: 'buffer' });
        const server = net.createServer((socket) => { socket.end('a packet'); }).listen(0, '127.0.0.1', () => {
          const onread = { buffer, callback: (n, same) => { console.log(n, same === buffer, buffer.toString('latin1', 0, n)); return true; } };
          net.connect({ port: server.address().port, host: '127.0.0.1', onread }).on('close', () => server.close());
        });
    """)
    assert node.run("program.js").stdout == "8 true a packet\n"
    (event,) = node.read().events
    assert event.call is not None
    assert (event.origin, event.call.name, event.call.bytes, event.after) == ("syscall", "read", 8, b"a packet")


def test_errors_and_ends_of_files_stay_what_they_are(node: Node) -> None:
    node.write("""
        const fs = require('node:fs');
        const { watch } = require('@memwatch/node');
        const x = watch(Buffer.alloc(8), { name: 'x' });
        try { fs.readSync(9999, x); } catch (error) { console.log(error.code); }
        fs.read(9999, x, (error) => console.log(error.code));
        console.log(fs.readSync(fs.openSync('/dev/null'), x));
    """)
    assert node.run("program.js").stdout == "EBADF\n0\nEBADF\n"
    assert not node.read().events
