"""Addresses, tokens and references in fields: what they may be, and a private address in place of a public one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator

from updater.errors import NotifyError
from updater.secrets import SecretRef


def checked(url: str) -> str:
    """Check an address: https, or http on loopback. Raises NotifyError, which never repeats the address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        fine = url.isprintable() and " " not in url and bool(host) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine, host, parts = False, "", urlsplit("")
    if not fine or parts.username is not None:
        raise NotifyError("found something that is no address of a service")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in {"localhost", "127.0.0.1", "::1"}):
        raise NotifyError("found plain HTTP beyond loopback")
    return url


def _address(value: str) -> str:
    try:
        checked(value)
    except NotifyError as err:
        raise ValueError(f"{err}; expected https://host[:port][/path]") from err
    parts = urlsplit(value)
    if parts.query or parts.fragment:
        raise ValueError("expected https://host[:port][/path], without a query")
    return value.rstrip("/")


BaseUrl = Annotated[str, AfterValidator(_address)]
"""https, or http on loopback; no user, no query, no slash at its end."""


def rebased(url: str, base_url: str | None) -> str:
    """Return the address with that of a gateway before its path, checked. Raises NotifyError."""
    if not base_url:
        return checked(url)
    checked(base_url)
    base, parts = urlsplit(base_url), urlsplit(url)
    return checked(urlunsplit((base.scheme, base.netloc, base.path + parts.path, parts.query, "")))


def token_of(reference: SecretRef) -> str:
    """Return a token that may stand in an address or a header. Raises SecretError, NotifyError."""
    token = reference.resolve().strip()
    if not token.isascii() or not token.isprintable() or any(c in token for c in ' /?#&%"'):
        raise NotifyError("the token holds characters that no token has")
    return token


def reference(value: str) -> SecretRef:
    """Read a reference out of a field that takes plain text too; a relative file counts from its file's folder."""
    return SecretRef.parse(value, Path(getattr(value, "file", "")).parent)
