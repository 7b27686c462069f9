"""Moments and spans of time as numpy's ``datetime64`` and ``timedelta64`` write them, of any size."""

from __future__ import annotations

NAT = -(2**63)
_SPANS = {
    "Y": "years", "M": "months", "W": "weeks", "D": "days", "h": "hours", "m": "minutes", "s": "seconds",
    "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "ps": "picoseconds", "fs": "femtoseconds",
    "as": "attoseconds", "": "generic time units",
}  # fmt: skip
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_DIGITS = {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}


def span(count: int, step: int, unit: str) -> str:
    """``5 nanoseconds``."""
    unit = unit.replace("μs", "us")
    return "NaT" if count == NAT else f"{count * step} {_SPANS.get(unit, unit)}"


def moment(count: int, step: int, unit: str) -> str:
    """``2024-02-29T12:00:00.000000000``, by its distance to 1970."""
    unit = unit.replace("μs", "us")
    if count == NAT:
        return "NaT"
    count *= step
    if unit == "Y":
        return _year(1970 + count)
    if unit == "M":
        return f"{_year(1970 + count // 12)}-{count % 12 + 1:02}"
    if unit in ("W", "D"):
        return _date(count * (7 if unit == "W" else 1))
    digits = _DIGITS.get(unit, 0)
    if not digits and unit not in _SECONDS:
        return str(count)
    seconds, rest = divmod(count, 10**digits) if digits else (count * _SECONDS[unit], 0)
    days, seconds = divmod(seconds, 86400)
    text = f"{_date(days)}T{seconds // 3600:02}"
    if unit != "h":
        text += f":{seconds // 60 % 60:02}"
    if unit not in ("h", "m"):
        text += f":{seconds % 60:02}"
    return f"{text}.{rest:0{digits}}" if digits else text


def _year(year: int) -> str:
    return f"{year:04}"


def _date(days: int) -> str:
    """Of the proleptic Gregorian calendar, whose eras of 400 years have 146,097 days each."""
    era, day = divmod(days + 719_468, 146_097)  # from March 1st of year 0 on
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    return f"{_year(year + era * 400 + (month <= 2))}-{month:02}-{day + 1:02}"
