"""How a value is written as a YAML scalar, so that YAML 1.1 and YAML 1.2 readers both get back this text."""

from __future__ import annotations

import re

from updater.errors import EditError
from updater.model.change import Style

# What one of PyYAML, go-yaml (Kubernetes, Helm, Flux), SnakeYAML or the core schema of YAML 1.2 reads as something
# other than text. Wider than each of them: a pair of quotes too many does no harm.
_NOT_TEXT = re.compile(
    r"""
      [-+]? 0b [01_]+ | [-+]? 0o [0-7_]+ | [-+]? 0x [0-9a-f_]+      # binary, octal, hexadecimal
    | [-+]? [0-9][0-9_]*                                            # integers, old octals, compact dates
    | [-+]? (?: [0-9][0-9_]* (?: \. [0-9_]* )? | \. [0-9][0-9_]* ) (?: e [-+]? [0-9]+ )?   # floats, 1e3
    | [-+]? [0-9][0-9_]* (?: : [0-5]?[0-9] )+ (?: \. [0-9_]* )?     # base 60: 12:30
    | [-+]? \. (?: inf | nan )
    | y | yes | n | no | true | false | on | off
    | ~ | null | << | =
    | [0-9]{4} - [0-9]{1,2} - [0-9]{1,2} (?: (?: t | [ \t]+ ) .* )?  # dates and times
    |                                                               # nothing is null
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/@+]*(?::[A-Za-z0-9_.\-/@+]+)*")
_QUOTABLE = re.compile(r"[ !#-&(-\[\]-~]*")  # printable ASCII without quotes and backslash


def is_text(plain: str) -> bool:
    """Whether every reader of YAML takes this plain scalar for a string."""
    return _NOT_TEXT.fullmatch(plain) is None


def spell(value: str, style: Style, prefix: str = "") -> str:
    """Return the token for a value in the style of its place; plain turns into double quotes where it must.

    Behind a `prefix` that stands there already what is plain stays so: it is text whatever follows.

    Raises EditError for a value that no tag, digest or name of an image can be.
    """
    if not _QUOTABLE.fullmatch(prefix + value):
        raise EditError(f"{value[:80]!r} cannot be written as the version of an image")
    if style is Style.BLOCK:
        return value
    if style is Style.SINGLE:
        return f"'{prefix}{value}'"
    if style is Style.PLAIN and _PLAIN.fullmatch(value) and (prefix or is_text(value)):
        return f"{prefix}{value}"
    return f'"{prefix}{value}"'
