"""Where tokens come from: what a challenge says of it, and who of those whom it names may see the login."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from updater.registry.challenge import Challenge
from updater.transport.addresses import Kind, led_by

PUSH = "push"  # the kind of request that may ask for rights to write
MAX_UNTRUSTED = 16

_KNOWN_REALMS = tuple(
    (re.compile(registry), realm)
    for registry, realm in (
        (r"docker\.io", "auth.docker.io"),
        (r"lscr\.io", "ghcr.io"),  # a front of GHCR
        (r"registry\.gitlab\.com", "gitlab.com"),
        (r"registry\.digitalocean\.com", "api.digitalocean.com"),
        (r"registry(?:-vpc|-internal)?\.([a-z0-9-]+)\.aliyuncs\.com", r"dockerauth.\1.aliyuncs.com"),
        (r"[a-z0-9-]+-registry(?:-vpc)?\.([a-z0-9-]+)\.cr\.aliyuncs\.com", r"dockerauth-ee.\1.aliyuncs.com"),
    )
)
"""Registries whose realm is another host, and that host; those that are their own realm need no row."""

_UNBOUND = frozenset({"ghcr.io", "lscr.io", "public.ecr.aws"})
"""Registries whose anonymous tokens are good for every public repository, whatever scope they were asked for."""

_AZURE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.azurecr\.(?:io|cn|us)")


@dataclass(frozen=True, slots=True)
class Realm:
    """Where tokens come from. `scope` holds {} in place of the repository; `reach` is where the realm may be."""

    address: str
    service: str
    scope: str
    reach: frozenset[Kind] | None


class Realms:
    """What one registry's challenges may have us do.

    hosts     where the registry itself is asked, as addresses or `host[:port]`
    trusted   other hosts that may see the login
    known_as  its name in the tables above; None where something else is asked in its place
    """

    def __init__(self, hosts: Iterable[str], trusted: Iterable[str], known_as: str | None) -> None:
        self._own = frozenset(map(_bare, hosts))
        self._trusted = self._own | frozenset(map(_bare, trusted))
        self._known = frozenset(
            match.expand(realm) for pattern, realm in _KNOWN_REALMS if (match := pattern.fullmatch(known_as or ""))
        )
        self._azure = any(_AZURE.fullmatch(host) for host in self._own)
        self.unbound = known_as in _UNBOUND
        self._untrusted: dict[str, None] = {}

    @property
    def untrusted(self) -> tuple[str, ...]:
        """Realms that got no login, though there is one."""
        return tuple(self._untrusted)

    def named(self, challenge: Challenge, kind: str, repository: str, peer: Kind | None) -> Realm:
        """Return what a Bearer challenge names; `peer` is the kind of address that it came from."""
        address = challenge.params["realm"]
        reach = None if _bare(address) in self._trusted else led_by(peer)
        foreign = _bare(address) not in self._own
        scope = _scope(challenge.params.get("scope", ""), kind, repository, foreign=foreign)
        if self._azure and kind != PUSH:
            scope = "repository:{}:pull,metadata_read"  # tokens of Azure's scope maps list tags with nothing less
        return Realm(address, challenge.params.get("service", ""), scope, reach)

    def trusts(self, realm: str) -> bool:
        """Whether the login may go to a realm."""
        host = _bare(realm)
        return host in self._trusted or (host in self._known and realm.lower().startswith("https://"))

    def may_see_login(self, realm: SplitResult) -> bool:
        """Say whether the login may go there; one that may not is kept in `untrusted`, until another one may."""
        address = f"{realm.scheme}://{realm.netloc}"
        trusted = self.trusts(address)
        if trusted:
            self._untrusted.clear()
        elif len(self._untrusted) < MAX_UNTRUSTED:
            self._untrusted[_bare(address)] = None
        return trusted


def _scope(wanted: str, kind: str, repository: str, *, foreign: bool) -> str:
    """Return the scope to ask for, with {} for the repository: what the registry wants, as far as it may want it.

    A reader asks for no rights to write. Where another host gives the token, it is for this repository alone: else
    a hostile mirror could have our login mint a token for any other one, and be sent it.
    """
    scopes = []
    for scope in wanted.split():
        head, _, actions = scope.rpartition(":")
        allowed = [action for action in actions.split(",") if kind == PUSH or action not in {"push", "delete", "*"}]
        if allowed and (head == f"repository:{repository}" or not foreign):
            scopes.append(f"{head}:{','.join(allowed)}".replace(f":{repository}:", ":{}:"))
    return " ".join(scopes) or "repository:{}:pull"


def _bare(text: str) -> str:
    """Return `host` or `host:port` in lower case; a port that is the scheme's own (https: 443) is left out.

    It is empty for what is no address.
    """
    try:  # read as whoever connects reads it: `https://a/://b` is at a
        parts = urlsplit(text if "://" in text else f"//{text}")
    except ValueError:
        return ""
    return parts.netloc.lower().removesuffix({"http": ":80", "https": ":443", "": ":443"}.get(parts.scheme, ""))
