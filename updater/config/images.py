"""What is tracked, how it is decided and where it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Literal

from pathspec import GitIgnoreSpec
from pydantic import AfterValidator, Field, field_validator

from updater.config.base import MAX_TEXT, Section, is_host
from updater.config.repositories import Branch
from updater.config.write_back import WriteBack
from updater.editors.yaml_path import Path, YamlPath
from updater.model.durations import Duration, Interval, duration
from updater.model.event import Subject
from updater.model.image import DOCKER_HUB, ImageRef
from updater.policies.rule import Rule
from updater.sync.windows import Window

ALL_PATHS = ("**",)
_WILD = re.compile(r"[*?]")
_POLICY = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]+(?: [^\s\x00-\x1f\x7f]+)*")


@dataclass(frozen=True, slots=True)
class Item:
    """One image, or one environment of it: what decides, and which references it owns.

    `name` is `api` or `api/prod`, `image_name` then `api` in both. `image` is as written. `exact` is the canonical
    image, None for a pattern, and `pattern` the canonical pattern (`*` within a segment, `**` across, `?` one
    character), None for an exact image. `repository` and `branch` None mean every repository, and its own branch.
    Without `write` references are read as current and never changed. `write_back` None means that of the repository.
    Intervals are seconds. `marker` is the policy that the image answers to in Flux's comments. With an `editor` only
    what that finds belongs to the item. `replaces` are canonical names that the image had before: references to them
    are its own, and get its name.
    """

    name: str
    image: str
    exact: ImageRef | None
    repository: str | None = None
    branch: str | None = None
    paths: tuple[str, ...] = ALL_PATHS
    write: bool = True
    rule: Rule = field(default_factory=Rule)
    poll_interval: int = 300
    poll_jitter: int = 30
    labels: Mapping[str, str] = field(default_factory=dict)
    suspend: bool = False
    pattern: str | None = None
    image_name: str = ""
    windows: tuple[Window, ...] = ()
    write_back: WriteBack | None = None
    marker: str | None = None
    editor: YamlPath | None = None
    bump: VersionBump | None = None
    replaces: tuple[str, ...] = ()

    @property
    def subject(self) -> Subject:
        """What events about it are about."""
        return Subject(image=self.image_name or self.name, item=self.name, reference=self.image)


class Poll(Section):
    """When a registry is asked."""

    interval: Interval = duration(300, "time between two looks")
    jitter: Duration = duration(30, "up to this much is added, so that images do not ask together")


class Behaviour(Rule):
    """What `defaults`, an image and its items may all set; the nearer one replaces the farther."""

    poll: Poll = Field(Poll(), description="when the registry is asked; its keys merge one by one")
    windows: tuple[Window, ...] = Field((), description="when updates may be written; []: always")
    suspend: bool = Field(default=False, description="leave it alone: nothing is asked, nothing is written")


@lru_cache(maxsize=4096)
def glob(text: str) -> str:
    """Check a gitignore-style glob from the root of a repository. Raises ValueError."""
    if not text.strip() or text.startswith("#") or len(text) > MAX_TEXT or ".." in text.split("/") or "\0" in text:
        raise ValueError('expected a glob such as "apps/**" or "!apps/old/**"')
    try:
        GitIgnoreSpec.from_lines([text])
    except ValueError:
        raise ValueError('expected a glob such as "apps/**" or "!apps/old/**"') from None
    return text


Glob = Annotated[str, AfterValidator(glob)]


class VersionBump(Section):
    """A version of our own that is raised in the commit in which the item changes something."""

    file: str = Field(
        "Chart.yaml", max_length=1024, description="from the root; without a slash: the nearest folder up"
    )
    path: Path = Field("version", description="where the version stands in it")
    part: Literal["patch", "minor", "major"] = Field("patch", description="which number is raised")

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        parts = value.split("/")
        if not value.strip() or set(parts[:-1]) & {"", ".."} or parts[-1] in {"", ".", ".."} or not value.isprintable():
            raise ValueError("expected a file such as Chart.yaml or charts/api/Chart.yaml")
        return value


class ItemEntry(Behaviour):
    """Where an image is written, and what differs there."""

    name: str | None = Field(None, pattern=r"^[^\s/]+$", description="its name is then image/name")
    repository: str | None = Field(None, description="a repository's name; null: every repository")
    branch: Branch | None = Field(None, description="null: the repository's branch")
    paths: tuple[Glob, ...] = Field(ALL_PATHS, min_length=1, description="gitignore-style globs from the root")
    write_back: WriteBack | None = Field(None, description="null: that of the repository")
    editor: YamlPath | None = Field(None, description="where it stands in these files; null: wherever it is recognised")
    bump: VersionBump | None = Field(None, description="a chart's version that is raised with it")


def former(name: str) -> str:
    """Check a name that an image had before. Raises ValueError."""
    if is_pattern(name):
        raise ValueError("expected the name of one image, without * and ?")
    identity(name)
    return name


Former = Annotated[str, AfterValidator(former)]


class Defaults(Behaviour):
    """Fields of an image that hold where the image itself is silent."""

    labels: dict[str, str] = Field({}, description="free words; they merge one by one")
    replaces: tuple[Former, ...] = Field((), description="former names: references to them are given this image's name")
    update: tuple[ItemEntry, ...] = Field((ItemEntry(),), description="where to write; []: watch only")


class ImageEntry(Defaults):
    """One image, or a pattern over what Git mentions."""

    image: str = Field(description="no tag; or a pattern with * (within a segment), ** (across) and ?")
    name: str | None = Field(None, description="default: the image as written")
    marker: str | None = Field(None, description="the policy that it answers to in Flux's comments: namespace:name")

    @field_validator("marker")
    @classmethod
    def _policy(cls, value: str | None) -> str | None:
        if value is not None and not _POLICY.fullmatch(value):
            raise ValueError("expected namespace:name, as in flux-system:api")
        return value

    @field_validator("image")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            identity(value)
        except ValueError as err:
            said = str(err)
            raise ValueError(said if "expected " in said else f"{said}; expected an image or a pattern") from None
        return value

    @field_validator("name")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and not _NAME.fullmatch(value):
            raise ValueError("expected a name in one line")
        return value


def is_pattern(image: str) -> bool:
    """Say whether the text of an image means many."""
    return _WILD.search(image) is not None


def identity(image: str) -> str:
    """Return the canonical name of an image, or the canonical pattern. Raises ValueError."""
    if not is_pattern(image):
        ref = ImageRef.parse(image)
        if ref != ref.bare:
            raise ValueError("expected an image without tag and digest: these are what Git says")
        return ref.name
    sample = ImageRef.parse(re.sub(r"[*?]+", "x", image))
    first, slash, rest = image.partition("/")
    if is_host(first) and not _WILD.search(first):
        hub = sample.registry == DOCKER_HUB and "/" not in rest
        return f"{sample.registry}/{'library/' if hub else ''}{rest}"
    if is_host(first) or first.startswith("**") or (slash and first.startswith("*")):
        return image  # any host
    return f"{DOCKER_HUB}/{image}" if slash else f"{DOCKER_HUB}/library/{image}"
