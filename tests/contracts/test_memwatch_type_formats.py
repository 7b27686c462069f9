"""The shipped formats keep the contract of formats."""

import enum
import ipaddress
import pathlib
import sys
from typing import Any

import memwatch_serializer_scalars
from hypothesis import strategies as st

from memwatch_plugins.testing import TypeFormatContract


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"


class Perm(enum.Flag):
    READ = 1
    WRITE = 2


class TestUuid(TypeFormatContract):
    plugin, name = memwatch_serializer_scalars, "uuid.UUID"
    values = st.uuids()


class TestFraction(TypeFormatContract):
    plugin, name = memwatch_serializer_scalars, "fractions.Fraction"
    values = st.fractions()


class TestEnum(TypeFormatContract):
    plugin, name = memwatch_serializer_scalars, "enum.Enum"
    values = st.sampled_from([*Colour, *Perm, Perm(0), Perm.READ | Perm.WRITE])

    def written(self, value: Any) -> str:
        if value is Perm(0):
            return "Perm(0)"
        return "|".join(f"{type(value).__name__}.{name}" for name in value.name.split("|"))


class TestPath(TypeFormatContract):
    plugin, name = memwatch_serializer_scalars, "pathlib.PosixPath"
    values = st.lists(st.text(st.sampled_from("ab./é"), max_size=8), max_size=4).map(lambda of: pathlib.Path(*of))

    def use(self, value: Any) -> None:
        super().use(value)
        _ = value.parts, value.name, value.parent, value / "x", value.with_name("n") if value.name else None


class TestIPv4Address(TypeFormatContract):
    plugin, name = memwatch_serializer_scalars, "ipaddress.IPv4Address"
    values = st.ip_addresses(v=4)


class TestIPv4Network(TypeFormatContract):
    plugin, name = memwatch_serializer_scalars, "ipaddress.IPv4Network"
    values = st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda of: ipaddress.ip_network(of, strict=False))

    def use(self, value: Any) -> None:
        super().use(value)
        _ = value.broadcast_address, value.hostmask, value.is_private, value.num_addresses


class TestIPv6Address(TypeFormatContract):
    plugin, name = memwatch_serializer_scalars, "ipaddress.IPv6Address"
    values = st.ip_addresses(v=6) | st.sampled_from(
        [ipaddress.ip_address(of) for of in ("::", "::1", "1::", "fe80::1%eth0", "1:0:0:2::3", "1:0:2:0:3:0:4:0")]
    )

    def written(self, value: Any) -> str:
        if value.ipv4_mapped and sys.version_info < (3, 13):  # later versions write it so
            return f"IPv6Address('::ffff:{value.ipv4_mapped}')"
        return repr(value)
