# ledger.py
"""The balance is in memory and in the database; after a failed transfer they differ."""

import sqlite3

from memwatch_core import watch

db = sqlite3.connect(":memory:")
db.executescript("CREATE TABLE moves (amount INTEGER); INSERT INTO moves VALUES (100)")
balance = watch(0, name="balance", track_sql=True)


def load():
    for (amount,) in db.execute("SELECT sum(amount) FROM moves"):
        balance.value = amount


def transfer(amount):
    db.execute("INSERT INTO moves VALUES (?)", (-amount,))
    for (left,) in db.execute("SELECT sum(amount) FROM moves WHERE amount <> 0"):
        balance.value = left
    if left < 0:
        db.rollback()
    else:
        db.commit()


load()
transfer(30)
transfer(500)
print(f"balance {balance}, in the database {db.execute('SELECT sum(amount) FROM moves').fetchone()[0]}")
