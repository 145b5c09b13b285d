"""Which changes belong together, and where they go: to the branch itself, or to one of our own. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from updater.config.images import Item
from updater.config.repositories import RepositorySettings
from updater.config.write_back import CYCLE, IMAGE, PATH, Push, WriteBack, branch_name
from updater.messages.grammar import GROUPS
from updater.messages.templates import compile_template

OTHERS = "others"  # the group of images without the label that is asked for
MAX_SLUG = 100  # characters
_NO_SLUG = re.compile(r"[^A-Za-z0-9._]+|\.\.+")


@dataclass(frozen=True, slots=True)
class Way:
    """Where the changes of one group go. `branch` is that of our own, empty where they go to the branch itself."""

    group: str
    back: WriteBack
    branch: str = ""


def way_of(item: Item, repository: RepositorySettings, target: str, file: str, alone: str = "") -> Way:
    """Return where a change of an item in a file goes. Raises ValueError where the branch's name cannot be used.

    A rolling branch belongs to one target: beside the repository's own branch, the name says which. `alone` names a
    group that has nothing to do with the others.
    """
    back = item.write_back or repository.write_back
    group = alone or group_of(item, repository, target, file)
    if isinstance(back, Push):
        return Way(group, back)
    elsewhere = item.branch not in {None, repository.branch} and (alone or repository.commit.group_by != CYCLE)
    slug = _slug(f"{group}-{target}" if elsewhere else group)
    name = _named(back.branch, slug, _slug(repository.name), _slug(target))
    if name == target:
        raise ValueError(f"write_back.branch makes {name!r}, the very branch that the changes are for")
    return Way(group, back, name)


def group_of(item: Item, repository: RepositorySettings, target: str, file: str) -> str:
    """Return what a change of an item in a file is grouped by."""
    match repository.commit.group_by:
        case by if by == CYCLE:
            return target
        case by if by == IMAGE:
            return item.image_name or item.name
        case by if by == PATH:
            return file.rpartition("/")[0] or "root"
        case label:
            return item.labels.get(label, OTHERS)


@lru_cache(maxsize=4096)
def _named(template: str, group: str, repository: str, branch: str) -> str:
    """Return the name of a branch; kept, for it is asked for each reference."""
    made = compile_template(template, GROUPS).render({"group": group, "repository": repository, "branch": branch})
    return branch_name(made)


def _slug(text: str) -> str:
    """Return a text as a part of a branch's name; without slashes, for `a` and `a/b` cannot both be branches."""
    slug = _NO_SLUG.sub("-", text)[:MAX_SLUG].strip("-.")
    return f"{slug}-" if slug.endswith(".lock") else slug or "updates"
