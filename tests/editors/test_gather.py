"""References of scalars that stand apart: what becomes of their names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from updater.editors.base import references
from updater.editors.document import parse
from updater.errors import EditError
from updater.model.change import Rename
from updater.pipeline.edit import edit

APPLICATION = """apiVersion: argoproj.io/v1alpha1
kind: Application
spec: {source: {helm: {parameters: [
  {name: image.registry, value: ghcr.io}, {name: image.repository, value: old/api}, {name: image.tag, value: v1}]}}}
"""
CHART = """apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
spec: {url: oci://ghcr.io/old/api, ref: {tag: v1}}
"""


def _renamed(text: str) -> str:
    (found,) = references(parse("x.yaml", text))
    found = replace(found, rename=Rename("ghcr.io/old/api", "ghcr.io/new/api"))
    return edit("x.yaml", text, [(found, found.image.at("v2"), "why")]).after


@pytest.mark.parametrize("text", [APPLICATION, CHART], ids=["Helm parameters", "a chart in a registry"])
def test_a_name_is_replaced_where_it_stands(text: str) -> None:
    assert _renamed(text) == text.replace("old/api", "new/api").replace("value: v1", "value: v2").replace(
        "tag: v1", "tag: v2"
    )


def test_a_name_that_stands_in_a_comment_is_not_replaced() -> None:
    with pytest.raises(EditError, match="its former name does not stand in a value"):
        _renamed("tag: v1 # updater: ghcr.io/old/api\n")


def test_the_tag_of_a_chart_holds_no_digest() -> None:
    (found,) = references(parse("x.yaml", CHART))
    with pytest.raises(EditError, match=r"there is no ref\.digest"):
        edit("x.yaml", CHART, [(found, found.image.at("v2", f"sha256:{'1' * 64}"), "why")])
