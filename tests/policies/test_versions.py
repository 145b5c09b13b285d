"""Loose versions, and the order that they stand in."""

from __future__ import annotations

from itertools import pairwise

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from updater.policies.versions import MAX_VERSION, parse, runs

WORDS = st.from_regex(r"[a-zA-Z-]{1,4}", fullmatch=True)
NUMBERS = st.integers(0, 10**6)
RELEASES = st.tuples(NUMBERS, NUMBERS, NUMBERS)
# Digits inside a word are where our order differs from SemVer's, so these identifiers have none.
PURE = st.builds(
    lambda release, words: ".".join(map(str, release)) + (f"-{'.'.join(words)}" if words else ""),
    RELEASES,
    st.lists(st.one_of(WORDS, NUMBERS.map(str)), max_size=4),
)


def key(text: str) -> tuple[object, ...]:
    version = parse(text)
    assert version is not None, text
    return version.rank.key


@pytest.mark.parametrize(
    ("text", "same"),
    [
        pytest.param("v1.2.3", "1.2.3", id="a v before says nothing"),
        pytest.param("1.2", "1.2.0", id="a patch left out is zero"),
        pytest.param("1", "1.0.0", id="minor and patch left out are zero"),
        pytest.param("v2025.07.03", "2025.7.3", id="leading zeros are dropped"),
        pytest.param("1.2.3+linux", "1.2.3+darwin", id="build metadata does not count"),
        pytest.param("1.2-rc1", "1.2.0-rc1", id="a short version may be a prerelease"),
        pytest.param("1.0.0-rc01", "1.0.0-rc1", id="leading zeros inside a word do not count"),
    ],
)
def test_texts_of_one_version_are_equal(text: str, same: str) -> None:
    assert key(text) == key(same)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("latest", id="a word"),
        pytest.param("V1.2.3", id="a capital V"),
        pytest.param("1.2.3.4", id="four parts"),
        pytest.param("1.2.3_4", id="an underscore"),
        pytest.param("1.2.3-", id="an empty prerelease"),
        pytest.param("1.2.3-a..b", id="an empty identifier"),
        pytest.param("1.2.3-01", id="a numeric identifier with leading zeros"),
        pytest.param("1.2.3\n", id="a line end after it"),
        pytest.param("1.2.٣", id="digits of another script"),
        pytest.param("9" * (MAX_VERSION + 1), id="longer than any version"),
    ],
)
def test_what_is_no_version(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "ascending",
    [
        pytest.param(["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
                      "1.0.0-rc.1", "1.0.0"], id="the example of the specification"),
        pytest.param(["1.0.0-rc9", "1.0.0-rc10", "1.0.0"], id="rc10 comes after rc9"),
        pytest.param(["1.0.0-rc", "1.0.0-rc1", "1.0.0-rc1b"], id="more runs come after fewer"),
        pytest.param(["1.0.0-2", "1.0.0-10", "1.0.0-1a"], id="numbers come before words"),
        pytest.param(["1.9.0", "1.10.0", "2.0.0-0", "2.0.0"], id="numbers are no text"),
        pytest.param(["1.0.0--2", "1.0.0--3"], id="a hyphen is a letter"),
    ],
)  # fmt: skip
def test_the_order_of_versions(ascending: list[str]) -> None:
    assert all(key(low) < key(high) for low, high in pairwise(ascending))


@given(PURE, PURE)
def test_without_digits_in_words_the_order_is_that_of_semver(a: str, b: str) -> None:
    assert (key(a) > key(b)) - (key(a) < key(b)) == semver.Version.parse(a).compare(b)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    version = parse(text)
    assert version is None or len(version.rank.release) == 3


@given(st.from_regex(r"[0-9A-Za-z-]{1,12}", fullmatch=True), st.from_regex(r"[0-9A-Za-z-]{1,12}", fullmatch=True))
def test_runs_of_any_two_words_compare(a: str, b: str) -> None:
    assert (runs(a) < runs(b)) or (runs(b) < runs(a)) or runs(a) == runs(b)
