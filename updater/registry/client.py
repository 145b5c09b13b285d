"""Reads one registry over the distribution API: its tags and their digests.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

from updater.errors import RegistryError
from updater.model.image import DOCKER_HUB, is_digest, is_tag
from updater.registry.challenge import next_link
from updater.registry.credentials.base import Credentials
from updater.registry.login import Login, LoginRefused
from updater.registry.sender import Sender
from updater.transport.http import Answer, Http
from updater.transport.pace import Budget

__all__ = ["Listing", "LoginRefused", "NotFound", "Registry"]

PAGE_BYTES = MANIFEST_BYTES = 4 << 20
MAX_PAGES = 1000
MAX_TAGS = 100_000
MAX_REDIRECTS = 5
REQUEST_SECONDS = 30.0
SCAN_SECONDS = 120.0  # all pages of one tag list together

PAGE_SIZE = 1000
"""Tags asked for at once: the most that GHCR, ECR and ACR give; without it they page by 100, ten times the requests.
Docker Hub is not asked for pages, since it then answers with the whole list at once."""

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_HUB_ADDRESS = "https://registry-1.docker.io"
_ERROR_CODE = re.compile(r"[A-Z_]{1,60}")


class NotFound(RegistryError):
    """The registry does not know the repository or the tag; some say so too where a login is missing."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The tags of one repository, in the registry's order. When the list is cut off, `why` says where and why."""

    names: tuple[str, ...]
    complete: bool = True
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    """One thing to be asked; `kind` is what logins are told apart by, `deadline` a time of time.monotonic()."""

    kind: str
    method: str
    repository: str
    accept: str
    max_bytes: int
    deadline: float


class Registry:
    """One registry; shared by threads, at most `concurrency` of which have a request under way.

    host            its name in image references, `host[:port]`; a path after it is ignored here
    endpoint        the address to ask instead: a URL, or `host[:port][/path]`
    insecure        plain HTTP, also for its token service
    trusted_realms  other hosts `host[:port]` that may see the credentials at a token endpoint
    request_seconds, scan_seconds   total time for one request, and for one list with all its pages
    """

    def __init__(
        self,
        host: str,
        *,
        http: Http,
        endpoint: str | None = None,
        credentials: Credentials | None = None,
        insecure: bool = False,
        trusted_realms: Iterable[str] = (),
        concurrency: int = 4,
        budget: Budget | None = None,
        request_seconds: float = REQUEST_SECONDS,
        scan_seconds: float = SCAN_SECONDS,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host = host.partition("/")[0]
        self.concurrency = concurrency
        self._base = _address(self.host, endpoint, insecure=insecure)
        try:
            self._origin = _origin(self._base)
        except ValueError as err:
            raise RegistryError(f"registry {self.host}: its endpoint is not an address") from err
        self.concurrency = concurrency
        self._scan_seconds = scan_seconds
        self._page = "" if self.host == DOCKER_HUB and endpoint is None else f"?n={PAGE_SIZE}"
        self._sender = Sender(
            http, concurrency=concurrency, budget=budget, request_seconds=request_seconds, sleep=sleep
        )
        self._login = Login(
            self.host,
            self._sender,
            credentials=credentials,
            hosts=(self._base,),
            known_as=self.host if endpoint is None else None,
            insecure=insecure,
            trusted_realms=(self.host, *trusted_realms),
            clock=clock,
        )

    @property
    def untrusted_realms(self) -> tuple[str, ...]:
        """Token services that this registry named and that got no credentials; each is worth a warning."""
        return self._login.untrusted_realms

    def tags(self, repository: str) -> Listing:
        """List the tags of a repository; one request where the registry does not page and no token is due.

        Raises NotFound, LoginRefused and RegistryError; a page that cannot be read fails the whole list.
        """
        what = f"tags of {self.host}/{repository}"
        question = _Question("tags", "GET", repository, "application/json", PAGE_BYTES, self._deadline())
        url = f"{self._base}/v2/{repository}/tags/list{self._page}"
        names: dict[str, None] = {}
        seen = {url}
        for _ in range(MAX_PAGES):
            answer = self._ask(question, url)
            self._expect(answer, what)
            names.update(dict.fromkeys(filter(is_tag, _page(answer, what))))
            if len(names) > MAX_TAGS:
                return Listing(tuple(names)[:MAX_TAGS], complete=False, why=f"more than {MAX_TAGS} tags")
            following, why = _following(answer, seen)
            if following is None:
                return Listing(tuple(names), complete=not why, why=why)
            url = following
            seen.add(url)
        return Listing(tuple(names), complete=False, why=f"more than {MAX_PAGES} pages")

    def digest(self, repository: str, reference: str) -> str:
        """Return the digest of the index or manifest that a tag (or digest) names.

        Raises NotFound, LoginRefused and RegistryError.
        """
        if not is_tag(reference) and not is_digest(reference):
            raise RegistryError(f"{reference[:80]!r} is neither a tag nor a digest")
        what = f"manifest {self.host}/{repository}:{reference}"
        question = _Question("manifests", "HEAD", repository, MANIFEST_TYPES, MANIFEST_BYTES, self._deadline())
        url = f"{self._base}/v2/{repository}/manifests/{reference}"
        answer = self._ask(question, url)
        if answer.status not in {405, 501}:  # some proxies do not let HEAD pass
            self._expect(answer, what)
            digest = (answer.header("docker-content-digest") or "").strip()
            if is_digest(digest):
                return _same(digest, reference, what)
        answer = self._ask(replace(question, method="GET"), url)
        self._expect(answer, what)
        return _same(f"sha256:{hashlib.sha256(answer.body).hexdigest()}", reference, what)

    def _deadline(self) -> float:
        return time.monotonic() + self._scan_seconds

    def _ask(self, question: _Question, url: str) -> Answer:
        """Send one request, logging in where it is asked for; a refused login or token is renewed once."""
        kind, repository, deadline = question.kind, question.repository, question.deadline
        authorization = self._login.header(kind, repository, deadline) if _origin(url) == self._origin else None
        answer = self._follow(question, url, authorization)
        cached = authorization is not None and authorization.startswith("Bearer ")
        # 400 and 403 are how ECR Public and some others answer a token that has ended
        if (answer.status == 401 or (cached and answer.status in {400, 403})) and _origin(answer.url) == self._origin:
            renewed = self._login.answer(answer, kind, repository, authorization, deadline)
            if renewed is not None:
                answer = self._follow(question, url, renewed)
        return answer

    def _follow(self, question: _Question, url: str, authorization: str | None) -> Answer:
        """Send one request and follow redirects; only the registry's own origin sees the login."""
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"Accept": question.accept}
            if authorization is not None and _origin(url) == self._origin:
                headers["Authorization"] = authorization
            answer = self._sender.send(
                question.method, url, headers=headers, max_bytes=question.max_bytes, deadline=question.deadline
            )
            if answer.status not in {301, 302, 303, 307, 308}:
                return answer
            url = self._redirected(answer)
        raise RegistryError(f"{self.host} redirects more than {MAX_REDIRECTS} times")

    def _redirected(self, answer: Answer) -> str:
        """Return where a redirect leads. Raises RegistryError where it must not be followed."""
        try:
            url = urljoin(answer.url, answer.header("location") or "").partition("#")[0]
            origin = _origin(url)
        except ValueError as err:
            raise RegistryError(f"{self.host} redirects to something that is no address") from err
        if origin != _origin(answer.url) and origin[0] != "https":
            raise RegistryError(f"{self.host} redirects to {origin[1]} without TLS; it was not followed")
        return url

    def _expect(self, answer: Answer, what: str) -> None:
        """Return for 200; raise what any other status means."""
        if answer.status == 200:
            return
        if answer.status in {401, 403}:
            raise self._login.refusal(what, answer.status)
        code = _error_code(answer.body)
        if answer.status == 404:
            raise NotFound(f"{what}: not found at {self.host}{code}")
        raise RegistryError(f"{what}: {self.host} answered {answer.status}{code}")


