"""Asks a cloud for what its logins are made of: patiently, within a deadline, and takes no answer on trust.

No redirect is followed: a request carries keys, and where it leads is for the operator to say.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, Field

from updater.errors import RegistryError
from updater.registry.challenge import retry_after
from updater.secrets import forget, redact, remember
from updater.transport.addresses import Kind, kind_of
from updater.transport.pace import backoff
from updater.transport.shapes import read_as
from updater.transport.words import plain, without_secrets

if TYPE_CHECKING:  # httpx is loaded where somebody is asked, not where a configuration is read
    from updater.transport.http import Answer, Http

MAX_ANSWER = 64 << 10  # bytes; the longest tokens have some 4 KiB
SECONDS = 20.0  # one question in all, its tries and pauses together
TRIES = 3
BACKOFF_BASE, BACKOFF_CAP = 0.5, 4.0  # seconds
LONGEST_PAUSE = 5.0  # seconds of Retry-After that are waited for here; the next poll is better at longer ones
MAX_SAID = 300  # characters of what a cloud says
NEAR = frozenset({Kind.LOOPBACK, Kind.LINK_LOCAL})  # where a metadata service is, and nothing else may answer
_NEAR_NAMES = frozenset({"localhost", "metadata.google.internal"})
_BUSY = frozenset({429, 500, 502, 503, 504})
_WORDS = ("Code", "code", "error", "error_description", "Message", "message")

T = TypeVar("T")

Token = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", max_length=32_768)]
Sleep = Callable[[float], object]


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        near = host in _NEAR_NAMES or kind_of(host) in NEAR
        fine = parts.scheme == "https" or (parts.scheme == "http" and near)
        fine = fine and bool(host) and parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
        fine = fine and value.isprintable() and " " not in value
    except ValueError:
        fine = False
    if not fine:
        raise ValueError("expected https://host[:port][/path], or http:// at a loopback or link-local address")
    return value.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]
"""Where a cloud is asked; https, or http where nobody is on the way."""


def near() -> Http:
    """Return a client for metadata services, which are never asked through a proxy: it would answer for itself."""
    from updater.transport.http import Http

    return Http(no_proxy=("*",))


def environment_address(name: str, value: str) -> str:
    """Return an address that a variable of the environment holds. Raises RegistryError."""
    try:
        return _address(value)
    except ValueError as err:
        raise RegistryError(f"${name} holds no address; {err}") from None


def ask(
    http: Http,
    method: str,
    url: str,
    *,
    deadline: float,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    content: bytes | None = None,
    reach: frozenset[Kind] | None = None,
    sleep: Sleep = time.sleep,
) -> Answer:
    """Return the first answer that another try would not change, whatever its status.

    `deadline` is a time of time.monotonic(); `form` is sent as a form. Raises RegistryError when no answer came.
    """
    from updater.transport.http import TransportError

    asked = f"{method} {without_secrets(url)}"
    sent = {"Accept": "application/json"} | dict(headers or {})
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
        content = urlencode(form).encode()
    until = min(deadline, time.monotonic() + SECONDS)
    for attempt in range(1, TRIES + 1):
        pause = backoff(attempt, base=BACKOFF_BASE, cap=BACKOFF_CAP)
        try:
            answer = http.request(
                method, url, headers=sent, content=content, max_bytes=MAX_ANSWER, deadline=until, reach=reach
            )
        except TransportError as err:
            if not err.retryable or attempt == TRIES or time.monotonic() + pause >= until:
                raise RegistryError(redact(str(err))) from err
        else:
            told = retry_after(answer.header("retry-after"), datetime.now(UTC)) or 0.0
            pause = max(told, pause)
            late = told > LONGEST_PAUSE or time.monotonic() + pause >= until
            if answer.status not in _BUSY or attempt == TRIES or late:
                return answer
        sleep(pause)
    raise AssertionError(f"{asked}: the last try returns or raises")


def done(answer: Answer, method: str, hints: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that is one to what was asked. Raises RegistryError with what else it says.

    `hints` are plain words for the codes of refusals: the first that the answer begins one with counts.
    """
    if answer.status == 200:
        return answer
    raise refused(answer, method, hints)


def refused(answer: Answer, method: str, hints: Mapping[str, str] | None = None) -> RegistryError:
    """Return what to say of an answer that is a refusal."""
    words = _said(answer.body)
    known = (hint for code, hint in (hints or {}).items() if any(word.startswith(code) for word in words))
    leads = "it leads elsewhere, which was not followed" if answer.status // 100 == 3 else ""
    why = next(known, leads or _WHY.get(answer.status, ""))
    message = f"{method} {without_secrets(answer.url)}: answered {answer.status}"
    message += f" ({plain('; '.join(words), MAX_SAID)})" if words else ""
    return RegistryError(redact(message) + (f": {why}" if why else ""))


_WHY = {
    400: "the request was not understood",
    401: "the login is missing or wrong",
    403: "the login may not do this",
    404: "not there",
    429: "too many requests",
    **dict.fromkeys((500, 502, 503, 504), "the service has trouble"),
}


def read(shape: type[T], answer: Answer, method: str) -> T:
    """Return an answer as what it must be. Raises RegistryError, which never repeats what may hold a secret."""
    return read_as(shape, answer, f"{method} {without_secrets(answer.url)}", RegistryError)


@contextmanager
def passing(*secrets: str) -> Iterator[None]:
    """Blank secrets in every text for as long as they are of use here: there are ever new ones."""
    for secret in secrets:
        remember(secret)
    try:
        yield
    finally:
        for secret in secrets:
            forget(secret)


def _said(body: bytes) -> list[str]:
    """Return the words of a refusal, its code first."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    errors = document.get("errors")  # as registries have it
    inner = errors[0] if isinstance(errors, list) and errors else document.get("error")
    merged = document | inner if isinstance(inner, dict) else document
    return [plain(merged[key], MAX_SAID) for key in _WORDS if isinstance(merged.get(key), str)]
