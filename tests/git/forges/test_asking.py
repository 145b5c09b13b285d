"""What forges answer is hostile, late, or too much; what we say about it holds no secret."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.lab.forge import BRANCH, KINDS, TARGET, TOKEN, Yard, yard
from updater.demo.forge import Asked
from updater.demo.forge.server import _SHAPES
from updater.demo.services.base import Answered, say
from updater.errors import ForgeError
from updater.git.forges.asking import LIMITED_PAUSE, LONGEST_AWAY, MAX_LIST

SOON = timedelta(seconds=30)  # that a slow machine may take between two looks at its clock


@pytest.fixture(params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    with yard(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Yard]:
    with yard(tmp_path, "github") as made:
        yield made


def first(*answers: Answered) -> Callable[[Asked], Answered | None]:
    """Answer these first, then as a forge does."""
    left = list(answers)
    return lambda _: left.pop(0) if left else None


def failing(there: Yard) -> ForgeError:
    with pytest.raises(ForgeError) as caught:
        there.client.requests(BRANCH, TARGET)
    assert TOKEN not in f"{caught.value!r} {caught.value}"
    return caught.value


def away(err: ForgeError) -> timedelta:
    assert err.retry_at is not None
    return err.retry_at - datetime.now(UTC)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_bad_moment_is_waited_for(there: Yard, status: int) -> None:
    there.forge.script = first(*[say({}, status, ("Retry-After", "2"))] * 2)
    assert there.client.requests(BRANCH, TARGET) == ()
    assert len(there.slept) == 2
    assert all(2 <= pause <= 5 for pause in there.slept)


def test_three_bad_moments_are_enough(there: Yard) -> None:
    there.forge.script = lambda _: Answered(502, b"<html>bad gateway</html>")
    err = failing(there)
    assert "502" in str(err)
    assert not err.refused
    assert len(there.forge.asked) == 3
    assert all(0 <= pause <= 1 for pause in there.slept)


def test_nobody_waits_for_long(there: Yard) -> None:
    there.forge.script = lambda _: say({"message": "slow down"}, 429, ("Retry-After", "120"))
    err = failing(there)
    assert timedelta(seconds=120) - SOON <= away(err) <= timedelta(seconds=120)
    assert not err.refused
    assert (len(there.forge.asked), there.slept) == (1, [])


@pytest.mark.parametrize("given", ["date", "never", "ages", "429 alone"])
def test_how_long_to_stay_away_is_bounded(hub: Yard, given: str) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    after, wanted = {
        "date": ([("Retry-After", then)], 300.0),
        "never": ([("Retry-After", "soon, perhaps")], LIMITED_PAUSE),
        "ages": ([("Retry-After", "99999999999")], LONGEST_AWAY),
        "429 alone": ([], LIMITED_PAUSE),
    }[given]
    hub.forge.script = lambda _: say({}, 429, *after)
    assert abs(away(failing(hub)).total_seconds() - wanted) <= SOON.total_seconds()


@pytest.mark.parametrize("status", [403, 429])
def test_githubs_hourly_limit_ends_when_it_says(hub: Yard, status: int) -> None:
    reset = str(int((datetime.now(UTC) + timedelta(minutes=20)).timestamp()))
    limit = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]
    hub.forge.script = lambda _: say({"message": "API rate limit exceeded for installation"}, status, *limit)
    err = failing(hub)
    assert timedelta(minutes=20) - SOON <= away(err) <= timedelta(minutes=20)
    assert not err.refused
    assert "too many requests" in str(err)


def test_githubs_secondary_limit_is_told_by_its_words_alone(hub: Yard) -> None:
    hub.forge.script = lambda _: say({"message": "You have exceeded a secondary rate limit."}, 403)
    err = failing(hub)
    assert away(err) > timedelta(seconds=LIMITED_PAUSE) - SOON
    assert not err.refused


@pytest.mark.parametrize(("status", "word"), [(401, "login"), (403, "may not"), (404, "not there"), (422, "422")])
def test_what_no_retry_mends_is_asked_once(there: Yard, status: int, word: str) -> None:
    there.forge.script = lambda _: say({"message": "no way"}, status)
    err = failing(there)
    assert err.refused
    assert err.retry_at is None
    assert word in str(err)
    assert "no way" in str(err)
    assert len(there.forge.asked) == 1


def test_without_the_right_token_the_forge_says_so(there: Yard) -> None:
    there.forge.door._fixed = frozenset()
    assert "401 (the login is missing or wrong)" in str(failing(there))


def test_a_comment_is_not_written_twice(there: Yard) -> None:
    """The first try may have been done, whatever came back."""
    there.push("image: r/a:1.1.0\n")
    number = there.client.open(BRANCH, TARGET, "Update", "").number

    def script(asked: Asked) -> Answered | None:
        return say({}, 502) if asked.path.endswith(("/comments", "/notes")) else None

    there.forge.script = script
    with pytest.raises(ForgeError, match="502"):
        there.client.close(number, "because")
    assert sum(asked.path.endswith(("/comments", "/notes")) for asked in there.forge.asked) == 1


def test_a_redirect_is_not_followed_and_its_target_sees_no_login(there: Yard, tmp_path: Path) -> None:
    with yard(tmp_path / "elsewhere", there.forge.kind) as elsewhere:
        there.forge.script = lambda asked: Answered(301, headers=(("Location", f"{elsewhere.forge.api}{asked.path}"),))
        err = failing(there)
        assert elsewhere.forge.asked == []
    assert "was the repository moved?" in str(err)
    assert err.refused


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_huge_answer_is_not_read(there: Yard, pieces: int) -> None:
    there.forge.script = lambda _: Answered(200, b"[" + b" " * (MAX_LIST * pieces) + b"]")
    assert f"larger than {MAX_LIST} bytes" in str(failing(there))
    assert len(there.forge.asked) == 1


def test_a_login_page_is_recognised(there: Yard) -> None:
    there.forge.script = lambda _: Answered(200, b"<html><form action=/login>", (("Content-Type", "text/html"),))
    assert "is there a login page or proxy in between?" in str(failing(there))


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b'"x"', b"[1]", b"[[]]", b"[{}]", b"[null]", b"\xff", b"[" * 100_000, b'[{"number": 1}]'],
)
def test_an_answer_of_another_shape_is_refused(there: Yard, body: bytes) -> None:
    there.forge.script = lambda _: Answered(200, body)
    assert "the answer" in str(failing(there))


HOSTILE: list[tuple[str, Any]] = [
    ("number", 0), ("number", -1), ("number", "1"), ("number", True), ("number", 1 << 60), ("number", 1.5),
    ("state", "weird"), ("state", None), ("url", "javascript:alert(1)"), ("url", "https://x/\x1b[2J"), ("url", None),
    ("title", 5), ("title", None), ("body", ["x"]), ("updated_at", "yesterday"), ("updated_at", "2026-01-01T00:00:00"),
]  # fmt: skip
NAMES = {"gitlab": {"number": "iid", "url": "web_url", "body": "description"}}


def edited(there: Yard, change: Callable[[dict[str, Any]], None]) -> None:
    """Have every request of a list changed on its way."""
    shapes = _SHAPES[there.forge.kind]

    def script(asked: Asked) -> Answered | None:
        answer = shapes.answer(there.forge, asked)
        found = json.loads(answer.body)
        for one in found if isinstance(found, list) else ():
            change(one)
        return say(found, answer.status, *answer.headers)

    there.forge.script = script


@pytest.mark.parametrize(("key", "value"), HOSTILE)
def test_a_field_of_another_kind_is_refused(there: Yard, key: str, value: object) -> None:
    there.push("image: r/a:1.1.0\n")
    there.client.open(BRANCH, TARGET, "Update", "")
    name = NAMES.get(there.forge.kind, {"url": "html_url"}).get(key, key)
    edited(there, lambda one: one.update({name: value}))
    said = str(failing(there))
    assert "is not what was asked for" in said
    assert "javascript" not in said


def test_control_characters_do_not_come_through(there: Yard) -> None:
    there.push("image: r/a:1.1.0\n")
    there.client.open(BRANCH, TARGET, "Update", "")
    body = "description" if there.forge.kind == "gitlab" else "body"
    edited(there, lambda one: one.update({"title": "a\x1b[2J\r\nb\u202e", body: "x\x00\n\ty\x1b"}))
    [found] = there.client.requests(BRANCH, TARGET)
    assert (found.title, found.body) == ("a [2J b", "x\n\ty")


def test_what_is_no_revision_is_none(there: Yard) -> None:
    there.push("image: r/a:1.1.0\n")
    there.client.open(BRANCH, TARGET, "Update", "")

    def change(one: dict[str, Any]) -> None:
        (one if "sha" in one else one["head"])["sha"] = "--upload-pack=evil"

    edited(there, change)
    [found] = there.client.requests(BRANCH, TARGET)
    assert found.head == ""


def test_the_branch_of_a_fork_is_not_ours(there: Yard) -> None:
    there.push("image: r/a:1.1.0\n")
    there.client.open(BRANCH, TARGET, "Update", "")

    def change(one: dict[str, Any]) -> None:
        if "source_project_id" in one:
            one["source_project_id"] = 9
        else:
            one["head"] |= {"repo_id": 9, "repo": {"id": 9}}

    edited(there, change)
    assert there.client.requests(BRANCH, TARGET) == ()


def test_pages_without_end_are_not_followed(there: Yard) -> None:
    there.push("image: r/a:1.1.0\n")
    there.client.open(BRANCH, TARGET, "Update", "")
    shapes = _SHAPES[there.forge.kind]
    more = ("Link", f'<{there.forge.api}/elsewhere>; rel="next"')
    there.forge.script = lambda asked: say(json.loads(shapes.answer(there.forge, asked).body), 200, more)
    there.client.requests(BRANCH, TARGET)
    assert len(there.forge.asked) <= 12
    assert all(asked.path.endswith(("/pulls", "/merge_requests")) for asked in there.forge.asked)


@pytest.mark.parametrize("status", [200, 401, 403, 404, 422, 500, 503])
def test_a_forge_that_echoes_our_login_does_not_put_it_into_an_error(there: Yard, status: int) -> None:
    def script(asked: Asked) -> Answered:
        heard = asked.headers["authorization"]
        return say({"message": heard, "errors": [heard], "error": f"{asked.headers}"}, status, ("X-Echo", heard))

    there.forge.script = script
    failing(there)


def test_one_question_has_one_deadline(tmp_path: Path) -> None:
    """Tries, pauses and drips together."""
    held = threading.Event()

    def script(_: Asked) -> Answered:
        held.wait(20)
        return say([])

    with yard(tmp_path, "gitea", seconds=0.3, script=script) as there:
        try:
            assert "no answer in time" in str(failing(there))
        finally:
            held.set()


def test_a_forge_that_is_gone_is_a_forge_error(hub: Yard) -> None:
    with socket.socket() as listening:  # a port that nobody answers at
        listening.bind(("127.0.0.1", 0))
        hub.client._api.base = f"http://127.0.0.1:{listening.getsockname()[1]}/api/v3"
        err = failing(hub)
    assert not err.refused
    assert len(hub.slept) == 2
