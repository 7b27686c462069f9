"""Where did the seven chairs go? Two programs, each with a count of its own of the same stock, a table in PostgreSQL.

Python takes deliveries in. `shipping.js`, which it starts, sends orders out. An order that isn't paid is rolled back,
but shipping.js has counted it off already; so at the end the counts differ. Both programs write into one timeline:
in it stands which write it was, and what became of its statement.

    npm install
    PGHOST=... PGDATABASE=... memwatch run --track-sql stockroom.py
    memwatch log --rolled-back
"""

import subprocess
from pathlib import Path

import psycopg

from memwatch_core import watch

in_stock = watch(0)


def prepare(connection: psycopg.Connection) -> None:
    connection.execute("DROP TABLE IF EXISTS stock, payments")
    connection.execute("CREATE TABLE stock (chairs int)")
    connection.execute("INSERT INTO stock VALUES (0)")
    connection.execute("CREATE TABLE payments (euros int CHECK (euros > 0))")
    connection.commit()


def deliver(connection: psycopg.Connection, chairs: int) -> None:
    row = connection.execute("UPDATE stock SET chairs = chairs + %s RETURNING chairs", (chairs,)).fetchone()
    assert row
    in_stock.value = row[0]
    connection.commit()


def main() -> None:
    command = ["node", Path(__file__).with_name("shipping.js")]
    with (
        psycopg.connect() as connection,  # wherever PGHOST, PGUSER ... say
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shipping,
    ):
        assert shipping.stdin
        assert shipping.stdout
        prepare(connection)
        left = ""
        for chairs, euros in (10, None), (4, 400), (5, None), (7, 0):
            if euros is None:
                deliver(connection, chairs)
            else:
                print(chairs, euros, file=shipping.stdin, flush=True)
                left = shipping.stdout.readline().strip()
        print(f"stockroom.py: {in_stock} chairs, shipping.js: {left}")


if __name__ == "__main__":
    main()
