"""Bugs of the kind "who changed my data?": the culprit is in the first three lines of output."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CASES = {
    "an attribute of an ORM reverts by itself": (
        """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
        from memwatch_core import watch

        class Base(DeclarativeBase): ...

        class User(Base):
            __tablename__ = "users"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]

        def save(session, user):
            try:
                session.execute(__import__("sqlalchemy").text("SELECT nothing FROM nowhere"))
            except Exception:
                session.rollback()

        engine = create_engine("sqlite://")
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            user = User(name="ann")
            session.add(user)
            session.commit()
            user.name
            watch(user, fields=["name"])
            user.name = "eve"
            save(session, user)
            print(user.name)
        """,
        ["--path", "user.name", "--last", "2"],
        "user.name 'eve' -> absent _expire",  # the line is SQLAlchemy's own
    ),
    "a shared default is flipped": (
        """
        from memwatch_core import watch
        DEFAULTS = {"retries": 3, "verify": True}

        def client(**options):
            config = DEFAULTS
            config.update(options)              # culprit
            return config

        watch(DEFAULTS)
        client()
        client(verify=False)
        """,
        ["--path", "DEFAULTS[*verify*]"],
        'DEFAULTS["verify"] True -> False',
    ),
    "a framework overwrites an attribute": (
        """
        from memwatch_core import watch

        class Request:
            def __init__(self):
                self.user = "ann"

        class Middleware:
            def process(self, request):
                for name in ("session", "user"):
                    setattr(request, name, None)            # culprit

        request = Request()
        watch(request)
        Middleware().process(request)
        """,
        ["--path", "request.user"],
        "request.user 'ann' -> None",
    ),
    "a dict is resized while another thread iterates": (
        """
        import threading
        from memwatch_core import watch
        sessions = {i: i for i in range(1000)}

        def expire(started, done):
            started.wait()
            sessions.pop(7)                     # culprit
            done.set()

        started, done = threading.Event(), threading.Event()
        watch(sessions)
        threading.Thread(target=expire, args=(started, done), name="reaper").start()
        try:
            for key in sessions:
                started.set()
                done.wait()
        except RuntimeError as error:
            print(error)
        """,
        ["--variable", "sessions"],
        "sessions[7] 7 -> absent",
    ),
    "a default argument remembers": (
        """
        from memwatch_core import watch

        def add(key, value, into={}):
            into[key] = value                   # culprit
            return into

        watch(add.__defaults__[0], name="into")
        add("a", 1)
        print(add("b", 2))
        """,
        ["--variable", "into"],
        'into["a"] absent -> 1',
    ),
    "a default list remembers": (
        """
        from memwatch_core import watch

        def add(value, into=[]):
            into.append(value)                  # culprit
            return into

        watch(add.__defaults__[0], name="into")
        add(1)
        print(add(2))
        """,
        ["--variable", "into"],
        "into[0] absent -> 1",
    ),
    "a cached list is changed by who reads it": (
        """
        import functools
        from memwatch_core import watch

        @functools.cache
        def prices():
            return watch([30, 10, 20], name="prices")

        def cheapest():
            rows = prices()
            rows.sort()                         # culprit
            return rows[0]

        def first():
            return prices()[0]

        print(first(), cheapest(), first())
        """,
        ["--variable", "prices"],
        "prices [30, 10, 20] -> [10, 20, 30]",
    ),
    "an extension in C changes a list that others hold": (
        """
        import heapq
        from memwatch_core import watch

        class Book:
            def __init__(self):
                self.bids = [5, 1, 4]

        def best(book):
            heapq.heapify(book.bids)            # culprit
            return book.bids[0]

        book = watch(Book())
        best(book)
        """,
        ["--path", "book.bids*"],
        "book.bids[0] 5 -> 1",
    ),
    "a class attribute is shared by all instances": (
        """
        from memwatch_core import watch

        class Worker:
            limit = 10

            def slow_down(self):
                type(self).limit = 1            # culprit

        watch(Worker, fields=["limit"])
        Worker().slow_down()
        """,
        ["--path", "Worker.limit"],
        "Worker.limit 10 -> 1",
    ),
    "a test leaves a setting behind": (
        """
        import types, sys
        from memwatch_core import watch

        settings = types.ModuleType("settings")
        settings.DEBUG = False

        def test_one():
            settings.DEBUG = True               # culprit

        watch(settings, fields=["DEBUG"])
        test_one()
        """,
        ["--path", "settings.DEBUG"],
        "settings.DEBUG False -> True",
    ),
}


FEW = sys.version_info < (3, 12) and not os.environ.get("MEMWATCH_SOAK")


@pytest.mark.parametrize("case", [*CASES][:1] if FEW else CASES)
def test_the_culprits_line_is_in_the_first_three(tmp_path: Path, case: str) -> None:
    source, filters, shown = CASES[case]
    program = textwrap.dedent(source)
    (tmp_path / "program.py").write_text(program)
    lines = [number for number, text in enumerate(program.splitlines(), 1) if "# culprit" in text]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "120"}
    memwatch = [sys.executable, "-m", "memwatch_core.cli"]
    run = subprocess.run(
        [*memwatch, "run", "--quiet", "program.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    log = subprocess.run(
        [*memwatch, "log", *filters], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first = [" ".join(text.split()) for text in log.stdout.splitlines() if " -> " in text][:3]
    change, _, function = shown.partition(" _")
    assert any(change in text and function in text for text in first), log.stdout
    assert all(any(f"program.py:{line} " in text for text in first) for line in lines), log.stdout
