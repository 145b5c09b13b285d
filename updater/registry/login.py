"""Answers a registry's challenges: anonymous, Basic, or Bearer with a token from the realm that it names.

Who writes the challenge chooses the realm, and may be an attacker: credentials go to the registry's own host, to
the realms that are known to belong to it, and to `trusted_realms`; any other realm is asked for an anonymous token.
Precedents: CVE-2020-15157 (containerd), CVE-2026-33540 (distribution).
"""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlencode, urlsplit

from updater.errors import RegistryError, UpdaterError
from updater.registry.challenge import Challenge, challenges
from updater.registry.credentials.base import Credentials, Proof
from updater.registry.sender import Sender
from updater.secrets import remember
from updater.transport.addresses import Kind, led_by
from updater.transport.http import Answer

PUSH = "push"  # the kind of request that may ask for rights to write
TOKEN_BYTES = 64 << 10
MIN_LIFE, MAX_LIFE = 60.0, 86_400.0  # seconds; 60 is what the specification says where `expires_in` is missing
REFUSED_FOR = 300.0  # seconds until a refused login is tried again: Docker Hub locks the user name after a few
MAX_SLOTS = 10_000
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

_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")


class LoginRefused(RegistryError):
    """The registry or its token service wants another login than the one that it got, or one at all."""


