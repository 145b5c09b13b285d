"""Headers of registries, as they come and as they should never come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.registry.challenge import MAX_CHALLENGES, MAX_HEADER, challenges, next_link, retry_after

NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(
            ['Bearer realm="https://auth.example.com/token",service="s",scope="repository:a/b:pull"'],
            [("bearer", {"realm": "https://auth.example.com/token", "service": "s", "scope": "repository:a/b:pull"})],
            id="bearer",
        ),
        pytest.param(['bEaReR ReAlM="https://A/Case"'], [("bearer", {"realm": "https://A/Case"})], id="case of values"),
        pytest.param(
            ['Bearer scope="repository:a:pull,push",realm="r"'],
            [("bearer", {"scope": "repository:a:pull,push", "realm": "r"})],
            id="comma inside quotes",
        ),
        pytest.param(['Basic realm="a \\"b\\" c"'], [("basic", {"realm": 'a "b" c'})], id="escaped quotes"),
        pytest.param(["Bearer realm=https://a/t,service=s"], [("bearer", {"realm": "https://a/t", "service": "s"})],
                     id="no quotes"),
        pytest.param(['Bearer realm = "r" , service = "s"'], [("bearer", {"realm": "r", "service": "s"})], id="blanks"),
        pytest.param(['Basic realm="a", Bearer realm="b",service="c"'],
                     [("basic", {"realm": "a"}), ("bearer", {"realm": "b", "service": "c"})], id="two in one header"),
        pytest.param(['Basic realm="a"', 'Bearer realm="b"'], [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})],
                     id="two headers"),
        pytest.param(['Negotiate, NTLM TlRM==, Basic realm="a"'],
                     [("negotiate", {}), ("ntlm", {}), ("basic", {"realm": "a"})], id="schemes without parameters"),
        pytest.param(["Basic"], [("basic", {})], id="scheme alone"),
        pytest.param(['Bearer realm="a",realm="b"'], [("bearer", {"realm": "a"})], id="the first of two counts"),
        pytest.param(['Bearer realm="never closed'], [("bearer", {})], id="unclosed quote gives no parameter"),
        pytest.param(['realm="nobody\'s"'], [], id="parameter without a scheme"),
        pytest.param(["", ",,,", "\x00\x7f"], [], id="nothing"),
        pytest.param([f'Bearer realm="{"x" * MAX_HEADER}"'], [], id="too long"),
    ],
)  # fmt: skip
def test_challenges_are_read_as_the_standard_says(
    values: list[str], expected: list[tuple[str, dict[str, str]]]
) -> None:
    assert [(challenge.scheme, dict(challenge.params)) for challenge in challenges(values)] == expected


def test_challenges_are_bounded_in_number() -> None:
    assert len(challenges(['Basic realm="a", ' * 100])) == MAX_CHALLENGES


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('</v2/a/tags/list?last=b&n=2>; rel="next"', "/v2/a/tags/list?last=b&n=2"),
        ("</next>; rel=next", "/next"),
        ('</next>; REL="Next"', "/next"),
        ('</p>; rel="prev", </n>; rel="next"', "/n"),
        ('</n>; title="a, b; c"; rel="next"', "/n"),
        ('</n?a=1,2>; rel="prev next"', "/n?a=1,2"),
        ('/v2/a/tags/list?next_page=xyz; rel="next"', "/v2/a/tags/list?next_page=xyz"),
        ('<https://other.example.com/v2/>; rel="next"', "https://other.example.com/v2/"),
        ('</p>; rel="prev"', None),
        ("</n>", None),
        ("", None),
        ("<<<>>>;;;", None),
    ],
)
def test_the_next_page_is_taken_exactly_as_given(value: str, expected: str | None) -> None:
    assert next_link([value]) == expected


def test_a_link_header_beyond_all_measure_is_said() -> None:
    with pytest.raises(ValueError, match="longer than"):
        next_link([f'<{"x" * MAX_HEADER}>; rel="next"'])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("0", 1.0, id="at least a second"),
        pytest.param("1000000000", 3600.0, id="at most an hour"),
        pytest.param("9" * 400, 3600.0, id="absurd"),
        pytest.param("Thu, 01 Oct 2026 12:00:30 GMT", 30.0, id="date"),
        pytest.param("Thu, 01 Oct 2026 11:00:00 GMT", None, id="date in the past"),
        pytest.param("-5", None, id="negative"),
        pytest.param("soon", None, id="words"),
        pytest.param("", None, id="empty"),
        pytest.param("٣", None, id="digits of another script"),
        pytest.param(None, None, id="missing"),
    ],
)
def test_retry_after_is_clamped_and_nonsense_is_as_if_missing(value: str | None, expected: float | None) -> None:
    assert retry_after(value, NOW) == expected


HEADER = st.text(st.characters(max_codepoint=255), max_size=200) | st.text('Bearr lm="\\,; <>next=/', max_size=200)


@given(st.lists(HEADER, max_size=4))
def test_no_header_makes_the_readers_fail(values: list[str]) -> None:
    for challenge in challenges(values):
        assert challenge.scheme == challenge.scheme.lower() != ""
    link = next_link(values)
    assert link is None or link in "\n".join(values)
    for value in values:
        seconds = retry_after(value, NOW)
        assert seconds is None or 1 <= seconds <= timedelta(hours=1).total_seconds()
