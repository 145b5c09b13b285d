"""How changes become commits, and how these reach the branch."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from updater.config.base import Section
from updater.model.durations import Duration, duration

_BRANCH = re.compile(r"(?!-)(?!.*(?:\.\.|//|@\{|/\.|\.lock(?:/|$)))[^\s~^:?*\[\\\x00-\x20\x7f]+(?<![/.])")
_LABEL = re.compile(r"[^\s\x00-\x1f\x7f]+")
CYCLE, IMAGE, PATH = "cycle", "image", "path"  # what else groups by is a label
MAX_PEOPLE = 50  # labels, and reviewers


def branch_name(value: str) -> str:
    """Check the name of a branch by the rules of git check-ref-format. Raises ValueError."""
    if not _BRANCH.fullmatch(value):
        raise ValueError("expected the name of a branch")
    return value


def _commit_template(value: str) -> str:
    """Check a template over the changes of a commit. Raises ValueError."""
    from updater.messages.grammar import COMMITS
    from updater.messages.templates import compile_template

    if not value.strip():
        raise ValueError("expected a Jinja template that says something")
    compile_template(value, COMMITS)
    return value


def _branch_template(value: str) -> str:
    """Check a template of a branch's name. Raises ValueError."""
    from updater.messages.grammar import GROUPS, sample
    from updater.messages.templates import compile_template

    try:
        branch_name(compile_template(value, GROUPS).render(sample(GROUPS)))
    except ValueError as err:
        said = str(err)
        raise ValueError(said if "found" in said else "expected a template of a branch's name") from None
    return value


def _word(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > 255:
        raise ValueError("expected a name in one line")
    return value


def _group(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError("expected cycle, image, path, or a label of images")
    return value


CommitTemplate = Annotated[str, AfterValidator(_commit_template)]
BranchTemplate = Annotated[str, AfterValidator(_branch_template)]
Word = Annotated[str, AfterValidator(_word)]


class CommitSettings(Section):
    """How changes become commits."""

    group_by: Annotated[str, AfterValidator(_group)] = Field(
        CYCLE, description="what makes one commit: cycle, image, path (the folder of the file), or a label of the image"
    )
    batch: Duration = duration(0, "changes are collected for so long after the first, for fewer commits")
    subject: CommitTemplate | None = Field(None, description="Jinja template of the first line; null: our own")
    body: CommitTemplate | None = Field(None, description="Jinja template of what follows it; trailers always stand")
    sign_off: bool = Field(default=False, description="add a Signed-off-by line")


class Push(Section):
    """Commits go to the branch itself."""

    kind: Literal["push"] = Field("push", description="push to the branch itself")


class BranchBack(Section):
    """Commits go to a branch of their own, one rolling branch a group; a team takes it from there."""

    kind: Literal["branch"] = Field("branch", description="push to a branch of our own")
    branch: BranchTemplate = Field("updater/{{ group }}", description="Jinja template of its name")


class PullRequestBack(Section):
    """Commits go to a branch of their own, with one rolling pull request a group."""

    kind: Literal["pull_request"] = Field("pull_request", description="propose it to people")
    branch: BranchTemplate = Field("updater/{{ group }}", description="Jinja template of its branch's name")
    title: CommitTemplate | None = Field(None, description="Jinja template; null: our own")
    body: CommitTemplate | None = Field(None, description="Jinja template; null: our own; trailers always stand")
    labels: tuple[Word, ...] = Field((), max_length=MAX_PEOPLE, description="added where they are missing")
    reviewers: tuple[Word, ...] = Field((), max_length=MAX_PEOPLE, description="asked once, when it is opened")
    auto_merge: bool = Field(default=False, description="have the forge merge it once its checks pass")


WriteBack = Annotated[Push | BranchBack | PullRequestBack, Field(discriminator="kind")]
