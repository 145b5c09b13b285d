"""The Git repositories that are read and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from updater.config.base import Section, has_password, refusal, without_default
from updater.config.forges import ApiAddress, ForgeKind, speaks_http
from updater.config.network import Network
from updater.config.write_back import CommitSettings, Push, WriteBack, branch_name
from updater.git.credentials.base import GitCredentials
from updater.git.urls import Address, check_url, parse
from updater.plugins import members, one_of
from updater.secrets import SecretRef

if TYPE_CHECKING:
    AnyCredentials = GitCredentials
else:
    AnyCredentials = one_of(GitCredentials)

_LINE = re.compile(r"[^\x00-\x1f\x7f<>]+")
REVISION = "{revision}"
_COMMIT_URL = f"an address such as https://git.example.com/fleet/commit/{REVISION}"

_HOST = "host[:port][/path] without a scheme, such as github.com/acme"
_USUAL = {"https": "443", "http": "80", "ssh": "22", "git": "9418"}  # ports

# Where the forges show a commit, below the repository: by host, and by how the host of one's own begins.
_HOSTS: Mapping[str, str] = {
    "github.com": "commit",
    "bitbucket.org": "commits",
    "codeberg.org": "commit",
    "gitee.com": "commit",
}
_BEGINNINGS: Mapping[str, str] = {"gitlab.": "-/commit", "gitea.": "commit", "forgejo.": "commit"}

# Where they show a file, below the repository, and what goes before the number of a line: by host, else as above.
_FORGES: Mapping[str, tuple[str, str]] = {
    "github.com": ("blob", "L"),
    "gitee.com": ("blob", "L"),
    "bitbucket.org": ("src", "lines-"),
    "codeberg.org": ("src/commit", "L"),
    "gitlab.": ("-/blob", "L"),
    "gitea.": ("src/commit", "L"),
    "forgejo.": ("src/commit", "L"),
}


def clean_line(value: str) -> str:
    """Check a text that becomes part of a commit's header. Raises ValueError."""
    if not _LINE.fullmatch(value):
        raise ValueError("expected one line without < and >")
    return value.strip()


def commit_template(value: str) -> str:
    """Check the address under which people see a commit. Raises ValueError."""
    if has_password(value):
        raise ValueError("a literal secret inside a URL; expected the address alone")
    try:
        parts = urlsplit(value.replace(REVISION, ""))
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        fine = fine and value.isprintable() and not set(value.replace(REVISION, "")) & set(' "<>\\{}')
    except ValueError:
        fine = False
    if not fine or REVISION not in value.partition("://")[2].partition("/")[2]:
        raise ValueError(f"expected {_COMMIT_URL}")
    return value


def repository_name(entry: Any) -> str:
    """Return the name of a repository as written, else the last segment of its URL without .git, else nothing."""
    name, url = (entry.get(key) if isinstance(entry, dict) else None for key in ("name", "url"))
    if isinstance(name, str) and name:
        return name
    segments = re.split(r"[/:]", url.rstrip("/")) if isinstance(url, str) else [""]
    derived = segments[-1].removesuffix(".git")
    return "" if re.search(r"\s", derived) else derived


def host_name(value: str) -> str:
    """Check host[:port][/path] and return it as addresses are compared, in small letters. Raises ValueError."""
    try:
        fine = "://" not in value and is_plain(parse(f"https://{value}/x").path)
    except ValueError:
        fine = False
    if not fine:
        raise ValueError(f"expected {_HOST}")
    host, _, path = value.lower().rstrip("/").partition("/")
    return f"{host}/{path.removesuffix('.git')}" if path else host


def is_plain(path: str) -> bool:
    """Say whether a path leads nowhere else: clients walk `..` away, also where it is spelled %2e%2e."""
    return not {".", ".."} & set(unquote(path).split("/"))


