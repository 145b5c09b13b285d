"""The JSON Schema describes the file as it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from updater.config.problems import known_keys
from updater.config.schema import schema
from updater.config.settings import Document

DOCUMENT = schema()
OWN = {
    "Alias",
    "ApplicationsSettings",
    "Author",
    "ClusterSettings",
    "CommitSettings",
    "GitHost",
    "Log",
    "Network",
    "Notifications",
    "Poll",
    "QuietWindow",
    "RegistrySettings",
    "RepositorySettings",
    "Route",
    "SyncSettings",
    "BranchBack",
    "Push",
    "PullRequestBack",
}


def test_it_is_json() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_every_reference_leads_somewhere() -> None:
    assert {ref.removeprefix("#/$defs/") for ref in _references(DOCUMENT)} <= DOCUMENT["$defs"].keys()


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        yield from (ref for value in node.values() for ref in _references(value))
    elif isinstance(node, list):
        yield from (ref for value in node for ref in _references(value))


def test_it_knows_the_keys_that_the_loader_knows() -> None:
    assert set(DOCUMENT["properties"]) == set(Document.model_fields) == known_keys()[""]


def test_unknown_keys_are_refused_everywhere() -> None:
    models = [DOCUMENT, *(model for model in DOCUMENT["$defs"].values() if "properties" in model)]
    assert [model["title"] for model in models if model.get("additionalProperties") is not False] == []


def test_every_setting_says_what_it_means() -> None:
    models = {"": DOCUMENT} | {name: DOCUMENT["$defs"][name] for name in OWN}
    silent = [
        f"{name}.{key}"
        for name, model in models.items()
        for part in (model, *model.get("anyOf", ()))
        for key, entry in part.get("properties", {}).items()
        if not entry.get("description")
    ]
    assert silent == []


def test_durations_are_texts_with_texts_as_defaults() -> None:
    interval = DOCUMENT["$defs"]["Poll"]["properties"]["interval"]
    assert (interval["type"], interval["default"]) == ("string", "5m")


def test_an_image_inherits_what_it_does_not_say() -> None:
    """A default in the schema would make editors write what `defaults` should decide."""
    assert "default" not in DOCUMENT["$defs"]["ImageEntry"]["properties"]["max_major_step"]
    assert DOCUMENT["$defs"]["Defaults"]["properties"]["max_major_step"]["default"] == 20


def test_secrets_are_references() -> None:
    password = next(model for name, model in DOCUMENT["$defs"].items() if name.endswith("Basic"))["properties"][
        "password"
    ]
    assert password["pattern"].startswith("^(env:")
