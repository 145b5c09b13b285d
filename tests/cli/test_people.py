"""hold, resume, approve and rollback, as scripts and people use them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab.path import Ran, WholePath, commits, head, manifest


@pytest.fixture
def path(tmp_path: Path) -> Iterator[WholePath]:
    with WholePath.embedded(tmp_path) as opened:
        opened.push("acme/api", "1.0.0")
        opened.push("acme/api", "1.1.0")
        opened.create("fleet", {"a.yaml": manifest(opened.image("acme/api"), "1.0.0")})
        opened.configure([opened.entry("acme/api")])
        yield opened


def done(ran: Ran) -> Ran:
    assert (ran.code, ran.err) == (0, "")
    return ran


def row(path: WholePath) -> dict[str, Any]:
    """What `check` says of the image."""
    (found,) = path.run("check", "--json").json["images"]
    return dict(found)


def test_a_hold_stops_until_it_is_resumed(path: WholePath) -> None:
    (said,) = done(path.run("hold", "api", "--reason", "release [freeze]", "--json")).json["items"]
    assert said["name"] == "api"
    assert said["held"] == {
        "at": said["held"]["at"],
        "until": None,
        "reason": "release [freeze]",
        "by": "hold",
        "tag": None,
    }
    held = row(path)
    assert (held["outcome"], held["reason"]) == ("held", "held")
    assert "release [freeze]" in held["why"]
    (ended,) = done(path.run("resume", "api", "--json")).json["items"]
    assert (ended["name"], ended["ended"]) == ("api", said["held"])
    assert row(path)["outcome"] == "available"
    assert done(path.run("resume", "api")).out == "api goes on; it was not held here\n"


@pytest.mark.parametrize(
    ("until", "length"),
    [
        ("7d", timedelta(days=7)),
        ("90m", timedelta(minutes=90)),
        ("2126-12-01", None),
        ("2126-12-01T00:00Z", None),
        ("2126-12-01T08:00+08:00", None),
    ],
    ids=["days", "minutes", "a day", "a time in UTC", "a time in Shanghai"],
)
def test_how_long_a_hold_lasts(path: WholePath, until: str, length: timedelta | None) -> None:
    (said,) = done(path.run("hold", "api", "--until", until, "--json")).json["items"]
    end, at = (datetime.fromisoformat(said["held"][key]) for key in ("until", "at"))
    assert end == (at + length if length else datetime(2126, 12, 1, tzinfo=UTC))


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a name that nobody has": (("hold", "nothing"), "no image is named 'nothing'"),
    "no name": (("hold",), "Missing argument 'NAME'"),
    "a time that is over": (("hold", "api", "--until", "2020-01-01"), "is over already"),
    "no time at all": (("hold", "api", "--until", "0s"), "is over already"),
    "a time in words": (("hold", "api", "--until", "tomorrow"), "expected 7d, 12h or a time"),
    "a length beyond all calendars": (("hold", "api", "--until", "99999999d"), "expected 7d, 12h or a time"),
    "a time beyond all calendars": (("hold", "api", "--until", "9999-12-31T23:59-23:00"), "expected 7d, 12h or a time"),
    "a reason of two lines": (("hold", "api", "--reason", "a\nb"), "expected one line"),
    "a reason that is a book": (("hold", "api", "--reason", "a" * 501), "at most 500 characters"),
    "approve: no tag": (("approve", "api", "--tag", "a b"), "'a b' is not a tag"),
    "rollback: no tag": (("rollback", "api", "--to", "-"), "'-' is not a tag"),
    "rollback: a digest is no tag": (("rollback", "api", "--to", f"sha256:{'a' * 64}"), "is not a tag"),
}


def test_wrong_usage_changes_nothing(path: WholePath) -> None:
    for args, said in WRONG.values():
        ran = path.run(*args)
        assert (ran.code, ran.out) == (2, ""), args
        assert said in " ".join(ran.err.replace("│", " ").split()), args
    assert row(path)["outcome"] == "available"


def test_approve_lets_the_newest_pass_once(path: WholePath) -> None:
    path.configure([path.entry("acme/api", min_age="7d")])
    held = row(path)
    assert (held["outcome"], held["reason"], held["newest"]) == ("held", "min_age", "1.1.0")
    before = head(path.git.repos / "fleet.git")
    document = done(path.run("approve", "api", "--json")).json
    assert document == {"items": [{"name": "api", "approved": "1.1.0", "reason": "min_age"}], "failures": []}
    assert done(path.run("once", "--json")).json["images"][0]["outcome"] == "updated"
    assert len(commits(path.git.repos / "fleet.git", before)) == 1
    path.push("acme/api", "1.2.0")
    assert row(path)["reason"] == "min_age"


def test_approve_says_which_tag_it_was(path: WholePath) -> None:
    path.push("acme/api", "2.0.0")
    assert done(path.run("approve", "api", "--tag", "2.0.0")).out == "api: 2.0.0 may pass once\n"
    assert row(path)["target"] == "2.0.0"


def test_approve_refuses_a_tag_that_is_not_there(path: WholePath) -> None:
    ran = path.run("approve", "api", "--tag", "1.1.1", "--json")
    [failure] = ran.json["failures"]
    assert (ran.code, failure["what"]) == (2, "usage")
    assert failure["error"].endswith("acme/api has no tag 1.1.1: it was never listed, and neither has the registry")
    done(path.run("once"))
    ran = path.run("approve", "api", "--tag", "1.1.1", "--json")
    assert "has no tag 1.1.1: the last list has none; near: 1.1.0" in ran.json["failures"][0]["error"]
    path.configure([path.entry("acme/api") | {"image": path.image("acme/*"), "name": "all"}])
    ran = path.run("approve", "all", "--tag", "1.1.1")
    assert (ran.code, "is known to have a tag 1.1.1" in " ".join(ran.err.replace("│", " ").split())) == (2, True)
    done(path.run("approve", "all", "--tag", "1.1.0"))


def test_approve_asks_the_registry_of_a_tag_alone_that_was_not_listed(path: WholePath) -> None:
    done(path.run("once"))
    path.push("acme/api", "2.0.0")
    done(path.run("approve", "api", "--tag", "2.0.0"))
    path.configure([path.entry("acme/api") | {"image": "127.0.0.1:1/acme/api"}])
    ran = path.run("approve", "api", "--tag", "2.0.0")
    assert (ran.code, ran.out) == (1, "")
    assert "whether 127.0.0.1:1/acme/api has a tag 2.0.0 is not known: it was never listed, and " in ran.err


def test_approve_is_about_the_best_tag_also_where_another_one_passes(path: WholePath) -> None:
    path.push("acme/api", "2.0.0")
    assert (row(path)["target"], row(path)["newest"]) == ("1.1.0", "2.0.0")
    document = done(path.run("approve", "api", "--json")).json
    assert document["items"] == [{"name": "api", "approved": "2.0.0", "reason": "level"}]
    assert row(path)["target"] == "2.0.0"


def test_approve_has_nothing_to_do_where_no_gate_stops_anything(path: WholePath) -> None:
    ran = path.run("approve", "api")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("failed: image api: nothing to approve: semver *")
    assert path.run("approve", "api", "--json").json["items"] == []


def test_rollback_writes_one_commit_and_a_hold(path: WholePath) -> None:
    done(path.run("once"))
    bare = path.git.repos / "fleet.git"
    before = head(bare)
    document = done(path.run("rollback", "api", "--json")).json
    (item,) = document["items"]
    assert (item["name"], item["to"]) == ("api", ["1.0.0"])
    left = datetime.fromisoformat(item["until"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert [commit["revision"] for commit in document["commits"]] == commits(bare, before)
    held = row(path)
    assert (held["outcome"], held["reason"], held["current"]) == ("held", "held", "1.0.0")
    (ended,) = path.run("resume", "api", "--json").json["items"]
    assert (ended["ended"]["by"], ended["ended"]["tag"]) == ("rollback", "1.0.0")
    assert row(path)["outcome"] == "available"


def test_rollback_says_what_it_did_in_words(path: WholePath) -> None:
    done(path.run("once"))
    words = done(path.run("rollback", "api", "--to", "1.0.0")).out
    assert "  rolled back  " in words
    assert "updated" not in words
    assert f"Update {path.image('acme/api')} to 1.0.0" in words
    assert "api is held until " in words


def test_rollback_without_a_past_fails_in_words(path: WholePath) -> None:
    ran = path.run("rollback", "api")
    assert ran.code == 1
    assert "what stood before it is not known; name a tag" in ran.err
    document = path.run("rollback", "api", "--json").json
    assert (document["items"], document["commits"], len(document["failures"])) == ([], [], 1)


def test_all_items_of_an_image_by_its_name(path: WholePath) -> None:
    items = [{"name": env, "repository": "fleet", "paths": [f"{env}/**"]} for env in ("dev", "prod")]
    path.configure([path.entry("acme/api", update=items)])
    assert [item["name"] for item in path.run("hold", "api", "--json").json["items"]] == ["api/dev", "api/prod"]
    assert [item["name"] for item in path.run("resume", "prod", "--json").json["items"]] == ["api/prod"]


def test_a_state_that_cannot_be_written_is_said_and_exits_1(path: WholePath) -> None:
    (path.folder / "no.db").write_bytes(b"this is no database" * 100)
    path.configure([path.entry("acme/api")], state=f"sqlite:///{path.folder}/no.db")
    for args in (("hold", "api"), ("resume", "api"), ("approve", "api", "--tag", "1.1.0")):
        ran = path.run(*args)
        assert (ran.code, ran.out) == (1, "")
        assert "no.db" in ran.err