def _address(host: str, endpoint: str | None, *, insecure: bool) -> str:
    """Return the base of all addresses, without a slash at its end."""
    if endpoint is None and host == DOCKER_HUB:
        return _HUB_ADDRESS
    asked = (endpoint or host).rstrip("/")
    if "://" not in asked:
        asked = f"{'http' if insecure else 'https'}://{asked}"
    if asked.startswith("http://") and not insecure:
        raise RegistryError(f"{asked} is plain HTTP, which needs insecure: true at registry {host}")
    return asked


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port. Raises ValueError for what is no address."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    if port is None or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an http address")
    return parts.scheme, parts.hostname, port


def _following(answer: Answer, seen: Collection[str]) -> tuple[str | None, str]:
    """Return the address of the next page; None at the end of the list, with the reason where it is cut off there."""
    try:
        given = next_link(answer.values("link"))
        if given is None:
            return None, ""
        url = urljoin(answer.url, given).partition("#")[0]
        foreign = _origin(url) != _origin(answer.url)
    except ValueError as err:
        return None, f"the next page cannot be read: {err}"
    if foreign:
        return None, "the next page is on another host, which was not asked"
    return (None, "the pages lead in a circle") if url in seen else (url, "")


def _page(answer: Answer, what: str) -> list[str]:
    """Return the names of one page of a tag list. Raises RegistryError for anything that is not one."""
    try:
        page = json.loads(answer.body)
    except (ValueError, RecursionError) as err:
        kind = (answer.header("content-type") or "no content type")[:60]
        raise RegistryError(
            f"{what}: the answer ({kind}) is not JSON; is there a login page or proxy in between?"
        ) from err
    if isinstance(page, dict) and ("tags" in page or "name" in page) and "errors" not in page:
        tags = page.get("tags") or []  # null or missing: no tags
        if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
            return tags
    raise RegistryError(f"{what}: the answer is not a list of tags")


def _same(digest: str, reference: str, what: str) -> str:
    """Return the digest of an answer. Raises RegistryError where another one of that algorithm was asked for."""
    if is_digest(reference) and reference != digest and reference.partition(":")[0] == digest.partition(":")[0]:
        raise RegistryError(f"{what}: the answer has another digest, {digest}")
    return digest


def _error_code(body: bytes) -> str:
    """Return the specification's error code as ` (CODE)`, nothing where there is none."""
    try:
        code = json.loads(body)["errors"][0]["code"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return f" ({code})" if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""
