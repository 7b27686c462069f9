"""Whose the program is that has connected to a port of ours.

Everybody on a machine can connect to its ports, and who speaks to a debug adapter runs what he likes, as its user.
"""

from __future__ import annotations

import socket
import struct

_ESTABLISHED = "01"
"""Of a connection that is being closed the kernel says user 0, whoever it was."""


def user_of(ours: tuple[str, int], theirs: tuple[str, int]) -> int | None:
    """The user at the other end of a connection within this machine, by its two addresses (IPv4). None: not known."""
    local, remote = _shown(theirs), _shown(ours)
    try:
        with open("/proc/net/tcp") as file:
            rows = [line.split() for line in file.readlines()[1:]]
    except OSError:
        return None
    users = {int(row[7]) for row in rows if row[1:4] == [local, remote, _ESTABLISHED]}
    return users.pop() if len(users) == 1 else None


def _shown(address: tuple[str, int]) -> str:
    """An address as the kernel writes it: its four bytes as one number of the machine's."""
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"
