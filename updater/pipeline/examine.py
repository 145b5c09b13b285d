"""Tries every registry, repository and login once, writes nothing, and says in plain words what to change.

One after the other the steps of one way are tried, and the first that fails ends it: what comes behind would fail too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from updater.config.repositories import RepositorySettings
from updater.config.settings import registry_for
from updater.errors import ForgeError, UpdaterError
from updater.model.image import DOCKER_HUB, ImageRef
from updater.model.tag import Needs
from updater.pipeline.look import LOCK_WAIT, UNREACHED, Progress, World, branches, look, no_progress
from updater.pipeline.study import wanted
from updater.registry.client import LoginRefused, NotFound, Registry
from updater.registry.greeting import Contact, Greeting
from updater.secrets import redact

AT_ONCE = 4  # repositories, and registries; each registry bounds its own requests
SOON = timedelta(days=21)  # a certificate that ends within it is worth a word

_ADVICE = tuple(
    (re.compile(sign, re.IGNORECASE), words)
    for sign, words in (
        (r"cannot be resolved|resolve host", "check the spelling of the host, and the name service of this machine"),
        (
            r"WRONG_VERSION_NUMBER|record layer|packet length|SSL.* EOF",
            "it speaks plain HTTP: insecure: true, if that is meant",
        ),
        (r"certificate", "give the authority that signed it as network.ca_file, here or for all"),
        (r"no answer in time|timed out|connection refused|unreachable|reset by", "is there a firewall, or a proxy?"),
        (r"429|too many requests", "wait, log in for a higher limit, or set a rate for this registry"),
        (r"secret env:|secret file:", "set what the reference names, for the user that runs the updater"),
        (r"is not JSON|not a list of tags", "is it a registry? Check host and endpoint, and what stands in between"),
        (r"cannot be (read|started)", "check its path, and the rights of the user that runs the updater"),
        (r"has none for it", "log in there with docker or podman, or give credentials for this host in registries"),
        (r"key that is not pinned", "put the key that the host shows now into known_hosts, if it is the right one"),
        (r"does not accept the key", "add the public key to the repository, with the right to write"),
        (r"login|401|403|Authentication|denied", "check user name and secret, and that its rights cover this"),
        (r"has no branch", "check `branch`, or make it"),
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One step of the way to one registry or repository.

    subject  `registry HOST`, `image NAME` or `repository NAME`
    step     what was tried, in a word
    ok       whether it works
    said     what was found; advice: what to change, empty where nothing is to be
    """

    subject: str
    step: str
    ok: bool
    said: str
    advice: str = ""

    def row(self) -> dict[str, Any]:
        """Return what `--json` shows."""
        return {key: redact(value) if isinstance(value, str) else value for key, value in asdict(self).items()}


def examine(world: World, now: datetime, progress: Progress = no_progress) -> list[Finding]:
    """Try everything that the configuration names, in its order; one bad thing never hides the others."""
    repositories = world.settings.repositories
    named = [item.exact.bare for item in world.settings.items if item.exact and not item.suspend]
    images = {image.name: image for image in named}
    found: list[Finding] = []
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor") as pool:
        looks = pool.map(lambda one: _repository(world, one), repositories)
        for done, (findings, mentioned) in enumerate(looks, 1):
            found += findings
            images |= {image.name: image for image in mentioned}
            progress("repositories", done, len(repositories))
        hosts: dict[str, list[ImageRef]] = {}
        for image in images.values():
            hosts.setdefault(image.registry, []).append(image)
        for entry in world.settings.registries:
            hosts.setdefault(entry.host.partition("/")[0], [])
        ways = pool.map(lambda host: list(_registry(world, host, hosts[host], now)), hosts)
        for done, findings in enumerate(ways, 1):
            found += findings
            progress("registries", done, len(hosts))
    return found


def _repository(world: World, repository: RepositorySettings) -> tuple[list[Finding], list[ImageRef]]:
    """Try one repository; return the images that Git mentions and somebody tracks, too."""
    subject, found, mentioned = f"repository {repository.name}", list[Finding](), list[ImageRef]()
    try:
        clone = world.clone_of(repository)
        near = [branch for branch in branches(world.settings) if branch.repository is repository]
        with clone.lock(LOCK_WAIT):
            for branch in near:
                checkout = look(world, branch)
                head = checkout.head
                images = wanted(world.settings.items, checkout.owned)
                mentioned += [image for image, needs in images.values() if Needs.NAMES in needs]
                told = f"{head.branch} is at {head.revision[:10]}; {len(checkout.owned)} tracked references"
                found.append(Finding(subject, "read", True, told))
                if any(item.write for item in branch.items):
                    clone.may_push(head.branch, head.revision)
                    found.append(Finding(subject, "push", True, f"a dry run to {head.branch} was taken"))
            if not near:
                head = clone.fetch(repository.branch)
                found.append(
                    Finding(subject, "read", True, f"{head.branch} is at {head.revision[:10]}; nothing to write")
                )
    except UNREACHED as err:
        found.append(_failed(subject, "push" if "cannot push" in str(err) else "read", err))
        return found, mentioned
    if repository.write_back.kind == "pull_request" or any(
        branch.repository is repository and item.write_back and item.write_back.kind == "pull_request"
        for branch in near
        for item in branch.items
    ):
        found.append(_forge(world, repository, subject))
    return found, mentioned


