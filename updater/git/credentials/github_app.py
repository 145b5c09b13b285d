"""A GitHub App: tokens of an hour for one repository, at Git and at the API alike.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, Field, PrivateAttr

from updater.errors import ForgeError
from updater.git.credentials.base import GitCredentials, Login, Place
from updater.git.credentials.basic import HTTP, basic_header
from updater.secrets import SecretRef, forget, remember
from updater.transport.jwt import signed

if TYPE_CHECKING:
    from updater.git.forges.asking import Api

USERNAME = "x-access-token"
EARLY = timedelta(minutes=5)  # before its end a token is renewed
JWT_SECONDS = 540  # GitHub takes ten minutes at most
CLOCKS_APART = 60  # seconds that our clock may be ahead, as GitHub advises

Id = Annotated[int, Field(ge=1, le=1 << 53)]


class _Installation(BaseModel):
    id: Id


class _Token(BaseModel):
    # Its length apart: a counted pattern is compiled as often as it counts, 0.4 MiB for this one.
    token: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", max_length=4096)]
    expires_at: AwareDatetime


class GitHubApp(GitCredentials):
    """A GitHub App by its id and a private key; `installation_id` is found by the repository where it is null.

    It needs to read and write contents, and pull requests where it opens such.
    """

    schemes: ClassVar[frozenset[str]] = HTTP
    kind: Literal["github_app"] = "github_app"
    app_id: Id
    installation_id: Id | None = None
    private_key: SecretRef
    _tokens: Tokens | None = PrivateAttr(None)

    def at(self, place: Place) -> GitHubApp:
        """Return what logs in at one repository; it keeps the token for as long as it is good."""
        bound = self.model_copy()
        bound._tokens = Tokens(self, place)  # noqa: SLF001  a copy of our own
        return bound

    def login(self) -> Login:
        """Return the token of now. Raises SecretError, and ForgeError where there is none to be had."""
        if self._tokens is None:
            raise ForgeError("a github_app logs in at a repository of GitHub alone", refused=True)
        return self._tokens.get()

    def renew(self, refused: Login) -> bool:
        """Forget a token that was refused: its rights were changed, or it was taken back."""
        if self._tokens is None:
            return False
        self._tokens.forget(refused)
        return True


class Tokens:
    """The token of an app for one repository; threads share it, and one fetches it while the others wait."""

    def __init__(self, app: GitHubApp, place: Place, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._app, self._place, self._now = app, place, now
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._until = now()
        self._redacted: list[str] = []  # what is blanked in texts until the next token is there

    def get(self) -> Login:
        """Return a login that is good for some minutes. Raises SecretError and ForgeError."""
        with self._lock:
            if self._login is None or self._now() >= self._until:
                made = self._fetch()
                remember(made.token)
                self._login = Login(header=basic_header(USERNAME, made.token), token=made.token)
                self._until = made.expires_at - EARLY
                self._redacted += [made.token, self._login.header.rpartition(" ")[2]]
            return self._login

    def forget(self, refused: Login) -> None:
        """Fetch another token when one is wanted again, unless somebody did already."""
        with self._lock:
            if self._login == refused:
                self._login = None

    def _fetch(self) -> _Token:
        from updater.git.forges.asking import Api
        from updater.git.forges.github import GitHub

        while self._redacted:
            forget(self._redacted.pop())
        proof = jwt(self._app.app_id, self._app.private_key, self._now())
        self._redacted.append(proof)
        only = {"repositories": [self._place.repository.rpartition("/")[2]]}  # of all that the app may touch
        with self._place.http() as http:
            api = Api(self._place.api, http, lambda _: GitHub.headers(proof))
            installation = self._app.installation_id or self._find(api)
            return api.read(_Token, "POST", f"/app/installations/{installation}/access_tokens", body=only)

    def _find(self, api: Api) -> int:
        from updater.git.forges.asking import NotDone

        try:
            return api.read(_Installation, "GET", f"/repos/{quote(self._place.repository)}/installation").id
        except NotDone as err:
            if err.status != 404:
                raise
            where = self._place.repository[:200]
            raise ForgeError(f"the GitHub App {self._app.app_id} is not installed at {where}", refused=True) from err


def jwt(app: int, key: SecretRef, now: datetime) -> str:
    """Return what proves that we are an app. Raises SecretError."""
    at = int(now.timestamp())
    claims = {"iat": at - CLOCKS_APART, "exp": at + JWT_SECONDS, "iss": str(app)}
    return signed(claims, key.resolve(), f"secret {key.reference}")
