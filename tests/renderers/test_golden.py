"""Golden folders: what the repository holds in `before/`, and the manifests of `after.yaml`, in their order.

`source.json` says why the case is there, the folder, and the settings of the source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.renderers.made import application, files, front
from updater.model.application import Directory, Helm, HelmParameter, Kustomize
from updater.renderers.base import Target
from updater.sync.dialect import load_all

CASES = sorted(path.parent for path in Path(__file__).with_name("golden").glob("*/source.json"))
TOOLS: dict[str, Any] = {"directory": Directory, "helm": Helm, "kustomize": Kustomize}


def _settings(told: dict[str, Any]) -> dict[str, Any]:
    lists = {key: tuple(value) for key, value in told.items() if isinstance(value, list)}
    if "parameters" in lists:
        lists["parameters"] = tuple(HelmParameter(**one) for one in lists["parameters"])
    return told | lists


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Path, tmp_path: Path) -> None:
    told = json.loads((case / "source.json").read_text())
    before = case / "before"
    tree = {str(path.relative_to(before)): path.read_bytes() for path in before.rglob("*") if path.is_file()}
    tools = {kind: TOOLS[kind](**_settings(told[kind])) for kind in TOOLS if kind in told}
    target = Target("v1.33.1", frozenset({"v1", "apps/v1"}), "apps")
    rendered = front(tmp_path).render(files(tree), application(told["path"], **tools), target)
    assert [resource.manifest for resource in rendered.resources] == load_all(
        (case / "after.yaml").read_text(), "after"
    )
    assert list(rendered.warnings) == told.get("warnings", [])
