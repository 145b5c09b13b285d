"""What the models of the configuration share: how they refuse, and texts that mean places."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from updater.secrets import SecretRef

REFERENCES = frozenset({"env", "file", "k8s", "vault", "kms"})  # how references to secrets begin
MAX_TEXT = 2048  # characters of a URL, a path or a name


class Section(BaseModel):
    """A part of the file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=MAX_TEXT, validate_default=False)


def refusal(key: str, said: str) -> PydanticCustomError:
    """Return what a check of a section raises about one of its keys (empty: all), `said` ending in `expected ...`."""
    return PydanticCustomError("at", "{said}", {"said": said, "key": key})


def without_default(schema: dict[str, Any]) -> None:
    """Drop a default from the JSON Schema, where it stands for something that the file does not say."""
    schema.pop("default", None)


def text(value: Any, expected: str) -> str:
    """Return a text that is not empty. Raises ValueError."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"expected {expected}")
    return value


def folder_of(value: str) -> Path:
    """Return the folder that relative paths in this text count from: that of its file, else the current one."""
    return Path(getattr(value, "file", "")).absolute().parent


def reference(value: str) -> SecretRef | None:
    """Read a text that begins as a reference to a secret does. Raises ValueError."""
    return SecretRef.parse(value, folder_of(value)) if value.partition(":")[0] in REFERENCES else None


def path_of(value: Any) -> Path:
    """Return the path that a text means; a relative one counts from the file that says it. Raises ValueError."""
    if isinstance(value, Path):
        return value
    path = text(value, "a path")
    return folder_of(path) / Path(path).expanduser()


def has_password(url: str) -> bool:
    """Say whether a URL carries a password, or over HTTP any user part: tokens stand there too."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return False
    user, at, _ = rest.partition("/")[0].rpartition("@")
    return bool(at) and (scheme.lower() != "ssh" or ":" in user)


def is_host(first: str) -> bool:
    """Say whether the first segment of a name is a registry's host, as image references tell."""
    return "." in first or ":" in first or first.lower() == "localhost"


def http_url(value: str) -> str:
    """Check an address of a server. Raises ValueError."""
    if has_password(value):
        raise ValueError("a literal secret inside a URL; expected the address alone, secrets as env:NAME or file:/path")
    try:
        parts = urlsplit(value)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment)
        fine = fine and (parts.port is None or parts.port > 0) and value.isprintable() and " " not in value
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("expected an address such as https://host:port")
    return value.rstrip("/")


def url_or_secret(value: Any) -> str | SecretRef:
    """Take an address without secrets as it is, and one with them as a reference. Raises ValueError."""
    address = text(value, "an address such as https://host:port, env:NAME or file:/path")
    return reference(address) or http_url(address)


FilePath = Annotated[Path, BeforeValidator(path_of), WithJsonSchema({"type": "string", "minLength": 1})]
