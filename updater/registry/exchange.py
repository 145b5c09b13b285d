"""One question and its answer: logs in where that is asked for, follows redirects, and says what a refusal means.

Only the registry's own origin ever sees the login: redirects lead to storage that others run.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from updater.errors import RegistryError
from updater.registry.address import origin
from updater.registry.login import Login
from updater.registry.sender import Sender
from updater.transport.addresses import Kind, led_by
from updater.transport.http import Answer

MAX_REDIRECTS = 5
MAX_LOGINS = 3  # times that one question is sent: without a login, with one, with a renewed one

_ERROR_CODE = re.compile(r"[A-Z_]{1,60}")


class NotFound(RegistryError):
    """The registry does not know the repository or the tag; some say so too where a login is missing."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to be asked.

    kind      what logins are told apart by; endpoint: what requests are counted by
    deadline  a time of time.monotonic()
    """

    kind: str
    method: str
    repository: str
    accept: str
    max_bytes: int
    deadline: float
    endpoint: str = "manifest"


class Exchange:
    """The way to one registry at `base`, an address without a slash at its end; shared by threads."""

    def __init__(self, host: str, base: str, *, sender: Sender, login: Login) -> None:
        self._host, self._sender, self._login = host, sender, login
        try:
            self._origin = origin(base)
        except ValueError as err:
            raise RegistryError(f"registry {host}: its endpoint is not an address") from err

    def ask(self, question: Question, url: str, before: Answer | None = None) -> Answer:
        """Send one request, logging in where it is asked for; a refused login or token is renewed once.

        `before` is the answer that names the address, where that is not our own.
        """
        kind, repository, deadline = question.kind, question.repository, question.deadline
        own = origin(url) == self._origin
        authorization = self._login.header(kind, repository, deadline) if own else None
        answer = self._follow(question, url, authorization, None if own else led_by(before.peer if before else None))
        tried: tuple[str | None, ...] = (authorization,)
        while len(tried) < MAX_LOGINS and self._refuses(answer, authorization):
            authorization = self._login.answer(answer, kind, repository, tried, deadline)
            if authorization is None:
                break
            answer, tried = self._follow(question, url, authorization), (*tried, authorization)
        return answer

    def alone(self, question: Question, url: str) -> Answer:
        """Send one request without a login, whatever comes back; redirects are followed."""
        return self._follow(question, url, None)

    def _refuses(self, answer: Answer, authorization: str | None) -> bool:
        """Say whether the registry itself refuses what was sent; 400 and 403 are how some answer a token that ended."""
        token = authorization is not None and authorization.startswith("Bearer ")
        return (answer.status == 401 or (token and answer.status in {400, 403})) and origin(answer.url) == self._origin

    def _follow(
        self, question: Question, url: str, authorization: str | None, reach: frozenset[Kind] | None = None
    ) -> Answer:
        """Send one request and follow redirects; only the registry's own origin sees the login.

        Redirects lead anywhere public, and to the kind of place where the registry is itself. `reach` is where the
        first address may be, None where it is the registry's own.
        """
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"Accept": question.accept}
            if authorization is not None and origin(url) == self._origin:
                headers["Authorization"] = authorization
            answer = self._sender.send(
                question.method,
                url,
                headers=headers,
                max_bytes=question.max_bytes,
                deadline=question.deadline,
                endpoint=question.endpoint,
                reach=reach,
            )
            if answer.status not in {301, 302, 303, 307, 308}:
                return answer
            url = self._redirected(answer)
            if reach is None and origin(url) != self._origin:
                reach = led_by(answer.peer)
        raise RegistryError(f"{self._host} redirects more than {MAX_REDIRECTS} times")

    def _redirected(self, answer: Answer) -> str:
        """Return where a redirect leads. Raises RegistryError where it must not be followed."""
        try:
            url = urljoin(answer.url, answer.header("location") or "").partition("#")[0]
            target = origin(url)
        except ValueError as err:
            raise RegistryError(f"{self._host} redirects to something that is no address") from err
        if target != origin(answer.url) and target[0] != "https":
            raise RegistryError(f"{self._host} redirects to {target[1]} without TLS; it was not followed")
        return url

    def expect(self, answer: Answer, what: str) -> None:
        """Return for 200; raise what any other status means."""
        if answer.status == 200:
            return
        if answer.status in {401, 403}:
            if origin(answer.url) != self._origin:  # it saw no login
                other = urlsplit(answer.url).netloc
                raise RegistryError(f"{what}: {other}, to which {self._host} redirects, answered {answer.status}")
            raise self._login.refusal(what, answer.status)
        code = _error_code(answer.body)
        if answer.status == 404:
            raise NotFound(f"{what}: not found at {self._host}{code}")
        raise RegistryError(f"{what}: {self._host} answered {answer.status}{code}")


def read_json(answer: Answer, what: str) -> Any:
    """Return what an answer says in JSON, whatever its content type. Raises RegistryError for what is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as err:
        raise RegistryError(
            f"{what}: the answer ({answer.kind}) is not JSON; is there a login page or proxy in between?"
        ) from err


def _error_code(body: bytes) -> str:
    """Return the specification's error code as ` (CODE)`, nothing where there is none."""
    try:
        code = json.loads(body)["errors"][0]["code"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return f" ({code})" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
