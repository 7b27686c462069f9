"""``memwatch log``: what a session recorded, filtered, as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from .. import config as configuration
from ..printed import put, put_bytes, say, shows_colours, terminal_width, write
from ..records import Lost, Record, Watched
from ..rendering.palette import paint, plain
from ..rendering.text import Lines
from .columns import columns
from .filters import Filters, moment

BATCH = 2000


@click.command("log")
@click.argument("session", required=False)
@click.option(
    "--variable", "-v", "variables", multiple=True, metavar="NAME", help="Name, pattern ('tot*') or part ('grid[3]')."
)
@click.option("--path", "paths", multiple=True, metavar="PATTERN", help="Place or part ('order.*.age').")
@click.option("--thread", "-t", "threads", multiple=True, metavar="NAME|TID", help="Thread that wrote.")
@click.option("--sql", "statements", multiple=True, metavar="TEXT", help="Part of a statement or its hash; '*': any.")
@click.option("--rolled-back", is_flag=True, help="Only what was written under SQL that was rolled back in the end.")
@click.option("--outcome", "outcomes", multiple=True, metavar="TEXT", help="committed, 'rolled back', failed or open.")
@click.option("--line", "-l", "places", multiple=True, metavar="FILE:LINE", help="Where it was written from.")
@click.option("--label", "labels", multiple=True, metavar="TEXT", help="Label in force (memwatch_core.label), pattern.")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Task of asyncio that wrote, or a pattern.")
@click.option("--trace", "traces", multiple=True, metavar="ID", help="OpenTelemetry's trace or span, or its beginning.")
@click.option("--since", metavar="AGO|TIME", help="30s, 5m, 2h, 1d ago, or 2026-11-23T15:04:05.")
@click.option(
    "--last", "-n", type=click.IntRange(1), metavar="N", help="Only the last N that match; merged ones count as one."
)
@click.option(
    "--merged/--each",
    default=None,
    help="All stores to an array that one statement made as a line, or each.  [default: merged; each with --json]",
)
@click.option("--stacks", is_flag=True, help="With the callers of each line that wrote.")
@click.option("--json", "as_json", is_flag=True, help="Lines of JSON, in the schema of the jsonl sink.")
@click.option("--list", "listing", is_flag=True, help="List the sessions instead.")
@click.option("--folder", metavar="DIR", help="Where sessions are kept.  [default: .memwatch]")
@click.option("--config", "file", type=click.Path(dir_okay=False), metavar="FILE", help="Read FILE; search none.")
def command(
    session: str | None,
    variables: tuple[str, ...],
    paths: tuple[str, ...],
    threads: tuple[str, ...],
    statements: tuple[str, ...],
    rolled_back: bool,
    outcomes: tuple[str, ...],
    places: tuple[str, ...],
    labels: tuple[str, ...],
    tasks: tuple[str, ...],
    traces: tuple[str, ...],
    since: str | None,
    last: int | None,
    merged: bool | None,
    stacks: bool,
    as_json: bool,
    listing: bool,
    folder: str | None,
    file: str | None,
) -> None:
    """Read what a session recorded: the latest, or SESSION (a name from --list, a folder, or one .mwj file).

    Filters narrow the output: an event is shown if it matches at least one filter of each kind given. Works while the
    program runs and after it was killed.

    A filter that matches nothing at all is reported, as it may be a mistake. Exit status 1 if nothing was shown because
    of such a filter, or if a journal can't be read.

    Stores to the items of an array, or the bytes of a buffer, that one statement made are one line, with what it wrote
    and how many stores that took. Filters choose events, and what passes is merged; --last counts lines. --each shows
    every event.

    Shown first is the place in the program's own code ([sites] own), behind it the innermost one, if that is another.
    --line matches either.

    --outcome goes by what finally became of a statement: its transaction was committed or rolled back (perhaps to a
    savepoint), it failed, or (open) none of these so far. --rolled-back is short for --outcome 'rolled back'. A
    rollback doesn't undo writes to memory: they are shown as they happened.

    \b
    memwatch log --variable total                 who changed total?
    memwatch log --variable 'grid[8191]'          and who this element?
    memwatch log --variable 'total#57'            of several, who this one?
    memwatch log --path 'order.*.age'             and who any of these?
    memwatch log --path 'orders:add()#3.*'        what did the third call bind?
    memwatch log --line orders.py:41 --thread worker-1 --stacks
    memwatch log --sql 'from orders' --last 20
    memwatch log --rolled-back --variable total   what did a rollback leave?
    memwatch log --outcome 'failed: IntegrityError'
    memwatch log --label 'order 17'               what was written for it?
    memwatch log --since 5m --json | jq 'select(.seq) | .new'
    """
    from ..host import history
    from .matching import Matching

    overrides = {"journal": {"folder": folder}} if folder is not None else None
    config = configuration.load(file, overrides=overrides, labels={"journal.folder": "--folder"})
    if listing:
        rows = [(s.name, s.started, s.processes, s.command) for s in history.sessions(config.journal.folder)]
        for line in columns(rows, ("session", "started", "processes", "command")):
            put(line)
        return
    if rolled_back:
        outcomes = (*outcomes, "rolled back")
    oldest = None if since is None else moment(since)

    given = (variables, threads, statements, places, oldest, outcomes, paths, labels, tasks, traces)
    path = _found(config.journal.folder, session, given)
    matching = Matching(
        path,
        partial(_filters, path, *given),
        own=config.sites.own if config.chosen("sites.own") else None,
        by_outcome=bool(outcomes),
        merges=merged if merged is not None else not as_json,
    )
    batches = matching.batches(min(last, sys.maxsize) if last else None)
    if not as_json:
        batches = ([matching.wanted.called(record) for record in batch] for batch in batches)
    shown = _show(batches, as_json, stacks)
    seen, damaged = matching.seen, matching.damaged
    if not shown:
        several = f"none of its {seen:,} events matches" if seen > 1 else "its only event doesn't match"
        what = several if seen else "it has no events"
        if not damaged or seen:
            say(f"session {path.name}: {what}")
    failed = matching.wanted.failed() if seen else []
    for text in (*failed, *matching.wanted.unsure(), *matching.wanted.ambiguous(), *damaged):
        say(text)
    raise SystemExit(1 if damaged or (failed and not shown) else 0)


def _found(folder: Path, session: str | None, given: tuple[Any, ...]) -> Path:
    """The session. What is wrong with a filter is said first."""
    from ..host import history

    Filters(*given)
    return history.find(folder, session)


def _filters(path: Path, *given: Any) -> Filters:
    """Filters of a session. Where a number may be that of one of several functions, these are looked up first."""
    from ..host import history

    made = Filters(*given)
    only = history.Only(lambda event: False, 0, lambda record: isinstance(record, Watched), lambda count: None)
    for records in history.read(path, lambda text: None, lambda text: None, only=only) if made.by_number else ():
        made.learn(records)
    return made


def _show(batches: Iterable[list[Record]], as_json: bool, stacks: bool) -> bool:
    """Shows batches as they come: the reader limits their size in memory. Returns whether anything but losses, which
    are always shown, was among them."""
    shown = False
    lines = None if as_json else _lines(stacks)
    for batch in batches:
        if lines is None:
            _put_json(batch)
        else:
            write(sys.stdout, "".join(f"{line}\n" for line in lines.format(batch)), coloured=True)
        shown = shown or any(not isinstance(record, Lost) for record in batch)
    if as_json:
        sys.stdout.buffer.flush()
    return shown


def _put_json(batch: list[Record]) -> None:
    from ..rendering.jsonlines import parts

    for part in parts(batch):
        put_bytes(part)


def _lines(stacks: bool) -> Lines:
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    width = terminal_width(sys.stdout)
    arrow = "→" if utf8 and width is not None else "->"
    return Lines(width=width, paint=paint if shows_colours(sys.stdout) else plain, arrow=arrow, stacks=stacks)
