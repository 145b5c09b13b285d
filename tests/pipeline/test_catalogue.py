"""Which applications there are: read anew where they changed, and never fewer because something cannot be read."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from updater.config.delivery import ApplicationsSettings
from updater.config.manifests import Read
from updater.errors import GitError, UpdaterError
from updater.git.clone import Blob, Clone
from updater.pipeline.catalogue import MAX_FILES, MAX_SEEN, Catalogue
from updater.pipeline.sources import Tree


def manifest(name: str, url: str = "https://git.example.com/fleet.git") -> bytes:
    return f"""\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: {name}}}
spec:
  source: {{repoURL: '{url}', path: shop}}
  destination: {{name: cloud, namespace: shop}}
""".encode()


@dataclass
class Forge:
    """The trees of repositories, as Git would have them; `asked` are the contents that were asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    modes: dict[str, str] = field(default_factory=dict)

    def tree_of(self, _name: str) -> Tree | UpdaterError:
        if self.down:
            return GitError("fleet: cannot be reached")
        blobs = {path: Blob(path, str(hash(data)), self.modes.get(path, "100644")) for path, data in self.files.items()}
        return cast("Tree", _Tree(self, blobs))


@dataclass
class _Tree:
    forge: Forge
    blobs: Mapping[str, Blob]
    revision: str = "a" * 40
    clone: Clone | None = None

    def paths(self) -> Mapping[str, Blob]:
        return self.blobs

    def read(self, oids: Any) -> Mapping[str, bytes]:
        wanted = list(oids)
        self.forge.asked += wanted
        return {oid: data for data in self.forge.files.values() for oid in wanted
                if oid == str(hash(data)) and len(data) <= 8 << 20}  # fmt: skip


GIT = ApplicationsSettings(repository="fleet", path="applications")


def names(read: Read) -> list[str]:
    return sorted(one.name for one in read.applications)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "applications"
    path.mkdir()
    return path


def reading(folder: Path) -> Catalogue:
    return Catalogue([ApplicationsSettings(directory=folder)])


NOWHERE = Forge().tree_of


# --- Git -------------------------------------------------------------------------------------------------------------


def test_what_did_not_change_is_neither_fetched_nor_parsed_again() -> None:
    forge = Forge({"applications/a.yaml": manifest("a"), "applications/deep/er/b.yml": manifest("b"),
                   "applications/c.json": b"{}", "applications/README.md": b"?",
                   "other/d.yaml": manifest("d")})  # fmt: skip
    catalogue = Catalogue([GIT])
    read, unread = catalogue.read(forge.tree_of)
    assert (names(read), unread) == (["a", "b"], [])
    first = {one.name: one for one in read.applications}
    forge.asked.clear()
    again, _ = catalogue.read(forge.tree_of)
    assert forge.asked == []
    assert all(one is first[one.name] for one in again.applications)
    forge.files["applications/a.yaml"] = manifest("a2")
    changed, _ = catalogue.read(forge.tree_of)
    assert names(changed) == ["a2", "b"]
    assert len(forge.asked) == 1


def test_a_repository_that_cannot_be_reached_is_said_and_its_files_are_not_parsed_again_after_it() -> None:
    forge = Forge({"applications/a.yaml": manifest("a")})
    catalogue = Catalogue([GIT])
    before, _ = catalogue.read(forge.tree_of)
    forge.down = True
    read, unread = catalogue.read(forge.tree_of)
    assert (names(read), unread) == ([], ["fleet: cannot be reached"])
    forge.down = False
    forge.asked.clear()
    after, unread = catalogue.read(forge.tree_of)
    assert (after.applications[0] is before.applications[0], unread, forge.asked) == (True, [], [])


def test_one_place_that_cannot_be_read_does_not_keep_the_others_from_it(folder: Path) -> None:
    (folder / "b.yaml").write_bytes(manifest("b"))
    catalogue = Catalogue([GIT, ApplicationsSettings(directory=folder)])
    read, unread = catalogue.read(Forge(down=True).tree_of)
    assert (names(read), len(unread)) == (["b"], 1)


def test_a_folder_that_is_not_in_the_commit_is_a_mistake_and_not_the_end_of_all_applications() -> None:
    read, unread = Catalogue([GIT]).read(Forge({"README.md": b"?"}).tree_of)
    assert (names(read), unread) == ([], ["fleet: commit aaaaaaaaaaaa has no folder applications"])


def test_the_root_of_a_repository_may_hold_them() -> None:
    forge = Forge({"a.yaml": manifest("a"), "deep/b.yaml": manifest("b")})
    read, _ = Catalogue([ApplicationsSettings(repository="fleet", path=".")]).read(forge.tree_of)
    assert names(read) == ["a", "b"]


