"""Who is told of an event, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab.config import settings
from tests.lab.diary import CHANNELS, CYCLE, IMAGES, down, open_diary
from updater.config.notifications import Notifications
from updater.model.event import Event, Kind, Spot, Subject
from updater.pipeline.route import route
from updater.store.journal import Post, Standing

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # a Monday
API = Subject("api", "api/prod", "ghcr.io/acme/api")
SPOT = Spot("fleet", "main", "a.yaml", 3)
NIGHT = "{schedule: '0 22 * * *', duration: 8h}"
OFFICE = "{kind: allow, schedule: '0 9 * * 1-5', duration: 8h}"


def notifications(folder: Path, routes: str) -> Notifications:
    found = settings(folder, routed(routes)).notifications
    assert found
    return found


def posts(folder: Path, routes: str, event: Event, now: datetime = NOW) -> list[Post]:
    return route(event, Standing(), notifications(folder, routes), now)


def event(kind: Kind, **fields: object) -> Event:
    return Event(kind, NOW, **({"subject": API} | fields))  # type: ignore[arg-type]


UPDATED = event(Kind.IMAGE_UPDATED, spots=(SPOT,))
REFUSED = event(Kind.PUSH_REJECTED, subject=Subject(repository="fleet", branch="main"), images=("api/prod", "web"))
DOWN = event(Kind.SCAN_FAILED, subject=Subject(registry="ghcr.io"), images=("web",))

FITS: dict[str, tuple[str, Event, bool]] = {
    "everything": ("", UPDATED, True),
    "a kind": ("events: [image_updated], ", UPDATED, True),
    "another kind": ("events: [update_held], ", UPDATED, False),
    "a glob over kinds": ("events: ['image_*'], ", UPDATED, True),
    "another glob": ("events: ['sync_*'], ", UPDATED, False),
    "one of several": ("events: [update_held, 'image_*'], ", UPDATED, True),
    "grave enough": ("severity: warning, ", DOWN, True),
    "just grave enough": ("severity: error, ", DOWN, True),
    "not grave enough": ("severity: warning, ", UPDATED, False),
    "the name of the image": ("images: [api], ", UPDATED, True),
    "the name of the item": ("images: [api/prod], ", UPDATED, True),
    "another item": ("images: [api/dev], ", UPDATED, False),
    "the image itself": ("images: ['ghcr.io/acme/*'], ", UPDATED, True),
    "another image": ("images: ['ghcr.io/evil/*'], ", UPDATED, False),
    "capital letters are others": ("images: [API], ", UPDATED, False),
    "one of those that a refused push met": ("images: [web], ", REFUSED, True),
    "none of those that a refused push met": ("images: [db], ", REFUSED, False),
    "one of those that a registry failed": ("images: [web], ", DOWN, True),
    "the repository of its places": ("repositories: [fleet], ", UPDATED, True),
    "the repository that it is about": ("repositories: ['fl*'], ", REFUSED, True),
    "another repository": ("repositories: [other], ", UPDATED, False),
    "a repository, of what has none": ("repositories: [fleet], ", DOWN, False),
    "any repository, of what has none": ("repositories: ['*'], ", DOWN, True),
    "a cluster, of what has none": ("clusters: [prod], ", UPDATED, False),
    "an application, of what has none": ("applications: ['a*'], ", UPDATED, False),
    "all of them": ("images: [api], repositories: [fleet], events: ['*'], ", UPDATED, True),
    "all but one": ("images: [api], repositories: [other], events: ['*'], ", UPDATED, False),
}


@pytest.mark.parametrize(("route_", "what", "expected"), FITS.values(), ids=FITS.keys())
def test_a_route_is_for_what_fits_all_of_it(tmp_path: Path, route_: str, what: Event, expected: bool) -> None:
    found = posts(tmp_path, f"{{{route_}channels: [webhook]}}", what)
    assert [post.channel for post in found] == (["webhook"] if expected else [])


@pytest.mark.parametrize("kind", list(Kind))
def test_without_routes_every_channel_is_told_what_matters(tmp_path: Path, kind: Kind) -> None:
    found = posts(tmp_path, "", event(kind))
    grave = event(kind).severity.rank > 0
    told = grave or kind in {Kind.IMAGE_UPDATED, Kind.UPDATE_AVAILABLE}
    assert [post.channel for post in found] == (["webhook", "other"] if told else [])
    assert {(post.due, post.joins, post.lasting) for post in found} <= {(NOW, 30, False)}


def test_nobody_is_told_where_nothing_is_configured() -> None:
    assert route(UPDATED, Standing(), None, NOW) == []


def test_of_several_routes_to_a_channel_the_first_that_fits_counts(tmp_path: Path) -> None:
    routes = (
        "{events: [update_held], group: 1s, channels: [webhook]},"
        "{events: ['image_*'], group: 2s, channels: [webhook]},"
        "{group: 3s, for: 1h, channels: [webhook, other]}"
    )
    assert [(p.channel, p.joins, p.lasting) for p in posts(tmp_path, routes, UPDATED)] == [
        ("webhook", 2, False),
        ("other", 3, True),
    ]


def at(hour: int, minute: int = 0, day: int = 23) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


TIMES: dict[str, tuple[str, datetime, datetime, bool]] = {
    "at once": ("", at(8), at(8), False),
    "only if it lasts": ("for: 10m, ", at(8), at(8, 10), True),
    "a night that is over": (f"quiet: [{NIGHT}], ", at(8), at(8), False),
    "a night that goes on": (f"quiet: [{NIGHT}], ", at(23), at(6, day=24), False),
    "a night that began yesterday": (f"quiet: [{NIGHT}], ", at(3), at(6), False),
    "a night that begins while it is waited": (f"quiet: [{NIGHT}], for: 2h, ", at(21), at(6, day=24), True),
    "office hours": (f"quiet: [{OFFICE}], ", at(10), at(10), False),
    "before office hours": (f"quiet: [{OFFICE}], ", at(8), at(9), False),
    "a weekend": (f"quiet: [{OFFICE}], ", at(18, day=27), at(9, day=30), False),
    "both": (f"quiet: [{OFFICE}, {{schedule: '0 9 * * 1', duration: 1h}}], ", at(8), at(10), False),
    "quiet for ever, which is never": (
        "quiet: [{schedule: '0 0 * * *', duration: 366d}], ",
        at(8),
        at(8),
        False,
    ),
}


@pytest.mark.parametrize(("route_", "now", "due", "lasting"), TIMES.values(), ids=TIMES.keys())
def test_when_it_is_told(tmp_path: Path, route_: str, now: datetime, due: datetime, lasting: bool) -> None:
    (post,) = posts(tmp_path, f"{{{route_}channels: [webhook]}}", UPDATED, now)
    assert (post.due, post.lasting) == (due, lasting)


# Recoveries, and what is told only if it lasts, on a real state.

FAILURES = "events: ['*_failed', '*_held']"
RECOVERED: dict[str, tuple[str, list[str], list[str]]] = {
    "without routes": (
        "",
        ["scan_failed r.example.com", "other scan_failed r.example.com"],
        ["other scan_recovered r.example.com", "scan_recovered r.example.com"],
    ),
    "a route for failures alone": (
        f"{{{FAILURES}, channels: [other]}}",
        ["other scan_failed r.example.com"],
        ["other scan_recovered r.example.com"],
    ),
    "a route for recoveries alone": ("{events: [scan_recovered], channels: [other]}", [], []),
    "a route for other images": ("{images: [nobody], channels: [other]}", [], []),
    "one for failures, one for recoveries": (
        f"{{{FAILURES}, channels: [webhook]}}, {{events: [scan_recovered], channels: [other]}}",
        ["scan_failed r.example.com"],
        ["scan_recovered r.example.com"],
    ),
    "what did not last": ("{for: 10m, channels: [webhook]}", ["scan_failed r.example.com"], []),
    "what lasted": ("{for: 1m, channels: [webhook]}", ["scan_failed r.example.com"], ["scan_recovered r.example.com"]),
}  # fmt: skip


def routed(routes: str) -> str:
    return f"{IMAGES}notifications:\n  {CHANNELS}\n  routes: [{routes}]\n"


@pytest.mark.parametrize(("routes", "failed", "recovered"), RECOVERED.values(), ids=RECOVERED.keys())
def test_a_recovery_goes_exactly_to_those_who_were_told_of_the_failure(
    tmp_path: Path, routes: str, failed: Sequence[str], recovered: Sequence[str]
) -> None:
    with open_diary(tmp_path, routed(routes)) as diary:
        diary.cycle(diary.fine())
        assert diary.cycle(diary.failed(cause=down())) == failed
        assert diary.cycle(diary.fine()) == recovered


def test_what_the_first_look_found_recovers_in_silence(tmp_path: Path) -> None:
    with open_diary(tmp_path, routed("{channels: [webhook]}")) as diary:
        assert diary.cycle(diary.failed(cause=down())) == []
        assert diary.cycle(diary.fine()) == []


def test_who_was_told_of_one_failure_hears_nothing_of_the_end_of_another(tmp_path: Path) -> None:
    """The first was there at the first look, and told to nobody; the second still holds."""
    with open_diary(tmp_path, routed("{channels: [webhook]}")) as diary:
        diary.cycle(diary.failed("api", down("denied")), diary.fine("web"))
        assert diary.cycle(diary.failed("web", down())) == ["scan_failed r.example.com"]
        assert diary.cycle(diary.fine("api")) == []
        assert diary.cycle(diary.fine("web")) == ["scan_recovered r.example.com"]


def test_a_channel_that_is_configured_no_more_is_told_of_no_recovery(tmp_path: Path) -> None:
    with open_diary(tmp_path, routed("")) as diary:
        diary.cycle(diary.fine())
        diary.cycle(diary.failed(cause=down()))
        diary.configure(routed("").replace("other", "renamed"))
        assert diary.cycle(diary.fine()) == ["scan_recovered r.example.com"]


def test_a_recovery_waits_for_the_end_of_the_night_too(tmp_path: Path) -> None:
    with open_diary(tmp_path, routed(f"{{quiet: [{NIGHT}], group: 7s, channels: [webhook]}}")) as diary:
        diary.cycle(diary.fine())
        diary.cycle(diary.failed(cause=down()), after=timedelta(hours=12))
        diary.send()
        assert diary.cycle(diary.fine(), after=timedelta(hours=6)) == ["scan_recovered r.example.com"]
        (letter,) = diary.letters()
        assert (letter.due, letter.joins) == (at(6, day=24), 7)


def test_what_ends_before_it_is_due_is_taken_back_and_what_is_due_is_not(tmp_path: Path) -> None:
    with open_diary(tmp_path, routed("{for: 10m, channels: [webhook]}, {channels: [other]}")) as diary:
        diary.cycle(diary.fine("api"), diary.fine("web"))
        diary.cycle(diary.held("level", name="web"))
        diary.cycle(diary.held("level", name="api"))
        diary.cycle(diary.fine("api"), diary.fine("web"))
        left = sorted((one.channel, one.subject) for one in diary.letters())
        assert left == [("other", "item=api"), ("other", "item=web"), ("webhook", "item=web")]
        assert diary.outbox.figures(["webhook"])["webhook"].states == {"waiting": 1, "cancelled": 1}


def test_what_still_holds_is_told_again_as_often_as_a_channel_asks(tmp_path: Path) -> None:
    routes = "{remind: 1h, channels: [webhook]}, {remind: 3h, channels: [other]}"
    with open_diary(tmp_path, routed(routes)) as diary:
        diary.cycle(diary.fine())
        told = diary.cycle(diary.held("level"))
        assert told == ["update_held api", "other update_held api"]
        begun = diary.now
        hours = [diary.pass_time(timedelta(hours=1)) for _ in range(4)]
        mine, others = "update_held api", "other update_held api"
        assert hours == [[mine], [mine], [mine, others], [mine]]
        assert diary.pass_time(timedelta(minutes=59)) == []
        assert {letter.since for letter in diary.letters()} == {None, begun}
        assert diary.cycle(diary.fine()) == []
        assert diary.pass_time(timedelta(hours=24)) == []


def test_what_was_there_at_the_first_look_is_reminded_of(tmp_path: Path) -> None:
    with open_diary(tmp_path, routed("{remind: 24h, events: [moved_tag], channels: [webhook]}")) as diary:
        assert diary.cycle(diary.held("moved_tag", name="api"), diary.held("level", name="web")) == []
        assert diary.pass_time(timedelta(hours=23)) == []
        assert diary.pass_time(timedelta(hours=1)) == ["moved_tag api"]


def test_a_reminder_that_waits_for_the_morning_is_taken_back_where_nothing_is_left_of_it(tmp_path: Path) -> None:
    with open_diary(tmp_path, routed(f"{{remind: 1h, quiet: [{NIGHT}], channels: [webhook]}}")) as diary:
        diary.cycle(diary.fine())
        diary.cycle(diary.held("level"))
        diary.send()
        assert diary.pass_time(timedelta(hours=15)) == ["update_held api"]
        assert diary.pass_time(timedelta(minutes=5)) == []
        diary.cycle(diary.fine())
        assert diary.letters() == []


def test_reminders_survive_a_clock_that_goes_back(tmp_path: Path) -> None:
    with open_diary(tmp_path, routed("{remind: 1h, channels: [webhook]}")) as diary:
        diary.cycle(diary.fine())
        diary.cycle(diary.held("level"))
        assert diary.pass_time(-timedelta(hours=5)) == []
        assert diary.pass_time(timedelta(hours=6) + CYCLE) == ["update_held api"]
