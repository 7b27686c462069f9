"""Risk: a debugger that is another one than debugpy because we stand between. What isn't ours comes through as it is,
whoever sends it and however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from client import COMMAND, Client, Refused, listening, on_pipes, on_port

pytest.importorskip("debugpy", reason="memwatch dap stands before debugpy, which isn't installed here")

PROGRAM = """\
def add(total, n):
    total = total + n
    return total


def work():
    total = 0
    for n in range(3):
        total = add(total, n)
    print("total", total)


work()
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


@contextmanager
def debugpy_alone(folder: Path) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    command = [sys.executable, "-m", "debugpy.adapter"]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as adapter:
        assert adapter.stdin is not None
        assert adapter.stdout is not None
        try:
            yield Client(adapter.stdout, adapter.stdin), adapter
        finally:
            adapter.kill()


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def is_there(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until_gone(*pids: int) -> None:
    until = time.monotonic() + 20
    while left := [pid for pid in pids if is_there(pid)]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


def session(client: Client, program: Path) -> list[tuple[Any, ...]]:
    """A whole session; what was answered and told in it, without what differs from run to run."""
    client.initialize()
    client.launch(program, 2)
    seen: list[tuple[Any, ...]] = []
    for condition in (None, "n == 2"):
        stop = client.stopped()
        seen.append((stop.reason, stop.at(), [frame["name"] for frame in stop.frames]))
        seen.append((stop.evaluate("total + n"), stop.evaluate("total, n")))
        scopes = client.ask("scopes", {"frameId": stop.frames[0]["id"]})["scopes"]
        seen += [
            (one["name"], [(v["name"], v["value"]) for v in client.ask("variables", one)["variables"]])
            for one in [{"name": "Locals", "variablesReference": scopes[0]["variablesReference"]}]
        ]
        client.ask("next", {"threadId": stop.thread})
        stop = client.stopped()
        seen.append((stop.reason, stop.at()))
        with pytest.raises(Refused) as refused:
            client.ask("noSuchRequest")
        seen.append((str(refused.value),))
        lines = [{"line": 2, "condition": "n == 2"}] if condition is None else []
        client.ask("setBreakpoints", {"source": {"path": str(program)}, "breakpoints": lines})
        client.go(stop)
    client.event("terminated")
    client.ask("disconnect")
    told = [m["event"] for m in client.received if m["type"] == "event" and m["event"] in ("stopped", "exited")]
    return [*seen, tuple(told), (client.output(),)]


def test_a_session_is_what_debugpy_alone_makes_of_it(program: Path) -> None:
    with debugpy_alone(program.parent) as (client, _):
        alone = session(client, program)
    with on_pipes(program.parent) as (client, adapter):
        assert session(client, program) == alone
        client.close()
        assert adapter.wait(20) == 0
    assert ("total 3\n",) in alone
    assert not (program.parent / ".memwatch").exists(), "nothing is watched until it is asked for"


def test_capabilities_are_debugpys_and_data_breakpoints(tmp_path: Path) -> None:
    with debugpy_alone(tmp_path) as (client, _):
        alone = client.initialize()
    with on_pipes(tmp_path) as (client, _):
        ours = client.initialize()
    assert ours == alone | {"supportsDataBreakpoints": True, "supportsDataBreakpointBytes": False}


def test_messages_come_in_pieces_and_in_heaps(program: Path) -> None:
    with on_pipes(program.parent) as (client, _):
        first = client.begin("initialize", {"adapterID": "debugpy", "clientID": "piecemeal"}, pieces=60)
        assert client.answer(first)["success"]
        client.launch(program, 2)
        stop = client.stopped()
        frame = stop.frames[0]["id"]
        asked = [
            client.begin("evaluate", {"expression": f"{n} * 2", "frameId": frame, "context": "watch"})
            for n in range(200)
        ]
        assert [client.answer(number)["body"]["result"] for number in asked] == [str(2 * n) for n in range(200)]
        client.ask("disconnect", {"terminateDebuggee": True})


def test_messages_of_megabytes_come_through(program: Path) -> None:
    with on_pipes(program.parent) as (client, _):
        client.initialize()
        client.launch(program, 2)
        stop = client.stopped()
        text = "ä" * 1_500_000
        asked = {"expression": f"'{text}'", "frameId": stop.frames[0]["id"], "context": "clipboard"}
        assert client.ask("evaluate", asked)["result"] == repr(text)
        client.ask("disconnect", {"terminateDebuggee": True})


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000, b"\0" * 40_000 + b"\r\n"])
def test_another_protocol_is_refused_with_a_word(garbage: bytes, tmp_path: Path) -> None:
    run = subprocess.run(COMMAND, input=garbage, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert run.returncode == 2
    assert b"is this a debugger's client?" in run.stderr
    assert run.stdout == b""
    assert b"Traceback" not in run.stderr


@pytest.mark.parametrize("beginning", [b"", b"Content-Length: 50\r\n\r\n{", b"Content-Le"])
def test_a_client_that_hangs_up_at_once_leaves_nothing(beginning: bytes, tmp_path: Path) -> None:
    run = subprocess.run(COMMAND, input=beginning, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (0, b"")
    assert run.stderr == b""


@pytest.mark.parametrize("state", ["stopped", "running"])
def test_a_client_that_is_killed_leaves_no_process(state: str, program: Path) -> None:
    program.write_text("import time\nprint('go')\nwhile True:\n    time.sleep(0.01)\n")
    with on_pipes(program.parent) as (client, adapter):
        client.initialize()
        client.launch(program, *([2] if state == "stopped" else []))
        if state == "stopped":
            client.stopped()
        (debugpy,) = children(adapter.pid)
        launcher = children(debugpy)
        assert launcher
        client.close()
        adapter.wait(30)
        wait_until_gone(debugpy, *launcher)


def test_debugpy_that_dies_is_told_and_ends_the_session(program: Path) -> None:
    with on_pipes(program.parent) as (client, adapter):
        client.initialize()
        client.launch(program, 2)
        client.stopped()
        (debugpy,) = children(adapter.pid)
        os.kill(debugpy, signal.SIGSTOP)
        asked = client.begin("threads")
        os.kill(debugpy, signal.SIGKILL)
        answer = client.answer(asked)
        assert not answer["success"]
        assert "killed by SIGKILL" in answer["message"]
        assert client.event("output")["category"] in ("telemetry", "stdout", "important")
        client.event("terminated")
        assert adapter.wait(20) == 1
    said = [m["body"]["output"] for m in client.received if m.get("event") == "output"]
    assert any("memwatch dap: debugpy's adapter has ended: killed by SIGKILL" in text for text in said)


def test_what_is_no_json_is_debugpys_to_judge(tmp_path: Path) -> None:
    body = b"{nonsense"
    data = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    run = subprocess.run(COMMAND, input=data, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert b"Traceback" not in run.stderr
    assert run.returncode in (0, 1)


def test_several_clients_debug_through_one_port(program: Path) -> None:
    with on_port(program.parent) as connect:
        clients = [connect(), connect()]
        for client in clients:
            client.initialize()
        for client in clients:
            client.launch(program, 2)
        stops = [client.stopped() for client in clients]
        for client, stop in zip(clients, stops, strict=True):
            assert stop.at() == ("add", 2)
            client.ask("setBreakpoints", {"source": {"path": str(program)}, "breakpoints": []})
            client.go(stop)
            client.event("terminated")
            assert client.output() == "total 3\n"
            client.ask("disconnect")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_is_not_let_in(tmp_path: Path) -> None:
    """Whatever he does first: he may send all at once and hang up."""
    body = '{"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": "debugpy"}}'
    sends = f"exec 3<>/dev/tcp/127.0.0.1/$0 && printf 'Content-Length: {len(body)}\\r\\n\\r\\n{body}' >&3"
    with listening(tmp_path) as (adapter, port):
        assert adapter.stderr is not None

        def says(script: str, user: int) -> str:
            command = ["bash", "-c", script, str(port)]
            run = subprocess.run(
                command, cwd="/", user=user, stdout=subprocess.PIPE, text=True, timeout=60, check=False
            )
            return run.stdout

        for script in (f"{sends} && cat <&3", sends):
            assert says(script, 54321) == ""
            assert "has connected, and was refused" in adapter.stderr.readline()
            assert not children(adapter.pid)
        assert says(f"{sends} && head -c 15 <&3", 0) == "Content-Length:"


def test_debugpy_writes_its_logs_where_it_is_told(program: Path) -> None:
    command = [*COMMAND, "--debugpy-log", "."]
    with subprocess.Popen(command, cwd=program.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as adapter:
        assert adapter.stdin is not None
        assert adapter.stdout is not None
        client = Client(adapter.stdout, adapter.stdin)
        client.initialize()
        client.close()
        assert adapter.wait(20) == 0
    assert list(program.parent.glob("debugpy.adapter-*.log"))


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = subprocess.run(
            [*COMMAND, "--listen", str(port)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert run.returncode == 2
    assert f"can't listen on port {port}: " in run.stderr
    assert "Traceback" not in run.stderr


def test_nobody_listens_where_the_client_wants_to_attach(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with on_pipes(tmp_path) as (client, _):
        client.initialize()
        with pytest.raises(Refused, match=f"no debugpy listens at 127.0.0.1:{port}"):
            client.ask("attach", {"connect": {"host": "127.0.0.1", "port": port}})


def test_a_program_that_was_attached_to_goes_on_when_the_client_leaves(program: Path) -> None:
    program.write_text(
        "import time, debugpy\n"
        "print(debugpy.listen(0)[1], flush=True)\n"
        "debugpy.wait_for_client()\n"
        "while debugpy.is_client_connected():\n    n = 1\n    time.sleep(0.01)\n"
        "print('on its own')\n"
    )
    command = [sys.executable, "-Xfrozen_modules=off", str(program)]
    with subprocess.Popen(command, cwd=program.parent, stdout=subprocess.PIPE, text=True) as debugged:
        assert debugged.stdout is not None
        port = int(debugged.stdout.readline())
        with on_pipes(program.parent) as (client, _):
            client.initialize()
            begun = client.begin("attach", {"connect": {"host": "127.0.0.1", "port": port}})
            client.event("initialized")
            client.ask("setBreakpoints", {"source": {"path": str(program)}, "breakpoints": [{"line": 5}]})
            client.ask("configurationDone")
            assert client.answer(begun)["success"]
            assert client.stopped().at() == ("<module>", 5)
            client.ask("disconnect", {"terminateDebuggee": False})
        out, _ = debugged.communicate(timeout=60)
        assert (debugged.returncode, out) == (0, "on its own\n")
