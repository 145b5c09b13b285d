"""An event is the same event again wherever it comes from, and any text can be hashed, stored and sent."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.model.event import Event, Kind, Spot, Subject

AT = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
HALF = "a\udcffb\ud800"
"""Half surrogates: Python reads names that are no UTF-8 so."""


@pytest.mark.parametrize(
    ("subject", "key"),
    [
        pytest.param(Subject(image="api"), "image=api", id="an image"),
        pytest.param(Subject("api", "api/prod", "ghcr.io/acme/api"), "item=api/prod", id="an item names its image"),
        pytest.param(Subject(repository="fleet", branch="main"), "repository=fleet branch=main", id="a branch"),
        pytest.param(
            Subject(application="shop", project="p", cluster="c"), "application=shop project=p cluster=c",
            id="an application",
        ),
        pytest.param(Subject(reference="ghcr.io/acme/api"), "", id="how it is spelled is no part of it"),
    ],
)  # fmt: skip
def test_a_subject_is_known_by_what_it_is_about(subject: Subject, key: str) -> None:
    assert subject.key == key


def test_any_text_can_be_hashed_stored_and_read_back() -> None:
    subject = Subject(*[HALF] * len(fields(Subject)))
    event = Event(
        Kind.UPDATE_HELD, AT, subject, HALF, HALF, HALF, HALF, HALF, HALF, HALF, HALF,
        (Spot(HALF, HALF, HALF, 1, HALF),), (HALF,), {HALF: HALF},
    )  # fmt: skip
    spelled = json.dumps(event.as_json(), ensure_ascii=False).encode()
    assert Event.from_json(json.loads(spelled)) == event
    assert (len(event.key), len(event.id), event.why, event.labels) == (32, 32, "a?b?", {"a?b?": "a?b?"})


@given(st.text(max_size=20))
def test_a_text_that_utf_8_can_spell_stays_as_it_is(text: str) -> None:
    assert Event(Kind.SCAN_FAILED, AT, Subject(image=text), why=text).why == text


def test_the_same_at_another_time_has_the_same_key_and_another_id() -> None:
    event = Event(Kind.UPDATE_HELD, AT, Subject(image="api"), "1", "2", why="too far")
    again = replace(event, at=AT.replace(hour=9), why="in other words")
    assert (event.key, event.id == again.id) == (again.key, False)
