"""Which tags count, and what of them is compared."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from updater.policies.filters import MAX_EXPRESSION, MAX_EXPRESSIONS, TagFilters

HEX = "0123456789abcdef" * 4


def filters(**fields: Any) -> TagFilters:
    return TagFilters.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "counts", "not_"),
    [
        pytest.param({}, "1.0 latest sha256-abc", "", id="no filter: every tag"),
        pytest.param({"include": ["^main-"]}, "main-1", "1-main-", id="include: only what it finds"),
        pytest.param({"include": ["^a", "^b"]}, "a1 b1", "c1", id="include: one of several is enough"),
        pytest.param({"include": ["in"]}, "main", "1.0", id="expressions are not anchored"),
        pytest.param({"exclude": ["rc", "beta"]}, "1.0", "1.0-rc1 1.0-beta", id="exclude: none of them"),
        pytest.param({"include": ["^1"], "exclude": ["rc"]}, "1.0", "1.0-rc 2.0", id="include and exclude"),
        pytest.param({"include": ["(?i)^RELEASE"]}, "release-1", "main", id="flags belong to their expression"),
        pytest.param({"pattern": "^v"}, "v1", "1", id="pattern: only what it finds"),
        pytest.param({}, "", f"sha256-{HEX} sha256-{HEX}.sig sha256-{HEX}.att sha256-{HEX}.sbom", id="signatures"),
        pytest.param({}, "", f".hidden -a a/b {'a' * 129} ä", id="what is no tag"),
    ],
)
def test_which_tags_count(fields: dict[str, Any], counts: str, not_: str) -> None:
    rule = filters(**fields)
    assert [rule.read(tag) for tag in counts.split()] == [(tag, "") for tag in counts.split()]
    assert all(rule.read(tag)[1].startswith("no_match: ") for tag in not_.split())


@pytest.mark.parametrize("tag", ["1.0\n", "1.0\x00", "", " 1.0"])
def test_a_text_that_is_no_tag_never_counts(tag: str) -> None:
    assert filters().read(tag)[1]
    assert filters().current(tag) is None


@pytest.mark.parametrize(
    ("pattern", "extract", "tag", "text"),
    [
        pytest.param(r"^main-(\d+)-", "$1", "main-17-abc", "17", id="a number"),
        pytest.param(r"^main-(?P<build>\d+)", "$build", "main-17", "17", id="a name"),
        pytest.param(r"^(?P<a>\d+)_(\d+)$", "${a}.${2}.0", "1_2", "1.2.0", id="braces, with text between"),
        pytest.param(r"^(\d+)(-rc)?$", "$1$2", "7", "7", id="a group that took no part is empty"),
        pytest.param(r"\d+", "$0", "main-17-abc", "17", id="zero is all that was found"),
        pytest.param(r"(\d+)", "$$$1", "v5", "$5", id="two dollars are one"),
    ],
)
def test_what_extract_makes_of_a_tag(pattern: str, extract: str, tag: str, text: str) -> None:
    rule = filters(pattern=pattern, extract=extract)
    assert rule.read(tag) == (text, "")
    assert rule.current(tag) == text


def test_the_tag_in_git_need_not_pass_the_filters_but_must_hold_what_is_extracted() -> None:
    assert filters(include=["^2"], exclude=["1"]).current("1.0") == "1.0"
    assert filters(pattern="^v").current("1.0") == "1.0"
    assert filters(pattern="^v(.*)", extract="$1").current("1.0") is None


def test_extract_that_leaves_nothing_does_not_count() -> None:
    assert filters(pattern="^v(.*)", extract="$1").read("v") == ("", "no_match: tags.extract leaves nothing")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"include": ["a(b"]}, "missing )", id="a parenthesis is open"),
        pytest.param({"exclude": ["[a"]}, "missing ]", id="a bracket is open"),
        pytest.param({"pattern": "(?=a)"}, "invalid perl operator", id="look-ahead is not RE2"),
        pytest.param({"pattern": r"(a)\1"}, "invalid escape sequence", id="back-references are not RE2"),
        pytest.param({"pattern": "a{1001}"}, "invalid repetition size", id="a repetition that is too large"),
        pytest.param({"pattern": "((a{99}){99}){99}"}, "invalid repetition size", id="repetitions of repetitions"),
        pytest.param({"include": ["a" * (MAX_EXPRESSION + 1)]}, "at most", id="too long an expression"),
        pytest.param({"include": ["a"] * (MAX_EXPRESSIONS + 1)}, "at most", id="too many expressions"),
        pytest.param({"include": [""]}, "at least 1", id="an empty expression"),
        pytest.param({"extract": "$1"}, "tags.extract without tags.pattern", id="extract without pattern"),
        pytest.param({"pattern": "(a)", "extract": "$2"}, "$2 in tags.extract", id="a group that is not there"),
        pytest.param({"pattern": "(a)", "extract": "$1x"}, "$1x in tags.extract", id="a name glued to a number"),
        pytest.param({"pattern": "(a)", "extract": "a$"}, "a lone $", id="a dollar alone"),
        pytest.param({"pattern": "(a)", "extract": "${1"}, "a lone $", id="a brace that is open"),
        pytest.param({"patern": "a"}, "not permitted", id="an unknown key"),
    ],
)
def test_a_mistake_says_what_is_wrong(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as error:
        filters(**fields)
    assert said in str(error.value)


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)*(.*)*x"])
def test_hostile_expressions_take_linear_time(expression: str) -> None:
    """Backtracking takes seconds on 27 characters; a minute would not do for 128."""
    rule = filters(exclude=[expression])
    start = time.process_time()
    for _ in range(200):
        rule.read("a" * 127 + "_")
    assert time.process_time() - start < 2


def test_a_large_expression_stays_small_in_memory() -> None:
    with pytest.raises(ValidationError, match="too large"):
        filters(pattern=r"(\pL{500}){2}" * 70)


@given(st.text(max_size=20))
def test_any_expression_is_compiled_or_refused(expression: str) -> None:
    try:
        rule = filters(include=[expression])
    except ValidationError:
        return
    text, why = rule.read("1.0")
    assert (text, why) == ("1.0", "") or (text == "" and why.startswith("no_match"))


@given(st.text(alphabet="$1{}na", min_size=1, max_size=10))
def test_any_template_is_read_or_refused(extract: str) -> None:
    try:
        rule = filters(pattern="(?P<n>a)", extract=extract)
    except ValidationError:
        return
    assert rule.read("a")[0]