Branch = Annotated[str, AfterValidator(branch_name)]
Line = Annotated[str, AfterValidator(clean_line)]
CommitTemplate = Annotated[str, AfterValidator(commit_template)]


class Author(Section):
    """Who commits."""

    name: Line = Field("Image Updater", description="name of author and committer")
    email: Line = Field("updater@localhost", description="address of author and committer")


class SigningSettings(Section):
    """What signs commits."""

    kind: Literal["ssh", "gpg"] = Field(description="ssh: a private key of SSH; gpg: an armoured secret key of OpenPGP")
    key: SecretRef = Field(description="secret reference of the private key, which has no passphrase")


class GitHost(Section):
    """A login and a way for every repository below an address; of several addresses the longest counts."""

    host: Annotated[str, AfterValidator(host_name)] = Field(
        description="host[:port][/path], e.g. github.com/acme; without a port HTTPS at its usual one, and SSH at any"
    )
    kind: ForgeKind | None = Field(None, description="github | gitlab | gitea; null: known for the public ones")
    api: ApiAddress | None = Field(
        None, description="address of the API, e.g. https://ghe.example.com/api/v3; null: the usual one of its kind"
    )
    credentials: AnyCredentials | None = Field(None, description="login; null: anonymous")
    api_credentials: AnyCredentials | None = Field(
        None, description="login at the API, where the push uses SSH; null: credentials"
    )
    network: Network = Field(Network(), description="overrides the network section, key by key")

    @model_validator(mode="after")
    def _speaks(self) -> Self:
        if self.api_credentials is not None and not speaks_http(self.api_credentials):
            fit = ", ".join(kind for kind, member in members(GitCredentials).items() if "https" in member.schemes)
            raise refusal("api_credentials.kind", f"a login that no API takes; expected one of {fit}")
        return self


class RepositorySettings(Section):
    """One repository; what stands there is the only truth about what runs."""

    name: str = Field(
        "",
        pattern=r"^[^\s/]*$",
        description="default: the last segment of the URL without .git",
        json_schema_extra=without_default,
    )
    url: str = Field(description="https://, ssh:// or git@host:path; http:// on loopback or with insecure: true")
    branch: Branch | None = Field(None, description="default: the remote's HEAD")
    credentials: AnyCredentials | None = Field(
        None, description="login; null: that of the longest of `git_hosts` that it lies at, else anonymous"
    )
    insecure: bool = Field(default=False, description="allow plain HTTP beyond loopback")
    author: Author = Field(Author(), description="who commits")
    commit: CommitSettings = Field(CommitSettings(), description="how changes become commits")
    write_back: WriteBack = Field(Push(), description="how commits reach the branch")
    signing: SigningSettings | None = Field(None, description="what signs commits; null: they are not signed")
    commit_url: CommitTemplate | None = Field(
        None, description=f"where people see a commit, with {REVISION} in it; null: guessed for the known forges"
    )
    suspend: bool = Field(default=False, description="leave this repository alone: it is neither read nor written")
    network: Network = Field(Network(), description="overrides the network section, key by key")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        name = repository_name(value)
        return {**value, "name": name} if name and isinstance(value, dict) else value

    @field_validator("url")
    @classmethod
    def _allowed(cls, value: str) -> str:
        if has_password(value):
            raise ValueError("a literal secret inside a URL; expected the URL alone, and the secret under credentials")
        try:
            parse(value)
        except ValueError as err:
            raise ValueError(f"{str(err).partition(';')[0]}; expected https://, ssh:// or git@host:path") from None
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        try:
            check_url(self.url, self.insecure)
        except ValueError:
            raise refusal("url", "plain text on the way; expected https:// or ssh://, or insecure: true") from None
        scheme = parse(self.url).scheme
        if self.credentials is None and scheme == "ssh":
            raise refusal("url", "SSH without a login; expected credentials of kind ssh_key beside it")
        if self.credentials is not None and scheme not in self.credentials.schemes:
            fit = ", ".join(kind for kind, member in members(GitCredentials).items() if scheme in member.schemes)
            raise refusal("credentials.kind", f"a login that does not work over {scheme}; expected one of {fit}")
        return self


