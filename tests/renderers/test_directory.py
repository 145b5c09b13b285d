"""Plain manifests: which files count, and what a broken one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.renderers.made import CONFIG_MAP, application, files, front
from updater.errors import ManifestError
from updater.model.application import Directory
from updater.renderers.base import Target

TREE = {
    path: CONFIG_MAP.format(path.replace("/", "-"))
    for path in (
        "a/x.yaml",
        "a/y.yml",
        "a/z.json",
        "a/notes.txt",
        "a/b/x.yaml",
        "a/b/c/x.yaml",
        "a/xyz.yaml",
        "top.yaml",
    )
}


def names(folder: Path, settings: Directory | None, path: str = "a") -> list[str]:
    rendered = front(folder, "").render(files(TREE), application(path, directory=settings), Target())
    return [resource.key.name.removeprefix("a-") for resource in rendered.resources]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        pytest.param(None, "x.yaml xyz.yaml y.yml z.json", id="the folder alone"),
        pytest.param(Directory(), "x.yaml xyz.yaml y.yml z.json", id="settings that say nothing"),
        pytest.param(Directory(recurse=True), "b-c-x.yaml b-x.yaml x.yaml xyz.yaml y.yml z.json", id="all below"),
        pytest.param(Directory(include="*.yml"), "y.yml", id="included"),
        pytest.param(Directory(include="{x.yaml,*.json}"), "x.yaml z.json", id="one of two patterns"),
        pytest.param(Directory(exclude="x*"), "y.yml z.json", id="excluded"),
        pytest.param(Directory(include="*.yaml", exclude="x.yaml"), "xyz.yaml", id="excluded wins over included"),
        pytest.param(Directory(include="?.yaml"), "x.yaml", id="one character"),
        pytest.param(Directory(include="[x-z].*"), "x.yaml y.yml z.json", id="a range"),
        pytest.param(Directory(include="[!xy].*"), "z.json", id="all but a range"),
        pytest.param(Directory(recurse=True, include="b/*"), "b-c-x.yaml b-x.yaml", id="a star matches slashes"),
        pytest.param(Directory(recurse=True, include="**/x.yaml"), "b-c-x.yaml b-x.yaml", id="two stars"),
        pytest.param(Directory(recurse=True, exclude="{b/c/*,{x,y}*}"), "b-x.yaml z.json", id="braces in braces"),
        pytest.param(Directory(include=r"\x.yaml"), "x.yaml", id="a backslash"),
        pytest.param(Directory(include="x.yaml|y.yml"), "", id="no regular expression"),
        pytest.param(Directory(include="x,y.yml"), "", id="a comma outside of braces"),
    ],
)
def test_files_are_chosen_as_argo_cd_chooses_them(tmp_path: Path, settings: Directory | None, found: str) -> None:
    assert names(tmp_path, settings) == found.split()


def test_the_root_of_the_repository_is_a_folder_like_any_other(tmp_path: Path) -> None:
    assert names(tmp_path, None, ".") == ["top.yaml"]


@pytest.mark.parametrize("glob", ["[a", "{a", "x" * 3000], ids=["a bracket", "a brace", "too long"])
def test_a_pattern_that_is_none_is_refused(tmp_path: Path, glob: str) -> None:
    with pytest.raises(ManifestError, match="is no pattern of file names"):
        names(tmp_path, Directory(include=glob))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param("a: [\n", "a/bad.yaml:2: broken YAML", id="broken YAML"),
        pytest.param(b"kind: \xff\n", "a/bad.yaml:1: not UTF-8: byte 6", id="bytes that are no text"),
        pytest.param("kind: Foo\n", "a/bad.yaml:1: found no apiVersion and kind", id="no apiVersion"),
        pytest.param(
            "---\napiVersion: v1\nkind: Foo\n", "a/bad.yaml:2: found a Foo without metadata", id="no metadata"
        ),
        pytest.param("- a\n", "a/bad.yaml:1: found a document that is no mapping", id="a list"),
        pytest.param("kind: {{ .Values.kind }}\n", "a/bad.yaml:1: ", id="a template of Helm"),
        pytest.param(
            CONFIG_MAP.format("fine") + "---\n" + CONFIG_MAP.format("fine").replace("name", "nme"),
            "a/bad.yaml:5: found a ConfigMap without a name",
            id="the second of two",
        ),
    ],
)
def test_one_bad_file_fails_all_with_its_line(tmp_path: Path, content: str | bytes, why: str) -> None:
    with pytest.raises(ManifestError) as failed:
        front(tmp_path, "").render(files(TREE | {"a/bad.yaml": content}), application("a"), Target())
    assert str(failed.value).startswith(why)


@pytest.mark.parametrize(
    ("content", "warnings"),
    [
        pytest.param("replicas: 2\n", ["a/v.yaml: it holds no manifest, and is left out"], id="values"),
        pytest.param("", [], id="an empty file"),
        pytest.param("# only a comment\n---\n", [], id="a comment"),
        pytest.param("# +argocd:skip-file-rendering\n: [", [], id="a file that says so itself"),
    ],
)
def test_what_is_no_manifest_is_left_out(tmp_path: Path, content: str, warnings: list[str]) -> None:
    tree = files({"a/x.yaml": CONFIG_MAP.format("x"), "a/v.yaml": content})
    rendered = front(tmp_path, "").render(tree, application("a"), Target())
    assert [resource.key.name for resource in rendered.resources] == ["x"]
    assert list(rendered.warnings) == warnings


def test_a_manifest_says_where_it_stands(tmp_path: Path) -> None:
    tree = files({"a/x.yaml": "# two\n---\n" + CONFIG_MAP.format("one") + "---\n" + CONFIG_MAP.format("two")})
    rendered = front(tmp_path, "").render(tree, application("a"), Target())
    assert [resource.source for resource in rendered.resources] == ["a/x.yaml:3", "a/x.yaml:7"]


def test_links_count_where_they_lead_to_files_inside(tmp_path: Path) -> None:
    tree = files(
        {"a/x.yaml": CONFIG_MAP.format("x"), "b/y.yaml": CONFIG_MAP.format("linked")}, links={"a/l.yaml": "../b/y.yaml"}
    )
    rendered = front(tmp_path, "").render(tree, application("a"), Target())
    assert [(one.key.name, one.source) for one in rendered.resources] == [("linked", "a/l.yaml:1"), ("x", "a/x.yaml:1")]


def test_links_and_submodules_that_are_not_chosen_harm_nobody(tmp_path: Path) -> None:
    tree = files({"x.yaml": CONFIG_MAP.format("x")}, links={"l": "/etc", "b/l.yaml": "/etc/passwd"}, submodules=["s"])
    assert len(front(tmp_path, "").render(tree, application("."), Target()).resources) == 1


@pytest.mark.parametrize(
    ("others", "why"),
    [
        pytest.param(
            {"links": {"a/l.yaml": "/etc/passwd"}}, "a/l.yaml: a symbolic link that leads out", id="a link out"
        ),
        pytest.param({"submodules": ["a/s.yaml"]}, "a/s.yaml: it is a submodule", id="a submodule"),
        pytest.param({"large": ["a/x.yaml"]}, "a/x.yaml: too large", id="a file without end"),
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, others: dict[str, object], why: str) -> None:
    tree = files({"a/x.yaml": CONFIG_MAP.format("x")}, **others)
    with pytest.raises(ManifestError, match=f"^{why}"):
        front(tmp_path, "").render(tree, application("a"), Target())
