"""Which events a cycle tells: what is new, once, and about what it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.diary import ALL, IMAGES, NOW, Diary, down, failure, open_diary, refused, unreadable
from updater.config.images import Item
from updater.messages.commits import commit_message
from updater.messages.events import line
from updater.model.change import Bump, Reference
from updater.model.decision import Reason
from updater.model.event import Kind, Spot, Subject
from updater.model.image import ImageRef
from updater.model.origin import Origin
from updater.pipeline.report import Landed, Row
from updater.pipeline.tell import MAX_CHANGES, updated
from updater.secrets import remember as secret

API, WEB, REVISION = "r.example.com/acme/api", "r.example.com/acme/web", "ab" * 20
FLEET = Subject(repository="fleet")


@pytest.fixture
def diary(tmp_path: Path) -> Iterator[Diary]:
    with open_diary(tmp_path) as opened:
        yield opened


@pytest.fixture
def known(diary: Diary) -> Diary:
    """Both images were looked at before, and nothing was to be told."""
    assert diary.cycle(diary.fine("api"), diary.fine("web"), read={FLEET}) == []
    return diary


KINDS: dict[str, tuple[Callable[[Diary], Row], str | None]] = {
    "nothing newer": (lambda d: d.fine(), None),
    "updated, which the commit tells": (lambda d: d.updated(), None),
    "an update that is only watched": (lambda d: d.available(), "update_available"),
    "too young": (lambda d: d.held("min_age"), "update_held"),
    "a hold of a person": (lambda d: d.held("held"), "update_held"),
    "a step that is too large": (lambda d: d.held("level"), "update_held"),
    "claimed by two": (lambda d: d.held("contested", None), "update_held"),
    "a place that cannot be written": (lambda d: d.held("not_writable"), "update_held"),
    "mentioned nowhere": (lambda d: d.held("not_referenced", None), "update_unreferenced"),
    "a person went back": (lambda d: d.held("human_rollback"), "human_rollback"),
    "a tag that moved": (lambda d: d.held("moved_tag"), "moved_tag"),
    "a quarrel": (lambda d: d.held("flapping"), "flapping"),
    "a file that cannot be edited": (lambda d: d.failed(), "update_failed"),
    "a registry that is down": (lambda d: d.failed(cause=down()), "scan_failed"),
    "a push that is refused": (lambda d: d.failed(cause=refused()), "push_rejected"),
}


@pytest.mark.parametrize(("row", "kind"), KINDS.values(), ids=KINDS.keys())
def test_what_is_told_of_what_became_of_an_item(known: Diary, row: Callable[[Diary], Row], kind: str | None) -> None:
    told = known.cycle(row(known))
    assert [one.partition(" ")[0] for one in told] == ([kind] if kind else [])


@pytest.mark.parametrize(("row", "kind"), KINDS.values(), ids=KINDS.keys())
def test_what_the_first_look_finds_is_stored_and_told_to_nobody(
    diary: Diary, row: Callable[[Diary], Row], kind: str | None
) -> None:
    """A push that is refused is no find: we tried it, and that is told."""
    told = diary.cycle(row(diary))
    assert [one.partition(" ")[0] for one in told] == (["push_rejected"] if kind == "push_rejected" else [])
    assert diary.stored() == ([(kind, kind != "push_rejected")] if kind else [])


def test_what_the_first_look_finds_is_told_where_that_is_wanted(tmp_path: Path) -> None:
    with open_diary(tmp_path, IMAGES + ALL.replace("routes:", "baseline: tell\n  routes:")) as diary:
        assert diary.cycle(diary.held("moved_tag"), diary.fine("web")) == ["moved_tag api"]
        assert diary.cycle(diary.held("moved_tag")) == []


def test_an_item_that_comes_later_has_a_first_look_of_its_own(known: Diary) -> None:
    known.configure(IMAGES + "  - {image: r.example.com/acme/new, name: new}\n" + ALL)
    assert known.cycle(known.held("level"), known.held("level", name="new")) == ["update_held api"]
    assert known.cycle(known.held("level", "1.2.0", name="new")) == ["update_held new"]


def test_the_first_look_is_the_first_that_finds_anything_out(diary: Diary) -> None:
    """A registry that is down at the first start must not make the second look a storm."""
    down_at_first = [diary.failed(name, down()) for name in ("api", "web")]
    assert diary.cycle(*down_at_first) == []
    assert diary.cycle(*down_at_first) == []
    assert diary.cycle(diary.held("moved_tag"), diary.available(name="web")) == []
    assert diary.cycle(diary.held("moved_tag", "1.2.0"), diary.available("1.2.0", "web")) == [
        "moved_tag api",
        "update_available web",
    ]


def rows(*names: str) -> Callable[[Diary], list[list[Row]]]:
    """Cycles of one item: `fine`, `held NEWEST`, `down`, and so on."""

    def made(d: Diary) -> list[list[Row]]:
        def one(name: str) -> Row:
            what, _, rest = name.partition(" ")
            match what:
                case "held":
                    return d.held("min_age", rest or "1.1.0", why=f"wait {len(rest)} {d.now}")
                case "other":
                    return d.held("level", rest or "1.1.0")
                case "available":
                    return d.available(rest or "1.1.0")
                case "down":
                    return d.failed(cause=down(rest or "unreachable"))
                case "gone":
                    return d.failed(cause=unreadable())
                case "broken":
                    return d.failed(error=f"broken at {d.now} {rest}")
                case _:
                    return d.fine() if what == "fine" else d.updated()

        return [[one(name)] for name in names]

    return made


STORIES: dict[str, tuple[Callable[[Diary], list[list[Row]]], list[str]]] = {
    "held stays held": (rows("held", "held", "held"), ["update_held"]),
    "its words change, as those of min_age do": (rows("held", "held", "held"), ["update_held"]),
    "a newer candidate": (rows("held 1.1.0", "held 1.2.0", "held 1.2.0"), ["update_held"] * 2),
    "another reason": (rows("held", "other", "held"), ["update_held"] * 3),
    "over, and again": (rows("held", "fine", "held"), ["update_held"] * 2),
    "over by an update, and again": (rows("held", "updated", "held"), ["update_held"] * 2),
    "the registry is down in between": (
        rows("held", "down", "down", "held"),
        ["update_held", "scan_failed", "scan_recovered"],
    ),
    "the repository is unreadable in between": (rows("held", "gone", "held"), ["update_held"]),
    "a newer one comes while it is down": (
        rows("held", "down", "held 1.2.0"),
        ["update_held", "scan_failed", "scan_recovered", "update_held"],
    ),
    "available stays available": (rows("available", "available"), ["update_available"]),
    "an update appears and is withdrawn": (rows("available", "fine", "available"), ["update_available"] * 2),
    "an error whose words change": (rows("broken", "broken 2"), ["update_failed"]),
    "mended and broken again": (rows("broken", "fine", "broken"), ["update_failed"] * 2),
    "down, up, down": (rows("down", "fine", "down"), ["scan_failed", "scan_recovered", "scan_failed"]),
    "refused a login, which is another trouble than no answer": (
        rows("down unreachable", "down denied", "fine"),
        ["scan_failed", "scan_failed", "scan_recovered", "scan_recovered"],
    ),
}


@pytest.mark.parametrize(("made", "expected"), STORIES.values(), ids=STORIES.keys())
def test_nothing_is_told_twice_while_it_stays_the_same(
    known: Diary, made: Callable[[Diary], list[list[Row]]], expected: Sequence[str]
) -> None:
    told = [one.partition(" ")[0] for cycle in made(known) for one in known.cycle(*cycle)]
    assert sorted(told) == sorted(expected)


def many(count: int) -> str:
    images = "\n".join(f"  - {{image: r.example.com/acme/i{n}, name: i{n}}}" for n in range(count))
    return f"repositories: [{{name: fleet, url: 'https://git.example.com/fleet.git'}}]\nimages:\n{images}\n{ALL}"


def test_a_registry_that_is_down_is_one_event_for_all_its_images_however_they_are_polled(tmp_path: Path) -> None:
    with open_diary(tmp_path, many(300)) as diary:
        names = [item.name for item in diary.settings.items]
        thirds = [names[n::3] for n in range(3)]
        diary.cycle(*map(diary.fine, names))
        told = [diary.cycle(*(diary.failed(name, down()) for name in third)) for third in (*thirds, *thirds)]
        assert told == [["scan_failed r.example.com"], [], [], [], [], []]
        told = [diary.cycle(*map(diary.fine, third)) for third in (*thirds, *thirds)]
        assert told == [[], [], ["scan_recovered r.example.com"], [], [], []]


def test_one_image_that_still_fails_keeps_the_registry_down(known: Diary) -> None:
    known.cycle(known.failed("api", down()), known.failed("web", down()))
    assert known.cycle(known.fine("api")) == []
    assert known.cycle(known.failed("api", down())) == []
    assert known.cycle(known.fine("web"), known.fine("api")) == ["scan_recovered r.example.com"]


def test_denied_and_unreachable_are_two_events_even_at_the_same_moment(known: Diary) -> None:
    both = known.cycle(known.failed("api", down("denied"), "403"), known.failed("web", down(), "no answer"))
    assert both == ["scan_failed r.example.com"] * 2
    assert {event.why for event in known.journal.recent(2)} == {"403", "no answer"}
    assert known.cycle(known.fine("api")) == ["scan_recovered r.example.com"]
    assert known.last().images == ("api",)
    assert known.cycle(known.fine("web")) == ["scan_recovered r.example.com"]


def test_two_registries_are_two_troubles(known: Diary) -> None:
    told = known.cycle(known.failed("api", down()), known.failed("web", down(registry="other.example.com")))
    assert sorted(told) == ["scan_failed other.example.com", "scan_failed r.example.com"]


def test_what_the_registry_does_not_have_is_the_trouble_of_its_own_item(known: Diary) -> None:
    def missing(name: str) -> Row:
        cause = down("missing")
        subject = Subject(name, name, known.item(name).image, "r.example.com")
        return known.failed(name, type(cause)(cause.kind, subject, "missing"))

    assert known.cycle(missing("api"), missing("web")) == ["scan_failed api", "scan_failed web"]
    assert known.cycle(missing("api"), known.fine("web")) == ["scan_recovered web"]


def test_an_item_that_is_gone_keeps_nothing_open(known: Diary) -> None:
    known.cycle(known.failed("api", down()), known.failed("web", down()))
    known.cycle(known.fine("api"))
    known.configure(IMAGES.replace("  - {image: r.example.com/acme/web, name: web}\n", "") + ALL)
    assert known.cycle(known.fine("api")) == ["scan_recovered r.example.com"]
    assert known.cycle(known.fine("api")) == []


def test_what_the_configuration_has_no_more_ends_in_silence_and_is_reminded_of_no_more(tmp_path: Path) -> None:
    routes = ALL.replace("{channels", "{remind: 1h, channels")
    with open_diary(tmp_path, IMAGES + routes) as diary:
        diary.cycle(diary.fine("api"), diary.fine("web"))
        cause = unreadable("gone")
        told = diary.cycle(
            diary.held(), diary.failed("web", down(registry="old.example.com")), failures=[failure(cause)]
        )
        assert len(told) == 3
        assert len(diary.pass_time(timedelta(hours=2))) == 3
        diary.configure(
            IMAGES.replace("name: api", "name: renamed").replace(
                "- {image: r.example.com/acme/web", "- {image: r.example.com/acme/w"
            )
            + routes
        )
        assert diary.pass_time(timedelta(hours=2)) == []


def test_a_mirror_that_is_down_is_a_registry_as_long_as_it_is_configured(known: Diary) -> None:
    """No image is tracked there: what names it is the alias of a registry."""
    mirror = "registries: [{host: r.example.com, aliases: [{name: m.example.com/hub, must_exist: true}]}]\n"
    known.configure(IMAGES + mirror + ALL)
    assert known.cycle(known.failed("api", down(registry="m.example.com"))) == ["scan_failed m.example.com"]
    known.configure(IMAGES + mirror + ALL)
    assert known.cycle(known.failed("api", down(registry="m.example.com"))) == []
    assert known.cycle(known.fine("api")) == ["scan_recovered m.example.com"]


def test_a_renamed_item_begins_anew_and_tells_no_storm(known: Diary) -> None:
    known.cycle(known.held("moved_tag"))
    known.configure(IMAGES.replace("name: api", "name: renamed") + ALL)
    assert known.cycle(known.held("moved_tag", name="renamed")) == []
    known.configure(IMAGES + ALL)
    assert known.cycle(known.held("moved_tag")) == ["moved_tag api"]  # it is an old acquaintance


@pytest.mark.parametrize("branch", ["", "release"], ids=["the default branch", "a branch by its name"])
def test_a_repository_that_cannot_be_read_is_told_once_and_again_after_it_could(known: Diary, branch: str) -> None:
    here = Subject(repository="fleet", branch=branch)
    cause = unreadable(branch)
    failing: dict[str, Any] = {"failures": [failure(cause)]}
    both = [known.failed("api", cause), known.failed("web", cause)]
    told = f"update_failed {here.words}"
    assert known.cycle(*both, **failing) == [told]
    assert known.last().images == ("api", "web")
    assert known.cycle(*both, **failing) == []
    assert known.cycle(known.failed("api", cause), **failing) == []
    assert known.cycle(known.fine("api"), known.fine("web"), read={here}) == []
    assert known.cycle(*both, **failing) == [told]


def test_one_branch_that_is_read_says_nothing_of_another(known: Diary) -> None:
    """They may be looked at in turn: a branch that is gone must not be told every time."""
    cause = unreadable("gone")
    for n in range(3):
        told = known.cycle(known.failed("api", cause), failures=[failure(cause)])
        assert told == (["update_failed fleet gone"] if n == 0 else [])
        assert known.cycle(known.fine("web"), read={FLEET, Subject(repository="fleet", branch="main")}) == []


def test_a_repository_that_fails_though_no_item_does_is_told(known: Diary) -> None:
    assert known.cycle(known.fine(), failures=[failure(unreadable())]) == ["update_failed fleet"]
    assert known.cycle(known.fine(), failures=[failure(unreadable())]) == []


def test_a_push_that_is_refused_is_told_once_for_all_its_items_and_on_the_first_run_too(diary: Diary) -> None:
    both = [diary.failed("api", refused(), "hook declined"), diary.failed("web", refused(), "hook declined")]
    parts: dict[str, Any] = {"failures": [failure(refused(), "hook declined")], "read": {FLEET}}
    assert diary.cycle(*both, **parts) == ["push_rejected fleet main"]
    assert diary.last().images == ("api", "web")
    assert diary.cycle(*both, **parts) == []
    assert diary.cycle(diary.updated("api"), diary.updated("web")) == []
    assert diary.cycle(*both, **parts) == ["push_rejected fleet main"]


LONG = "service-of-tokens-with-a-long-name"


def test_a_token_service_that_is_not_trusted_is_told_once_until_it_is(diary: Diary) -> None:
    realms = {"r.example.com": (f"{LONG}-a.example.com", f"{LONG}-b.example.com")}
    assert diary.cycle(diary.failed(cause=down("denied")), realms=realms) == ["realm_untrusted r.example.com"] * 2
    assert diary.cycle(diary.failed(cause=down("denied")), realms=realms) == []
    assert diary.cycle(diary.failed(cause=down("denied"))) == []  # nobody asked: nothing is known of it
    assert diary.cycle(diary.fine(), realms={"r.example.com": realms["r.example.com"][:1]}) == []
    assert diary.cycle(diary.fine(), realms={"r.example.com": ()}) == []
    assert diary.cycle(diary.fine(), realms=realms) == ["realm_untrusted r.example.com"] * 2


def test_a_hold_that_is_over_is_told_once_by_whoever_writes_next(known: Diary) -> None:
    from updater.store.holds import Holds

    writers: list[Callable[[], list[str]]] = [
        lambda: known.cycle(known.fine("web")),
        lambda: known.pass_time(timedelta(minutes=5)),
        lambda: known.reject("something"),
        known.reject,
    ]
    for write in writers:
        Holds(known.database).hold("api", "a freeze", known.now, until=known.now + timedelta(minutes=1))
        Holds(known.database).hold("not ours", "", known.now, until=known.now + timedelta(minutes=1))
        told = write()
        assert [one for one in told if one != "config_rejected updater"] == ["hold_expired api"]
        assert known.pass_time(timedelta(minutes=5)) == []


def test_a_configuration_is_rejected_once_for_each_report_and_a_good_one_ends_it(known: Diary) -> None:
    told = "config_rejected updater"
    assert known.reject("a.yaml:1:1") == [told]
    assert known.reject("a.yaml:1:1") == []
    assert known.reject("a.yaml:2:1", "a.yaml:3:1", "a.yaml:4:1", "a.yaml:5:1") == [told]
    assert known.last().why == "a.yaml:2:1; a.yaml:3:1; a.yaml:4:1; and 1 more"
    assert known.reject() == []
    assert known.reject() == []
    assert known.reject("a.yaml:1:1") == [told]


def test_no_secret_is_stored(known: Diary) -> None:
    secret("hunter2-of-the-diary")
    known.cycle(known.failed(error="no hunter2-of-the-diary"), known.failed("web", down(), "hunter2-of-the-diary"))
    known.reject("hunter2-of-the-diary")
    assert "hunter2" not in (known.folder / "state.db").read_bytes().decode("latin-1")


# Commits.


def bump(old: str = "1.0.0", new: str = "1.1.0", *, image: str = API, file: str = "a.yaml", line: int = 3,
         spelled: str = "", **more: str) -> Bump:  # fmt: skip
    origin = Origin(source="https://github.com/acme/api", revision=None, version=None) if more.get("origin") else None
    return Bump(
        file, line, image, spelled or image, old, new, more.get("digest"), "semver 1.x", more.get("tag"), origin
    )


def landed(diary: Diary, *bumps: Bump, message: str = "", files: Sequence[str] = (), **owners: str) -> Landed:
    """A commit; `owners` are items by file, of which dots are written as `_`, of both images."""
    text = message or commit_message(bumps)
    found: dict[tuple[str, str], Item] = {}
    for file, name in (owners or {"a_yaml": "api"}).items():
        item = diary.item(name)
        assert item.exact
        found[item.exact.name, file.replace("_", ".")] = item
    touched = tuple(files) or tuple(one.file for one in bumps)
    return Landed("fleet", "main", REVISION, NOW, text, touched, found)


def test_a_commit_is_told_on_the_first_run_too(diary: Diary) -> None:
    assert diary.cycle(diary.updated(), landed=[landed(diary, bump())]) == ["image_updated api"]


def test_a_commit_is_told_with_its_places_links_and_digest(known: Diary) -> None:
    digest = "sha256:" + "ab" * 32
    bumps = [bump(digest=digest, origin="yes", line=line, spelled="mirror.example.com/acme/api") for line in (3, 9)]
    other = bump("1.0.5", "1.1.0", file="b.yaml", line=7)
    text = IMAGES + "registries: [{host: r.example.com, aliases: [mirror.example.com]}]\n" + ALL
    known.configure(text.replace("fleet.git'", "fleet.git', commit_url: 'https://git.example.com/c/{revision}'"))
    told = known.cycle(known.updated(), landed=[landed(known, *bumps, other, a_yaml="api", b_yaml="api")])
    assert told == ["image_updated api", "image_updated api"]
    second, first = known.journal.recent(2)
    assert (first.old, first.new, first.digest) == ("1.0.0", "1.1.0", digest)
    assert (first.why, first.commit, first.subject.item) == ("semver 1.x", REVISION, "api")
    assert first.release_notes == "https://github.com/acme/api/releases/tag/1.1.0"
    assert first.spots == tuple(Spot("fleet", "main", "a.yaml", line, "mirror.example.com/acme/api") for line in (3, 9))
    assert (second.old, [spot.file for spot in second.spots]) == ("1.0.5", ["b.yaml"])


def test_a_commit_that_holds_what_it_wrote_is_told_as_a_rollback(known: Diary) -> None:
    text = commit_message([bump("1.1.0", "1.0.0")], until=NOW)
    assert known.cycle(known.fine("api"), landed=[landed(known, bump(), message=text)]) == ["image_updated api"]
    [event] = known.journal.recent(1)
    assert event.reason == Reason.HELD
    assert line(event, "en") == "api rolled back: 1.1.0 -> 1.0.0 (a.yaml:3 in fleet, branch main)"
    assert line(event, "zh").startswith("api 已回退")


def test_one_change_in_two_environments_is_told_of_each_with_its_own_places(known: Diary) -> None:
    known.configure(
        IMAGES.replace(
            "name: api}",
            "name: api, update: [{name: dev, repository: fleet, paths: ['d*']}, "
            "{name: prod, repository: fleet, paths: ['p*']}]}",
        )
        + ALL
    )
    commit = landed(known, bump(file="d.yaml"), bump(file="p.yaml"), d_yaml="api/dev", p_yaml="api/prod")
    told = {event.subject.item: [spot.file for spot in event.spots] for event in updated(commit, known.settings)}
    assert told == {"api/dev": ["d.yaml"], "api/prod": ["p.yaml"]}
    only = landed(known, bump(file="d.yaml"), d_yaml="api/dev", p_yaml="api/prod")
    assert [event.subject.item for event in updated(only, known.settings)] == ["api/dev"]
    strange = landed(known, bump(file="x.yaml"), d_yaml="api/dev", p_yaml="api/prod")
    assert list(updated(strange, known.settings)) == []


def trailer(old: str, new: str, image: str = API) -> str:
    return f"Image-Update: {image} {old} -> {new}"


MESSAGES: dict[str, tuple[str, list[str]]] = {
    "a squash of two": (
        (
            f"Merge (#7)\n\n* one\n\n- {API} 1 -> 2 in a.yaml:3\n\n{trailer('1', '2')}\n\n* two\n\n"
            f"- {API} 2 -> 3 in a.yaml:3\n\n{trailer('2', '3')}\n"
        ),
        ["1 -> 2", "2 -> 3"],
    ),
    "a squash whose words a person took away": (f"Update it\n\n{trailer('1', '2')}\n", ["1 -> 2"]),
    "said twice": (f"S\n\n{trailer('1', '2')}\n\n{trailer('1', '2')}\n", ["1 -> 2"]),
    "a rollback": (
        f"S\n\n- {API} 2 -> 1 in a.yaml:3\n\n{trailer('2', '1')}\nImage-Hold: {API} until 2026-12-01T00:00:00Z\n",
        ["2 -> 1"],
    ),
    "no value before": (f"S\n\n{trailer('-', '2')}\n", ["None -> 2"]),
    "an image that nobody tracks": (f"S\n\n{trailer('1', '2', 'r.example.com/evil/x')}\n", []),
    "an image that others track": (f"S\n\n{trailer('1', '2', WEB)}\n", []),
    "what is no image": (f"S\n\n{trailer('1', '2', '../../etc')}\n", []),
    "text that only looks like a trailer": (f"S\n\nand then {trailer('1', '2')}\n", []),
    "a place with a name that cannot be read": (
        f"S\n\n- ::: 1 -> 2 in a.yaml:3\n\n{trailer('1', '2')}\n",
        ["1 -> 2"],
    ),
    "no message at all": ("", []),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_what_a_message_tells(known: Diary, message: str, expected: list[str]) -> None:
    commit = landed(known, message=message or "\n", files=["a.yaml"])
    assert known.cycle(landed=[commit]) == ["image_updated api"] * len(expected)
    assert [f"{e.old} -> {e.new}" for e in reversed(known.journal.recent(len(expected)))] == expected
    assert known.cycle(landed=[commit]) == []


def test_a_message_that_was_made_to_hurt_costs_a_bounded_number_of_events_and_little_time(known: Diary) -> None:
    count = 40_000
    lines = "\n".join(f"- {API} {n} -> {n + 1} in a.yaml:3" for n in range(count))
    text = f"S\n\n{lines}\n\n" + "\n".join(trailer(f"{n}", f"{n + 1}") for n in range(count))
    started = time.process_time()
    found = list(updated(landed(known, message=text, files=["a.yaml"]), known.settings))
    assert len(found) == MAX_CHANGES
    assert time.process_time() - started < 20


def test_places_and_values_of_a_hostile_message_stay_texts(known: Diary) -> None:
    text = f"S\n\n- {API} 1 -> <at>all</at> in a.yaml:999999999\n\n{trailer('1', '<at>all</at>')}\n"
    (event,) = updated(landed(known, message=text, files=["a.yaml"]), known.settings)
    assert (event.new, event.kind, event.spots[0].line) == ("<at>all</at>", Kind.IMAGE_UPDATED, 999_999_999)


def test_what_was_there_where_a_reference_is_gone_is_told_by_nobody(known: Diary) -> None:
    commit = Landed("fleet", "main", REVISION, NOW, commit_message([bump()]), ("a.yaml",), {})
    assert known.cycle(landed=[commit]) == []


# What else may hurt.


def test_a_clock_that_goes_back_loses_nothing_and_repeats_nothing(known: Diary) -> None:
    assert known.cycle(known.held("level")) == ["update_held api"]
    back = -timedelta(hours=3)
    assert known.cycle(known.held("level"), after=back) == []
    assert known.cycle(known.held("level", "1.2.0")) == ["update_held api"]
    assert known.cycle(known.failed(cause=down()), after=back) == ["scan_failed r.example.com"]
    assert known.cycle(known.fine(), after=back) == ["scan_recovered r.example.com"]


def test_two_daemons_on_one_state_tell_once(known: Diary) -> None:
    with open_diary(known.folder) as second:
        second.now = known.now
        for row in (known.held("level"), known.failed(cause=down()), known.fine()):
            first = known.cycle(row)
            second.seen = known.seen
            assert (len(first), second.cycle(row)) == (1, [])


def test_a_state_that_was_deleted_tells_nothing_old_and_everything_new(known: Diary) -> None:
    known.cycle(known.held("moved_tag"), known.available(name="web"), heads={("fleet", "main"): REVISION})
    with open_diary(known.folder / "new") as fresh:
        assert fresh.cycle(fresh.held("moved_tag"), fresh.available(name="web"), failures=[failure(unreadable())]) == []
        assert fresh.cycle(fresh.updated(), landed=[landed(fresh, bump())]) == ["image_updated api"]


def test_an_event_names_places_of_the_weightiest_rows_only(known: Diary) -> None:
    def at(line: int, row: Row) -> Row:
        from dataclasses import replace

        reference = Reference("a.yaml", line, ImageRef.parse(f"{API}:1.0.0"), API, "manifest", ())
        return replace(row, repository="fleet", branch="main", reference=reference)

    found = [at(3, known.held("level")), at(4, known.fine()), at(5, known.held("level")), at(6, known.updated())]
    assert known.cycle(*found) == ["update_held api"]
    assert [spot.line for spot in known.last().spots] == [3, 5]
