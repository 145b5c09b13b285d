"""What an application should have beside what its cluster has: the cluster itself says what would change, by dry run.

What neither Git nor the cluster changed since the last look costs no request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from updater.cluster.client import Cluster
from updater.errors import Absent, ClusterError, Conflict, ManifestError, Refused, UnknownKind, Unreachable
from updater.health.assess import health_of, needs
from updater.model.application import Application, Ignored
from updater.model.health import HealthStatus
from updater.model.resource import Key, Resource
from updater.model.sync import Difference, ResourceStatus, Verdict
from updater.renderers.base import Rendered
from updater.sync import status
from updater.sync.diff import compare, respect, without
from updater.sync.ignore import merged
from updater.sync.inventory import identity, member, set_of
from updater.sync.managed import only, trees
from updater.sync.options import Conflicts, Options, hook, options, wave

IMAGES = frozenset({"image"})
MAX_IMAGES = 200
_BUILT_IN_CLUSTER_WIDE = frozenset({"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"})

Json = dict[str, Any]
Look = Callable[[Key], Json | None]


@dataclass(frozen=True, slots=True)
class Desired:
    """What Git wants of one application on its cluster. `key` stands for all of it; members carry our marks.

    sure  whether it is known of every kind if it has namespaces; else it may be another one at the next look
    """

    key: str
    members: tuple[Resource, ...] = ()
    hooks: tuple[Resource, ...] = ()
    warnings: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    sure: bool = True

    @property
    def hooked(self) -> str:
        """What stands for the hooks, empty where there are none."""
        return digest({str(hook.key): hook.manifest for hook in self.hooks}) if self.hooks else ""

    @property
    def everything(self) -> tuple[Resource, ...]:
        """Members and hooks."""
        return self.members + self.hooks


@dataclass(slots=True)
class Kept:
    """What is remembered of one application between two looks.

    verdicts  by object, with what they were given for: a digest of the manifest and the version of the live object
    written   the versions that our own writes made: what memory has of before is too old to go by
    """

    verdicts: dict[Key, tuple[str, str, Difference]] = field(default_factory=dict)
    written: dict[Key, str] = field(default_factory=dict)


def home(application: Application) -> str:
    """Return the namespace that the inventory of an application is in."""
    return application.destination.namespace or "default"


def desired(application: Application, key: str, rendered: Rendered, cluster: Cluster) -> Desired:
    """Put what was rendered into its places. Raises ManifestError, ClusterError."""
    set_id = identity(application.name, home(application))
    scopes = _scopes(rendered.resources)
    members, hooks, sure = [], [], True
    for resource in rendered.resources:
        placed, known = _placed(resource, application, cluster, scopes)
        sure = sure and known
        try:
            wave(placed)  # what is wrong with it, or with its options, is said before anything is done
            options(placed, application.policy.options)
            if hook(placed) is not None:
                hooks.append(placed)
            elif not placed.manifest["metadata"].get("name"):
                raise ValueError(f"{placed.key}: found only a generateName, expected metadata.name")
            else:
                members.append(member(placed, application.name, set_id))
        except ValueError as err:
            raise ManifestError(str(err)) from None
    images = dict.fromkeys(image for one in members for image in _images(one.manifest))
    return Desired(key, tuple(members), tuple(hooks), rendered.warnings, tuple(images)[:MAX_IMAGES], sure)


def _scopes(resources: Iterable[Resource]) -> dict[tuple[str, str], bool]:
    """Return whether kinds that come with the application have namespaces."""
    found = {}
    for resource in resources:
        if resource.key.kind == "CustomResourceDefinition":
            spec = resource.manifest.get("spec") or {}
            names = spec.get("names") or {}
            found[str(spec.get("group")), str(names.get("kind"))] = spec.get("scope") != "Cluster"
    return found


def _placed(
    resource: Resource, application: Application, cluster: Cluster, scopes: Mapping[tuple[str, str], bool]
) -> tuple[Resource, bool]:
    """Return a resource in its namespace, and whether it is known that its kind has any."""
    key, fallback, known = resource.key, application.destination.namespace, True
    try:
        namespaced = cluster.kind_of(key.group, key.kind, resource.version).namespaced
    except UnknownKind:
        known = (key.group, key.kind) in scopes
        namespaced = scopes.get((key.group, key.kind), key.kind not in _BUILT_IN_CLUSTER_WIDE)
    namespace = (key.namespace or fallback) if namespaced else ""
    if namespaced and not namespace:
        raise ManifestError(f"{resource.source}: {key} has no namespace, and neither has the application's destination")
    fits = key.namespace == namespace and (namespace or "namespace" not in resource.manifest["metadata"])
    return (resource if fits else resource.placed(namespace)), known


def spared(resource: Resource, live: Json | None, ignored: Iterable[Ignored]) -> Resource:
    """Return an object as it is applied under RespectIgnoreDifferences."""
    return replace(resource, manifest=respect(resource.manifest, resource.key, live, ignored))


def yielding(resource: Resource, live: Json | None, conflict: Conflict) -> Resource:
    """Return an object without the fields that a conflict names: they stay with their owners."""
    paths = {path for path, _ in conflict.fields}
    owned = [only(tree, paths) for _, manager in conflict.fields for tree in trees(live or {}, manager)]
    return replace(resource, manifest=without(resource.manifest, merged(owned)))


def _images(value: Mapping[str, Any] | list[Any], depth: int = 0) -> Iterator[str]:
    """Yield what containers run."""
    for name, inner in enumerate(value) if isinstance(value, list) else value.items():
        if isinstance(inner, dict | list):
            if depth < 40:
                yield from _images(inner, depth + 1)
        elif name in IMAGES and isinstance(inner, str):
            yield inner[:512]


def explained(err: ClusterError) -> str:
    """Return the words of an error, and what may be done about the most frequent one."""
    hint = "; the sync options Replace=true,Force=true would remove it and make it anew" if _is_immutable(err) else ""
    return f"{err}{hint}"


def _is_immutable(err: ClusterError) -> bool:
    return isinstance(err, Refused) and "immutable" in str(err)


def version_of(live: Json) -> str:
    """Return the version of a live object, empty where it says none."""
    return str(live.get("metadata", {}).get("resourceVersion", ""))


def digest(manifest: Mapping[str, Any]) -> str:
    """Return what stands for a manifest."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Compared:
    """The outcome of one look.

    trouble  what stands in the way of a sync, by object
    unseen   what Git has no more and may be there for a while: kinds that are not served now, what is on its way out
    tried    what is not there, and was applied dry
    """

    differences: tuple[Difference, ...]
    live: Mapping[Key, Json] = field(repr=False)  # with the values of Secrets
    trouble: Mapping[Key, str] = field(default_factory=dict)
    unseen: frozenset[Key] = frozenset()
    tried: frozenset[Key] = frozenset()


