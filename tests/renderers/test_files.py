"""A commit as renderers see it: links are followed inside it, and nothing leads out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from tests.renderers.made import Commit, files
from updater.errors import GitError, ManifestError
from updater.renderers.files import Files, root, within

TREE = {"a/x.yaml": "x", "a/b/y.yaml": "y", "ab/z.yaml": "z", "top.yaml": "t"}


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        pytest.param("", ["a/b/y.yaml", "a/x.yaml", "ab/z.yaml", "top.yaml"], id="the root"),
        pytest.param("a", ["a/b/y.yaml", "a/x.yaml"], id="a folder, and not one that begins alike"),
        pytest.param("a/b", ["a/b/y.yaml"], id="a folder in a folder"),
        pytest.param("none", [], id="no folder"),
    ],
)
def test_a_folder_holds_what_is_below_it(folder: str, found: list[str]) -> None:
    tree = files(TREE)
    assert tree.below(folder) == found
    assert tree.is_folder(folder) is bool(found)


@pytest.mark.parametrize(
    ("links", "path", "content"),
    [
        pytest.param({"l.yaml": "a/x.yaml"}, "l.yaml", b"x", id="to a file"),
        pytest.param({"a/l.yaml": "../top.yaml"}, "a/l.yaml", b"t", id="upwards, inside the repository"),
        pytest.param({"l": "a"}, "l/b/y.yaml", b"y", id="to a folder"),
        pytest.param({"l": "m", "m": "a/b"}, "l/y.yaml", b"y", id="to a link"),
        pytest.param({"l": "./a/../a/b/"}, "l/y.yaml", b"y", id="by a long way round"),
    ],
)
def test_links_are_followed(links: dict[str, str], path: str, content: bytes) -> None:
    tree = files(TREE, links=links)
    assert tree.read([path]) == {path: content}
    assert path in tree.below("")


@pytest.mark.parametrize(
    ("links", "path", "why"),
    [
        pytest.param({"l.yaml": "/etc/passwd"}, "l.yaml", "l.yaml: a symbolic link that leads out", id="absolute"),
        pytest.param({"a/l.yaml": "../../x"}, "a/l.yaml", "a/l.yaml: a symbolic link that leads", id="above the root"),
        pytest.param({"l": "a/../../x"}, "l/y.yaml", "l: a symbolic link that leads out", id="a folder above the root"),
        pytest.param({"l": "m", "m": "../x"}, "l", "m: a symbolic link that leads out", id="by another link"),
        pytest.param({"l": "l"}, "l", "links in a circle", id="to itself"),
        pytest.param({"l": "m/x", "m": "l"}, "l", "links in a circle", id="to one that leads back"),
        pytest.param({"l": "a/none"}, "l", "l: a symbolic link that leads to nothing", id="to nothing"),
        pytest.param({"a/l": "."}, "a/l", "links in a circle|or links to", id="to its own folder"),
        pytest.param({"l": ""}, "l", "l: a symbolic link that cannot be read", id="to an empty text"),
        pytest.param({"l": "x" * 5000}, "l", "l: a symbolic link that cannot be read", id="to a text without end"),
        pytest.param({"l": "a\0b"}, "l", "l: a symbolic link that leads out", id="through a NUL"),
    ],
)
def test_links_that_lead_astray_are_refused_by_their_path(links: dict[str, str], path: str, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        files(TREE, links=links).below("")


def test_submodules_are_refused_by_their_path() -> None:
    tree = files(TREE, submodules=["a/sub"])
    assert tree.read(["a/x.yaml"]) == {"a/x.yaml": b"x"}
    with pytest.raises(ManifestError, match=r"^a/sub: it is a submodule"):
        tree.read(["a/sub/x.yaml"])
    with pytest.raises(ManifestError, match=r"^a/sub: it is a submodule"):
        tree.below("a")


def test_links_that_multiply_come_to_an_end() -> None:
    links = {f"d{n}/{side}": f"../d{n + 1}" for n in range(20) for side in "ab"}
    with pytest.raises(ManifestError, match="or links to 200 folders"):
        files({"d20/x": "x"}, links=links).below("d0")


def test_what_is_not_there_or_too_large_is_named() -> None:
    tree = files(TREE, large=["a/x.yaml"])
    with pytest.raises(ManifestError, match=r"^none\.yaml: it is not in the repository"):
        tree.read(["none.yaml"])
    with pytest.raises(ManifestError, match=r"^a/x\.yaml: too large to be read"):
        tree.read(["a/x.yaml"])


def test_contents_come_in_one_request_and_are_not_asked_for_again() -> None:
    commit = Commit({"a": "x: 1", "b": "y: 1"})
    tree = Files(commit)
    assert tree.read(["a", "b"]) == tree.read(["a", "b"]) == {"a": b"x: 1", "b": b"y: 1"}
    assert tree.parsed("a") == tree.parsed("a") == [{"x": 1}]
    assert commit.asked == 1


def test_what_is_expected_comes_with_the_first_file() -> None:
    commit = Commit({f"apps/{name}/x.yaml": f"x: {name}" for name in "abc"}, submodules=["apps/a/sub"])
    tree = Files(commit)
    for folder in ("apps/a", "apps/b", "apps/none"):
        tree.expect(folder)
    assert commit.asked == 0
    tree.read(["apps/c/x.yaml"])
    assert tree.read(["apps/a/x.yaml", "apps/b/x.yaml"]) == {"apps/a/x.yaml": b"x: a", "apps/b/x.yaml": b"x: b"}
    assert commit.asked == 1


def test_what_is_expected_and_cannot_be_read_fails_who_asks_for_it_alone() -> None:
    class Fragile(Commit):
        def read(self, oids: Iterable[str]) -> Mapping[str, bytes]:
            found = super().read(oids)
            if b"broken" in found.values():
                raise GitError("damaged")
            return found

    tree = Files(Fragile({"a/x": "fine", "b/x": "broken"}))
    tree.expect("b")
    assert tree.read(["a/x"]) == {"a/x": b"fine"}
    with pytest.raises(GitError, match="damaged"):
        tree.read(["b/x"])


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        pytest.param({"README.md": "other"}, True, id="another folder"),
        pytest.param({"a/x.yaml": "other"}, False, id="a file"),
        pytest.param({"a/new.yaml": "new"}, False, id="one more file"),
        pytest.param({f"a/{n}.yaml": "" for n in range(501)}, False, id="too many to look at"),
    ],
)
def test_a_folder_is_compared_with_another_commit(changed: dict[str, str], *, same: bool) -> None:
    assert files(TREE | changed).same(files(TREE), "a") is same


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        pytest.param("a", "b", "a/b", id="below"),
        pytest.param("a/b", "../c", "a/c", id="beside"),
        pytest.param("a", "..", "", id="the root"),
        pytest.param("", ".", "", id="the root itself"),
        pytest.param("a", "../..", None, id="above the root"),
        pytest.param("a", "../../a", None, id="out and in again"),
        pytest.param("a", "/etc", None, id="absolute"),
        pytest.param("a", "..b", "a/..b", id="a name with dots"),
    ],
)
def test_paths_stay_inside(folder: str, name: str, path: str | None) -> None:
    assert within(folder, name) == path


@pytest.mark.parametrize("path", ["apps/x", "/apps/x", "apps/x/", "./apps//x"])
def test_a_source_is_spelled_in_many_ways(path: str) -> None:
    assert root(path) == "apps/x"


def test_a_source_outside_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"^\.\./x: it leads out of the repository"):
        root("../x")
