"""Events as they are stored: documents, which are read back as far as they can be."""

from __future__ import annotations

import json
import traceback

from updater.model.event import Event


def spelled(event: Event) -> str:
    """Return the document of an event."""
    return json.dumps(event.as_json(), ensure_ascii=False)


def read_back(document: str | None) -> Event | str:
    """Return the event of a document, else the trace of why there is none.

    One that a later version wrote, or that our own bug spoilt, must not keep the others from being told.
    """
    try:
        return Event.from_json(json.loads(document or ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return traceback.format_exc()