class Comparison:
    """One look at one application.

    look   what the cluster has, from memory where that is fresh; secret_key: for the hashes of Secrets
    eager  what no inventory names is going to be made: it is applied dry at once, which says too whether it is there
    """

    def __init__(
        self,
        application: Application,
        cluster: Cluster,
        look: Look,
        kept: Kept,
        *,
        secret_key: bytes,
        as_user: str | None = None,
        eager: bool = False,
    ) -> None:
        self._application, self._cluster, self._look, self._kept = application, cluster, look, kept
        self._secret_key, self._as_user, self._eager = secret_key, as_user, eager
        self._set_id = identity(application.name, home(application))
        self._live: dict[Key, Json] = {}
        self._trouble: dict[Key, str] = {}
        self._unseen: set[Key] = set()
        self._dry: set[Key] = set()
        self._recorded: frozenset[Key] = frozenset()

    def run(self, wanted: Desired, inventory: Iterable[Key]) -> Compared:
        """Compare every member, and look for what is there beside them. Raises Unreachable."""
        own = {resource.key for resource in wanted.members}
        self._recorded = frozenset(inventory)
        extra = sorted(self._recorded - own)
        if own <= self._kept.verdicts.keys():  # hardly a request: memory has them, and threads cost more than looking
            compared = [*map(self._member, wanted.members), *map(self._extra, extra)]
        else:
            compared = [*self._cluster.each(self._member, wanted.members), *self._cluster.each(self._extra, extra)]
        found = [one for one in compared if one is not None]
        self._kept.verdicts = {key: kept for key, kept in self._kept.verdicts.items() if key in own}
        return Compared(tuple(found), self._live, self._trouble, frozenset(self._unseen), frozenset(self._dry))

    def _member(self, resource: Resource) -> Difference:
        key = resource.key
        if self._eager and key not in self._recorded and self._is_new(resource):
            self._dry.add(key)
            return Difference(key, Verdict.MISSING)
        try:
            live = self._look(key)
        except UnknownKind as err:
            return Difference(key, Verdict.MISSING, why=str(err))
        if live is None:
            return Difference(key, Verdict.MISSING, after=None)
        self._live[key] = live
        owner = set_of(Resource(key, resource.version, live))
        chosen = options(resource, self._application.policy.options)
        if owner not in {"", self._set_id} and chosen.fail_on_shared and not chosen.take_over:
            self._trouble[key] = "it belongs to another application"
            return Difference(key, Verdict.CHANGED, why=self._trouble[key])
        wanted = spared(resource, live, self._application.ignored) if chosen.respect_ignored else resource
        known = digest(wanted.manifest), version_of(live)
        last = self._kept.verdicts.get(key)
        same = last is not None and last[0] == known[0]
        if last and same and (last[1] == known[1] or (owner == self._set_id and self._unmoved(key, live, last[2]))):
            self._kept.verdicts[key] = (*known, last[2])
            return last[2]
        found = self._tried(wanted, live, chosen)
        if found.verdict is Verdict.SAME and owner != self._set_id:
            found = replace(
                found, verdict=Verdict.CHANGED, fields=((".metadata.labels", ""),), why="it is not marked as ours yet"
            )
        if found.verdict is not Verdict.UNKNOWN:
            self._kept.verdicts[key] = known[0], version_of(self._live[key]), found
        return found

    def _is_new(self, resource: Resource) -> bool:
        """Whether an object is not there, and can be made: one request in place of two. If not, it is looked for."""
        try:
            return self._cluster.would_create(resource, as_user=self._as_user)
        except Unreachable:
            raise
        except ClusterError:
            return False

    def _unmoved(self, key: Key, live: Json, last: Difference) -> bool:
        """Say whether only what nobody compares has changed, as the status: then the answer would be the same."""
        ignored = self._application.ignored
        return last.before is not None and last.before == self._same(key, live, ignored).before

    def _same(self, key: Key, live: Json, ignored: Iterable[Ignored]) -> Difference:
        return compare(key, live, live, ignored, secret_key=self._secret_key)

    def _tried(self, resource: Resource, live: Json, chosen: Options) -> Difference:
        key = resource.key
        try:
            predicted = self._predicted(resource, live, chosen.conflicts)
        except (Absent, UnknownKind):
            return Difference(key, Verdict.MISSING)
        except Conflict as err:
            return Difference(key, Verdict.CHANGED, err.fields, why=str(err))
        except Unreachable:
            raise
        except ClusterError as err:
            if not (chosen.replace and chosen.force):  # else it is removed before
                self._trouble[key] = explained(err)
            return Difference(key, Verdict.CHANGED, why=str(err))
        found = compare(key, live, predicted, self._application.ignored, secret_key=self._secret_key)
        if found.verdict is Verdict.CHANGED and version_of(predicted) != version_of(live):
            return self._overtaken(key, predicted) or found
        return found

    def _overtaken(self, key: Key, predicted: Json) -> Difference | None:
        """Compare with the object as it is now: somebody changed it between our two questions."""
        live = self._cluster.get(key)
        if live is None:
            return None
        self._live[key] = live
        return compare(key, live, predicted, self._application.ignored, secret_key=self._secret_key)

    def _predicted(self, resource: Resource, live: Json, conflicts: Conflicts) -> Json:
        force = conflicts is Conflicts.FORCE
        try:
            return self._cluster.apply(resource, dry_run=True, force=force, as_user=self._as_user)
        except Conflict as err:
            if conflicts is not Conflicts.YIELD:
                raise
            left = yielding(resource, live, err)
            return self._cluster.apply(left, dry_run=True, force=False, as_user=self._as_user)

    def _extra(self, key: Key) -> Difference | None:
        """Compare what Git has no more; what another application has taken over is none of ours any more."""
        try:
            live = self._look(key)
        except UnknownKind:
            self._unseen.add(key)
            return None
        if live is None or set_of(Resource(key, "", live)) not in {"", self._set_id}:
            return None
        if live.get("metadata", {}).get("deletionTimestamp"):
            self._unseen.add(key)
            return None
        self._live[key] = live
        return compare(key, live, None, secret_key=self._secret_key)


def statuses(
    wanted: Desired, compared: Compared, exists: Callable[[Key], bool | None], now: datetime
) -> tuple[ResourceStatus, ...]:
    """Return how every object of an application stands, the healthy and synced among them too."""
    desired_by_key = {resource.key: resource for resource in wanted.members}
    found = []
    for difference in compared.differences:
        live = compared.live.get(difference.key)
        one = status.of_object(
            difference,
            desired_by_key.get(difference.key),
            Resource(difference.key, "", live) if live else None,
            health(live, exists, now),
        )
        if one is not None:
            found.append(one)
    return tuple(found)


def health(live: Json | None, exists: Callable[[Key], bool | None], now: datetime) -> HealthStatus | None:
    """Return how a live object is, None for one that is not there or has no health."""
    if live is None:
        return None
    asked = {key: exists(key) for key in needs(live)}
    return health_of(live, exists=asked.get, now=now)
