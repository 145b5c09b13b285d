"""Which renderer takes a folder, what costs nothing the second time, and what is there twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.git import Embedded
from tests.lab.tools import counting
from tests.renderers.made import ADDRESS, CONFIG_MAP, Commit, application, files, front
from updater.errors import ManifestError
from updater.git.clone import Blob, Clone
from updater.model.application import Directory, Helm, HelmParameter, Kustomize, Source
from updater.plugins import members
from updater.renderers.base import Renderer, Target
from updater.renderers.front import MAX_VIEWS, Front, weight

CHART = {
    "chart/Chart.yaml": "{apiVersion: v2, name: api, version: 0.1.0}",
    "chart/templates/cm.yaml": CONFIG_MAP.format("chart"),
}
OVERLAY = {
    "prod/kustomization.yaml": "resources: [../base]\n",
    "base/kustomization.yaml": "resources: [cm.yaml]\n",
    "base/cm.yaml": CONFIG_MAP.format("base"),
}
PLAIN = {"plain/cm.yaml": CONFIG_MAP.format("plain")}
OTHERS = {"README.md": "hello", "values.yaml": "a: 1", "base/README.md": "hello", "plain/notes.txt": "hello"}
TREE = CHART | OVERLAY | PLAIN | OTHERS
TARGET = Target("v1.33.1", frozenset({"v1"}), "apps")
OLDER = replace(TARGET, kube_version="v1.31.0")
A_IS_1 = HelmParameter("a", "1")


@pytest.mark.parametrize(
    ("names", "source", "kind"),
    [
        pytest.param(["Chart.yaml", "kustomization.yaml", "x.yaml"], {}, "helm", id="a chart before all"),
        pytest.param(["kustomization.yaml", "x.yaml"], {}, "kustomize", id="kustomization.yaml"),
        pytest.param(["kustomization.yml", "x.yaml"], {}, "kustomize", id="kustomization.yml"),
        pytest.param(["Kustomization", "x.yaml"], {}, "kustomize", id="Kustomization"),
        pytest.param(["x.yaml"], {}, "directory", id="a folder"),
        pytest.param(["README.md"], {}, "directory", id="a folder without manifests"),
        pytest.param(["sub/Chart.yaml", "sub/kustomization.yaml"], {}, "directory", id="only in a folder below"),
        pytest.param(["Chart.yaml"], {"directory": Directory()}, "directory", id="a directory, as named"),
        pytest.param(
            ["Chart.yaml", "kustomization.yaml"], {"kustomize": Kustomize()}, "kustomize", id="kustomize, as named"
        ),
        pytest.param(["kustomization.yaml"], {"helm": Helm()}, "helm", id="helm, as named"),
    ],
)
def test_what_is_named_wins_then_a_chart_then_a_kustomization(
    tmp_path: Path, names: list[str], source: dict[str, Any], kind: str
) -> None:
    tree = files({f"apps/x/{name}": "" for name in names})
    assert front(tmp_path, "").chosen(tree, Source(ADDRESS, "apps/x", **source)).kind == kind


@pytest.mark.parametrize(
    ("source", "why"),
    [
        pytest.param({"path": "none"}, "^none: the repository has no such folder", id="no such folder"),
        pytest.param({"path": "plain/cm.yaml"}, "^plain/cm.yaml: the repository has no such folder", id="a file"),
        pytest.param({"path": "../x"}, r"^\.\./x: it leads out", id="outside"),
        pytest.param({"path": "plain", "helm": Helm()}, "^plain: it holds no Chart.yaml", id="no chart, as named"),
        pytest.param(
            {"path": "plain", "kustomize": Kustomize()}, "^plain: plain holds no kustom", id="no kustomization"
        ),
        pytest.param(
            {"path": "plain", "kustomize": Kustomize(), "helm": Helm()}, "expected one of them", id="two kinds"
        ),
    ],
)
def test_a_source_that_is_none_is_refused(tmp_path: Path, source: dict[str, Any], why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        front(tmp_path, "").render(files(TREE), application(**source), TARGET)


@pytest.mark.parametrize("kind", sorted(members(Renderer)))
def test_every_renderer_says_what_it_reads_before_it_renders(tmp_path: Path, kind: str) -> None:
    member = members(Renderer)[kind]()
    folder = {"helm": "chart", "kustomize": "prod"}.get(kind, "plain")
    read = member.reads(files(TREE), application(folder).source)
    only = files({path: content for path, content in TREE.items() if path in read})
    whole, part = (front(tmp_path).render(tree, application(folder), TARGET) for tree in (files(TREE), only))
    assert part == whole
    assert whole.resources


@pytest.mark.parametrize("folder", ["chart", "prod", "plain"])
def test_an_unchanged_tree_costs_no_process_and_no_second_look(tmp_path: Path, folder: str) -> None:
    log = tmp_path / "log"
    way = front(tmp_path, counting(tmp_path / "bin", log))
    first = way.render(way.files(Commit(TREE)), application(folder), TARGET)
    runs = log.read_text().count("\n") if log.exists() else 0
    assert runs == (0 if folder == "plain" else 1)
    commit = Commit(TREE | {"README.md": "another commit"})
    assert way.render(way.files(commit), application(folder), TARGET) is first
    assert commit.asked == 0
    assert (log.read_text().count("\n") if log.exists() else 0) == runs


@pytest.mark.parametrize("folder", ["chart", "prod", "plain"])
@pytest.mark.parametrize("changed", sorted(TREE))
def test_the_key_changes_if_and_only_if_a_file_changes_that_is_read(tmp_path: Path, folder: str, changed: str) -> None:
    way = front(tmp_path)
    mine = {"chart": CHART, "prod": OVERLAY, "plain": PLAIN}[folder]
    before, after = (
        way.cache_key(way.files(Commit(tree)), application(folder), TARGET)
        for tree in (TREE, TREE | {changed: TREE[changed] + "\n"})
    )
    assert (before != after) is (changed in mine)


@pytest.mark.parametrize(
    ("folder", "added", "differs"),
    [
        pytest.param("plain", "plain/new.yaml", True, id="a manifest"),
        pytest.param("plain", "plain/sub/new.yaml", False, id="a manifest in a folder below"),
        pytest.param("plain", "plain/Chart.yaml", True, id="what makes it a chart"),
        pytest.param("chart", "chart/files/x", True, id="a file of a chart"),
        pytest.param("prod", "base/new.yaml", False, id="a file that no kustomization names"),
    ],
)
def test_the_key_knows_of_new_files(tmp_path: Path, folder: str, added: str, differs: bool) -> None:
    way = front(tmp_path)
    trees = (TREE, TREE | {added: CONFIG_MAP.format("new")})
    before, after = (way.cache_key(way.files(Commit(tree)), application(folder), TARGET) for tree in trees)
    assert (before != after) is differs


@pytest.mark.parametrize(
    ("folder", "other", "target", "differs"),
    [
        pytest.param("chart", {"name": "other"}, TARGET, True, id="a chart: another application"),
        pytest.param("chart", {}, replace(TARGET, kube_version="v1.34.0"), True, id="a chart: a newer cluster"),
        pytest.param("chart", {}, replace(TARGET, api_versions=frozenset()), True, id="a chart: other kinds"),
        pytest.param("chart", {}, replace(TARGET, namespace="x"), True, id="a chart: another namespace"),
        pytest.param("chart", {"helm": Helm()}, TARGET, False, id="a chart: settings that say nothing"),
        pytest.param("chart", {"helm": Helm(values="a: 1")}, TARGET, True, id="a chart: values"),
        pytest.param("chart", {"helm": Helm(value_files=("../values.yaml",))}, TARGET, True, id="a chart: a file"),
        pytest.param("chart", {"helm": Helm(parameters=(A_IS_1,))}, TARGET, True, id="a chart: a parameter"),
        pytest.param("prod", {"name": "other"}, OLDER, False, id="a kustomization: another cluster"),
        pytest.param("prod", {"kustomize": Kustomize(images=("a:1",))}, TARGET, True, id="a kustomization: an image"),
        pytest.param("plain", {"name": "other"}, OLDER, False, id="a folder: another cluster"),
        pytest.param("plain", {"directory": Directory(recurse=True)}, TARGET, False, id="a folder: the same files"),
    ],
)
def test_the_key_knows_of_settings_that_matter(
    tmp_path: Path, folder: str, other: dict[str, Any], target: Target, differs: bool
) -> None:
    way = front(tmp_path)
    tree = files(TREE)
    before = way.cache_key(tree, application(folder), TARGET)
    assert (way.cache_key(tree, application(folder, **other), target) != before) is differs


def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    way = front(tmp_path, "")
    with pytest.raises(ManifestError, match=r"^helm is needed to render chart, and it is not on PATH$"):
        way.render(files(TREE), application("chart"), TARGET)
    way = front(tmp_path)
    assert len(way.render(files(TREE), application("chart"), TARGET).resources) == 1


def test_of_two_manifests_of_one_object_the_last_counts_and_it_is_said(tmp_path: Path) -> None:
    one = CONFIG_MAP.format("x")
    other_version = (
        "apiVersion: x/v1beta1\nkind: Foo\nmetadata: {name: x}\n---\n"
        "apiVersion: x/v1\nkind: Foo\nmetadata: {name: x, namespace: apps}\n"
    )
    tree = files({"a.yaml": f"{one}data: {{n: a}}\n", "b.yaml": f"{one}data: {{n: b}}\n", "c.yaml": other_version})
    rendered = front(tmp_path, "").render(tree, application("."), TARGET)
    assert [(str(found.key), found.source) for found in rendered.resources] == [
        ("ConfigMap x", "b.yaml:1"),
        ("Foo.x apps/x", "c.yaml:5"),
    ]
    assert rendered.warnings == (
        "ConfigMap x is there twice: b.yaml:1 counts, a.yaml:1 does not",
        "Foo.x apps/x is there twice: c.yaml:5 counts, c.yaml:1 does not",
    )


def test_objects_that_get_their_names_from_the_cluster_are_never_the_same(tmp_path: Path) -> None:
    job = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: job-}\n"
    rendered = front(tmp_path, "").render(files({"a.yaml": f"{job}---\n{job}"}), application("."), TARGET)
    assert len(rendered.resources) == 2
    assert rendered.warnings == ()


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    way = Front(front(tmp_path, "")._tools, max_bytes=10_000)
    trees = [files({"x.yaml": f"{CONFIG_MAP.format('x')}data: {{n: '{n}', x: '{'x' * 3000}'}}\n"}) for n in range(4)]
    made = [way.render(tree, application("."), TARGET) for tree in trees]
    assert weight(made[0].resources) > 3000
    assert way.render(trees[3], application("."), TARGET) is made[3]
    assert way.render(trees[0], application("."), TARGET) is not made[0]


@pytest.mark.parametrize(
    ("changed", "path", "touched"),
    [
        pytest.param({}, "plain", False, id="nothing"),
        pytest.param({"plain/cm.yaml": "x: 1"}, "plain", True, id="its folder"),
        pytest.param({"chart/values.yaml": "x: 1"}, "plain", False, id="another folder"),
        pytest.param({}, "../plain", True, id="a folder that cannot be used"),
    ],
)
def test_what_a_commit_changed_is_known_without_reading_it(
    tmp_path: Path, changed: dict[str, str], path: str, *, touched: bool
) -> None:
    way, tree = front(tmp_path, ""), Commit(TREE | changed)
    assert way.expect(tree, Commit(TREE), Source(ADDRESS, path)) is touched
    assert tree.asked == 0


def test_what_is_expected_of_several_applications_is_read_at_once(tmp_path: Path) -> None:
    way, tree = front(tmp_path, ""), Commit({f"{name}/cm.yaml": CONFIG_MAP.format(name) for name in "abc"})
    for name in "abc":
        assert way.expect(tree, None, Source(ADDRESS, name))
    names = [way.render(way.files(tree), application(name), TARGET).resources[0].key.name for name in "abc"]
    assert (names, tree.asked) == (["a", "b", "c"], 1)


def test_commits_that_are_out_of_view_are_seen_anew(tmp_path: Path) -> None:
    way, trees = front(tmp_path, ""), [Commit(PLAIN) for _ in range(MAX_VIEWS + 1)]
    views = [way.files(tree) for tree in trees]
    assert way.files(trees[-1]) is views[-1]
    assert way.files(trees[0]) is not views[0]


class Fetched:
    """A commit of a real clone."""

    def __init__(self, clone: Clone, revision: str) -> None:
        self._clone, self._revision = clone, revision

    def paths(self) -> dict[str, Blob]:
        return {blob.path: blob for blob in self._clone.tree(self._revision)}

    def read(self, oids: Any) -> dict[str, bytes]:
        return self._clone.read(oids)


def test_a_clone_is_all_that_is_needed(tmp_path: Path) -> None:
    server = Embedded(tmp_path / "git")
    try:
        server.create("fleet", {path: content.encode() for path, content in TREE.items()})
        clone = Clone(tmp_path / "clone", server.remote("fleet"))
        with clone.lock():
            tree = front(tmp_path).files(Fetched(clone, clone.fetch().revision))
            for folder, name in {"chart": "chart", "prod": "base", "plain": "plain"}.items():
                rendered = front(tmp_path).render(tree, application(folder), TARGET)
                assert [resource.key.name for resource in rendered.resources] == [name]
    finally:
        server.close()