def below(url: str, hosts: Iterable[str]) -> str | None:
    """Return the longest of these `git_hosts` that an address lies at; None where none does, or it is no address.

    A login never follows an address to a port that nobody named: another server may listen there. Keys of SSH are
    not given away, and the host's own key is pinned, so there the port does not matter.
    """
    try:
        address = parse(url)
    except ValueError:
        return None
    if not is_plain(address.path):
        return None
    port, usual = address.port or _USUAL[address.scheme], _USUAL[address.scheme]
    names = {f"{address.host}:{port}", *((address.host,) if address.scheme == "ssh" or port == usual else ())}
    places = [f"{name}/{_repository(address)}/" for name in names]
    fitting = [host for host in hosts if any(place.startswith(f"{host}/") for place in places)]
    return max(fitting, key=len, default=None)


def fits(credentials: object, url: str) -> bool:
    """Say whether a login, as written or read, works over the protocol of an address; an unknown kind is let pass."""
    kind = credentials.get("kind") if isinstance(credentials, Mapping) else getattr(credentials, "kind", None)
    member = members(GitCredentials).get(str(kind))
    return member is None or parse(url).scheme in member.schemes


def same(one: str, other: str) -> bool:
    """Say whether two addresses mean one repository, over whatever protocol; forges ignore the case of names."""
    try:
        first, second = parse(one), parse(other)
    except ValueError:
        return False
    if (first.host, _repository(first)) != (second.host, _repository(second)):
        return False
    if (first.scheme == "ssh") != (second.scheme == "ssh"):
        return True  # the port of SSH says nothing about that of HTTP
    return _port(first) == _port(second)


def _port(address: Address) -> str:
    return "" if address.port == _USUAL[address.scheme] else address.port


def _repository(address: Address) -> str:
    return address.path.strip("/").removesuffix(".git").lower()


def commit_url(repository: RepositorySettings, revision: str) -> str | None:
    """Return the address under which people see a commit: as configured, else guessed; None for unknown forges."""
    template = repository.commit_url or _guessed(repository.url)
    return template.replace(REVISION, quote(revision, safe="")) if template else None


def repository_url(repository: RepositorySettings) -> str | None:
    """Return the address under which people see a repository; None for unknown forges."""
    found = _home(repository.url)
    return found[0] if found else None


def file_url(repository: RepositorySettings, revision: str, file: str, line: int) -> str | None:
    """Return the address under which people see a line of a file; None for unknown forges."""
    found = _home(repository.url)
    if found is None or "" in file.split("/") or not is_plain(file):
        return None
    home, host, _ = found
    folder, mark = next(shape for begin, shape in _FORGES.items() if host.startswith(begin))
    return f"{home}/{folder}/{quote(revision, safe='')}/{quote(file)}#{mark}{line}"


def _guessed(url: str) -> str | None:
    """Return the template of a known forge."""
    found = _home(url)
    return f"{found[0]}/{found[2]}/{REVISION}" if found else None


def _home(url: str) -> tuple[str, str, str] | None:
    """Return the page of a repository at a known forge, its host, and how its commits are found below that.

    The port of SSH says nothing about that of the pages.
    """
    address = parse(url)
    host, path = address.host, address.path.strip("/").removesuffix(".git")
    page = _HOSTS.get(host) or next((one for begin, one in _BEGINNINGS.items() if host.startswith(begin)), None)
    segments = path.split("/")
    if page is None or len(segments) < 2 or set(segments) & {"", ".", ".."}:
        return None
    origin = address.origin if address.scheme in {"http", "https"} else f"https://{host}"
    return f"{origin}/{quote(path, safe='/%')}", host, page
