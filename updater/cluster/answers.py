"""What an API server's refusal means: from its `Status` to our errors, as a table.

https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1/types.go (StatusReason)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from updater.cluster.wire import Answer
from updater.errors import Absent, ClusterError, Conflict, Denied, Refused, UnknownKind, Unreachable
from updater.secrets import redact

MAX_WORDS = 600  # characters of what a server says; webhooks write essays
MAX_CAUSES = 20
_NOT_OURS = re.compile(r'\bUser "[^"]*" cannot ')  # how every authorizer of Kubernetes begins
_MANAGER = re.compile(r'conflict with "((?:[^"\\]|\\.)*)"')
_NOT_TYPED = re.compile(r"\bfailed to create typed |\bfield not declared in schema")
"""A manifest that does not fit the kind's schema: server-side apply answers 500, though the same again is useless."""
_NO_SUCH_PATH = b"404 page not found"  # an API server's own words where it serves nothing at a path
_TERMINATING = "NamespaceTerminating"


class Gone(ClusterError):
    """The place in the stream of changes is no longer kept (410): list again, from the start."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of which cluster, for errors. The answers about secrets are not repeated there."""

    cluster: str
    what: str  # `apply of Deployment.apps shop/api`
    secret: bool = False

    def __str__(self) -> str:
        return f"{self.what} at cluster {self.cluster}"


@dataclass(frozen=True, slots=True)
class Status:
    """A `Status` object as far as it can be read."""

    code: int
    reason: str = ""
    message: str = ""
    causes: tuple[Mapping[str, Any], ...] = ()
    kind: str = ""  # the plural, or the kind
    name: str = ""
    ours: bool = False  # whether it is one at all; something between us answers otherwise


def document(answer: Answer, question: Question) -> dict[str, Any]:
    """Return the object of a successful answer. Raises what `failure` returns for any other."""
    if not 200 <= answer.status < 300:
        raise failure(answer, question)
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        kind = answer.headers.get("Content-Type", "no content type")
        raise Unreachable(f"{question}: the answer ({words(kind, 60)}) is not JSON; is there a login page in between?")
    return found


def failure(answer: Answer, question: Question) -> ClusterError:
    """Return the error that an unsuccessful answer means."""
    return meaning(_status_of(answer), question, retry_at=_retry_at(answer.headers))


def meaning(status: Status, question: Question, *, retry_at: datetime | None = None) -> ClusterError:
    """Return the error that a status means."""
    said = f"{question}: {_said(status, question)}"
    if status.code == 401:
        return Denied(f"{said}; does the cluster know this login?", status=401)
    if status.code == 410:
        return Gone(said)
    if status.code == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in status.causes):
        return Conflict(said, fields=[_field(cause) for cause in status.causes])
    if rule := {403: _forbidden, 404: _not_found}.get(status.code):
        return rule(status, said, question)
    untyped = status.code == 500 and _NOT_TYPED.search(status.message)
    if untyped or (400 <= status.code < 500 and status.code not in {408, 429}):
        return _refused(status, said, question)
    redirect = "; redirects are not followed" if 300 <= status.code < 400 else ""
    return Unreachable(said + redirect, retry_at=retry_at)


def read_status(document: Mapping[str, Any]) -> Status:
    """Read a `Status` that stands in a stream."""
    code, expired = document.get("code"), document.get("reason") in {"Expired", "Gone"}
    return _status(410 if expired else code if isinstance(code, int) else 500, document)


def is_alive(answer: Answer) -> bool | None:
    """Say whether an API server answers, however badly; None where it is only busy.

    False where something between us answers in its place: a load balancer without servers, a login page.
    """
    if answer.status == 429:
        return None
    if answer.status < 300 or answer.status in {401, 403}:
        return True
    return _status_of(answer).ours


def words(text: object, at_most: int = MAX_WORDS) -> str:
    """Return text from outside as one bounded line, without known secrets.

    Of a long one the middle is left out: servers repeat the object first, and say what is wrong with it at the end.
    """
    whole = str(text)
    some = whole if len(whole) <= at_most * 4 else f"{whole[: at_most * 2]}…{whole[-at_most * 2 :]}"
    shown = some if some.isprintable() else "".join(letter if letter.isprintable() else " " for letter in some)
    line = redact(" ".join(shown.split()))
    end = at_most // 2
    return line if len(line) <= at_most else f"{line[: at_most - end - 1]}…{line[-end:]}"


def _status_of(answer: Answer) -> Status:
    if answer.status == 404 and answer.body.strip() == _NO_SUCH_PATH:
        return Status(404, "NotFound", "no such path", ours=True)
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    return _status(answer.status, found)


def _status(code: int, found: Any) -> Status:
    if not isinstance(found, Mapping) or found.get("kind") != "Status":
        return Status(code)
    details = found.get("details")
    details = details if isinstance(details, Mapping) else {}
    causes = details.get("causes")
    listed = [cause for cause in causes if isinstance(cause, Mapping)] if isinstance(causes, list) else []
    reason, message, kind, name = (
        str(value) if isinstance(value, str) else ""
        for value in (found.get("reason"), found.get("message"), details.get("kind"), details.get("name"))
    )
    return Status(code, reason, message, tuple(listed[:MAX_CAUSES]), kind, name, ours=True)


def _said(status: Status, question: Question) -> str:
    """Return the status in words. What a server says about the content of a secret may repeat it."""
    head = f"{status.code} {words(status.reason, 60)}".strip()
    if not status.ours:
        return f"{head}, and not from the API server"
    if question.secret and status.code not in {401, 404, 409, 410, 429} and not _NOT_OURS.search(status.message):
        fields = ", ".join(words(cause.get("field", ""), 120) for cause in status.causes)
        return f"{head} in {fields}" if fields else head
    return f"{head}: {words(status.message)}" if status.message else head


def _causes(status: Status, question: Question) -> tuple[str, ...]:
    texts = []
    for cause in status.causes:
        field, message = words(cause.get("field", ""), 200), words(cause.get("message", ""), 300)
        message = words(cause.get("reason", ""), 60) if question.secret else message
        texts.append(f"{field}: {message}" if field else message)
    return tuple(texts)


def _forbidden(status: Status, said: str, question: Question) -> ClusterError:
    """A 403 is about rights, a namespace on its way out, or what an admission plugin or webhook would not have."""
    if any(cause.get("reason") == _TERMINATING for cause in status.causes):
        return Absent(said)
    if not status.ours or not status.message or _NOT_OURS.search(status.message):
        return Denied(said, status=403)
    return _refused(status, said, question)


def _refused(status: Status, said: str, question: Question) -> ClusterError:
    return Refused(said, reason=words(status.reason, 60), causes=_causes(status, question))


def _not_found(status: Status, said: str, _question: Question) -> ClusterError:
    """A 404 with a name is about that object or its namespace; without one, about the kind."""
    if not status.ours:
        return Unreachable(said)
    return Absent(said) if status.name else UnknownKind(said)


def _field(cause: Mapping[str, Any]) -> tuple[str, str]:
    found = _MANAGER.search(str(cause.get("message", ""))[:2000])
    return words(cause.get("field", ""), 300), words(found[1] if found else "", 120)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that an API server asks to wait, at most an hour; None where it says nothing."""
    text = headers.get("Retry-After", "").strip()
    return min(float(text), 3600.0) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _retry_at(headers: Mapping[str, str]) -> datetime | None:
    seconds = retry_after(headers)
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
