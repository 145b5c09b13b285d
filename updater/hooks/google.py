"""Artifact Registry of Google, through a push subscription of Pub/Sub."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from updater.hooks.base import Hint, Hook, texts
from updater.model.image import split


class Google(Hook):
    """A push subscription to the topic `gcr`: its endpoint is `/hooks/NAME/PATH`, where nobody guesses the path."""

    kind: Literal["google"] = "google"

    proofs: ClassVar[frozenset[str]] = frozenset({"path"})

    def hints(self, headers: Mapping[str, str], document: Any) -> Iterable[Hint]:
        """Yield the image that was tagged; the message within is JSON in base64."""
        data = texts(document, "message", "data")
        try:
            message = json.loads(base64.b64decode(data, validate=True)) if data else None
        except (ValueError, RecursionError):
            raise ValueError("the message is not JSON in base64") from None
        tag = texts(message, "tag")
        if texts(message, "action") == "INSERT" and tag:
            yield Hint(image=split(tag)[0])
