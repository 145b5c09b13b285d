"""What a registry's headers say: `WWW-Authenticate`, `Link` and `Retry-After`. Text in, values out.

All of it is written by whoever answers, so sizes are bounded, and what cannot be read is as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

MAX_HEADER = 8192  # characters of one header that are looked at; real ones have a few hundred
MAX_CHALLENGES = 16
MAX_LINKS = 16  # headers

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2
_SCHEME = re.compile(rf"({_NAME}+)(?![ \t]*=)(?:[ \t]+(?:[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$)))?)?")  # possessive
_PARAM = re.compile(rf'({_NAME})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SKIP = re.compile(r"[\s,]*")
_GARBAGE = re.compile(r"[^,]*")
_LINK = re.compile(r'(?:<([^<>]*)>|([^<>;,\s]+))[ \t]*((?:;[^,"]*(?:"[^"]*"[^,"]*)*)?)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in; scheme and names of parameters in lower case, values as they came."""

    scheme: str
    params: Mapping[str, str]


def challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Read every challenge of the `WWW-Authenticate` headers, in their order (RFC 9110, 11.6.1)."""
    found: list[tuple[str, dict[str, str]]] = []
    for value in values[:MAX_CHALLENGES]:
        if len(value) <= MAX_HEADER:
            _read(value, found)
    return tuple(Challenge(scheme, MappingProxyType(params)) for scheme, params in found[:MAX_CHALLENGES])


def _read(value: str, found: list[tuple[str, dict[str, str]]]) -> None:
    params: dict[str, str] | None = None  # a parameter before any scheme belongs to nobody
    at = 0
    while (at := _end(_SKIP, value, at)) < len(value):
        if param := _PARAM.match(value, at):
            if params is not None:
                quoted, plain = param[2], param[3]
                params.setdefault(param[1].lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
            at = param.end()
        elif scheme := _SCHEME.match(value, at):
            params = {}
            found.append((scheme[1].lower(), params))
            at = scheme.end()
        else:
            at = _end(_GARBAGE, value, at)


def _end(pattern: re.Pattern[str], value: str, at: int) -> int:
    found = pattern.match(value, at)
    return found.end() if found else at


def next_link(values: Sequence[str]) -> str | None:
    """Return the target of the `Link` with rel=next exactly as given, None when there is none (RFC 8288).

    Also takes the form without angle brackets that old Quay servers send. Raises ValueError for a header that is
    too long to be read: there may be a next page in it.
    """
    for value in values[:MAX_LINKS]:
        if len(value) > MAX_HEADER:
            raise ValueError(f"its Link header is longer than {MAX_HEADER} characters")
        for link in _LINK.finditer(value):
            rel = _REL.search(link[3] or "")
            if rel and "next" in (rel[1] or rel[2] or "").lower().split():
                return str(link[1] if link[1] is not None else link[2])
    return None


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that `Retry-After` (a number or a date) asks for, clamped to 1 s .. 1 h.

    None when it is missing or makes no sense, a time in the past included.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        seconds = float(text[:20])
    else:
        try:
            at = parsedate_to_datetime(text[:100])
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return None if seconds < 0 else min(max(seconds, 1.0), 3600.0)
