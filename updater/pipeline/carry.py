"""What a branch of our own holds of references that a cycle did not decide about: it stays as the branch has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from updater.git.log import Logged
from updater.messages.commits import digests, reasons, told
from updater.model.image import ImageRef
from updater.pipeline.edit import Wanted
from updater.pipeline.find import File, Owned, Owners
from updater.pipeline.look import Checkout, World
from updater.pipeline.origins import origins


def carried(world: World, checkout: Checkout, commit: Logged, undecided: Iterable[Owned]) -> list[Wanted]:
    """Return what our commit made of these references. The caller holds the lock of the clone. Raises GitError."""
    news: dict[tuple[str, str], list[str]] = {}
    for change in told(commit.trailers):
        news.setdefault((change.image, change.old), []).append(change.new)
    why, tags = reasons(commit.trailers), {(image, at): tag for image, tag, at in digests(commit.trailers)}
    known = {(image, tag): digest for (image, digest), tag in tags.items()}
    files, found = frozenset(commit.files), list[Wanted]()
    there: list[Owned] | None = None
    for one in undecided:
        name = _name(one)
        values = news.get((name, one.reference.image.version), [])
        if one.reference.file not in files or not values:
            continue
        if len(values) > 1:  # items that want different things of one image
            there = _there(world, checkout, commit) if there is None else there
            values = _values(checkout, there, one, values)
        if not values:
            continue
        tag, _, digest = values[0].partition("@")
        target = ImageRef.parse(name).at(tag or None, digest or None)
        tag = tag or tags.get((name, digest), "")
        digest = digest or known.get((name, tag), "")
        found.append(Wanted(one.reference, target, why.get(name, ""), tag or None, digest or None))
    return found


def traced(world: World, found: list[Wanted], now: datetime) -> list[Wanted]:
    """Return these with where they come from, as far as that is known."""
    contents = {one.target.at(None, one.digest) for one in found if one.digest}
    if not contents:
        return found
    known = origins(contents, world.registry_of, world.memory().descriptions, now)
    return [one._replace(origin=known.get(one.target.at(None, one.digest))) for one in found]


def _name(one: Owned) -> str:
    return one.item.exact.name if one.item and one.item.exact else one.reference.image.name


def _there(world: World, checkout: Checkout, commit: Logged) -> list[Owned]:
    """Return the references in the files of our commit, as it left them."""
    branch, clone = checkout.branch, world.clone_of(checkout.branch.repository)
    owners, touched = Owners(branch.items, world.settings.registries), frozenset(commit.files)
    files = [File(b.path, b.oid, b.mode) for b in clone.tree(commit.revision) if b.path in touched]
    finder = world.finder_of(branch.repository, branch.name).aside()
    found = finder.find(files, lambda _path: True, clone.read, owners.explicit)
    return [owners.assign(reference) for reference in found.references]


def _values(checkout: Checkout, there: Sequence[Owned], one: Owned, values: Sequence[str]) -> list[str]:
    """Return what a reference says in our commit: that of the same place in the order of the file, or of every place.

    Nothing where that is not certain: what is left out is written once its item is due.
    """
    now = [other.reference.image.version for other in there if _alike(other, one)]
    here = [other.reference.places for other in checkout.owned if _alike(other, one)]
    at = here.index(one.reference.places) if len(here) == len(now) else None
    said = {now[at]} if at is not None else {version for version in now if version in values}
    return [version for version in said if version in values] if len(said) == 1 else []


def _alike(one: Owned, other: Owned) -> bool:
    """Whether two references are of one item and one image, in one file."""
    return (one.item, one.reference.file, _name(one)) == (other.item, other.reference.file, _name(other))
