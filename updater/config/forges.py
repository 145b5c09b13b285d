"""What the configuration says of forges: their kind, the address of their API, and who logs in there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from updater.config.base import http_url
from updater.git.credentials.base import GitCredentials
from updater.git.urls import is_loopback

if TYPE_CHECKING:
    from updater.config.repositories import GitHost, RepositorySettings


def _kind(value: str) -> str:
    from updater.git.forges.base import kinds  # the family, and the HTTP client, come only where they are wanted

    if value not in kinds():
        raise ValueError(f"expected one of {', '.join(kinds())}")
    return value


def _api(value: str) -> str:
    address = http_url(value)
    if address.startswith("http://") and not is_loopback(urlsplit(address).hostname or ""):
        raise ValueError("plain text on the way, and a login with it; expected https://")
    return address


ForgeKind = Annotated[str, AfterValidator(_kind)]
ApiAddress = Annotated[str, AfterValidator(_api)]


def forge_kind(repository: RepositorySettings, host: GitHost | None) -> str | None:
    """Return the kind of a repository's forge: as its entry of `git_hosts` says, else known by its host, else None."""
    from updater.git.forges.base import kind_of

    return host.kind if host is not None and host.kind else kind_of(repository.url)


def speaks_http(credentials: GitCredentials) -> bool:
    """Say whether a login is one that an API takes."""
    return "https" in credentials.schemes


def api_login(repository: RepositorySettings, host: GitHost | None) -> GitCredentials | None:
    """Return the login at the API of a repository's forge: `api_credentials`, else one that Git uses there."""
    logins = [repository.credentials]
    if host is not None:
        logins = [host.api_credentials, repository.credentials, host.credentials]
    return next((login for login in logins if login is not None and speaks_http(login)), None)


def no_requests(repository: RepositorySettings, host: GitHost | None) -> str:
    """Return what pull requests lack in a repository, ending in `expected ...`; empty where nothing is missing."""
    if forge_kind(repository, host) is None:
        return "a forge of nobody knows which kind; expected `kind` in its entry of `git_hosts`"
    if api_login(repository, host) is None:
        return "no login at the API of its forge; expected `api_credentials` in its entry of `git_hosts`"
    return ""
