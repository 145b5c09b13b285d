"""What Git says in many repositories: one question each, and one that hangs or is away holds back no other."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.lab.git import git, person_commits
from updater.config.repositories import RepositorySettings
from updater.demo.git_server import GitServer
from updater.errors import GitError
from updater.git.clone import Clone
from updater.git.remote import Remote
from updater.pipeline.sources import AT_ONCE, Found, Question, Sources, Tree

PATIENCE = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "git") as running:
        yield running


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def clone_of(tmp_path: Path) -> Callable[[RepositorySettings], Clone]:
    made: dict[str, Clone] = {}

    def clone(repository: RepositorySettings) -> Clone:
        folder = tmp_path / "clones" / repository.name
        return made.setdefault(repository.name, Clone(folder, Remote(repository.name, repository.url), deadline=6))

    return clone


def asks(url: str, *wanted: str) -> Question:
    name = url.rpartition("/")[2].removesuffix(".git")
    return Question(RepositorySettings(name=name, url=url), frozenset(wanted))


def revisions(found: dict[tuple[str, str], Found]) -> dict[str, str]:
    return {name: one.revision if isinstance(one, Tree) else f"! {one}" for (_, name), one in found.items()}


def test_trees_of_several_repositories(server: GitServer, clone_of: Callable[[RepositorySettings], Clone]) -> None:
    urls = [server.create(f"r{number}", {"a.yaml": b"%d" % number}) for number in range(3)]
    sources = Sources(clone_of)
    found = sources.observe([asks(url, "main", "HEAD", "gone") for url in urls])
    for number, url in enumerate(urls):
        tree = found[url, "main"]
        assert isinstance(tree, Tree)
        assert found[url, "HEAD"] is tree
        [blob] = tree.paths().values()
        assert tree.read([blob.oid]) == {blob.oid: b"%d" % number}
        assert isinstance(found[url, "gone"], GitError)
    assert sources.observe([]) == {}


def test_what_did_not_change_is_the_same_tree_and_what_nobody_wants_is_forgotten(
    server: GitServer, clone_of: Callable[[RepositorySettings], Clone], tmp_path: Path
) -> None:
    url = server.create("fleet", {"a.yaml": b"1"})
    bare = tmp_path / "git" / "fleet.git"
    git(bare, "branch", "old", "main")
    sources = Sources(clone_of)
    before = sources.observe([asks(url, "main", "old")])
    new = person_commits(bare, {"a.yaml": b"2"})
    after = sources.observe([asks(url, "main", "old")])
    assert after[url, "old"] is before[url, "old"]
    assert revisions(after)["main"] == new
    assert sources.observe([asks(url, "main")])[url, "main"] is after[url, "main"]
    assert sources.observe([asks(url, "old")])[url, "old"] is not before[url, "old"]


def test_one_that_is_away_is_an_error_and_the_others_are_there(
    server: GitServer, clone_of: Callable[[RepositorySettings], Clone]
) -> None:
    url = server.create("fleet", {"a.yaml": b"1"})
    found = Sources(clone_of).observe([asks(f"{server.url}/away.git", "main"), asks(url, "main")])
    assert isinstance(found[url, "main"], Tree)
    assert "away: cannot ask" in str(found[f"{server.url}/away.git", "main"])


def test_one_that_hangs_holds_back_no_other_and_its_answer_comes_late(
    server: GitServer, silent: str, clone_of: Callable[[RepositorySettings], Clone]
) -> None:
    """Who asks waits for it once; then its answer is taken when it is there."""
    late = threading.Event()
    url, hangs = server.create("fleet", {"a.yaml": b"1"}), f"{silent}/hangs.git"
    sources = Sources(clone_of, late.set)
    first = sources.observe([asks(hangs, "main"), asks(url, "main")], patience=1.5)
    assert isinstance(first[url, "main"], Tree)
    assert str(first[hangs, "main"]) == "hangs: it has not answered in 1.5 s"
    start = time.monotonic()
    second = sources.observe([asks(hangs, "main"), asks(url, "main")], patience=1.5)
    assert time.monotonic() - start < 1.5  # it is being asked already
    assert isinstance(second[url, "main"], Tree)
    assert late.wait(PATIENCE)
    late.clear()
    third = sources.observe([asks(hangs, "main", "other")], patience=0)
    assert "it took more than" in str(third[hangs, "main"])
    assert "it was not asked for other yet" in str(third[hangs, "other"])
    assert late.is_set()  # so that somebody asks again
    sources.close()


def test_many_that_hang_at_one_host_hold_back_no_other_host(
    server: GitServer, silent: str, clone_of: Callable[[RepositorySettings], Clone]
) -> None:
    url = server.create("fleet", {"a.yaml": b"1"}).replace("127.0.0.1", "localhost")
    sources = Sources(clone_of)
    hanging = [asks(f"{silent}/hangs-{number}.git", "main") for number in range(AT_ONCE * 3)]
    found = sources.observe([*hanging, asks(url, "main")], patience=3)
    assert isinstance(found[url, "main"], Tree)
    sources.close()


def test_who_waits_is_let_go_at_the_end(silent: str, clone_of: Callable[[RepositorySettings], Clone]) -> None:
    sources = Sources(clone_of)
    waiter = threading.Thread(target=lambda: sources.observe([asks(f"{silent}/hangs.git", "main")], patience=1000))
    waiter.start()
    sources.close()
    waiter.join(PATIENCE)
    assert not waiter.is_alive()


def test_our_own_bugs_are_raised(server: GitServer) -> None:
    def broken(_repository: RepositorySettings) -> Clone:
        raise ZeroDivisionError

    sources = Sources(broken)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            sources.observe([asks(server.create("fleet") if _ == 0 else f"{server.url}/fleet.git", "main")])
