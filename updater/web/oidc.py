"""Login by an OpenID Connect provider with Authlib: code flow, PKCE, state and nonce, groups from a claim.

Authlib is imported where a provider is configured, and speaks through our own client: bounded in time and bytes, with
the operator's proxy and authorities.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from updater.config.web import Oidc, is_loopback
from updater.errors import UpdaterError
from updater.secrets import redact, remember
from updater.transport.http import Answer, Http
from updater.web.sessions import Person, called, same

SECONDS = 10.0  # for one question to the provider
MAX_BYTES = 1 << 20
FRESH = 3600.0  # seconds that what the provider says of itself is believed
KEYS_AGAIN = 30.0  # seconds between two looks for a key that is not known
LEEWAY = 60  # seconds that clocks may differ
MAX_GROUPS = 1000
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
_NAMES = ("preferred_username", "email", "name", "sub")


class LoginFailed(UpdaterError):
    """Nobody was logged in: why, in words for who tried."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One login under way: what only the browser that began it brings back."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Flow:
        """Begin one."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))


def proof(settings: Oidc) -> str:
    """Return what a session that a provider opened hangs on: another provider, or other operators, end it."""
    return f"oidc {settings.issuer} {settings.client_id} {settings.groups_claim} {settings.operators}"


class Providers:
    """The provider of the configuration that counts now; `http` makes a client of it."""

    def __init__(self, http: Callable[[], Http]) -> None:
        self._http, self._lock = http, threading.Lock()
        self._made: Provider | None = None

    def of(self, settings: Oidc) -> Provider:
        """Return the provider of these settings."""
        with self._lock:
            if self._made is None or self._made.settings != settings:
                self._made = Provider(settings, self._http)
            return self._made


class Provider:
    """One provider. Raises LoginFailed."""

    def __init__(self, settings: Oidc, http: Callable[[], Http], clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._http, self._clock = settings, http, clock
        self._lock = threading.Lock()
        self._metadata: tuple[dict[str, Any], float] | None = None
        self._keys: tuple[dict[str, Any], float] | None = None

    def begin(self, flow: Flow, callback: str) -> str:
        """Return where the browser is to go."""
        with self._asking() as ask:
            metadata = self._described(ask)
            url, _ = self._client(ask, metadata, callback).create_authorization_url(
                metadata["authorization_endpoint"], state=flow.state, nonce=flow.nonce, code_verifier=flow.verifier
            )
            return str(url)

    def finish(self, flow: Flow, callback: str, query: Mapping[str, str]) -> Person:
        """Return who came back from the provider."""
        if not same(query.get("state", ""), flow.state):
            raise LoginFailed("this login was not begun here; begin again")
        if "error" in query:
            raise LoginFailed(f"the provider refused: {called(query['error'])}")
        if not query.get("code"):
            raise LoginFailed("the provider sent no code")
        with self._asking() as ask:
            metadata = self._described(ask)
            if query.get("iss", metadata["issuer"]) != metadata["issuer"]:  # RFC 9207: another provider's answer
                raise LoginFailed("the answer is of another provider")
            token = self._client(ask, metadata, callback).fetch_token(
                metadata["token_endpoint"], grant_type="authorization_code", code=query["code"],
                redirect_uri=callback, code_verifier=flow.verifier,
            )  # fmt: skip
            claims = self._claims(ask, metadata, token, flow.nonce)
            return self._person(ask, metadata, token, claims)

    def _asking(self) -> _Asking:
        return _Asking(self._http())

    def _client(self, ask: _Asking, metadata: Mapping[str, Any], callback: str) -> Any:
        from authlib.oauth2.client import OAuth2Client

        offered = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        secret = self.settings.client_secret.resolve()
        remember(f"{self.settings.client_id}:{secret}")
        return OAuth2Client(
            ask,
            client_id=self.settings.client_id,
            client_secret=secret,
            token_endpoint_auth_method=next(
                (one for one in ("client_secret_basic", "client_secret_post") if one in offered), "client_secret_basic"
            ),
            scope=_scope(self.settings, metadata),
            redirect_uri=callback,
            code_challenge_method="S256",
        )

    def _described(self, ask: _Asking) -> dict[str, Any]:
        """Return what the provider says of itself."""
        with self._lock:
            if self._metadata is None or self._clock() > self._metadata[1]:
                issuer = self.settings.issuer.rstrip("/")
                found = ask.json(f"{issuer}/.well-known/openid-configuration")
                if str(found.get("issuer", "")).rstrip("/") != issuer:
                    raise LoginFailed("the provider calls itself something else than web.login.oidc.issuer")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    _expect_address(found.get(name), name, issuer)
                self._metadata = (found, self._clock() + FRESH)
            return self._metadata[0]

    def _claims(self, ask: _Asking, metadata: Mapping[str, Any], token: Mapping[str, Any], nonce: str) -> Any:
        """Return what the ID token says, once its signature and all that it must say hold."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError
        from joserfc.jwk import KeySet
        from joserfc.jws import JWSRegistry

        text = token.get("id_token")
        if not isinstance(text, str):
            raise LoginFailed("the provider sent no ID token")
        registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
        try:
            read = jwt.decode(text, KeySet.import_key_set(self._known_keys(ask, metadata)), registry=registry)
        except InvalidKeyIdError:
            keys = self._known_keys(ask, metadata, older=KEYS_AGAIN)
            read = jwt.decode(text, KeySet.import_key_set(keys), registry=registry)
        wanted = {"iss": {"essential": True, "value": metadata["issuer"]},
                  "aud": {"essential": True, "value": self.settings.client_id}}  # fmt: skip
        known = {"nonce": nonce, "client_id": self.settings.client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(read.claims, read.header, wanted, known)
        claims.validate(leeway=LEEWAY)
        return claims

    def _known_keys(self, ask: _Asking, metadata: Mapping[str, Any], older: float = FRESH) -> Any:
        """Return the provider's keys; anew where those at hand are older than that."""
        with self._lock:
            if self._keys is None or self._clock() - self._keys[1] > older:
                self._keys = (ask.json(metadata["jwks_uri"]), self._clock())
            return self._keys[0]

    def _person(
        self, ask: _Asking, metadata: Mapping[str, Any], token: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Person:
        said = dict(claims)
        if self.settings.groups_claim not in said and self.settings.operators and metadata.get("userinfo_endpoint"):
            where = _expect_address(metadata["userinfo_endpoint"], "userinfo_endpoint", self.settings.issuer)
            remember(bearer := str(token.get("access_token", "")))
            more = ask.json(where, {"Authorization": f"Bearer {bearer}"})
            if more.get("sub") != said["sub"]:
                raise LoginFailed("the provider told of somebody else")
            said = more | said
        names = (said.get(name) for name in _NAMES)
        groups = said.get(self.settings.groups_claim, [])
        found = {one for one in ([groups] if isinstance(groups, str) else groups)[:MAX_GROUPS] if isinstance(one, str)}
        operators = self.settings.operators
        name = next(called(one) for one in names if isinstance(one, str) and one)
        return Person(name, may_act=not operators or bool(found & set(operators)))


class _Asking:
    """Our client in the place of the one that Authlib expects; all that fails within its context is one failure."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, err: BaseException | None, _trace: object) -> None:
        self._http.close()
        if err is None or isinstance(err, LoginFailed) or not isinstance(err, Exception):
            return
        from authlib.common.errors import AuthlibBaseError
        from joserfc.errors import JoseError

        if isinstance(err, UpdaterError):
            raise LoginFailed(redact(str(err))) from err
        if isinstance(err, AuthlibBaseError | JoseError | ValueError | LookupError | TypeError | AttributeError):
            said = called(redact(str(err))) if isinstance(err, AuthlibBaseError | JoseError) else ""
            raise LoginFailed(f"the provider's answer does not hold: {said or type(err).__name__}") from err

    def json(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Ask for a document."""
        answer = self._ask("GET", url, {"Accept": "application/json", **(headers or {})}, None)
        if answer.status != 200:
            raise LoginFailed(f"the provider answered {answer.status} at {urlsplit(url).path[:100]}")
        return _Answer(answer).json()

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> _Answer:
        """Send a form, as Authlib asks for it."""
        url, sent, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        remember(sent.get("Authorization", "").partition(" ")[2])
        return _Answer(self._ask("POST", url, sent, body.encode()))

    def _ask(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        deadline = time.monotonic() + SECONDS
        return self._http.request(
            method, url, max_bytes=MAX_BYTES, deadline=deadline, headers=headers, content=content
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Answer:
    answer: Answer

    @property
    def status_code(self) -> int:
        return self.answer.status

    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.answer.body)
        except (ValueError, RecursionError) as err:
            raise LoginFailed("the provider's answer is not JSON") from err
        if not isinstance(found, dict):
            raise LoginFailed("the provider's answer is not an object")
        return found

    def raise_for_status(self) -> None:
        raise LoginFailed(f"the provider answered {self.answer.status}")


def _scope(settings: Oidc, metadata: Mapping[str, Any]) -> str:
    """Return what is asked for; groups where the provider knows such a scope: others refuse what they do not know."""
    offered = metadata.get("scopes_supported") or []
    wanted = ["openid", "profile", "email", *dict.fromkeys(["groups", settings.groups_claim])]
    return " ".join(one for one in wanted if one == "openid" or one in offered)


def _expect_address(url: object, name: str, issuer: str) -> str:
    """Return an address of the provider. Raises LoginFailed where it is none, or without TLS on another machine."""
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is not None and parts.hostname and "@" not in parts.netloc and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname)
                                    and issuer.startswith("http://"))
    ):  # fmt: skip
        return str(url)
    raise LoginFailed(f"the provider's {name} is no address with TLS")
