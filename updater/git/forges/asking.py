"""Asks the API of a forge: patiently, within a deadline, and takes nothing in its answers on trust.

No redirect is followed: a request carries the login, and where it leads is for the operator to say. What may have
been done already is asked again only where doing it twice makes no difference.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from updater.errors import ForgeError
from updater.git.credentials.base import GitCredentials, Login
from updater.secrets import redact
from updater.transport.http import Answer, Http, TransportError
from updater.transport.pace import backoff
from updater.transport.shapes import read_as
from updater.transport.words import plain

MAX_ANSWER = 1 << 20  # bytes of one thing
MAX_LIST = 4 << 20  # bytes of one page: GitHub spends some 25 KB on a request, its text not counted
SECONDS = 30.0  # one question in all, its tries and pauses together
TRIES = 3
BACKOFF_BASE, BACKOFF_CAP = 0.5, 4.0  # seconds
LONGEST_PAUSE = 5.0  # seconds that are waited for here; the next poll is better at longer ones
LIMITED_PAUSE = 60.0  # seconds to stay away where a limit has no date, as GitHub asks for
LONGEST_AWAY = 3600.0
PAGE = 30  # of a list at once; what a page may hold in bytes is enough for it
MAX_HEADER = 8192
MAX_SAID = 300  # characters of what a forge says
_BUSY = frozenset({429, 502, 503, 504})
_NEXT = re.compile(r"""rel\s*=\s*["']?next\b""")

T = TypeVar("T")


class NotDone(ForgeError):
    """The forge read what was asked and did not do it; `status` is its answer, and `said` are its words."""

    def __init__(self, message: str, *, status: int, said: str, retry_at: datetime | None = None) -> None:
        final = status in {301, 308} or (400 <= status < 500 and status != 408)
        super().__init__(message, retry_at=retry_at, refused=final and retry_at is None)
        self.status, self.said = status, said


