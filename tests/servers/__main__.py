"""The guard of a server; see :mod:`servers.guard`."""

import sys
from collections.abc import Callable
from pathlib import Path

from . import mariadb, postgresql
from .guard import PrivateServer, guard

SERVERS: dict[str, Callable[[Path], PrivateServer]] = {"postgresql": postgresql.Private, "mariadb": mariadb.Private}

name, owner = sys.argv[1:]
guard(name, SERVERS[name], int(owner))
