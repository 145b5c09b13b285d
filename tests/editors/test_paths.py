"""Dotted paths: how they are read, and where they lead."""

from __future__ import annotations

import pytest

from updater.editors.document import parse
from updater.editors.paths import matches, steps

TEXT = """
web: {image: {tag: a}}
"dotted.key": {"with space": b}
list: [c, {name: x, v: d}, {name: "y.z", v: e}, [f]]
map: {one: {v: g}, two: {v: h}}
base: &base {v: i}
alias: *base
again: {v: &value j, w: *value}
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("web.image.tag", ["a"]),
        ('"dotted.key"."with space"', ["b"]),
        ("'dotted.key'.with space", ["b"]),
        ("list[0]", ["c"]),
        ("list[1].v", ["d"]),
        ("list[name=x].v", ["d"]),
        ('list[name="y.z"].v', ["e"]),
        ("list[3][0]", ["f"]),
        ("list[*].v", ["d", "e"]),
        ("list.*.v", ["d", "e"]),
        ("map.*.v", ["g", "h"]),
        ("map[*].v", []),
        ("*.v", ["i", "i", "j"]),
        ("alias.v", ["i"]),
        ("again.w", ["j"]),
        ("web.image", []),
        ("web.image.tag.more", []),
        ("nothing", []),
        ("list[9]", []),
        ("list[name=none].v", []),
    ],
)
def test_a_path_leads_to_scalars(path: str, found: list[str]) -> None:
    (part,) = parse("x.yaml", TEXT).parts
    assert [one.spot.text for one in matches(part.root, path)] == found


def test_a_list_at_the_top() -> None:
    (part,) = parse("x.yaml", "[{a: 1}, {a: 2}]").parts
    assert [(one.stars, one.spot.text) for one in matches(part.root, "[*].a")] == [((0,), "1"), ((1,), "2")]
    assert [one.spot.text for one in matches(part.root, "[1].a")] == ["2"]


@pytest.mark.parametrize(
    "path",
    ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", 'a."', "a b.[", "a.*b", "[a=1]", "a" + "[0]" * 101],
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="expected a path such as"):
        steps(path)