class Api:
    """The API of one forge at `base`, an address without a slash at its end; threads share it.

    headers  what a request carries, by the token of the login, which is empty for nobody
    """

    def __init__(
        self,
        base: str,
        http: Http,
        headers: Callable[[str], Mapping[str, str]],
        credentials: GitCredentials | None = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        seconds: float = SECONDS,
    ) -> None:
        self.base, self._http, self._headers, self._credentials = base, http, headers, credentials
        self._host = urlsplit(base).netloc
        self._sleep, self._seconds = sleep, seconds

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        again: bool = True,
        max_bytes: int = MAX_ANSWER,
    ) -> Answer:
        """Return the answer where the forge did what was asked. `path` may be a whole address at the same host.

        `again` says that asking twice does no harm. Raises NotDone, ForgeError and SecretError.
        """
        url = path if "://" in path else f"{self.base}{path}"
        asked = f"{method} {url}"
        url = f"{url}?{urlencode(query)}" if query else url
        content = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + self._seconds

        def send(login: Login) -> Answer:
            headers = {"Accept": "application/json", **self._headers(login.token)}
            headers |= {} if content is None else {"Content-Type": "application/json"}
            return self._patiently(
                lambda: self._http.request(
                    method, url, headers=headers, content=content, max_bytes=max_bytes, deadline=deadline
                ),
                again=again,
                deadline=deadline,
            )

        login = self._login()
        answer = send(login)
        if answer.status == 401 and self._credentials is not None and self._credentials.renew(login):
            answer = send(self._login())
        if 200 <= answer.status < 300:
            return answer
        raise self._not_done(asked, answer)

    def read(self, shape: type[T], method: str, path: str, **others: Any) -> T:
        """Ask, and return the answer as what it must be. Raises ForgeError where it is something else."""
        return read(shape, self.ask(method, path, **others), f"{method} {self._host}{urlsplit(path).path}")

    def pages(self, shape: type[T], path: str, query: Mapping[str, str | int], *, size: str, most: int) -> Iterator[T]:
        """Yield what a list holds, page by page, as long as the forge says that there is more, and `most` of it.

        `size` is how the forge calls the size of a page. Pages are asked for by their number: the addresses that an
        answer names are not followed.
        """
        for page in range(1, -(-most // PAGE) + 1):
            answer = self.ask("GET", path, query={**query, size: PAGE, "page": page}, max_bytes=MAX_LIST)
            yield from read(list[shape], answer, f"GET {self._host}{path}")[:PAGE]  # type: ignore[valid-type]
            if not _NEXT.search((answer.header("link") or "")[:MAX_HEADER]):
                return

    def _login(self) -> Login:
        return self._credentials.login() if self._credentials else Login()

    def _patiently(self, send: Callable[[], Answer], *, again: bool, deadline: float) -> Answer:
        """Return the first answer that another try would not change, whatever its status."""
        for attempt in range(1, TRIES + 1):
            pause = backoff(attempt, base=BACKOFF_BASE, cap=BACKOFF_CAP)
            try:
                answer = send()
            except TransportError as err:
                if not (again and err.retryable) or attempt == TRIES or time.monotonic() + pause >= deadline:
                    raise ForgeError(redact(str(err))) from err
            else:
                told = away(answer, datetime.now(UTC))
                if told is None and (answer.status not in _BUSY or not again):
                    return answer
                if attempt == TRIES or (told or 0.0) > LONGEST_PAUSE:
                    return answer
                pause = max(told or 0.0, pause)
                if time.monotonic() + pause >= deadline:
                    return answer
            self._sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _not_done(self, asked: str, answer: Answer) -> NotDone:
        now = datetime.now(UTC)
        told = away(answer, now)
        said = _said(answer.body)
        why = _WHY.get(answer.status, "")
        if told is not None and answer.status in {403, 429}:
            why = "too many requests"
        elif answer.status // 100 == 3:
            why = "it leads elsewhere, which was not followed: was the repository moved?"
        message = f"{asked}: answered {answer.status}" + (f" ({why})" if why else "") + (f": {said}" if said else "")
        retry_at = None if told is None else now + timedelta(seconds=told)
        return NotDone(redact(message), status=answer.status, said=said, retry_at=retry_at)


_WHY = {
    401: "the login is missing or wrong",
    403: "the login may not do this",
    404: "not there, or the login may not see it",
    410: "switched off or deleted",
    429: "too many requests",
    500: "the forge has trouble",
    502: "the forge has trouble",
    503: "the forge has trouble",
    504: "the forge has trouble",
}


def read(shape: type[T], answer: Answer, what: str) -> T:
    """Return an answer as what it must be. Raises ForgeError."""
    return read_as(shape, answer, what, ForgeError)


def away(answer: Answer, now: datetime) -> float | None:
    """Return the seconds that the forge wants us to stay away; None where it says nothing of that.

    `Retry-After` is everybody's; GitHub's limits come with 403 as well as 429, the one by the hour with its end in
    `x-ratelimit-reset`, the secondary one sometimes with nothing but words; GitLab has `RateLimit-Reset`.
    """
    if answer.status not in _BUSY | {403}:
        return None
    told = _retry_after(answer.header("retry-after"), now)
    if told is not None or answer.status not in {403, 429}:
        return told
    for name in ("x-ratelimit", "ratelimit"):
        if (answer.header(f"{name}-remaining") or "").strip() == "0":
            reset = (answer.header(f"{name}-reset") or "").strip()
            seconds = float(reset) - now.timestamp() if re.fullmatch(r"[0-9]{1,12}", reset) else LIMITED_PAUSE
            return min(max(seconds, 1.0), LONGEST_AWAY)
    limited = answer.status == 429 or "secondary rate limit" in _said(answer.body).lower()
    return LIMITED_PAUSE if limited else None


def _retry_after(value: str | None, now: datetime) -> float | None:
    text = (value or "").strip()[:100]
    try:
        at = None if re.fullmatch(r"[0-9]{1,12}", text) else parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    seconds = float(text) if at is None else ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 1.0), LONGEST_AWAY)


def _said(body: bytes) -> str:
    """Return the words of a refusal, as the three forges shape them, on one short line."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    words: list[str] = []
    for key in ("message", "error", "error_description", "errors"):
        value = document.get(key)
        listed = value if isinstance(value, list) else [value]
        for one in listed[:5]:
            text = one.get("message") if isinstance(one, dict) else one
            if isinstance(text, str):
                words.append(text[:MAX_SAID])
    return plain("; ".join(words), MAX_SAID)
