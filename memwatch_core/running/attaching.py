"""``memwatch attach``: has a program that runs take part in a session, follows it, and has it end as it was.

Its end is certain in three ways: this process ends it, after Ctrl-C or the time that was asked for; if this process is
killed, a guardian does (``guardian``); and if that one is killed as well, the journal has a limit, and the next
``memwatch attach`` ends it.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import __version__
from ..adapter import bootstrap
from ..config import Config
from ..errors import SessionError
from ..journal.liveness import Writer
from ..journal.session import journals
from ..loading.discovery import load
from ..printed import say, settle
from .child import Signals
from .injection import Injection
from .interpreter import Interpreter, Refused, age, command_of, has_ended, interpreter_of, where_it_waits
from .reading import Reading

LIMIT = 1 << 30
"""``journal.max_bytes`` of a program that is attached to, unless it was set: nobody may come to end it."""
WAIT = 60.0
"""Seconds until the program must have come to an instruction of Python."""
_PAUSE = 0.02
_YOUNG = 0.3
"""Seconds after which a child that was made by vfork has begun its own program."""
_JOURNAL = re.compile(r"(\d+)-python(?:-\d+)?\.mwj")
_EXTENSION = b"memwatch_core/native/_core."


def attach(
    pid: int,
    config: Config,
    *,
    quiet: bool = False,
    seconds: float | None = None,
    wait: float = WAIT,
) -> int:
    """Watches the settings' targets in process ``pid`` until Ctrl-C, for so many ``seconds``, or to the program's end.
    Returns an exit status.

    Raises Refused, and other MemWatchErrors; nothing is watched then. Call it in the main thread.
    """
    interpreter = interpreter_of(pid)
    config = _bounded(config)
    plugins = load(config)
    for broken in plugins.report.problems:
        say(f"{broken}: {broken.reason}; going on without it")
    reading = Reading(config, plugins, command_of(pid) or [f"process {pid}"])
    signals = Signals()
    try:
        answer = _begin(interpreter, reading.folder, signals, wait)
    except BaseException:
        reading.cancel()
        shutil.rmtree(reading.folder, ignore_errors=True)
        signals.release()
        raise
    guardian = _guardian(pid, reading.folder)
    reading.start()
    try:
        _tell(interpreter, answer, quiet)
        how = _follow(pid, signals, seconds)
        if end(pid, reading.folder, signals, wait):
            reading.end(signals.patience)
        else:
            reading.end(lambda done: True)
    finally:
        signals.release()
    guardian.communicate(b"done")
    reading.conclude(how, quiet)
    for stream in (sys.stdout, sys.stderr):
        settle(stream)
    return 0


def _bounded(config: Config) -> Config:
    changes: dict[str, Any] = {}
    if not config.journal.max_bytes:
        changes["max_bytes"] = LIMIT
    if not config.chosen("journal.policy"):
        changes["policy"] = "drop"  # the program must not wait for a reader that is stopped
    return config.but(journal=config.journal.but(**changes))


# ---- begin ----------------------------------------------------------------------------------------------------------


def _source(order: str, folder: Path, script: str, lent: Sequence[str]) -> str:
    text = Path(bootstrap.__file__).read_text(encoding="utf-8")
    return f"{text}\nmain({order!r}, {str(folder)!r}, {script!r}, {__version__!r}, {[*lent]!r})\n"


def _lent(interpreter: Interpreter) -> list[str]:
    """Folders of ours with MemWatch and its plugins, for a program of the same CPython that has none."""
    if sys.version_info[:2] != interpreter.version:
        return []
    library = os.path.dirname(os.__file__)
    packages = [module for name, module in [*sys.modules.items()] if re.fullmatch(r"memwatch_\w+|_cffi_backend", name)]
    homes = [os.path.dirname(str(module.__file__)) for module in packages if getattr(module, "__file__", None)]
    own = [os.path.dirname(home) if os.path.exists(f"{home}/__init__.py") else home for home in homes]
    paths = dict.fromkeys([*own, *(path for path in sys.path if path.endswith("-packages"))])
    return [path for path in paths if os.path.isabs(path) and os.path.isdir(path) and path != library]


def _begin(interpreter: Interpreter, folder: Path, signals: Signals, wait: float) -> dict[str, Any]:
    script = f"begin-{interpreter.pid}.py"
    source = _source("begin", folder, script, _lent(interpreter))
    answer = _answer(interpreter, Injection(interpreter, folder, script, source), signals, wait)
    if "missing" in answer:
        version = ".".join(map(str, answer["version"]))
        raise Refused(
            f"process {interpreter.pid}: {answer['missing']} in the program's environment ({answer['prefix']}, CPython "
            f"{version}), and this one's can't be lent: {answer['executable']} -m pip install "
            f"memwatch=={__version__}"
        )
    if "other" in answer:
        raise Refused(
            f"process {interpreter.pid} has memwatch-core {answer['other']}, and this is {__version__}: "
            f"{answer['executable']} -m pip install memwatch=={__version__}, and start the program again"
        )
    if "error" in answer:
        raise Refused(f"process {interpreter.pid}: {answer['error']}")
    return answer


def _answer(interpreter: Interpreter, injection: Injection, signals: Signals, wait: float) -> dict[str, Any]:
    """Waits until the program has answered. Raises Refused; what hasn't begun then never does."""
    pid, started, hastened, said = interpreter.pid, time.monotonic(), False, False
    while (answer := injection.answer()) is None:
        interrupted = signals.take(_PAUSE) is not None
        if has_ended(pid):
            injection.clear()
            raise Refused(f"process {pid} has ended")
        passed = time.monotonic() - started
        if passed > 0.5 and not hastened and not injection.begun:
            hastened = True
            injection.hasten()
        elif passed > 1 and not said:
            said = True
            say(f"waiting for the program's next Python instruction: {where_it_waits(pid)}")
        if not interrupted and passed < wait:
            continue
        begun = not injection.withdraw()
        if interrupted and not begun:
            raise Refused("interrupted; the program has noticed nothing")
        if passed > wait:
            raise Refused(_late(pid, wait, begun))
    return answer