def test_links_and_submodules_are_not_read() -> None:
    forge = Forge({"applications/a.yaml": manifest("a"), "applications/b.yaml": b"a.yaml"},
                  modes={"applications/b.yaml": "120000"})  # fmt: skip
    read, unread = Catalogue([GIT]).read(forge.tree_of)
    assert (names(read), read.problems, unread) == (["a"], [], [])


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "complete"),
    [
        (b"a: [", False),
        (b"\xff\xfe\x00", False),
        (manifest("a").replace(b"path:", b"paths:"), True),
        (b"#" * ((4 << 20) + 1), False),
        (b"[" * 100_000, False),
    ],
    ids=["no YAML", "no text", "a wrong key", "too large", "a bomb"],
)
def test_a_broken_file_is_a_problem_and_what_it_held_is_not_taken_for_gone(
    folder: Path, broken: bytes, complete: bool
) -> None:
    (folder / "a.yaml").write_bytes(manifest("a"))
    (folder / "b.yaml").write_bytes(manifest("b"))
    catalogue = reading(folder)
    assert names(catalogue.read(NOWHERE)[0]) == ["a", "b"]
    (folder / "a.yaml").write_bytes(broken)
    read, unread = catalogue.read(NOWHERE)
    assert (names(read), unread, read.complete) == (["b"], [], complete)
    assert len(read.problems) >= 1
    assert complete is ("a" in read.refused)


def test_a_file_too_large_for_a_blob_is_not_taken_for_empty() -> None:
    forge = Forge({"applications/a.yaml": manifest("a"), "applications/b.yaml": b"#" * (9 << 20)})
    read, _ = Catalogue([GIT]).read(forge.tree_of)
    assert (names(read), read.complete) == (["a"], False)


def test_a_name_twice_is_a_mistake_of_the_second(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(manifest("a"))
    (folder / "b.yaml").write_bytes(manifest("a", "https://git.example.com/other.git"))
    read, _ = reading(folder).read(NOWHERE)
    assert [one.origin for one in read.applications] == [f"{folder}/a.yaml:1"]
    [problem] = read.problems
    assert "a second time" in str(problem)


def test_a_folder_that_two_entries_name_is_read_once(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(manifest("a"))
    read, unread = Catalogue([ApplicationsSettings(directory=folder)] * 2).read(NOWHERE)
    assert (names(read), read.problems, unread) == (["a"], [], [])


def test_a_repository_over_plain_http_is_fine_where_it_is_configured_so(folder: Path) -> None:
    url = "http://git.example.com/fleet.git"
    (folder / "a.yaml").write_bytes(manifest("a", url))
    entries = [ApplicationsSettings(directory=folder)]
    assert names(Catalogue(entries).read(NOWHERE)[0]) == []
    assert names(Catalogue(entries, [url]).read(NOWHERE)[0]) == ["a"]


# --- folders of this machine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("instead", [False, True], ids=["nothing", "a file"])
def test_a_folder_that_is_away_is_said_and_not_taken_for_empty(folder: Path, *, instead: bool) -> None:
    catalogue = reading(folder)
    assert catalogue.read(NOWHERE) == (Read(), [])
    folder.rmdir()
    if instead:
        folder.touch()
    _, unread = catalogue.read(NOWHERE)
    assert len(unread) == 1
    assert str(folder) in unread[0]


def test_changes_are_seen(folder: Path) -> None:
    catalogue = reading(folder)
    file = folder / "a.yaml"
    file.write_bytes(manifest("a"))
    assert names(catalogue.read(NOWHERE)[0]) == ["a"]
    new = folder / ".new"
    new.write_bytes(manifest("b"))
    new.replace(file)
    assert names(catalogue.read(NOWHERE)[0]) == ["b"]
    file.unlink()
    assert names(catalogue.read(NOWHERE)[0]) == []


def test_a_mounted_config_map_is_read_once_and_its_change_is_seen(folder: Path) -> None:
    """The kubelet mounts links to a folder whose name begins with dots, and swaps that."""
    catalogue = reading(folder)
    for number, name in enumerate(("a", "b")):
        real = folder / f"..2026_{number}"
        (real / "deep").mkdir(parents=True)
        (real / "one.yaml").write_bytes(manifest(name))
        (real / "deep" / "two.yaml").write_bytes(manifest(f"{name}-deep"))
        (folder / "..tmp").symlink_to(real.name)
        (folder / "..tmp").replace(folder / "..data")
        for entry in ("one.yaml", "deep"):
            if not (folder / entry).is_symlink():
                (folder / entry).symlink_to(f"..data/{entry}")
        read, unread = catalogue.read(NOWHERE)
        assert (names(read), read.problems, unread) == ([name, f"{name}-deep"], [], [])


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(manifest("a"))
    (folder / "here").symlink_to(folder)
    (folder / "gone.yaml").symlink_to("nowhere")
    read, unread = reading(folder).read(NOWHERE)
    assert (names(read), read.problems, unread) == (["a"], [], [])


@pytest.mark.parametrize("number", [MAX_FILES, MAX_SEEN], ids=["manifests", "files of any kind"])
def test_a_huge_folder_is_refused_and_not_read_in_part(folder: Path, number: int) -> None:
    ending = "yaml" if number == MAX_FILES else "txt"
    for each in range(number + 1):
        os.mknod(folder / f"{each}.{ending}")
    read, unread = reading(folder).read(NOWHERE)
    assert (read.applications, len(unread)) == ([], 1)
    assert f"more than {number}" in unread[0]


def test_thousands_that_did_not_change_are_not_parsed_again(folder: Path) -> None:
    for number in range(2000):
        (folder / f"{number}.yaml").write_bytes(manifest(f"app-{number}"))
    catalogue = reading(folder)
    first = {one.name: one for one in catalogue.read(NOWHERE)[0].applications}
    start = time.thread_time()
    again = {one.name: one for one in catalogue.read(NOWHERE)[0].applications}
    assert time.thread_time() - start < 1
    assert len(again) == 2000
    assert all(one is first[name] for name, one in again.items())
