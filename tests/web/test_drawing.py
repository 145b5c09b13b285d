"""The timeline as numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from updater.web.drawing import LEFT, MOST_RUNS, MOST_TAGS, RIGHT, timeline

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = st.integers(-20_000, 5_000).map(lambda days: NOW + days * DAY)
TIMES = st.lists(st.tuples(st.text(max_size=130), DAYS), max_size=300)


def test_nothing_known_is_no_drawing() -> None:
    assert timeline([], [], NOW) is None


def test_what_ran_lasts_until_the_next_and_the_last_until_now() -> None:
    drawn = timeline([("1.1", NOW - 5 * DAY)], [("1.0", NOW - 10 * DAY), ("1.1", NOW - 4 * DAY)], NOW)
    assert drawn is not None
    first, second = drawn.bars
    assert (first.x, first.label, second.label) == (LEFT, "1.0", "1.1")
    assert first.x + first.width == second.x
    assert second.x + second.width == RIGHT
    assert [dot.newest for dot in drawn.dots] == [True]
    assert first.x < drawn.dots[0].x < second.x
    assert [tick.text for tick in drawn.ticks] == ["2026-11-15", "2026-11-20", "2026-11-25"]


def test_a_bar_too_short_for_its_version_has_no_label() -> None:
    drawn = timeline([], [("1.0", NOW - 100 * DAY), ("2.0.0-a-long-name", NOW - DAY)], NOW)
    assert drawn is not None
    assert [bar.label for bar in drawn.bars] == ["1.0", ""]
    assert drawn.bars[1].version == "2.0.0-a-long-name"


@given(TIMES, TIMES)
def test_everything_is_on_the_sheet(tags: list[tuple[str, datetime]], runs: list[tuple[str, datetime]]) -> None:
    """Also what clocks of others say is still to come."""
    drawn = timeline(tags, runs, NOW)
    assert (drawn is not None) is bool(tags or runs)
    if drawn is not None:
        assert all(LEFT <= dot.x <= RIGHT for dot in drawn.dots)
        assert all(bar.x >= LEFT and bar.x + bar.width <= RIGHT + 2 for bar in drawn.bars)
        assert (len(drawn.dots), len(drawn.bars)) == (min(len(tags), MOST_TAGS), min(len(runs), MOST_RUNS))
