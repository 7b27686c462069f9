"""Risk: an ORM fetches all rows and closes its cursor at once, and what the program then does with them has no
statement, or another thread's.

Real projects, each a process of its own: six threads, each with a table and a value of its own. What is written tells
at which step of the program, and so under which statement; the journal is replayed against that."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import servers
from sql_support import INT64

from memwatch_core.host.decoder import JournalDecoder
from memwatch_core.records import Event

THREADS, ROUNDS, ROWS = 6, 3, 4
IN_THREADS = f"""
import sys, threading
from memwatch_core import watch

def in_threads(work):
    errors = []
    def run(k):
        value = watch(0, name=f"v{{k}}", track_sql=True)
        def put(step):
            value.value = 100 * r + step
        try:
            for r in range({ROUNDS}):
                work(k, r, put)
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(k,)) for k in range({THREADS})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
"""
DJANGO = (
    IN_THREADS
    + f"""
import json
import django
from django.conf import settings

settings.configure(DATABASES={{"default": json.loads(sys.argv[1])}}, USE_TZ=True)
django.setup()
from django.db import connection, models, transaction
from django.db.models import Count, Value

def model(k):
    meta = type("Meta", (), {{"app_label": "shop", "db_table": f"order_{{k}}"}})
    return type(f"Order{{k}}", (models.Model,), {{"__module__": "shop", "qty": models.IntegerField(), "Meta": meta}})

orders = [model(k) for k in range({THREADS})]
for order in orders:
    with connection.schema_editor() as editor:
        editor.create_model(order)
    order.objects.bulk_create([order(qty=n) for n in range({ROWS})])
connection.close()

def work(k, r, put):
    own = orders[k].objects
    tagged = own.annotate(**{{f"r{{r}}": Value(1)}})
    for row in tagged.all():
        put(1)
    put(2)
    one = tagged.get(qty=1)
    put(3)
    own.aggregate(**{{f"r{{r}}": Count("id")}})
    put(4)
    list(tagged.values_list(f"r{{r}}", "qty"))
    put(5)
    for row in tagged.iterator(chunk_size=2):
        put(6)
    put(7)
    own.filter(qty=1).update(qty=1)
    put(8)
    made = own.create(qty=9)
    put(9)
    with transaction.atomic():
        made.delete()
        put(10)
    put(11)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT qty AS r{{r}} FROM order_{{k}}")
        cursor.fetchone()
        put(12)
    put(13)
    if r == {ROUNDS - 1}:
        connection.close()

in_threads(work)
"""
)
PEEWEE = (
    IN_THREADS
    + f"""
import peewee

database = peewee.SqliteDatabase("shop.db", timeout=60)

def model(k):
    meta = type("Meta", (), {{"database": database, "table_name": f"order_{{k}}"}})
    return type(f"Order{{k}}", (peewee.Model,), {{"qty": peewee.IntegerField(), "Meta": meta}})

orders = [model(k) for k in range({THREADS})]
database.create_tables(orders)
for order in orders:
    order.insert_many([{{"qty": n}} for n in range({ROWS})]).execute()

def work(k, r, put):
    own = orders[k]
    tagged = own.select(own, peewee.Value(1).alias(f"r{{r}}"))
    for row in tagged:
        put(1)
    put(2)
    tagged.where(own.qty == 1).get()
    put(3)
    own.select(peewee.fn.COUNT(own.id).alias(f"r{{r}}")).scalar()
    put(4)
    list(tagged.tuples())
    put(5)
    for row in tagged.clone().iterator():
        put(6)
    put(7)
    own.update(qty=1).where(own.qty == 1).execute()
    put(8)
    made = own.create(qty=9)
    put(9)
    with database.atomic():
        made.delete_instance()
        put(10)
    put(11)

in_threads(work)
"""
)
PANDAS = (
    IN_THREADS
    + f"""
import sqlite3, warnings
import pandas
import sqlalchemy

with sqlite3.connect("shop.db") as connection:
    for k in range({THREADS}):
        connection.execute(f"CREATE TABLE order_{{k}} (id INTEGER PRIMARY KEY, qty INTEGER)")
        connection.executemany(f"INSERT INTO order_{{k}} (qty) VALUES (?)", [(n,) for n in range({ROWS})])
engine = sqlalchemy.create_engine("sqlite:///shop.db")

def work(k, r, put):
    text = f"SELECT qty, 1 AS r{{r}} FROM order_{{k}}"
    connection = sqlite3.connect("shop.db")
    frame = pandas.read_sql(text, connection)
    for row in frame.itertuples():
        put(1)
    put(2)
    for chunk in pandas.read_sql(text, connection, chunksize=2):
        put(6)
    connection.close()
    put(11)
    with engine.connect() as connected:
        frame = pandas.read_sql(sqlalchemy.text(text), connected)
        put(5)
    put(11)
    frame = pandas.read_sql(text, engine)
    put(13)

in_threads(work)
"""
)
SELECT, NONE = r"SELECT .* AS \"?r{r}\"?.* FROM \"?order_{k}\"?", None
STEPS = {
    **dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 12), SELECT),
    8: 'UPDATE "order_{k}"',
    9: 'INSERT INTO "order_{k}"',
    10: 'DELETE FROM "order_{k}"',
    **dict.fromkeys((11, 13), NONE),  # committed; closed with rows left
}


def replay(folder: Path, program: str, *arguments: str) -> set[int]:
    """Runs the program, compares each event with what it must be; the steps that were seen."""
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py", *arguments],
        cwd=folder, env={"PATH": "/usr/bin:/bin", "MEMWATCH_WATCH_TRACK_SQL": "true"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (journal,) = folder.glob(".memwatch/*/*.mwj")
    decoder, events = JournalDecoder(journal, {"int64": INT64}), list[Event]()
    while not decoder.ended:
        events += [record for record in decoder.poll() if isinstance(record, Event)]
    values = dict.fromkeys((f"v{k}" for k in range(THREADS)), 0)
    for event in events:
        assert event.old == values[event.variable]
        values[event.variable] = event.new
        (r, step), k = divmod(event.new, 100), event.variable[1:]
        statement = event.context.statement if event.context is not None else None
        expected = STEPS[step]
        if expected is None:
            assert statement is None, (step, statement)
        else:
            assert re.match(expected.format(r=r, k=k), statement or ""), (step, r, k, statement)
    steps = [event.new % 100 for event in events]
    assert len(set(values.values())) == 1
    assert set(map(steps.count, steps)) <= {THREADS * ROUNDS * n for n in (1, 2, ROWS // 2, ROWS)}
    return set(steps)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_write_of_a_django_project_has_its_statement(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("django")
    settings = '{"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db", "OPTIONS": {"timeout": 60}}'
    if database == "postgresql":
        server: servers.PostgreSql = request.getfixturevalue("postgresql_database")
        settings = (
            f'{{"ENGINE": "django.db.backends.postgresql", "NAME": "{server.database}", "USER": "{server.user}",'
            f' "PASSWORD": "{server.password}", "HOST": "{server.host}", "PORT": {server.port}}}'
        )
    assert replay(tmp_path, DJANGO, settings) == set(STEPS)


def test_every_write_of_a_peewee_project_has_its_statement(tmp_path: Path) -> None:
    pytest.importorskip("peewee")
    assert replay(tmp_path, PEEWEE) == set(STEPS) - {12, 13}


def test_every_write_after_pandas_read_sql_has_its_statement(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    assert replay(tmp_path, PANDAS) == {1, 2, 5, 6, 11, 13}
