"""Lists of tags shaped like real repositories, and what a careful operator wants from them: no wrong pick.

One file a repository. `list` holds its tags, where {a,b} and {1..9} stand for several; `created` the dates of some.
A case has the fields of an image, the tag in Git (`current`), and `target` or the reason to `hold`; `rejected` names
tags beside it and the reason of each, `then` what the update is followed by where it is not the last step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from updater.model.decision import Mark
from updater.model.tag import Needs, Tag
from updater.plugins import members
from updater.policies.base import Policy
from updater.policies.choose import Judgement, judge
from updater.policies.rule import Rule

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
BRACES = re.compile(r"\{([^{}]*)\}")
SIGNED = [f"sha256-{digit * 64}{kind}" for digit in "09af" for kind in ("", ".sig", ".att", ".sbom")]
STRAYS = [*map(Tag, SIGNED), Tag("-no-tag"), Tag(".hidden"), Tag("a b"), Tag("x" * 129), Tag("")]


@dataclass(frozen=True)
class Case:
    """One question to one list, and the answer."""

    file: str
    says: str
    rule: Rule
    tags: tuple[Tag, ...]
    current: str | None
    target: str | None
    hold: str | None
    then: str | None
    rejected: dict[str, str]


def expanded(word: str) -> Iterator[str]:
    """Spell out the braces of a word."""
    match = BRACES.search(word)
    if match is None:
        yield word
        return
    first, dots, last = match[1].partition("..")
    numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)) if dots else ()
    for piece in numbers if dots else match[1].split(","):
        yield from expanded(word[: match.start()] + piece + word[match.end() :])


def listed(document: dict[str, Any]) -> tuple[Tag, ...]:
    names = [name for word in document["list"].split() for name in expanded(word)]
    if "created" not in document:
        return tuple(map(Tag, names))
    created = {name: datetime.fromisoformat(at) for name, at in document["created"].items()}
    assert created.keys() <= set(names)
    return tuple(Tag(name, created=created.get(name), known=Needs.NAMES | Needs.CREATED) for name in names)


def cases() -> Iterator[Case]:
    for file in FILES:
        document = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # every scalar is a text, as in a list of tags
        assert document.keys() <= {"list", "created", "cases"}
        tags = listed(document)
        for row in document["cases"]:
            own = {key: row.pop(key, None) for key in ("says", "current", "target", "hold", "then", "rejected")}
            assert (own["target"] is None) is not (own["hold"] is None), own["says"]
            rejected = own.pop("rejected") or {}
            assert rejected.keys() <= {tag.name for tag in tags}, own["says"]
            yield Case(file=file.stem, rule=Rule.model_validate(row), tags=tags, rejected=rejected, **own)


CASES = list(cases())
EVERY = pytest.mark.parametrize("case", CASES, ids=[f"{case.file}: {case.says}" for case in CASES])


def answer(judgement: Judgement) -> tuple[str | None, str | None]:
    return judgement.target, judgement.reason


@EVERY
def test_the_right_tag_for_the_right_reason(case: Case) -> None:
    judgement = judge(case.rule, case.tags, case.current)
    assert answer(judgement) == (case.target, case.hold), judgement.why
    why = {verdict.tag: verdict.why for verdict in judgement.verdicts if verdict.mark is not Mark.CHOSEN}
    assert {tag: why.get(tag, "chosen").partition(":")[0] for tag in case.rejected} == case.rejected
    assert len(judgement.verdicts) == len({tag.name for tag in case.tags})


@EVERY
def test_neither_order_nor_strays_change_the_answer(case: Case) -> None:
    """Signatures, attestations, bills of materials, and names that are no tags never count."""
    judgement = judge(case.rule, case.tags, case.current)
    assert answer(judge(case.rule, [*STRAYS, *reversed(case.tags)], case.current)) == answer(judgement)
    assert judge(case.rule, case.tags[::-1], case.current) == judgement


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.target is not None],
    ids=[f"{case.file}: {case.says}" for case in CASES if case.target is not None],
)
def test_after_the_update_it_is_at_rest(case: Case) -> None:
    after = judge(case.rule, case.tags, case.target)
    assert after.target == case.then, after.why


def test_the_lists_are_many_and_every_policy_is_asked() -> None:
    assert len(FILES) >= 40
    assert {case.rule.policy.kind for case in CASES} == set(members(Policy))  # type: ignore[attr-defined]
    assert len({(case.file, case.says) for case in CASES}) == len(CASES)
