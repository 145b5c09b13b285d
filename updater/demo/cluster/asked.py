"""A request as it came, and what is answered; also the ways in which a server can fail to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from updater.demo.cluster.failures import status
from updater.demo.cluster.objects import dumped

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(slots=True)
class Asked:
    """One request.

    path                  without the query
    query                 the last value of each parameter
    headers               names in lower case
    user, impersonated_by  who it is done as; who asked, where somebody impersonates (else empty)
    verb, group, version, resource, namespace, name, subresource   what it means; empty where it has none. `resource` is
                          the plural, `verb` as in roles: get list watch create update patch delete deletecollection
    status                of the answer; 0 until then, and where the connection was cut
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: str = ""
    impersonated_by: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    status: int = 0

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored."""
        return self.query.get("dryRun") == "All"

    @property
    def writes(self) -> bool:
        """Whether it would change something."""
        return self.method not in ("GET", "HEAD") and not self.dry_run

    @property
    def manager(self) -> str:
        """The field manager: as named, else the program's name."""
        return self.query.get("fieldManager") or self.headers.get("user-agent", "unknown").partition("/")[0]


def asked(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """Return a request with its meaning read from the path."""
    path, _, text = target.partition("?")
    query = dict(parse_qsl(text, keep_blank_values=True)) if text else {}
    found = Asked(method, path, query, headers, body, verb=_VERBS.get(method, method.lower()))
    parts = [unquote(part) if "%" in part else part for part in path.split("/")[1:]]
    if parts[0] == "api" and len(parts) > 2:
        found.version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        found.group, found.version, rest = parts[1], parts[2], parts[3:]
    else:
        return found
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        found.namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 1:
        found.namespace = rest[1]
    found.resource, found.name, found.subresource = ([*rest, "", ""])[:3]
    if not found.name:
        found.verb = {"get": "list", "delete": "deletecollection"}.get(found.verb, found.verb)
    if found.verb in ("list", "get") and query.get("watch", "").lower() in ("true", "1"):
        found.verb = "watch"
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. As a fault: given instead of the server's own, `done` after the request was carried out."""

    code: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media: str = "application/json"
    done: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """A response whose parts come one after another until the iterator ends."""

    parts: Iterator[bytes]
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class Cut:
    """Reset the connection without an answer; `done`: the request was carried out by then."""

    done: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """Answer nothing until the server closes."""

    done: bool = False


@dataclass(frozen=True, slots=True)
class Drip:
    """Send an answer byte by byte, so many seconds apart."""

    answer: Answer
    seconds: float = 0.1
    done: bool = False


Fault = Answer | Cut | Hang | Drip


def say(document: object, code: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Return an answer of JSON."""
    return Answer(code, dumped(document), headers)


def refuse(code: int, reason: str = "", message: str = "", *, retry_after: int | None = None, **details: Any) -> Answer:
    """Return a `Status` failure, for scripts: `refuse(429, "TooManyRequests", retry_after=1)`."""
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
    headers = (("Retry-After", str(retry_after)),) if retry_after is not None else ()
    return say(status(code, reason, message or f"scripted failure {code}", details), code, headers)
