"""The range language of Helm, Flux and Argo CD."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.policies.ranges import MAX_COMPARATORS, MAX_RANGE, parse
from updater.policies.versions import parse as version

# range, versions inside, versions outside
TABLE: list[tuple[str, str, str, str]] = [
    ("equal", "=1.2.3", "1.2.3 v1.2.3", "1.2.4 1.2.2"),
    ("no operator is equal", "1.2.3", "1.2.3", "1.2.4"),
    ("a part left out stands for all its values", "=2.0", "2.0.0 2.0.9", "2.1.0 1.9.9"),
    ("an x stands for all values", "1.x", "1.0.0 1.99.0", "2.0.0 0.9.0"),
    ("a capital X and a star too", "1.2.X || 3.*", "1.2.7 3.4.5", "1.3.0 2.0.0"),
    ("a star is everything", "*", "0.0.0 99.0.0", ""),
    ("not equal", "!=1.2.3", "1.2.2 1.2.4", "1.2.3"),
    ("not equal to a minor leaves out all its patches", "!=4.1", "4.0.9 4.2.0", "4.1.0 4.1.7"),
    ("not equal to a major leaves out all of it", "!=4", "3.9.9 5.0.0", "4.0.0 4.9.0"),
    ("not equal to anything is nothing", "!=*", "", "0.0.0 1.2.3"),
    ("greater", ">1.2.3", "1.2.4 2.0.0", "1.2.3 1.2.2"),
    ("greater than a major begins at the next one", ">11", "12.0.0", "11.1.0 11.0.0"),
    ("greater than a minor begins at the next one", ">1.1", "1.2.0", "1.1.9"),
    ("greater than anything is nothing", ">*", "", "1.0.0"),
    ("less", "<1.2.3", "1.2.2 0.9.0", "1.2.3"),
    ("less than a minor ends before its first patch", "<1.2", "1.1.9", "1.2.0"),
    ("at least", ">=1.2", "1.2.0 2.0.0", "1.1.9"),
    ("at least, the other way round", "=>1.2", "1.2.0", "1.1.9"),
    ("at most a minor holds all its patches", "<=1.1", "1.1.5 1.0.0", "1.2.0"),
    ("at most a major holds all its minors", "=<1", "1.9.9", "2.0.0"),
    ("at most anything is everything", "<=*", "9.9.9", ""),
    ("tilde keeps the minor", "~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
    ("tilde of a major keeps the major", "~>1", "1.9.0", "2.0.0 0.9.0"),
    ("tilde of zeros is everything, as in the original", "~0.0.0", "0.0.0 7.0.0", ""),
    ("caret keeps the major", "^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
    ("caret below one keeps the minor", "^0.2.3", "0.2.9", "0.3.0 0.2.2"),
    ("caret of zero zero keeps the patch", "^0.0.3", "0.0.3", "0.0.4 0.0.2"),
    ("caret of 0.0 keeps the minor", "^0.0", "0.0.9", "0.1.0"),
    ("caret of 0 keeps the major", "^0", "0.9.9", "1.0.0"),
    ("caret of anything is everything", "^*", "7.0.0", ""),
    ("a hyphen between blanks is from, to", "1.2 - 1.4.5", "1.2.0 1.4.5", "1.1.9 1.4.6"),
    ("a hyphen range ends with all patches of a minor", "1.5.0 - 4.5", "4.5.9", "4.6.0"),
    ("commas are and", ">=1.1, <2, !=1.2.3", "1.1.0 1.9.0", "1.2.3 2.0.0"),
    ("blanks are and", "> 1.1   < 2", "1.2.0", "1.1.1 2.0.0"),
    ("two bars are or", "<1 || >=3", "0.9.0 3.0.0", "1.0.0 2.9.9"),
    ("leading zeros and a v are loose", ">=v01.02", "1.2.0", "1.1.9"),
    ("prereleases are outside by default", "*", "1.0.0", "1.0.0-rc.1 0.0.1-a"),
    ("a prerelease in the range opens it", ">=1.0.0-0", "1.0.0-rc.1 2.0.0-a", "0.9.9-z"),
    ("a prerelease opens its whole group", ">=1.0.0 <=2.0.0-beta", "1.5.0-x 2.0.0-alpha", "2.0.0-rc"),
    ("a prerelease opens no other group", ">=1.0.0-0 <2 || >3", "1.5.0-x 4.0.0", "4.0.0-x"),
    ("a prerelease of the next minor is not under the tilde", "~1.2.3-beta.2", "1.2.4-a 1.2.3-beta.2", "1.3.0-a"),
    ("not equal to a prerelease leaves the release", "!=4.1.0-alpha", "4.1.0 4.1.0-beta", "4.1.0-alpha"),
]


@pytest.mark.parametrize(("text", "inside", "outside"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_a_range_holds(text: str, inside: str, outside: str) -> None:
    assert [name for name in inside.split() if not _holds(text, name)] == []
    assert [name for name in outside.split() if _holds(text, name)] == []


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        pytest.param("*", "0.0.0-dev", True, id="everything"),
        pytest.param("~1.1", "1.1.1-alpha", True, id="inside a tilde"),
        pytest.param("~1.1", "1.2.0-alpha", False, id="a prerelease of the next minor is no patch of this one"),
        pytest.param("<1.1", "1.1.0-alpha", True, id="below the release that it leads to"),
        pytest.param(">=1.1", "1.1.0-alpha", False, id="not at least the release that it leads to"),
        pytest.param(">1", "2.0.0-alpha", True, id="greater than a major"),
    ],
)
def test_prereleases_can_count_as_ordinary_versions(text: str, name: str, *, expected: bool) -> None:
    assert _holds(text, name, prereleases=True) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "nothing at character 1", id="nothing"),
        pytest.param("latest", "'latest' at character 1", id="a word"),
        pytest.param("BAR >= 1.2.3", "'BAR >= 1.2.3' at character 1", id="a word before"),
        pytest.param("1.2.3.4", "'.4' at character 6", id="four parts"),
        pytest.param(">=1 ||", "nothing at character 7", id="an empty group"),
        pytest.param(">=1,", "nothing at character 5", id="a comma at the end"),
        pytest.param(">=1 <", "nothing at character 6", id="an operator alone"),
        pytest.param(">1<2", "'<2' at character 3", id="no blank between comparators"),
        pytest.param("1.2 -2", "'-2' at character 5", id="a hyphen with one blank"),
        pytest.param("1.2 - ", "nothing at character 7", id="a hyphen to nowhere"),
        pytest.param("1x", "'x' at character 2", id="a number that is half an x"),
        pytest.param("~~1", "'~1' at character 2", id="two operators"),
        pytest.param("1.2.3-01", "leading zeros", id="leading zeros in a prerelease"),
        pytest.param("1" + "0" * MAX_RANGE, f"{MAX_RANGE + 1} characters", id="too long"),
        pytest.param(" ".join([">1"] * (MAX_COMPARATORS + 1)), f"{MAX_COMPARATORS + 1} comparators", id="too many"),
    ],
)
def test_what_is_no_range_says_where_and_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        parse(text)
    assert said in str(error.value)


RELEASE = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)).map(lambda r: ".".join(map(str, r)))
ANY = st.one_of(RELEASE, st.tuples(RELEASE, st.sampled_from(["0", "a.1", "rc9"])).map("-".join))
PART = st.sampled_from(["x", "*", "0", "1", "2", "3"])
PARTIAL = st.lists(PART, min_size=1, max_size=3).map(".".join)
OPERATOR = st.sampled_from(["", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"])
COMPARATOR = st.tuples(OPERATOR, st.one_of(PARTIAL, ANY)).map("".join)


def _holds(text: str, name: str, *, prereleases: bool = False) -> bool:
    read = version(name)
    assert read is not None, name
    return parse(text).holds(read, prereleases=prereleases)


@given(COMPARATOR, COMPARATOR, ANY)
def test_and_is_both_or_is_either(a: str, b: str, name: str) -> None:
    both, either = _holds(a, name, prereleases=True), _holds(b, name, prereleases=True)
    assert _holds(f"{a} {b}", name, prereleases=True) is (both and either)
    assert _holds(f"{a}, {b}", name, prereleases=True) is (both and either)
    assert _holds(f"{a} || {b}", name) is (_holds(a, name) or _holds(b, name))


@given(st.one_of(PARTIAL, ANY), ANY)
def test_the_operators_divide_the_versions_between_them(bound: str, name: str) -> None:
    def holds(operator: str) -> bool:
        return _holds(f"{operator}{bound}", name, prereleases=True)

    assert holds(">=") is holds("=>")
    assert holds("<=") is holds("=<")
    assert holds("~") is holds("~>")
    assert holds(">") is not holds("<=")
    if bound[0] not in "x*":  # nothing is less than everything
        assert holds("<") is not holds(">=")


@given(RELEASE, ANY)
def test_tilde_is_inside_caret_where_the_major_counts(bound: str, name: str) -> None:
    if not bound.startswith("0") and _holds(f"~{bound}", name, prereleases=True):
        assert _holds(f"^{bound}", name, prereleases=True)


@given(COMPARATOR, RELEASE)
def test_including_prereleases_changes_nothing_for_a_release(text: str, name: str) -> None:
    assert _holds(text, name) is _holds(text, name, prereleases=True)


@given(st.text(alphabet="0123456789.xX*v-+<>=!~^|, a\n", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = parse(text)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 - most texts are refused, some are not
    else:
        assert len(read.groups) == text.count("||") + 1
