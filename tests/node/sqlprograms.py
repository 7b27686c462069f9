"""Programs that run SQL: one of a driver's clients, the array `x` watched, a database of the test's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import servers
from nodejs import DRIVERS, Journal, Node

HEADS = {
    "pg": "const pg = require('pg');",
    "mysql2": "const mysql = require('mysql2'), promise = require('mysql2/promise');",
    "better-sqlite3": "const Database = require('better-sqlite3');",
    "sqlite3": "const sqlite3 = require('sqlite3');",
    "sequelize": "const { Sequelize, DataTypes } = require('sequelize');",
    "postgres": "const postgres = require('postgres');",
}
WATCH = "const { watch } = require('@memwatch/node');"
IMPORTS = "import { watch } from '@memwatch/node'; import postgres from 'postgres';"


@dataclass
class SqlProgram:
    """`body` of a program is an async function's; `config` is there for a connection, and `event(emitter, name)`."""

    node: Node
    driver: str
    database: servers.PostgreSql | servers.MariaDb | Path
    """A server's, or SQLite's file."""
    below: tuple[str, ...] = ()
    """Drivers that the driver is on top of."""
    packages: Path = DRIVERS
    file: str = "program.js"
    """An ECMAScript module, if its name is that of one: for drivers that are some."""

    def __post_init__(self) -> None:
        self.node.install(self.driver, *self.below, packages=self.packages)

    @property
    def config(self) -> dict[str, object]:
        where = self.database
        if isinstance(where, Path):
            return {"file": str(where)}
        names = {"host": where.host, "port": where.port, "user": where.user, "password": where.password}
        return names | {"database": where.database}

    def write(self, body: str) -> None:
        head = IMPORTS if self.file.endswith(".mjs") else f"{WATCH} {HEADS[self.driver]}"
        program = f"""
            {head}
            const x = watch(new Int32Array(1), {{ trackSQL: true, name: 'x' }});
            const config = JSON.parse(process.env.DATABASE);
            const event = (emitter, name) => new Promise((done) => emitter.once(name, done));
            (async () => {{ {body} }})();
        """
        self.node.write(program, self.file)

    def run(self, body: str, *, stderr: str = "", **variables: str) -> str:
        """What it prints."""
        self.write(body)
        done = self.node.run("--no-deprecation", self.file, DATABASE=json.dumps(self.config), **variables)
        assert done.stderr == stderr, done.stderr
        return done.stdout

    def journal(self, body: str) -> Journal:
        self.run(body)
        return self.node.read()

    def bytes(self) -> bytes:
        """All that the sessions' folders hold."""
        return b"".join(file.read_bytes() for folder in self.node.sessions() for file in folder.iterdir())
