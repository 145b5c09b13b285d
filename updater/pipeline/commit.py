"""One commit on one branch, pushed only if the branch is still where it was read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from updater.config.repositories import RepositorySettings
from updater.git.clone import Author, Clone, Head
from updater.messages.commits import commit_message
from updater.model.change import Change
from updater.model.commit import Commit


def commit(clone: Clone, settings: RepositorySettings, head: Head, changes: Sequence[Change], now: datetime) -> Commit:
    """Write the changes on top of `head` and push them. Raises PushRejected when the branch moved, else GitError."""
    author = Author(settings.author.name, settings.author.email)
    sign_off = f"{author.name} <{author.email}>" if settings.commit.sign_off else None
    message = commit_message([bump for change in changes for bump in change.bumps], sign_off)
    files = {change.path: change.after.encode() for change in changes}
    revision = clone.commit(head.revision, files, message, author, now)
    clone.push(head.branch, head.revision, revision)
    return Commit(settings.name, head.branch, revision, message, tuple(files))
