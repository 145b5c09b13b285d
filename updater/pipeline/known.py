"""What Git says now of all applications: which there are, the cluster of each, and the commit that it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from updater.config.manifests import Read
from updater.config.repositories import RepositorySettings
from updater.config.settings import repository_for
from updater.errors import GitError, UpdaterError
from updater.model.application import Application
from updater.pipeline.catalogue import Catalogue, TreeOf
from updater.pipeline.sources import PATIENCE, Question, Sources, Tree
from updater.pipeline.world import Assigned, Memory, World
from updater.sync.destinations import IN_CLUSTER, cluster_of

Trees = dict[tuple[str, str], Tree | UpdaterError]


@dataclass(slots=True)
class Known:
    """The applications, and the tree of each address and revision that they name.

    problems  in words, those of the moment too
    mistakes  those that a person must mend, as they were when all manifests could be read; None: never yet
    waiting   by cluster that cannot be asked, as it is configured: the applications that go there
    refused   names of applications that are there and cannot be used
    why       by name of one of those: the reasons, as its manifest, its cluster or its repository give them
    unread    the errors of what could not be read: any application may stand in it
    certain   everything could be read: an application that is not here is no more
    """

    assigned: dict[str, Assigned] = field(default_factory=dict)
    repositories: dict[str, RepositorySettings] = field(default_factory=dict)  # by application
    trees: Trees = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    mistakes: list[str] | None = None
    waiting: dict[str, list[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    why: dict[str, list[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    certain: bool = False

    def tree(self, name: str) -> Tree | UpdaterError:
        """Return the tree of an application."""
        key = self.repositories[name].url, self.assigned[name].application.source.target_revision
        return self.trees.get(key) or GitError(f"{name}: its repository was not read yet")

    def revision(self, name: str) -> str:
        """Return what an application is looked at for: the commit, or the error in its place."""
        tree = self.tree(name) if name in self.assigned else None
        return tree.revision if isinstance(tree, Tree) else str(tree)


class Looker:
    """Looks at Git. `broken` are the clusters that cannot be asked, as they are configured, and why."""

    def __init__(self, world: World, sources: Sources, broken: Mapping[str, str]) -> None:
        settings = world.settings
        self._world, self._sources, self._broken = world, sources, broken
        insecure = [one.url for one in settings.repositories if one.insecure]
        self._catalogue = Catalogue(settings.applications, insecure)
        here = {one.name for one in settings.clusters if one.in_cluster}
        servers = ((name, IN_CLUSTER if name in here else site.cluster.server) for name, site in world.sites.items())
        self._servers = dict(servers)
        by_name = {one.name: one for one in settings.repositories}
        self._branches = {
            entry.repository: by_name[entry.repository] for entry in settings.applications if entry.repository
        }

    def look(self, known: Known, patience: float = PATIENCE) -> Known:
        """Ask every repository once, and return what Git says now. What fails is in its place.

        `known` is what it said before: what cannot be read stays as it was.
        """
        found = Known()
        asked = [(one, one.branch or "HEAD") for one in self._branches.values()]
        asked += _named(known)  # those that were known are asked for in the same question
        found.trees |= self._sources.observe(_questions(asked), patience)
        read, unread = self._catalogue.read(self._tree_of(found.trees))
        found.certain = read.complete and not unread
        found.problems += [*map(str, read.problems), *unread]
        found.why = {name: list(map(str, one.problems)) for name, one in read.refused.items()}
        found.unread = [*unread, *map(str, read.lost)]
        self._assign(read, found, known)
        found.mistakes = known.mistakes if unread else list(found.problems)
        _keep(found, known)
        lacking = [(one, name) for one, name in _named(found) if (one.url, name) not in found.trees]
        found.trees |= self._sources.observe(_questions(lacking), patience)
        return found

    def _tree_of(self, trees: Trees) -> TreeOf:
        def tree_of(name: str) -> Tree | UpdaterError:
            one = self._branches[name]
            return trees[one.url, one.branch or "HEAD"]

        return tree_of

    def _assign(self, read: Read, found: Known, known: Known) -> None:
        """Give each application to its cluster."""
        found.refused |= read.refused.keys()
        urls = [one.source.repo_url for one in read.applications]
        for one in read.applications:
            if one.destination.name in self._broken:
                found.waiting.setdefault(one.destination.name, []).append(one.name)
                found.refused.add(one.name)
                found.why[one.name] = [f"cluster {one.destination.name}: {self._broken[one.destination.name]}"]
                continue
            try:
                cluster = cluster_of(one.destination, self._servers)
                repository = repository_for(self._world.settings, one.source.repo_url, urls)
            except ValueError as err:
                found.problems.append(f"{one.origin}: {one.name}: {err}")
                found.refused.add(one.name)
                found.why[one.name] = [f"{one.origin}: {err}"]
                continue
            found.assigned[one.name] = _assigned(one, cluster, known.assigned.get(one.name))
            found.repositories[one.name] = repository


def _assigned(application: Application, cluster: str, before: Assigned | None) -> Assigned:
    """Return an application with what is remembered of it: of one that changed, how it stood."""
    if before is None or before.cluster != cluster:
        return Assigned(application, cluster)
    if before.application == application:
        return before
    return Assigned(application, cluster, Memory(status=before.memory.status))


def _keep(found: Known, known: Known) -> None:
    """Keep those that cannot be read as they were known."""
    for name, before in known.assigned.items():
        if name not in found.assigned and (not found.certain or name in found.refused):
            found.assigned[name], found.repositories[name] = before, known.repositories[name]


def _named(known: Known) -> Iterator[tuple[RepositorySettings, str]]:
    for name, one in known.assigned.items():
        yield known.repositories[name], one.application.source.target_revision


def _questions(asked: Iterable[tuple[RepositorySettings, str]]) -> list[Question]:
    """Return one question for each address."""
    repositories: dict[str, RepositorySettings] = {}
    wanted: dict[str, set[str]] = {}
    for repository, name in asked:
        repositories.setdefault(repository.url, repository)
        wanted.setdefault(repository.url, set()).add(name)
    return [Question(repositories[url], frozenset(names)) for url, names in wanted.items()]
