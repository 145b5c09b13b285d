"""The Git repositories that are read and written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from updater.config.base import Section, has_password
from updater.config.network import Network
from updater.git.credentials.base import GitCredentials
from updater.plugins import one_of

if TYPE_CHECKING:
    AnyCredentials = GitCredentials
else:
    AnyCredentials = one_of(GitCredentials)

_BRANCH = re.compile(r"(?!-)(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)))[^\s~^:?*\[\\\x00-\x20\x7f]+(?<![/.])")
_SCP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)(?P<path>[^\s:][^\s]*)")
_URL = re.compile(
    r"(?P<scheme>https|http|ssh)://(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?/(?P<path>[^\s?#]+)"
)
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")
_LINE = re.compile(r"[^\x00-\x1f\x7f<>]+")


def branch_name(value: str) -> str:
    """Check the name of a branch by the rules of git check-ref-format. Raises ValueError."""
    if not _BRANCH.fullmatch(value):
        raise ValueError("expected the name of a branch")
    return value


def clean_line(value: str) -> str:
    """Check a text that becomes part of a commit's header. Raises ValueError."""
    if not _LINE.fullmatch(value):
        raise ValueError("expected one line without < and >")
    return value.strip()


def last_segment(url: str) -> str:
    """Return the name of a repository by its URL: the last segment, without .git."""
    return re.split(r"[/:]", url.rstrip("/"))[-1].removesuffix(".git")


Branch = Annotated[str, AfterValidator(branch_name)]
Line = Annotated[str, AfterValidator(clean_line)]


class Author(Section):
    """Who commits."""

    name: Line = Field("Image Updater", description="name of author and committer")
    email: Line = Field("updater@localhost", description="address of author and committer")


class CommitSettings(Section):
    """How changes become commits."""

    group_by: Literal["cycle"] = Field("cycle", description="one commit a repository and branch a cycle")
    sign_off: bool = Field(default=False, description="add a Signed-off-by line")


class WriteBack(Section):
    """How commits reach the branch."""

    kind: Literal["push"] = Field("push", description="push to the branch itself")


class RepositorySettings(Section):
    """One repository; what stands there is the only truth about what runs."""

    name: str = Field("", pattern=r"^[^\s/]*$", description="default: the last segment of the URL without .git")
    url: str = Field(description="https://, ssh:// or git@host:path; http:// on loopback or with insecure: true")
    branch: Branch | None = Field(None, description="default: the remote's HEAD")
    credentials: AnyCredentials | None = Field(None, description="login; null: anonymous")
    insecure: bool = Field(default=False, description="allow plain HTTP beyond loopback")
    author: Author = Field(Author(), description="who commits")
    commit: CommitSettings = Field(CommitSettings(), description="how changes become commits")
    write_back: WriteBack = Field(WriteBack(), description="how commits reach the branch")
    suspend: bool = Field(default=False, description="leave this repository alone: it is neither read nor written")
    network: Network = Field(Network(), description="overrides the network section, key by key")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.get("name") and isinstance(value.get("url"), str):
            return {**value, "name": last_segment(value["url"])}
        return value

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str) -> str:
        if has_password(value):
            raise ValueError("a literal secret inside a URL; expected the URL alone, and the secret under credentials")
        if not (_URL.fullmatch(value) or _SCP.fullmatch(value)) or ".." in value.split("/"):
            raise ValueError("expected https://host/path, ssh://git@host/path or git@host:path")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> RepositorySettings:
        match = _URL.fullmatch(self.url)
        if match and match["scheme"] == "http" and not self.insecure and not _LOOPBACK.fullmatch(match["host"]):
            raise PydanticCustomError("url", "expected https://, or insecure: true beside it")
        return self
