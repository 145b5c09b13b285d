"""The words of the page, and how its language is chosen."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from updater.web.words import WORDS, language_of

TEMPLATES = Path(__file__).parents[2] / "updater/web/templates"


def test_both_languages_say_the_same_things_with_the_same_values() -> None:
    english, chinese = WORDS["en"], WORDS["zh"]
    assert english.keys() == chinese.keys()
    for key in english:
        values = [{name for _, name, _, _ in Formatter().parse(text) if name} for text in (english[key], chinese[key])]
        assert values[0] == values[1], key


def test_every_word_that_a_template_says_is_known() -> None:
    texts = [file.read_text() for file in TEMPLATES.glob("*.html")]
    said = {word for text in texts for word in re.findall(r"""\bt\(["']([a-z_]+)["'][,)]""", text)}
    assert len(said) > 60
    assert said <= WORDS["en"].keys()


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "spoken"),
    [
        ("zh", "en", "en", "zh"),
        ("", "zh", "en-GB,en", "zh"),
        ("", "", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "", "fr-FR, en;q=0.5, zh;q=0.1", "en"),
        ("xx", "yy", "de", "en"),
        ("", "", "", "en"),
    ],
)
def test_the_language(asked: str, kept: str, accepted: str, spoken: str) -> None:
    assert language_of(asked, kept, accepted) == spoken
