"""What a cycle has to say, as exit codes and documents show it."""

from __future__ import annotations

import pytest

from updater.config.images import Item
from updater.model.image import ImageRef
from updater.pipeline.report import Failure, Outcome, Report, Row
from updater.secrets import remember

API = Item("api", "ghcr.io/acme/api", ImageRef.parse("ghcr.io/acme/api"))


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
