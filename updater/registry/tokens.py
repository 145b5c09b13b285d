"""Registry tokens: asked for at a token service, kept in memory until shortly before they end.

Two ways to ask: GET with the login as Basic, or anonymously, and POST with an identity token (OAuth 2).
https://distribution.github.io/distribution/spec/auth/token and .../auth/oauth
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlencode, urlsplit

from updater.errors import RegistryError
from updater.registry.address import origin
from updater.registry.credentials.base import Proof
from updater.registry.proofs import MAX_KEPT, Proofs
from updater.registry.realms import Realm, Realms
from updater.registry.sender import Sender
from updater.transport.http import Answer

TOKEN_BYTES = 64 << 10
MIN_LIFE, MAX_LIFE = 60.0, 86_400.0  # seconds; 60 is what the specification says where `expires_in` is missing
REFUSED_FOR = 300.0  # seconds until a refused login is tried again: Docker Hub locks the user name after a few
MAX_SLOTS = 10_000
CLIENT_ID = "updater"  # by the specification, any name that stays the same

_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")


class LoginRefused(RegistryError):
    """The registry or its token service wants another login than the one that it got, or one at all."""


@dataclass(slots=True)
class _Slot:
    """One token; the lock lets a single thread fetch it while the others wait for the same one."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    header: str = ""
    until: float = 0.0


