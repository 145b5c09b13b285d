"""Quay: notifications of a repository, which are not signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from updater.hooks.base import Hint, Hook, texts


class Quay(Hook):
    """A notification "Push to Repository" by webhook POST to `/hooks/NAME/PATH`, where nobody guesses the path."""

    kind: Literal["quay"] = "quay"

    proofs: ClassVar[frozenset[str]] = frozenset({"path"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the repository that was pushed to, by the address that it is pulled from."""
        if image := texts(document, "docker_url"):
            yield Hint(image=image)
