"""References to secrets and the one filter that keeps their values out of every text.

A secret never stands in the configuration: a field of type `SecretRef` holds `env:NAME` or `file:/path` and is
resolved when it is used. Whatever was resolved once is remembered here, only in memory, so that `redact` can
blank it (and its base64 form, which HTTP headers carry) in logs, errors and output.
"""

from __future__ import annotations

import base64
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from updater.errors import UpdaterError

MAX_SECRET = 1 << 20  # bytes of a secret file; keys and tokens are far smaller
MIN_REDACTED = 4  # shorter values would blank ordinary words
_URL_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")

_known: set[str] = set()
_longest_first: tuple[str, ...] = ()  # the same; replaced as a whole, so that whoever reads it needs no lock
_lock = threading.Lock()


class SecretError(UpdaterError):
    """A secret that cannot be read now: which reference, and why; never the value."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """`env:NAME` or `file:/path` (absolute once loaded); printed as ***."""

    reference: str

    def resolve(self) -> str:
        """Return the value as it is now; one line end at the end of a file is dropped.

        Raises SecretError when the variable is unset or empty, or the file cannot be read.
        """
        value = self.read()
        remember(value)
        return value

    def read(self) -> str:
        """Return what `resolve` does of what is no secret, such as a trust root: nothing is blanked for it."""
        scheme, _, rest = self.reference.partition(":")
        value = os.environ.get(rest, "") if scheme == "env" else _read(Path(rest), self.reference)
        if not value:
            raise SecretError(f"secret {self.reference} is empty or not set")
        if not _is_text(value):
            raise SecretError(f"secret {self.reference} is not UTF-8 text")
        return value

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "SecretRef(***)"

    @classmethod
    def parse(cls, text: object, folder: Path = Path()) -> SecretRef:
        """Read a reference; a relative file counts from `folder`. Raises ValueError, which never repeats a literal."""
        if isinstance(text, SecretRef):
            return text
        scheme, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
        if scheme == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest):
            return cls(f"env:{rest}")
        if scheme == "file" and rest and "\0" not in rest:
            return cls(f"file:{folder / Path(rest).expanduser()}")
        if scheme in {"k8s", "vault", "kms"}:
            raise ValueError(f"a {scheme}: secret reference is not supported yet; expected env:NAME or file:/path")
        raise ValueError("a literal secret must not stand in the configuration; expected env:NAME or file:/path")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        # A string from a file carries its file (config.load.Text), against which relative paths count.
        return core_schema.no_info_plain_validator_function(
            lambda value: cls.parse(value, Path(getattr(value, "file", "")).parent),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"}


def _is_text(value: str) -> bool:
    """Whether a variable was UTF-8: Python keeps other bytes as halves of surrogate pairs."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(path: Path, reference: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET + 1)
        text = data.decode()
    except OSError as err:
        raise SecretError(f"secret {reference} cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise SecretError(f"secret {reference} is not UTF-8 text") from err
    if len(data) > MAX_SECRET:
        raise SecretError(f"secret {reference} is larger than {MAX_SECRET} bytes")
    return text.removesuffix("\n").removesuffix("\r")


def remember(value: str) -> None:
    """Have `redact` blank this value from now on, in its plain, URL-quoted and base64 forms."""
    if len(value) >= MIN_REDACTED:
        _change(_known.update, _forms(value))


def forget(value: str) -> None:
    """Stop blanking a value that is of no use any more, such as a token that ended: there are ever new ones."""
    _change(_known.difference_update, _forms(value))


def _forms(value: str) -> set[str]:
    forms = {value, quote(value, safe=""), base64.b64encode(value.encode()).decode()}
    forms.update(line for line in value.splitlines() if len(line) >= 16)  # one line of a key printed alone
    return forms


def _change(how: Callable[[set[str]], object], forms: set[str]) -> None:
    global _longest_first  # noqa: PLW0603 - whoever reads it takes no lock
    with _lock:
        before = len(_known)
        how(forms)
        if len(_known) != before:
            _longest_first = tuple(sorted(_known, key=len, reverse=True))


def redact(text: str) -> str:
    """Blank every known secret and every userinfo of a URL."""
    for value in _longest_first:
        text = text.replace(value, "***")
    return _URL_USERINFO.sub("***@", text) if "@" in text else text
