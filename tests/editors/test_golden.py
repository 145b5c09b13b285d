"""Golden folders: what is found in `before/`, and the bytes of `after/` once every writable reference is at its target.

`expected.json` says why the case is there, the targets by image, the references as `file:line image editor (reason)`,
what was skipped, and what stays because it shares a scalar with something that does not change alike; where the case
needs them, also what Flux's policies mean, and an item with paths of its own. A file is a case.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from updater.config.images import Item
from updater.editors.base import automatic, references
from updater.editors.document import Document, parse
from updater.editors.marker import Marker, Meant
from updater.editors.yaml_path import YamlPath
from updater.model.change import Reference, Skipped
from updater.model.image import ImageRef, split
from updater.pipeline.edit import Wanted, apart, edit
from updater.pipeline.find import explicitly
from updater.pipeline.former import tokens

CASES = sorted(path.parent for path in Path(__file__).with_name("golden").glob("*/expected.json"))


def _told(reference: Reference) -> str:
    why = f" ({reference.unwritable})" if reference.unwritable else ""
    return f"{reference.file}:{reference.line} {reference.image} {reference.editor}{why}"


def _read(document: Document, expected: dict[str, Any]) -> tuple[list[Reference], list[str]]:
    """What is found, and what was skipped."""
    meant = {name: Meant(ImageRef.parse(image), image) for name, image in expected.get("policies", {}).items()}
    editors = [Marker(policies=meant) if editor.kind == "marker" else editor for editor in automatic()]
    told: list[Reference | Skipped] = []
    if item := expected.get("item"):
        image = ImageRef.parse(item["image"])
        editor = YamlPath.model_validate({"kind": "yaml_path"} | item["editor"])
        one = Item("item", item["image"], image, paths=(document.path,), editor=editor)
        told = explicitly(one, document, lambda ref: ref)
    found = references(document, editors, [one for one in told if isinstance(one, Reference)])
    told += [*document.skipped, *(skip for editor in editors for skip in editor.unresolved(document))]
    return found, [f"{one.file}:{one.line} {one.why}" for one in told if isinstance(one, Skipped)]


def _wanted(found: list[Reference], targets: dict[str, str]) -> list[Wanted]:
    wanted = []
    for reference in found:
        version = targets.get(reference.image.name)
        if version is not None and not reference.unwritable:
            _, tag, digest = split(f"x:{version}" if not version.startswith("@") else f"x{version}")
            wanted.append(Wanted(reference, reference.image.at(tag, digest), "because"))
    return wanted


def _together(wanted: list[Wanted]) -> list[Wanted]:
    left = apart(wanted)
    return [one for index, one in enumerate(wanted) if index not in left]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Path) -> None:
    expected: dict[str, Any] = json.loads((case / "expected.json").read_text())
    told: list[str] = []
    skipped: list[str] = []
    stays: list[str] = []
    for before in sorted(path for path in (case / "before").rglob("*") if path.is_file()):
        name = before.relative_to(case / "before").as_posix()
        document = parse(name, before.read_bytes())
        found, unread = _read(document, expected)
        told += map(_told, found)
        skipped += unread
        wanted = _wanted(found, expected["to"])
        stays += [f"{name}:{wanted[index].reference.line} {why}" for index, why in sorted(apart(wanted).items())]
        change = edit(name, document.text, _together(wanted))
        assert change.after.encode() == (case / "after" / name).read_bytes()
        again, _ = _read(parse(name, change.after), expected)
        assert [[place.role for place in r.places] for r in again] == [[p.role for p in r.places] for r in found]
        assert edit(name, change.after, _together(_wanted(again, expected["to"]))).bumps == ()
    assert told == expected["references"]
    assert skipped == expected.get("skipped", [])
    assert stays == expected.get("stays", [])


def test_every_case_is_complete() -> None:
    """A folder without its expectation would be tested by nobody."""
    assert sum(path.is_file() for case in CASES for path in (case / "before").rglob("*")) >= 120
    assert {path.name for path in Path(__file__).with_name("golden").iterdir() if path.is_dir()} == {
        case.name for case in CASES
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_goes_back_to_the_same_bytes(case: Path) -> None:
    """The characters of each place, written back, are the file as it was; also where quotes were added."""
    expected: dict[str, Any] = json.loads((case / "expected.json").read_text())
    for file in sorted(path for path in (case / "before").rglob("*") if path.is_file()):
        name = file.relative_to(case / "before").as_posix()
        before = parse(name, file.read_bytes())
        found = references(before)
        wanted = _wanted(found, expected["to"])
        left = apart(wanted)
        change = edit(name, before.text, [one for index, one in enumerate(wanted) if index not in left])
        if any(bump.old == "-" for bump in change.bumps):
            continue  # what was added has nothing to go back to: `rollback` says so
        back = [
            Wanted(new, old.image, "back", tokens=tokens(before.text, old))
            for old, new in zip(found, references(parse(name, change.after)), strict=True)
            if old.image != new.image
        ]
        assert len(back) == len(change.bumps)
        assert edit(name, change.after, back).after.encode() == before.text.encode()
