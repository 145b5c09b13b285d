"""What pull requests say, and what is read back from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.git.log import trailers
from updater.messages.commits import Told, Wording
from updater.messages.proposals import MAX_BODY, MAX_TITLE, WITHDRAWN, body, proposed, title
from updater.model.change import Bump
from updater.model.origin import Origin

REVISION = "0123456789abcdef0123456789abcdef01234567"


def bump(number: int = 0, **more: object) -> Bump:
    image = f"ghcr.io/acme/api{number or ''}"
    fields = {
        "file": "apps/a.yaml", "line": 7, "image": image, "spelled": image, "old": "1.0.0", "new": "1.1.0",
        "digest": None, "reason": "semver 1.x, newest of 2",
    }  # fmt: skip
    return Bump(**(fields | more))  # type: ignore[arg-type]


def test_it_shows_a_table_the_reasons_and_the_links() -> None:
    origin = Origin(source="https://github.com/acme/api", revision=REVISION, version="1.1.0", url=None)
    lines = body([bump(origin=origin)], Wording()).splitlines()
    assert lines[2] == "| ghcr.io/acme/api | 1.0.0 | 1.1.0 | apps/a.yaml:7 |"
    assert lines[4] == (
        "- ghcr.io/acme/api 1.1.0: semver 1.x, newest of 2, [release notes](https://github.com/acme/api/releases/tag/1.1.0)"
        f", [source](https://github.com/acme/api/tree/{REVISION})"
    )


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_it_proposes_is_read_back(ends: str) -> None:
    text = body([bump(), bump(2, new="2.0.0"), bump()], Wording(body="Please look.")).replace("\n", ends)
    assert text.startswith("Please look.")
    assert proposed(text) == {
        Told("ghcr.io/acme/api", "1.0.0", "1.1.0"),
        Told("ghcr.io/acme/api2", "1.0.0", "2.0.0"),
    }


def test_a_squash_that_takes_the_body_keeps_the_trailers() -> None:
    found = [value for key, value in trailers(f"Merged (#1)\n\n{body([bump()], Wording())}") if key == "Image-Update"]
    assert found == ["ghcr.io/acme/api 1.0.0 -> 1.1.0"]


def test_what_was_withdrawn_proposes_nothing() -> None:
    assert proposed(WITHDRAWN) == frozenset()


def test_outside_text_calls_nobody_and_breaks_no_table() -> None:
    text = body([bump(file="a|b\n`@all`.yaml", reason="<img src=x> [x](javascript:1) #1")], Wording())
    assert "@all" not in text
    assert "<img" not in text.replace("\\<img", "")
    assert "| a\\|b?\\`&#64;all\\`.yaml:7 |" in text


def test_very_many_changes_fit() -> None:
    text = body([bump(n, file="x" * 200) for n in range(5_000)], Wording())
    assert len(text) <= MAX_BODY + 2
    assert "and 4800 more" in text


def test_a_title_is_one_line() -> None:
    assert title([bump()], Wording(subject="chore: {{ subject }}\nImage-Update: x")) == (
        "chore: Update ghcr.io/acme/api to 1.1.0?Image-Update: x"
    )
    assert len(title([bump()], Wording(subject="{{ subject }}" * 20))) <= MAX_TITLE


@given(st.text(max_size=300))
def test_any_body_is_read(text: str) -> None:
    assert all(told.image and told.new for told in proposed(text))
