"""What a cycle has to say, as exit codes and documents show it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from updater.config.images import Item
from updater.model.image import ImageRef
from updater.pipeline.report import Before, Failure, Outcome, Report, Row, before_of, kept
from updater.secrets import remember

API = Item("api", "ghcr.io/acme/api", ImageRef.parse("ghcr.io/acme/api"))
AT = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("report", "failed"),
    [
        (Report(), False),
        (Report(rows=[Row(API, Outcome.HELD, "level", "level")]), False),
        (Report(rows=[Row(API, Outcome.FAILED, "undecided", "undecided")]), True),
        (Report(failures=[Failure("state", "locked")]), True),
    ],
    ids=["nothing at all", "a hold", "a row alone", "a failure without a row"],
)
def test_what_failed_is_exit_1(report: Report, failed: bool) -> None:
    assert report.failed is failed


def test_no_secret_stands_in_the_words_of_a_row() -> None:
    remember("hunter2-of-the-report")
    report = Report(rows=[Row(API, Outcome.FAILED, "no hunter2-of-the-report", "no hunter2-of-the-report")])
    assert "hunter2" not in str(report.as_json())


# --- what was known before a failure ---------------------------------------------------------------------------------

FOUND = '{"outcome": "available", "current": "1.0", "target": "1.1", "newest": "1.1", "reason": "newest of 2"}'


def test_what_a_look_found_keeps_the_time_of_that_look_however_many_fail_after_it() -> None:
    once = kept(AT, FOUND)
    twice = kept(AT + timedelta(hours=1), once)
    assert twice == once
    assert before_of(AT + timedelta(hours=2), twice) == Before(AT, "available", "1.0", "1.1", "1.1", "newest of 2")
    assert before_of(AT, FOUND) == before_of(AT + timedelta(hours=2), twice)


@pytest.mark.parametrize("document", [None, "", "[]", "{", '{"outcome": 1}', '{"found_at": "?"}', "null", "7"])
def test_what_nobody_can_read_is_not_known(document: str | None) -> None:
    assert before_of(AT, document) is None
    assert before_of(AT, kept(AT, document)) is None
