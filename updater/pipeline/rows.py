"""What becomes of one reference, in a row: the decision about it, or why there is none, and what that is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from updater.config.images import Item
from updater.config.repositories import RepositorySettings
from updater.errors import GitError, RegistryError
from updater.model.change import Reference
from updater.model.decision import Decision, Hold, Reason, Update
from updater.model.event import Kind, Subject
from updater.model.image import ImageRef
from updater.pipeline.checks import Unproven
from updater.pipeline.edit import refusal
from updater.pipeline.find import Owned
from updater.pipeline.look import Branch, Checkout
from updater.pipeline.report import Cause, Outcome, Row, held
from updater.registry.client import LoginRefused, NotFound


def row_of(
    checkout: Checkout,
    one: Owned,
    due: Mapping[str, Item],
    decided: Callable[[Owned], Decision | RegistryError | GitError | None],
) -> Row | None:
    """Return what becomes of one reference; None where no item that is due has to do with it."""
    repository = checkout.branch.repository
    place: dict[str, Any] = {
        "repository": repository.name,
        "branch": checkout.head.branch,
        "reference": one.reference,
        "current": one.reference.image.version,
    }
    if one.item is None:
        rivals = [due[name] for name in one.rivals if name in due]
        why = f"claimed by {' and '.join(one.rivals)}"
        return held(rivals[0], Reason.CONTESTED, why, **place) if rivals else None
    if one.item.name not in due:
        return None
    item = one.item
    if stop := _stop(item, repository, one.reference):
        return held(item, *stop, **place)
    decision = decided(one)
    place["decision"] = None if isinstance(decision, RegistryError | GitError) else decision
    match decision:
        case None:
            return Row(item, Outcome.FAILED, "undecided", "the registry's answers changed while deciding", **place)
        case RegistryError():
            cause = _cause_of(decision, item, one.reference.image)
            return Row(item, Outcome.FAILED, str(decision), str(decision), cause=cause, **place)
        case GitError():
            cause = unreadable(checkout.branch)
            return Row(item, Outcome.FAILED, str(decision), str(decision), cause=cause, **place)
        case Hold():
            return held(item, decision.reason, decision.why, newest=decision.newest, **place)
        case Update() if item.write and (obstacle := refusal(one.reference, decision.target)):
            newest = decision.newest or decision.target.version
            return held(item, Reason.NOT_WRITABLE, obstacle, newest=newest, **place)
        case Update():
            outcome = Outcome.UPDATED if item.write else Outcome.AVAILABLE
            place |= {"target": decision.target.version, "newest": decision.newest}
            return Row(item, outcome, decision.why, decision.why, **place)


def _stop(item: Item, repository: RepositorySettings, reference: Reference) -> tuple[Reason, str] | None:
    """Return why nothing is decided about a reference, whatever it says."""
    if item.suspend or repository.suspend:
        return Reason.SUSPENDED, "suspended in the configuration"
    if not reference.places:
        return Reason.NOT_WRITABLE, f"{reference.file}:{reference.line}: {reference.unwritable}"
    return None


def unreadable(branch: Branch) -> Cause:
    """Return what all share that look at a branch which cannot be read."""
    return Cause(Kind.UPDATE_FAILED, Subject(repository=branch.repository.name, branch=branch.name or ""), "repository")


def _cause_of(err: RegistryError, item: Item, image: ImageRef) -> Cause | None:
    """Return what a failure at a registry is about: all of it, where it is down or denies, else this image alone.

    A mirror is a registry of its own; a key that cannot be used is nobody's trouble but the item's: None.
    """
    if isinstance(err, Unproven) and not err.registry:
        return None
    registry, said = (err.registry, err.said) if isinstance(err, Unproven) else (image.registry, err)
    if isinstance(said, NotFound):
        return Cause(Kind.SCAN_FAILED, replace(item.subject, registry=registry), "missing")
    topic = "denied" if isinstance(said, LoginRefused) else "unreachable"
    return Cause(Kind.SCAN_FAILED, Subject(registry=registry), topic)
