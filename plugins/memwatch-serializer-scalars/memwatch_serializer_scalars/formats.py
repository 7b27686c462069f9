"""How values of the standard library's types that are written in Python are shown where they lie in a watched object.

Where their parts lie is the same in CPython 3.11 to 3.15, but for paths.
"""

from memwatch_core.records import TypeFormat

_PATHS = ("PosixPath", "PurePosixPath")  # a drive is told from a name by code that only Windows has

FORMATS = (
    TypeFormat("uuid.UUID", ("UUID('{int:uuid}')",)),
    TypeFormat("fractions.Fraction", ("Fraction({_numerator}, {_denominator})",)),
    TypeFormat("enum.Enum", ("{_name_:member}", "{class}({_value_})"), subclasses=True),
    *(TypeFormat(f"pathlib.{name}", ("{class}('{_raw_paths:path}')", "{class}('{_parts:path}')")) for name in _PATHS),
    TypeFormat("ipaddress.IPv4Address", ("{class}('{_ip:ipv4}')",)),
    TypeFormat("ipaddress.IPv4Interface", ("{class}('{_ip:ipv4}/{_prefixlen}')",)),
    TypeFormat("ipaddress.IPv4Network", ("{class}('{network_address._ip:ipv4}/{_prefixlen}')",)),
    TypeFormat("ipaddress.IPv6Address", ("{class}('{_ip:ipv6}%{_scope_id:text}')", "{class}('{_ip:ipv6}')")),
    TypeFormat(
        "ipaddress.IPv6Interface",
        ("{class}('{_ip:ipv6}%{_scope_id:text}/{_prefixlen}')", "{class}('{_ip:ipv6}/{_prefixlen}')"),
    ),
    TypeFormat("ipaddress.IPv6Network", ("{class}('{network_address._ip:ipv6}/{_prefixlen}')",)),
)
