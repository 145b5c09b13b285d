"""Reads one registry over the distribution API: its tags, their digests, and what they are.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from updater.errors import RegistryError
from updater.model.image import DOCKER_HUB, is_digest, is_tag
from updater.registry.address import address
from updater.registry.credentials.base import Credentials
from updater.registry.description import Description, Fetch, Known, Part, complete, describe, nothing_known
from updater.registry.exchange import Exchange, NotFound, Question
from updater.registry.greeting import Contact, Greeting, contact, greeting
from updater.registry.host import CONCURRENCY, Hosts, Limit
from updater.registry.listing import Listing, Told, at_home, following, read_page
from updater.registry.login import Login, LoginRefused
from updater.registry.sender import Asked, Sender
from updater.transport.http import Answer, Http
from updater.transport.pace import Budget

if TYPE_CHECKING:  # cryptography is loaded where signatures are checked
    from updater.registry.signatures import Signers

__all__ = ["Description", "Greeting", "Listing", "LoginRefused", "NotFound", "Registry"]

PAGE_BYTES = MANIFEST_BYTES = CONFIG_BYTES = 4 << 20  # labels can make a configuration large
MAX_PAGES = 1000
MAX_TAGS = 100_000
REQUEST_SECONDS = 30.0
SCAN_SECONDS = 120.0  # all pages of one tag list together, or all parts of one description

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MAX_REFERRER_PAGES = 4  # of what refers to one image: signatures, and attestations beside them
NO_REFERRERS = frozenset({400, 404, 405, 406, 501})
"""How registries answer that know no such list. https://github.com/google/go-containerregistry has most of them."""

PAGE_SIZE = 1000
"""Tags asked for at once: the most that GHCR, ECR and ACR give; without it they page by 100, ten times the requests.
Docker Hub is not asked for pages, since it then answers with the whole list at once."""

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)