@dataclass(slots=True)
class _Slot:
    """One token; the lock lets a single thread fetch it while the others wait for the same one."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    header: str = ""
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class _Bearer:
    """Where tokens come from. `scope` holds {} in place of the repository; `reach` is where the realm may be."""

    realm: str
    service: str
    scope: str
    reach: frozenset[Kind] | None


class Login:
    """The login at one registry; shared by threads. Tokens live in memory only.

    hosts       where the registry itself is asked, as addresses or `host[:port]`
    known_as    its name in the table of known realms; None where something else is asked in its place
    insecure    a token service without TLS may be asked
    """

    def __init__(
        self,
        name: str,
        sender: Sender,
        *,
        credentials: Credentials | None,
        hosts: Iterable[str],
        insecure: bool,
        trusted_realms: Iterable[str],
        known_as: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._sender, self._credentials, self._insecure = name, sender, credentials, insecure
        self._own = frozenset(map(_bare, hosts))
        self._trusted = self._own | frozenset(map(_bare, trusted_realms))
        self._known = frozenset(
            match.expand(realm) for pattern, realm in _KNOWN_REALMS if (match := pattern.fullmatch(known_as or ""))
        )
        self._clock = clock
        self._learnt: dict[str, _Bearer | None] = {}  # by kind of request, the last also as ""; None: Basic
        self._slots: dict[tuple[str, str, str], _Slot] = {}
        self._lock = threading.Lock()
        self._refused: tuple[Proof, float] | None = None
        self._untrusted: dict[str, None] = {}

    @property
    def untrusted_realms(self) -> tuple[str, ...]:
        """Realms that were named by the registry and got no credentials, though there are some."""
        return tuple(self._untrusted)

    def header(self, kind: str, repository: str, deadline: float) -> str | None:
        """Return the `Authorization` to send at once, None before any challenge was seen.

        `kind` names what is asked for ("tags", "manifests"): some registries want another scope for each.
        """
        guess = kind if kind in self._learnt else ""
        if guess not in self._learnt:
            return None
        bearer = self._learnt[guess]
        return self._basic(repository, deadline) if bearer is None else self._token(bearer, repository, "", deadline)

    def answer(self, refusal: Answer, kind: str, repository: str, used: str | None, deadline: float) -> str | None:
        """Return the `Authorization` that answers a refusal, None when there is nothing new to say.

        `used` is the one that was refused. Raises RegistryError when no token was to be had.
        """
        offered = {
            challenge.scheme: challenge for challenge in reversed(challenges(refusal.values("www-authenticate")))
        }
        bearer = self._learnt.get(kind)  # stays for a refusal without a challenge, as ECR's 400 for an old token
        if "bearer" in offered and "realm" in offered["bearer"].params:
            bearer = self._bearer(offered["bearer"], kind, repository, refusal.peer)
        elif "basic" in offered:
            basic = self._basic(repository, deadline)
            if basic is not None:
                self._learnt[kind] = self._learnt[""] = None
            return None if basic == used else basic
        if bearer is None:
            return None
        header = self._token(bearer, repository, used or "", deadline)
        self._learnt[kind] = self._learnt[""] = bearer
        return header

    def trusts(self, realm: str) -> bool:
        """Whether a token service may see the credentials."""
        host = _bare(realm)
        return host in self._trusted or (host in self._known and realm.lower().startswith("https://"))

    def refusal(self, what: str, status: int) -> LoginRefused:
        """Say in plain words why access was refused after all."""
        if self._credentials is None:
            why = "it wants a login, and none is configured"
        elif self._untrusted:
            realms = ", ".join(self._untrusted)
            why = f"its token service {realms} is not in trusted_realms and got no credentials"
        else:
            why = "the configured login is wrong or may not read it"
        return LoginRefused(f"{what}: {self._name} refused access ({status}): {why}")

    def _basic(self, repository: str, deadline: float) -> str | None:
        proof = self._proof(repository, deadline)
        return _basic_header(proof) if proof else None

    def _proof(self, repository: str, deadline: float) -> Proof | None:
        """Return the login as it is now. Raises RegistryError where it cannot be had."""
        try:
            return self._credentials.login(repository, deadline) if self._credentials else None
        except UpdaterError as err:
            raise RegistryError(f"no login for {self._name}: {err}") from err

    def _bearer(self, challenge: Challenge, kind: str, repository: str, peer: Kind | None) -> _Bearer:
        realm = challenge.params["realm"]
        foreign = _bare(realm) not in self._own
        reach = None if _bare(realm) in self._trusted else led_by(peer)
        scope = _scope(challenge.params.get("scope", ""), kind, repository, foreign=foreign)
        return _Bearer(realm, challenge.params.get("service", ""), scope, reach)

    def _token(self, bearer: _Bearer, repository: str, refused: str, deadline: float) -> str:
        """Return a Bearer header other than `refused`: the cached one while it lives, else a new one."""
        scope = bearer.scope.replace("{}", repository)
        with self._lock:
            if len(self._slots) >= MAX_SLOTS:
                self._slots.clear()
            slot = self._slots.setdefault((bearer.realm, bearer.service, scope), _Slot())
        if not slot.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise RegistryError(f"no token for {self._name} in time; another request waits for the same one")
        try:
            if not slot.header or slot.header == refused or self._clock() >= slot.until:
                slot.header, life = self._fetch(bearer, scope, repository, deadline)
                slot.until = self._clock() + life - min(30.0, life / 4)  # renewed before it ends on the way
            return slot.header
        finally:
            slot.lock.release()

    def _fetch(self, bearer: _Bearer, scope: str, repository: str, deadline: float) -> tuple[str, float]:
        """Ask the realm for a token; return the header and its life in seconds."""
        parts = self._readable(bearer.realm)
        login = self._login_for(parts, repository, deadline)
        asked = (("service", bearer.service), ("scope", scope))
        query = urlencode([(name, value) for name, value in asked if value])
        url = parts._replace(query="&".join(filter(None, (parts.query, query))), fragment="").geturl()
        headers = {"Accept": "application/json"} | ({"Authorization": _basic_header(login)} if login else {})
        answer = self._sender.send(
            "GET",
            url,
            headers=headers,
            max_bytes=TOKEN_BYTES,
            deadline=deadline,
            endpoint="token",
            reach=bearer.reach,
        )
        what = f"token service {parts.netloc[:100]} of {self._name}"
        if answer.status in {401, 403}:
            if login and answer.status == 401:
                self._refused = (login, self._clock() + REFUSED_FOR)
            why = "refused the configured login" if login else "gives no token without a login"
            raise LoginRefused(f"{what} {why} ({answer.status}), asked for {scope or 'no scope'}")
        if answer.status != 200:
            raise RegistryError(f"{what} answered {answer.status}, expected a token")
        token, life = _read_token(answer.body, what)
        return f"Bearer {token}", life

    def _readable(self, realm: str) -> SplitResult:
        """Take the realm's address apart. Raises RegistryError for one that must not be asked."""
        try:
            parts = urlsplit(realm)
            usable = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        except ValueError:
            usable = False
        if not usable or parts.scheme not in {"http", "https"}:
            raise RegistryError(f"{self._name} names a token service that is no address")
        if parts.scheme == "http" and not self._insecure:
            raise RegistryError(
                f"{self._name} names a token service without TLS ({parts.netloc[:100]}); it was not asked"
            )
        return parts

    def _login_for(self, realm: SplitResult, repository: str, deadline: float) -> Proof | None:
        """Return the login that this realm may see."""
        if self._credentials is None:
            return None
        host = _bare(f"{realm.scheme}://{realm.netloc}")
        if not self.trusts(f"{realm.scheme}://{realm.netloc}"):
            if len(self._untrusted) < MAX_UNTRUSTED:
                self._untrusted[host] = None
            return None
        login = self._proof(repository, deadline)
        if self._refused is not None and self._refused[0] == login and self._clock() < self._refused[1]:
            raise LoginRefused(f"token service {host} of {self._name} refused the configured login a short while ago")
        return login


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


def _basic_header(login: Proof) -> str:
    pair = f"{login.username}:{login.password}"
    remember(pair)  # a server may echo the header, which holds neither name nor password as such
    return f"Basic {b64encode(pair.encode()).decode()}"


def _bare(text: str) -> str:
    """Return `host` or `host:port` in lower case; a port that is the scheme's own (https: 443) is left out."""
    scheme, _, rest = text.rpartition("://")
    host = rest.partition("/")[0].lower()
    own = {"http": ":80", "https": ":443", "": ":443"}.get(scheme.lower(), "")
    return host.removesuffix(own)


def _read_token(body: bytes, what: str) -> tuple[str, float]:
    """Return token and life in seconds of a token service's answer."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise RegistryError(f"{what} answered something that is not JSON") from err
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise RegistryError(f"{what} answered without a token")
    life = answer.get("expires_in")
    seconds = float(life) if isinstance(life, int) and 0 < life < 1 << 40 else MIN_LIFE
    return token, min(max(seconds, MIN_LIFE), MAX_LIFE)
