"""The DB-API's compliance tests for psycopg; psycopg2's source distribution has them. Run by the suite of this name."""

import os
from typing import ClassVar

import dbapi20
import dbapi20_tpc
import psycopg
import unittest_names  # noqa: F401


class TestPsycopg(dbapi20.DatabaseAPI20Test):
    driver = psycopg
    connect_args = (os.environ["DBAPI20_DSN"],)
    connect_kw_args: ClassVar[dict[str, object]] = {}

    def test_nextset(self):
        """The suite has it to be written."""
        connection = self._connect()
        cursor = connection.cursor()
        cursor.executemany("SELECT %s::int", [(1,), (2,)], returning=True)
        assert cursor.fetchall() == [(1,)]
        assert cursor.nextset()
        assert cursor.fetchall() == [(2,)]
        assert not cursor.nextset()
        connection.close()

    def test_setoutputsize(self):
        """As above."""
        connection = self._connect()
        connection.cursor().setoutputsize(1000)
        connection.close()


class TestPsycopgTwoPhaseCommit(dbapi20_tpc.TwoPhaseCommitTests):
    driver = psycopg

    def connect(self):
        return psycopg.connect(os.environ["DBAPI20_DSN"])