class Registry:
    """One registry; shared by threads, a few of which have a request under way.

    host            its name in image references, `host[:port]`; a path after it is ignored here
    endpoint        the address to ask instead: a URL, or `host[:port][/path]`
    insecure        plain HTTP, also for its token service
    trusted_realms  other hosts `host[:port]` that may see the credentials at a token endpoint
    concurrency     requests at a time; None: so many as all share who say no number for this address
    budget          None: the built-in one of hosts that are known to throttle, which a mirror of them is not
    hosts           what is known of hosts, and shared with other registries
    asked           is called for every request: tags, manifest, blob, referrer or token, and the status of the answer
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
        concurrency: int | None = None,
        budget: Budget | None = None,
        hosts: Hosts | None = None,
        request_seconds: float = REQUEST_SECONDS,
        scan_seconds: float = SCAN_SECONDS,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        asked: Asked = lambda _endpoint, _code: None,
    ) -> None:
        self.host = host.partition("/")[0]
        self.concurrency = concurrency or CONCURRENCY
        self._base = address(self.host, endpoint, insecure=insecure)
        self._hosts = hosts or Hosts()
        self._http, self._scan_seconds, self._request_seconds = http, scan_seconds, request_seconds
        self._page = "" if self.host == DOCKER_HUB and endpoint is None else f"?n={PAGE_SIZE}"
        sender = Sender(
            http,
            turns=threading.BoundedSemaphore(concurrency) if concurrency else self._hosts.turns(self._base),
            budget=budget or (self._hosts.budget(self.host) if endpoint is None else None),
            request_seconds=request_seconds,
            hosts=self._hosts,
            sleep=sleep,
            asked=asked,
        )
        self._login = Login(
            self.host,
            sender,
            credentials=credentials,
            hosts=(self._base,),
            known_as=self.host if endpoint is None else None,
            insecure=insecure,
            trusted_realms=(self.host, *trusted_realms),
            clock=clock,
        )
        self._exchange = Exchange(self.host, self._base, sender=sender, login=self._login)

    @property
    def untrusted_realms(self) -> tuple[str, ...]:
        """Token services that this registry named and that got no credentials; each is worth a warning."""
        return self._login.untrusted_realms

    def contact(self) -> Contact:
        """Look up its name and shake hands, and say what was found. Raises RegistryError."""
        return contact(self._base, self._http, time.monotonic() + self._request_seconds)

    def greet(self) -> Greeting:
        """Ask for nothing, without a login, and return how the registry greets a stranger. Raises RegistryError."""
        question = Question("greet", "GET", "", "application/json", PAGE_BYTES, self._deadline(), "ping")
        return greeting(self._exchange.alone(question, f"{self._base}/v2/"), self._login)

    @property
    def limit(self) -> Limit | None:
        """How much may be pulled, as the registry said last; None where it never did."""
        return self._hosts.at(self._base).limit

    def tags(self, repository: str) -> Listing:
        """List the tags of a repository; one request where the registry does not page and no token is due.

        Raises NotFound, LoginRefused and RegistryError; a page that cannot be read fails the whole list.
        """
        what = f"tags of {self.host}/{repository}"
        question = Question("tags", "GET", repository, "application/json", PAGE_BYTES, self._deadline(), "tags")
        url = first = f"{self._base}/v2/{repository}/tags/list{self._page}"
        names: dict[str, None] = {}
        told: dict[str, Told] = {}
        seen, astray, before = {url}, False, None
        for _ in range(MAX_PAGES):
            answer = self._exchange.ask(question, url, before)
            if 400 <= answer.status < 500 and (home := at_home(url, first)):
                url, astray = home, True
                answer = self._exchange.ask(question, url, before)
            self._exchange.expect(answer, what)
            page, more = read_page(answer, what)
            names.update(dict.fromkeys(page))
            told |= more
            if len(names) > MAX_TAGS:
                return Listing(tuple(names)[:MAX_TAGS], complete=False, why=f"more than {MAX_TAGS} tags")
            onward, why = following(answer, seen)
            if onward is None:
                return Listing(tuple(names), complete=not why, why=why, told=told)
            seen.add(onward)
            before = answer
            url = (astray and at_home(onward, first)) or onward
        return Listing(tuple(names), complete=False, why=f"more than {MAX_PAGES} pages")

    def digest(self, repository: str, reference: str) -> str:
        """Return the digest of the index or manifest that a tag (or digest) names.

        Raises NotFound, LoginRefused and RegistryError.
        """
        _expect_reference(reference)
        what = f"manifest {self.host}/{repository}:{reference}"
        question = Question("manifests", "HEAD", repository, MANIFEST_TYPES, MANIFEST_BYTES, self._deadline())
        url = f"{self._base}/v2/{repository}/manifests/{reference}"
        answer = self._exchange.ask(question, url)
        if answer.status not in {405, 501}:  # some proxies do not let HEAD pass
            self._exchange.expect(answer, what)
            digest = (answer.header("docker-content-digest") or "").strip()
            if is_digest(digest):
                return _same(digest, reference, what)
        answer = self._exchange.ask(replace(question, method="GET"), url)
        self._exchange.expect(answer, what)
        return _same(f"sha256:{hashlib.sha256(answer.body).hexdigest()}", reference, what)

    def describe(self, repository: str, reference: str, *, created: bool, known: Known = nothing_known) -> Description:
        """Return what a tag or digest is: its digest, its platforms, and when it was created where `created` asks so.

        One request for an index, two more for when it was created; two for a manifest without an index; one where
        `known`, asked with the digest, returns a description with what is needed.
        Raises NotFound where the repository or the tag is gone, LoginRefused and RegistryError.
        """
        _expect_reference(reference)
        what = f"manifest {self.host}/{repository}:{reference}"
        return describe(self._fetch(repository, self._deadline()), reference, what, created=created, known=known)

    def complete(self, repository: str, known: Description, *, within: float) -> Description:
        """Return a description with its date and origin, where it is that of an index and lacks them.

        Two requests at most, which take `within` seconds at most. Raises LoginRefused and RegistryError.
        """
        what = f"manifest {self.host}/{repository}@{known.digest}"
        return complete(self._fetch(repository, min(self._deadline(), time.monotonic() + within)), known, what)

    def unsigned(self, repository: str, digest: str, signers: Signers) -> str:
        """Return why no signature of a digest is good by these signers, in words; empty where one is.

        Two requests for what cosign 2 signed, four for cosign 3. Raises LoginRefused and RegistryError.
        """
        from updater.registry.signatures import BUNDLE_BYTES, unsigned

        deadline = self._deadline()
        fetch = self._fetch(repository, deadline, BUNDLE_BYTES)
        return unsigned(fetch, partial(self._referrers, repository, deadline), digest, signers)

    def _referrers(self, repository: str, deadline: float, digest: str) -> Iterator[Answer]:
        """Yield the pages of what refers to a digest. Raises NotFound where the registry has no such list."""
        what = f"referrers of {self.host}/{repository}@{digest}"
        question = Question("manifests", "GET", repository, INDEX_TYPE, MANIFEST_BYTES, deadline, "referrer")
        url: str | None = f"{self._base}/v2/{repository}/referrers/{digest}"
        seen: set[str] = set()
        answer: Answer | None = None
        while url is not None and len(seen) < MAX_REFERRER_PAGES:
            seen.add(url)
            answer = self._exchange.ask(question, url, answer)
            kind = (answer.header("content-type") or "").partition(";")[0].strip().lower()
            if answer.status in NO_REFERRERS or (answer.status == 200 and kind != INDEX_TYPE):
                raise NotFound(f"{what}: {self.host} lists none")
            self._exchange.expect(answer, what)
            yield answer
            url, _ = following(answer, seen)

    def _fetch(self, repository: str, deadline: float, blob_bytes: int = CONFIG_BYTES) -> Fetch:
        def fetch(part: Part, at: str) -> Answer:
            accept, max_bytes = (MANIFEST_TYPES, MANIFEST_BYTES) if part == "manifests" else ("*/*", blob_bytes)
            # one kind for both: the right to read manifests is the right to read blobs, so no second token is due
            question = Question("manifests", "GET", repository, accept, max_bytes, deadline, part.removesuffix("s"))
            answer = self._exchange.ask(question, f"{self._base}/v2/{repository}/{part}/{at}")
            self._exchange.expect(answer, f"{part.removesuffix('s')} {self.host}/{repository}:{at}")
            return answer

        return fetch

    def _deadline(self) -> float:
        return time.monotonic() + self._scan_seconds


def _expect_reference(text: str) -> None:
    if not is_tag(text) and not is_digest(text):
        raise RegistryError(f"{text[:80]!r} is neither a tag nor a digest")


def _same(digest: str, reference: str, what: str) -> str:
    """Return the digest of an answer. Raises RegistryError where another one of that algorithm was asked for."""
    if is_digest(reference) and reference != digest and reference.partition(":")[0] == digest.partition(":")[0]:
        raise RegistryError(f"{what}: the answer has another digest, {digest}")
    return digest