def _forge(world: World, repository: RepositorySettings, subject: str) -> Finding:
    try:
        world.forge_of(repository).requests("updater/doctor", repository.branch or "main")
    except (ForgeError, *UNREACHED) as err:
        advice = "check api_credentials in git_hosts: reading and writing pull requests is needed"
        return Finding(subject, "pull requests", False, redact(str(err)), advice)
    return Finding(subject, "pull requests", True, "the forge answers")


def _registry(world: World, host: str, images: Sequence[ImageRef], now: datetime) -> Iterator[Finding]:
    """Try one registry: the way there, its greeting, and one list of each repository."""
    subject = f"registry {host}"
    probe = images[0] if images else ImageRef(host, "doctor")
    try:
        registry = world.registry_of(probe)
        contact = registry.contact()
        yield from _contact(subject, contact, now)
        greeting = registry.greet()
    except UpdaterError as err:
        yield _failed(subject, "connection", err)
        return
    logged_in = registry_for(world.settings, host, probe.repository).credentials is not None
    yield _greeted(subject, greeting, contact.address, logged_in=logged_in)
    with ThreadPoolExecutor(registry.concurrency, thread_name_prefix="doctor") as pool:
        yield from pool.map(lambda image: _listed(world, image), images)
    if (limit := registry.limit) is not None:
        whose = f", counted for {limit.source}" if limit.source else ""
        said = f"{limit.remaining} of {limit.total or 'some'} pulls are left{whose}"
        yield Finding(subject, "rate limit", True, said, "log in for a higher limit" if limit.low else "")


def _contact(subject: str, contact: Contact, now: datetime) -> Iterator[Finding]:
    if contact.proxy:
        yield Finding(subject, "connection", True, f"{contact.address} is reached through a proxy")
        return
    yield Finding(subject, "name", True, f"{urlsplit(contact.address).hostname} is {', '.join(contact.addresses[:4])}")
    if contact.certificate is None:
        yield Finding(subject, "TLS", True, "none: plain HTTP, as insecure: true says")
        return
    left = contact.certificate.until - now
    said = f"trusted, by {contact.certificate.issuer}, until {contact.certificate.until.astimezone(UTC):%Y-%m-%d}"
    yield Finding(subject, "TLS", True, said, "have it renewed: it ends soon" if left < SOON else "")


def _greeted(subject: str, greeting: Greeting, address: str, *, logged_in: bool) -> Finding:
    """Say how the registry wants to be logged in, and what is wrong with that."""
    if greeting.status == 200:
        return Finding(subject, "challenge", True, "open: it asks for no login")
    if greeting.status != 401 or not greeting.schemes:
        said = f"{address}/v2/ answered {greeting.status}"
        plain = (
            ""
            if address.startswith("https:")
            else ", and whether it speaks TLS after all: insecure: true is plain HTTP"
        )
        return Finding(subject, "challenge", False, said, f"is it a registry? Check host and endpoint{plain}")
    if not greeting.realm:
        said = f"it wants a login: {', '.join(greeting.schemes)}"
        advice = "" if logged_in else "give credentials for this host in registries"
        return Finding(subject, "challenge", logged_in, said, advice)
    realm = urlsplit(greeting.realm).netloc
    said = f"it wants a token from {realm}"
    if logged_in and not greeting.trusted:
        return Finding(subject, "challenge", False, f"{said}, which gets no credentials",
                       f"add {realm} to trusted_realms, if it belongs to this registry")  # fmt: skip
    return Finding(subject, "challenge", True, said)


def _listed(world: World, image: ImageRef) -> Finding:
    subject = f"image {image.name}"
    try:
        registry: Registry = world.registry_of(image)
        listing = registry.tags(image.repository)
        if image.registry == DOCKER_HUB and registry.limit is None and listing.names:
            registry.digest(image.repository, listing.names[0])  # HEAD is no pull, and tells how many are left
    except LoginRefused as err:
        advice = "give credentials for it in registries" if "none is configured" in str(err) else ""
        return _failed(subject, "login", err, advice)
    except NotFound as err:
        return _failed(subject, "list", err, "check its name; some registries say so where the login may not read it")
    except UpdaterError as err:
        return _failed(subject, "list", err)
    said = f"{len(listing.names)} tags"
    if not listing.complete:
        return Finding(
            subject, "list", False, f"{said}, and not all: {listing.why}", "nothing is decided on half a list"
        )
    if not listing.names:
        return Finding(subject, "list", False, "the registry lists no tags at all", "check its name, or push one")
    return Finding(subject, "list", True, said)


def _failed(subject: str, step: str, err: Exception, advice: str = "") -> Finding:
    said = redact(str(err))
    if not advice:
        advice = next((words for sign, words in _ADVICE if sign.search(said)), "")
    return Finding(subject, step, False, said, advice)
