"""Answers in JSON, read as what they must be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pydantic import TypeAdapter, ValidationError

from updater.errors import UpdaterError
from updater.secrets import redact
from updater.transport.words import plain

if TYPE_CHECKING:
    from updater.transport.http import Answer

T = TypeVar("T")


def read_as(shape: type[T], answer: Answer, what: str, error: Callable[[str], UpdaterError]) -> T:
    """Return an answer as what it must be; `what` was asked. Raises an `error` that never repeats what was said."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as err:
        raise error(
            f"{what}: the answer ({answer.kind}) is not JSON; is there a login page or proxy in between?"
        ) from err
    try:
        return TypeAdapter(shape).validate_python(document)
    except (ValidationError, RecursionError) as err:
        where = ""
        if isinstance(err, ValidationError):
            first = err.errors(include_url=False, include_input=False, include_context=False)[0]
            where = f" ({'.'.join(map(str, first['loc']))[:100]}: {first['type']})"
        raise error(redact(plain(f"{what}: the answer is not what was asked for{where}", 500))) from None
