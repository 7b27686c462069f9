"""``%%watch``, ``%watch``, ``%unwatch`` and ``%blame``."""

from __future__ import annotations

import atexit
import re
import shlex
import sys
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics as IPythonMagics
from IPython.core.magic import line_cell_magic, line_magic, magics_class
from IPython.display import display

from memwatch_core import config
from memwatch_core.errors import MemWatchError
from memwatch_core.records import Event, Lost
from memwatch_core.running.recording import Recording
from memwatch_plugins.printed import write

from .places import Place, mentioned, open_place
from .tables import tables, where_in

KEPT = 10_000
"""Places whose last writer is remembered."""
_CELL = "%%watch"
_OPTION = re.compile(r"""(?:^|(?<=\s))(when|then)=("[^"]*"|'[^']*'|[^\s"'\[]+)(?=\s|$)""")
ACTIONS = ("break", "raise", "dump")


@magics_class
class Magics(IPythonMagics):  # type: ignore[misc]
    """The magics of one shell."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._recording: Recording | None = None
        self._places: dict[str, Place] = {}
        """Watched by ``%watch``."""
        self._cell: dict[str, Place] | None = None
        """Watched by the ``%%watch`` of the cell that runs."""
        self._source = ""
        self._last: dict[tuple[str, str], Event] = {}
        self._lost = 0

    def load(self) -> None:
        """Registers all."""
        self.shell.register_magics(self)
        self.shell.input_transformers_cleanup.append(self._transform)
        self.shell.events.register("pre_run_cell", self._before)
        self.shell.events.register("post_run_cell", self._after)
        atexit.register(self._close)

    def unload(self) -> None:
        """Undoes :meth:`load`, and ends the session."""
        self.shell.events.unregister("pre_run_cell", self._before)
        self.shell.events.unregister("post_run_cell", self._after)
        self.shell.input_transformers_cleanup.remove(self._transform)
        for kind, names in (("line", ("watch", "unwatch", "blame", "memwatch_cell")), ("cell", ("watch",))):
            for name in names:
                self.shell.magics_manager.magics[kind].pop(name, None)
        atexit.unregister(self._close)
        self._close()

    def _close(self) -> None:
        if self._recording is not None:
            self._recording.close(keep=True)
            self._recording = None
        self._places.clear()
        self._cell = None

    # ---- the magics -------------------------------------------------------------------------------------------------

    @line_cell_magic  # type: ignore[untyped-decorator]
    def watch(self, line: str, cell: str | None = None) -> None:
        """%%watch [TARGET...]: run the cell, and show below it each change that it makes; %watch TARGET...: show the
        changes that all cells to come make, and other threads between them.

        when='new < 0' is judged at each change, and then= is done at once where it is met: break (as breakpoint()),
        raise, dump, or a function of the notebook, by its name.

        TARGET: a name of the notebook, or a place below one: total, config["debug"], order.total. It needn't be there
        yet. %%watch without any: all variables that the cell mentions. %watch without any: says what is watched.
        """
        if cell is not None:  # not typed into a cell, but called
            self._source = cell
            self.memwatch_cell(line)
            self.shell.run_cell(f"#\n{cell}")
            return
        line, asked = _asked(line, self.shell.user_ns)
        wanted = _targets(line)
        if not wanted:
            write(sys.stdout, f"watched: {', '.join(self._places) if self._places else 'nothing'}\n")
        for text in wanted:
            if asked and text in self._places:
                self._places.pop(text).close()
            if text not in self._places:
                self._places[text] = self._open(text, asked)

    @line_magic  # type: ignore[untyped-decorator]
    def unwatch(self, line: str) -> None:
        """%unwatch [TARGET...]: end what %watch has begun; without a TARGET, all of it."""
        for text in _targets(line) or [*self._places]:
            if text not in self._places:
                raise UsageError(f"{text} is not watched: {', '.join(self._places) or 'nothing'} is")
            self._places.pop(text).close()

    @line_magic  # type: ignore[untyped-decorator]
    def blame(self, line: str) -> None:
        """%blame TARGET: who wrote each part of it last, as far as it was watched."""
        (text,) = _targets(line) or [""]
        self._read()
        found = [event for (name, _), event in self._last.items() if name == text]
        if not found:
            raise UsageError(f"%blame: nobody has written {text or 'TARGET'} while it was watched: %watch TARGET")
        found.sort(key=lambda event: event.time_ns)
        display(tables(f"{text}: who wrote last", found, self._where()), raw=True)

    @line_magic  # type: ignore[untyped-decorator]
    def memwatch_cell(self, line: str) -> None:
        """What the line %%watch becomes."""
        line, asked = _asked(line, self.shell.user_ns)
        wanted = _targets(line) or mentioned(self._source, self.shell.user_ns)
        self._read()
        self._cell = {}
        for text in dict.fromkeys(wanted):
            if text not in self._places:
                self._cell[text] = self._open(text, asked)
            elif asked:
                raise UsageError(f"%%watch: {text} is watched by %watch: give the condition there, or %unwatch {text}")

    # ---- around a cell ----------------------------------------------------------------------------------------------

    def _transform(self, lines: list[str]) -> list[str]:
        """The line ``%%watch`` becomes a call: so the cell stays a cell, with its own lines, awaits and errors."""
        if not lines or lines[0].split()[:1] != [_CELL] or "?" in lines[0]:
            return lines
        self._source = "".join(lines[1:])
        arguments = lines[0].strip().removeprefix(_CELL).strip()
        return [f"get_ipython().run_line_magic('memwatch_cell', {arguments!r})\n", *lines[1:]]

    def _before(self, info: Any) -> None:
        if self._places and (events := self._read()):
            display(tables("MemWatch: between cells", events, self._where()), raw=True)

    def _after(self, result: Any) -> None:
        cell, self._cell = self._cell, None
        if cell is None and not self._places:
            return
        events = self._read(audit=True)
        for place in (cell or {}).values():
            place.close()
        if events or cell is not None:
            names = ", ".join([*self._places, *(cell or {})]) or "nothing"
            title = f"MemWatch: {len(events):,} change{'s' * (len(events) != 1)} of {names}"
            title += f"; {self._lost:,} are lost" if self._lost else ""
            display(tables(title, events, self._where()), raw=True)
        self._read()

    def _open(self, text: str, asked: dict[str, Any]) -> Place:
        try:
            if self._recording is None:
                self._recording = Recording(config.load().journal.folder)
            return open_place(text, self.shell.user_ns, **asked)
        except (MemWatchError, TypeError, ValueError) as error:
            raise UsageError(f"%watch: {error}") from None

    def _read(self, *, audit: bool = False) -> list[Event]:
        """The changes since the last call."""
        found: list[Event] = []
        if self._recording is None:
            return found
        if audit:
            self._recording.audit()
        for records in self._recording.read():
            for record in records:
                if isinstance(record, Event) and record.changed:
                    found.append(record)
                elif isinstance(record, Lost):
                    self._lost += 1
        for event in found:
            self._last[event.variable, event.part.name if event.part is not None else ""] = event
        while len(self._last) > KEPT:
            del self._last[next(iter(self._last))]
        return found

    def _where(self) -> Any:
        return where_in(getattr(self.shell.compile, "_filename_map", {}))


def _targets(line: str) -> list[str]:
    """The words of a line; quotes belong to keys."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = [*lexer]
    except ValueError:
        words = line.split()
    return words


def _asked(line: str, names: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A line without its ``when=`` and ``then=``, and these. Raises UsageError."""
    given: dict[str, Any] = {}
    for option, text in _OPTION.findall(line):
        if option in given:
            raise UsageError(f"%watch: {option}= is given twice: write one condition, with `or`")
        given[option] = text[1:-1] if text[0] in "'\"" else text
    action = given.get("then")
    if action is not None and action not in ACTIONS:
        if not callable(names.get(action)):
            known = ", ".join(ACTIONS)
            raise UsageError(f"%watch: then={action}: it is one of {known}, or a function of the notebook, by its name")
        given["then"] = names[action]
    return _OPTION.sub("", line), given
