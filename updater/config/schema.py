"""The JSON Schema of the configuration file, as the operator writes it: for editors, and for checks elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, create_model

from updater.config.images import Behaviour, ImageEntry, ItemEntry
from updater.config.settings import Document


def schema() -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12) that knows every key, its default and its meaning."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_whole().model_json_schema()}
    for properties in _properties(document):
        for entry in properties.values():
            entry.pop("title", None)  # the key again, with capitals
            if _holds_mappings(entry.get("default")):
                entry.pop("default")  # the defaults of its own keys say it
    hooks = document["$defs"]["Whole"]["properties"]["hooks"]["additionalProperties"]
    hooks["anyOf"] = hooks.pop("oneOf")  # an entry without a kind has that of its name, and fits several
    hooks.pop("discriminator")
    for model in (ImageEntry, ItemEntry):  # silent there means inherited
        for name in Behaviour.model_fields:
            document["$defs"][model.__name__]["properties"][name].pop("default", None)
    return document


def _whole() -> type[Document]:
    """Return the model of the file with the sections that are typed only where they are wanted."""
    from updater.config.hooks import Whole
    from updater.config.notifications import Notifications

    sections: dict[str, Any] = {
        name: (model, Field(model(), description=Document.model_fields[name].description))
        for name, model in (("notifications", Notifications), ("web", Whole))
    }
    return create_model("Document", __base__=Document, __doc__=Document.__doc__, **sections)


def _properties(document: dict[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    """Return the keys of every mapping in the schema."""
    for model in (document, *document["$defs"].values()):
        yield from (part["properties"] for part in (model, *model.get("anyOf", ())) if "properties" in part)


def _holds_mappings(value: object) -> bool:
    return (isinstance(value, dict) and bool(value)) or (isinstance(value, list) and any(map(_holds_mappings, value)))
