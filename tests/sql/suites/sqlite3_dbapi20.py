"""The DB-API's compliance tests for sqlite3; psycopg2's source distribution has them. Run by the suite of this name."""

import os
import sqlite3
from typing import ClassVar

import dbapi20
import unittest_names  # noqa: F401


class TestSqlite3(dbapi20.DatabaseAPI20Test):
    driver = sqlite3
    connect_args = (os.environ["DBAPI20_DSN"],)
    connect_kw_args: ClassVar[dict[str, object]] = {}
