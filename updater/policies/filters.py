"""Which tags count at all, and which part of them a policy compares.

The operator's expressions run on RE2, whose time is linear in the tag: `re` takes seconds on 27 characters.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Annotated, Any, Self

import re2
from pydantic import AfterValidator, Field, model_validator

from updater.plugins import Member

MAX_EXPRESSION = 1000  # characters
MAX_EXPRESSIONS = 50  # in one list
MAX_MEMORY = 2 << 20  # bytes of one compiled expression; RE2 falls back on a slower search, still linear, beyond that

# A tag of the distribution specification that is no signature, attestation or bill of materials of another image.
_COUNTS = re.compile(r"(?!sha256-[0-9a-f]{64}(?:\.(?:sig|att|sbom))?\Z)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+)|)", re.ASCII)


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Any:
    """Compile for RE2. Raises ValueError that says what is wrong in the expression."""
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as err:
        (why,) = err.args
        words = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise ValueError(f"{words[:200]}; expected an RE2 expression") from None


def _checked(expression: str) -> str:
    compiled(expression)
    return expression


Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION), AfterValidator(_checked)]
Expressions = Annotated[tuple[Expression, ...], Field(max_length=MAX_EXPRESSIONS)]


class TagFilters(Member):
    """RE2 expressions, unanchored: a tag needs one of `include` (where there are any) and none of `exclude`.

    `pattern` must be found too; `extract` ($1, $name, ${name}, $$ for a dollar) makes of it what is compared, for the
    tag in Git as well. The whole tag is written.
    """

    include: Expressions = ()
    exclude: Expressions = ()
    pattern: Expression | None = None
    extract: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)] | None = None

    @model_validator(mode="after")
    def _extract_names_groups(self) -> Self:
        if self.extract is not None:
            if self.pattern is None:
                raise ValueError("tags.extract without tags.pattern; expected both")
            _template(self.pattern, self.extract)
        return self

    @cached_property
    def _rows(self) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...], Any, tuple[str | int, ...]]:
        included = tuple(map(compiled, self.include))
        excluded = tuple((f"no_match: excluded by {text}", compiled(text)) for text in self.exclude)
        pattern = compiled(self.pattern) if self.pattern else None
        return included, excluded, pattern, _template(self.pattern or "", self.extract or "")

    def read(self, tag: str) -> tuple[str, str]:
        """Return what is compared of a tag and nothing, or nothing and why the tag does not count."""
        if not _COUNTS.fullmatch(tag):
            return "", "no_match: a signature or attestation, or not a tag"
        included, excluded, pattern, template = self._rows
        if not (included or excluded or pattern):
            return tag, ""
        data = tag.encode()
        if included and not any(expression.search(data) for expression in included):
            return "", "no_match: not included"
        for why, expression in excluded:
            if expression.search(data):
                return "", why
        return _extracted(tag, data, pattern, template) if pattern else (tag, "")

    def current(self, tag: str) -> str | None:
        """Return what is compared of the tag in Git, which the filters need not let through; None for nothing."""
        if not _COUNTS.fullmatch(tag):
            return None
        if self.extract is None:
            return tag
        *_, pattern, template = self._rows
        return _extracted(tag, tag.encode(), pattern, template)[0] or None


def _extracted(tag: str, data: bytes, pattern: Any, template: tuple[str | int, ...]) -> tuple[str, str]:
    match = pattern.search(data)
    if match is None:
        return "", "no_match: tags.pattern is not found"
    if not template:
        return tag, ""
    text = "".join(piece if isinstance(piece, str) else (match.group(piece) or b"").decode() for piece in template)
    return (text, "") if text else ("", "no_match: tags.extract leaves nothing")


@lru_cache(maxsize=1024)
def _template(pattern: str, extract: str) -> tuple[str | int, ...]:
    """Cut `extract` into literals and numbers of groups. Raises ValueError for a group that `pattern` has not."""
    pieces: list[str | int] = []
    at = 0
    for match in _REFERENCE.finditer(extract):
        pieces.append(extract[at : match.start()])
        pieces.append("$" if match[1] else _group(pattern, match[2] or match[3] or ""))
        at = match.end()
    pieces.append(extract[at:])
    return tuple(piece for piece in pieces if piece != "")


def _group(pattern: str, name: str) -> int:
    expression = compiled(pattern)
    named = {key.decode() if isinstance(key, bytes) else key: index for key, index in expression.groupindex.items()}
    known = [*range(expression.groups + 1), *named]
    number = int(name) if name.isdecimal() and len(name) < 6 else named.get(name, -1)
    if not 0 <= number <= expression.groups:
        raise ValueError(
            f"{f'${name}' if name else 'a lone $'} in tags.extract; expected a group of tags.pattern, one of "
            f"{', '.join(f'${{{group}}}' for group in known[:20])}, or $$ for a dollar"
        )
    return number
