"""Lengths of time and rates, as operators write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+)s)?")
_RATE = re.compile(r"(?P<count>[0-9]{1,6})/(?P<unit>[smhd])")
MAX_DURATION = 3650 * 86_400  # ten years: beyond it a slip of the unit is likelier than a wish


def seconds(text: object) -> int:
    """Read `30s`, `5m`, `2h`, `7d` or `1h30m`; a number is seconds already. Raises ValueError."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) and 0 < len(text) <= 40 else None
    if match is None:
        raise ValueError("expected a duration such as 30s, 5m, 2h or 7d")
    total = sum(int(match[unit] or 0) * size for unit, size in _UNITS.items())
    if total > MAX_DURATION:
        raise ValueError("expected a duration of at most 3650d")
    return total


def spelled(length: int) -> str:
    """Write seconds as an operator would: 300 is `5m`."""
    unit, size = next(((u, s) for u, s in _UNITS.items() if length and length % s == 0), ("s", 1))
    return f"{length // size}{unit}"


def per_second(text: object) -> float:
    """Read `10/s`, `100/m` or `5000/h` as requests a second. Raises ValueError."""
    if isinstance(text, float):
        return text
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match["count"]) == 0:
        raise ValueError("expected a rate such as 10/s, 100/m or 5000/h")
    return int(match["count"]) / _UNITS[match["unit"]]


def duration(default: int, description: str) -> Any:
    """Return the field of a duration: seconds inside, a text such as `5m` in the file."""
    return Field(default, description=description, json_schema_extra={"default": spelled(default)})


def _some(length: int) -> int:
    if not length:
        raise ValueError("expected a duration of at least 1s")
    return length


Duration = Annotated[
    int,
    BeforeValidator(seconds),
    WithJsonSchema({"type": "string", "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"}),
]
Interval = Annotated[Duration, AfterValidator(_some)]
Rate = Annotated[
    float, BeforeValidator(per_second), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,6}/[smhd]$"})
]
