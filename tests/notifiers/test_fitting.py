"""Before any markup a message is cleaned, and shortened until it fits."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notifiers.made import EVERY, HOSTILE_MESSAGE, HUGE, MANY, MARKED, MARKED_HUGE, SINGLE, entry, message
from updater.model.event import Kind
from updater.model.message import Language, Message
from updater.notifiers.fitting import brief, cleaned, fitted, plain_text, short, within, worded


def weight(told: Message) -> int:
    return len(plain_text(told)) + sum(len(entry.markup or "") for entry in told.entries)


def test_outside_text_becomes_one_printable_line() -> None:
    told = cleaned(HOSTILE_MESSAGE)
    (only,) = told.entries
    for text in (told.title, told.note, only.headline, only.action, *(part for fact in only.facts for part in fact)):
        assert text.isprintable()
        assert "\n" not in text
    assert [link.url for link in only.links] == ["https://git.example.com/fleet/commit/4f2c9d1"]


def test_what_is_empty_is_left_out_and_a_headline_is_never_empty() -> None:
    told = cleaned(message(entry(headline="\x00", facts=(("Tag", "\r\n"), ("", "x")), links=()), title=""))
    assert (told.title, told.entries[0].headline, told.entries[0].facts) == ("updater", "image_updated", ())


@pytest.mark.parametrize("most", [50_000, 10_000, 3_000, 1_000, 400])
@pytest.mark.parametrize(
    "told", [HUGE, MANY, MARKED_HUGE, HOSTILE_MESSAGE], ids=["huge", "many", "template", "hostile"]
)
def test_a_message_is_shortened_until_it_fits(told: Message, most: int) -> None:
    found = fitted(told, weight, most)
    assert weight(found) <= most
    assert found.title


@pytest.mark.parametrize("told", list(EVERY.values()), ids=list(EVERY))
def test_what_fits_stays_whole(told: Message) -> None:
    assert fitted(told, weight, 10_000) == cleaned(told)


@pytest.mark.parametrize(("language", "word"), [("en", "and 2"), ("zh", "另有 2")])
def test_events_that_are_left_out_are_counted(language: str, word: str) -> None:
    told = message(*MANY.entries[:300], language=language, title="x")  # type: ignore[arg-type]
    found = fitted(told, weight, 2_000)
    assert 0 < len(found.entries) < 300
    assert word in found.note


def test_a_template_that_is_too_long_gives_way_to_our_words() -> None:
    assert fitted(MARKED, weight, 10_000).entries[0].markup == "operator's *own* <b>words</b>"
    found = fitted(MARKED_HUGE, weight, 10_000)
    assert (found.entries[0].markup, found.entries[0].facts) == (None, SINGLE.entries[0].facts)


@given(st.text(max_size=200), st.integers(1, 60))
def test_a_cut_is_never_within_an_escape(text: str, count: int) -> None:
    found = within(text, count, html.escape)
    assert len(found) <= max(count, 1)
    assert html.unescape(found).rstrip("…") in text or not found.rstrip("…")
    assert html.escape(html.unescape(found)) == found


def test_a_cut_says_so() -> None:
    assert (short("abcdef", 6), short("abcdefg", 6)) == ("abcdef", "abcde…")
    assert within("<" * 10, 13, html.escape) == "&lt;&lt;&lt;…"


def test_facts_go_one_by_one_from_the_end() -> None:
    told = message(entry(facts=tuple((f"Label {n:02}", "v" * 50) for n in range(20))))
    (found,) = fitted(told, weight, 700).entries
    assert [label for label, _ in found.facts] == [f"Label {n:02}" for n in range(len(found.facts))]
    assert 0 < len(found.facts) < 20
    assert weight(fitted(told, weight, 700)) > 600


@pytest.mark.parametrize("most", range(100, 420, 20))
def test_a_command_is_whole_or_left_out(most: int) -> None:
    command = "updater approve registry.example.com/" + "team/" * 20 + "web"
    told = message(
        entry(headline="h" * 90, facts=(), links=(), action=f"Approve it with `{command}`, or raise `level`")
    )
    shown = plain_text(fitted(told, weight, most))
    assert command in shown or "updater approve" not in shown


def test_in_brief_only_trouble_has_facts_and_every_action_stays() -> None:
    held = entry(Kind.UPDATE_HELD, "db", action="Approve it")
    failed = entry(Kind.SCAN_FAILED, "web", action="Look")
    told = brief(message(held, failed))
    assert [(bool(one.facts), one.action) for one in told.entries] == [(False, "Approve it"), (True, "Look")]
    assert brief(message(held)) == message(held)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        pytest.param("Run `a b` or set `c`", "<RUN> [a b] <OR SET> [c]", id="words and commands"),
        pytest.param("`a`", "[a]", id="a command alone"),
        pytest.param("Look at it", "<LOOK AT IT>", id="words alone"),
        pytest.param("a ` b", "<A ` B>", id="a backtick alone is none of ours"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_an_action_is_words_and_commands(action: str, expected: str) -> None:
    found = worded(action, lambda text: f"<{text.strip().upper()}>" if text else "", lambda text: f"[{text}]")
    assert found == expected


@pytest.mark.parametrize(
    ("language", "shown"),
    [("en", "Image: ghcr.io/acme/api"), ("zh", "Image\N{FULLWIDTH COLON}ghcr.io/acme/api")],
)
def test_a_fact_has_the_colon_of_its_language(language: Language, shown: str) -> None:
    assert shown in plain_text(message(entry(), language=language)).splitlines()