def _late(pid: int, wait: float, begun: bool) -> str:
    if begun:
        return (
            f"process {pid} has begun, and not answered for {wait:g} s: an import or a lock of its own keeps it; it "
            "will end by itself. py-spy dump shows where its threads are"
        )
    return (
        f"process {pid} didn't come to an instruction of Python within {wait:g} s: {where_it_waits(pid)}. It has "
        "noticed nothing. Have it do something, or wait longer: --wait"
    )


def _tell(interpreter: Interpreter, answer: dict[str, Any], quiet: bool) -> None:
    if answer.get("lent"):
        say(
            f"the program has no memwatch_core; {os.path.dirname(bootstrap.__file__)[: -len('/adapter')]} is lent to it"
        )
    for text in answer["pending"]:
        say(text)
    if not quiet:
        say(f"attached to process {interpreter.pid} ({interpreter.shown}); Ctrl-C ends it, the program goes on")


# ---- until ----------------------------------------------------------------------------------------------------------


def _follow(pid: int, signals: Signals, seconds: float | None) -> str:
    """Waits for the end. Returns how it came."""
    until = None if seconds is None else time.monotonic() + seconds
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return "the program has ended"
    poll = select.poll()
    poll.register(process, select.POLLIN)
    try:
        while not poll.poll(0):
            left = 0.1 if until is None else min(0.1, until - time.monotonic())
            if left <= 0:
                return f"after {seconds:g} s; the program goes on"
            if signals.take(left) is not None:
                return "interrupted; the program goes on"
    finally:
        os.close(process)
    return "the program has ended"


def _guardian(pid: int, folder: Path) -> subprocess.Popen[bytes]:
    from .guardian import COMMAND

    return subprocess.Popen(
        [sys.executable, "-P", "-c", COMMAND, str(pid), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


# ---- end ------------------------------------------------------------------------------------------------------------


def end(pid: int, folder: Path, signals: Signals, wait: float = WAIT) -> bool:
    """Ends the session in the program and in what it has forked since. Says what couldn't be ended, and returns False
    then."""
    ended = [_end(process, folder, signals, wait) for process in _taking_part(pid, folder)]
    return all(ended)


def _taking_part(pid: int, folder: Path) -> Iterator[int]:
    yield pid
    told = {pid}
    with suppress(SessionError):
        for path in journals(folder):
            name = _JOURNAL.fullmatch(path.name)
            if name and (number := int(name[1])) not in told:
                told.add(number)
                writer = Writer(number, path)
                alive = writer.alive()
                writer.close()
                if alive:
                    yield number
    for number in _descendants(pid):
        with suppress(OSError, ValueError):
            if number not in told and age(number) < _YOUNG:
                time.sleep(_YOUNG)  # it may be about to begin another program, in its parent's memory still
            if number not in told and _EXTENSION in Path(f"/proc/{number}/maps").read_bytes():
                yield number


def _descendants(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield int(word)
                yield from _descendants(int(word))


def _end(pid: int, folder: Path, signals: Signals, wait: float) -> bool:
    if has_ended(pid):
        return True
    try:
        interpreter = interpreter_of(pid)
        script = f"end-{pid}-{os.getpid()}.py"
        source = _source("end", folder, script, ())
        answer = _answer(interpreter, Injection(interpreter, folder, script, source), signals, wait)
        if "error" in answer:
            raise Refused(f"process {pid}: {answer['error']}")
    except SessionError as error:
        if has_ended(pid) or "has ended" in str(error):
            return True
        say(str(error), "  it is still watched; the next memwatch attach ends that")
        return False
    if answer.get("kept"):
        say(f"process {pid} watches values of its own by now; it goes on with them in this session")
    return not answer.get("kept")