class Tokens:
    """The tokens for one registry; shared by threads. `insecure`: a token service without TLS may be asked."""

    def __init__(
        self,
        name: str,
        sender: Sender,
        proofs: Proofs,
        realms: Realms,
        *,
        insecure: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._sender, self._proofs, self._realms = name, sender, proofs, realms
        self._insecure, self._clock = insecure, clock
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, str, str, Proof | None], _Slot] = {}
        self._alone: set[str] = set()  # repositories that the token of all was refused for
        self._refused: dict[Proof, float] = {}

    def get(self, realm: Realm, repository: str, tried: tuple[str | None, ...], deadline: float) -> str | None:
        """Return a Bearer header that was not tried yet: the cached one while it lives, else a new one.

        None where another would be no better: a token that was made for this very question was refused.
        Raises LoginRefused and RegistryError.
        """
        refused = (tried[-1] if tried else None) or ""
        given = self._proofs.given(repository, deadline)  # each path may have its own, and what it gets is its own
        if given is None and self._realms.unbound and repository not in self._alone:  # one token does for all of these
            slot = self._slot(realm, "", None)
            if not refused or slot.header != refused:
                return self._current(slot, realm, repository, refused, deadline)
            slot.header = ""
            with self._lock:
                if len(self._alone) >= MAX_SLOTS:
                    self._alone.clear()
                self._alone.add(repository)
        elif len(tried) > 1:
            return None
        scope = realm.scope.replace("{}", repository)
        return self._current(self._slot(realm, scope, given), realm, repository, refused, deadline)

    def _slot(self, realm: Realm, scope: str, given: Proof | None) -> _Slot:
        with self._lock:
            if len(self._slots) >= MAX_SLOTS:
                self._slots.clear()
            return self._slots.setdefault((realm.address, realm.service, scope, given), _Slot())

    def _current(self, slot: _Slot, realm: Realm, repository: str, refused: str, deadline: float) -> str:
        if not slot.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise RegistryError(f"no token for {self._name} in time; another request waits for the same one")
        try:
            if not slot.header or slot.header == refused or self._clock() >= slot.until:
                slot.header, life = self._fetch(realm, repository, deadline)
                slot.until = self._clock() + life - min(30.0, life / 4)  # renewed before it ends on the way
            return slot.header
        finally:
            slot.lock.release()

    def _fetch(self, realm: Realm, repository: str, deadline: float) -> tuple[str, float]:
        """Ask the realm for a token, with a renewed login where it refuses ours; return the header and its life."""
        parts = self._readable(realm.address)
        what = f"token service {parts.netloc} of {self._name}"
        scope = realm.scope.replace("{}", repository)
        login = self._login_for(parts, repository, deadline)
        answer = self._ask(realm, parts, scope, login, deadline)
        if login and _refuses(answer, login):
            other = self._proofs.renewed(login, repository, deadline)
            if other is not None:
                login, answer = other, self._ask(realm, parts, scope, other, deadline)
        if answer.status in {401, 403} or (login and _refuses(answer, login)):
            if login and _refuses(answer, login):
                self._keep_refused(login)
            why = "refused the configured login" if login else "gives no token without a login"
            raise LoginRefused(f"{what} {why} ({answer.status}), asked for {scope or 'no scope'}")
        if 300 <= answer.status < 400:
            raise RegistryError(f"{what} redirects ({answer.status}); a login follows no redirect, expected a token")
        if answer.status != 200:
            raise RegistryError(f"{what} answered {answer.status}, expected a token")
        token, life, identity_token = _read_token(answer.body, what)
        if login and login.identity_token and identity_token:
            self._proofs.follow(login, identity_token)
        return f"Bearer {token}", life

    def _ask(self, realm: Realm, parts: SplitResult, scope: str, login: Proof | None, deadline: float) -> Answer:
        method, headers, content = "GET", {"Accept": "application/json"}, None
        asked = {name: value for name, value in (("service", realm.service), ("scope", scope)) if value}
        query = parts.query
        if login and login.identity_token:
            method, headers["Content-Type"] = "POST", "application/x-www-form-urlencoded"
            grant = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": login.identity_token}
            content = urlencode(asked | grant).encode()
        else:
            query = "&".join(filter(None, (query, urlencode(asked))))
            authorization = self._proofs.header(login)
            headers |= {"Authorization": authorization} if authorization else {}
        return self._sender.send(
            method,
            parts._replace(query=query, fragment="").geturl(),
            headers=headers,
            content=content,
            max_bytes=TOKEN_BYTES,
            deadline=deadline,
            endpoint="token",
            reach=realm.reach,
        )

    def _readable(self, realm: str) -> SplitResult:
        """Take the realm's address apart. Raises RegistryError for one that must not be asked."""
        try:
            scheme, host, _port = origin(realm)
        except ValueError as err:
            raise RegistryError(f"{self._name} names a token service that is no address") from err
        if scheme == "http" and not self._insecure:
            raise RegistryError(f"{self._name} names a token service without TLS ({host}); it was not asked")
        return urlsplit(realm)

    def _login_for(self, realm: SplitResult, repository: str, deadline: float) -> Proof | None:
        """Return the login that this realm may see."""
        if not self._proofs.configured or not self._realms.may_see_login(realm):
            return None
        login = self._proofs.now(repository, deadline)
        if login is None or login.bearer:  # that one is for the registry alone
            return None
        with self._lock:
            refused = self._refused.get(login)
        if refused is not None and self._clock() < refused:
            raise LoginRefused(
                f"token service {realm.netloc} of {self._name} refused the configured login a short while ago"
            )
        return login

    def _keep_refused(self, login: Proof) -> None:
        with self._lock:
            if len(self._refused) >= MAX_KEPT:
                self._refused.clear()
            self._refused[login] = self._clock() + REFUSED_FOR


def _refuses(answer: Answer, login: Proof) -> bool:
    """Say whether a token service refuses the login itself; of an identity token it may say so with 400 (RFC 6749)."""
    return answer.status == 401 or (answer.status == 400 and bool(login.identity_token))


def _read_token(body: bytes, what: str) -> tuple[str, float, str]:
    """Return token, life in seconds and identity token (empty: none) of a token service's answer.

    `issued_at` is not looked at: the life counts from when the token came, on the clock that nobody sets.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise RegistryError(f"{what} answered something that is not JSON") from err
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise RegistryError(f"{what} answered without a token")
    life, following = answer.get("expires_in"), answer.get("refresh_token")
    seconds = float(life) if isinstance(life, int) and 0 < life < 1 << 40 else MIN_LIFE
    usable = isinstance(following, str) and _TOKEN.fullmatch(following)
    return token, min(max(seconds, MIN_LIFE), MAX_LIFE), following if usable else ""
