"""What an application has in a cluster: an ApplySet of KEP-3659, which `kubectl apply --prune --applyset` understands.

A parent, one ConfigMap an application, lists the members; each member carries a label with the id of the parent, which
an API server can select by, and an annotation that says whose it is and which object it was put on: a controller that
copies an object copies that too, and the copy is not ours.

The parent names the union of what was and what will be before anything is applied, and shrinks after the prune; a
sync that is killed between loses no object.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import replace

from updater.model.resource import Key, Resource

TOOL = "updater"
TOOLING = f"{TOOL}/v1"
ID = "applyset.kubernetes.io/id"
PART_OF = "applyset.kubernetes.io/part-of"
TOOLING_NAME = "applyset.kubernetes.io/tooling"
GROUP_KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
APPLICATION = "updater.dev/application"
TRACKING = "updater.dev/tracking-id"
DATA = "inventory"  # in the ConfigMap: one `group/Kind/namespace/name` a line; no name has a slash


def applyset_id(name: str, namespace: str, kind: str = "ConfigMap", group: str = "") -> str:
    """Return the id of the set whose parent is this object."""
    digest = hashlib.sha256(f"{name}.{namespace}.{kind}.{group}".encode()).digest()
    return f"applyset-{urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def parent_key(application: str, namespace: str) -> Key:
    """Return the key of an application's parent."""
    return Key("", "ConfigMap", namespace, f"{TOOL}-{application}")


def identity(application: str, namespace: str) -> str:
    """Return the id of an application's set."""
    key = parent_key(application, namespace)
    return applyset_id(key.name, key.namespace, key.kind, key.group)


def parent(application: str, namespace: str, members: Iterable[Key]) -> Resource:
    """Return the parent of an application that has these members."""
    key, everything = parent_key(application, namespace), sorted(set(members))
    others = {member.namespace for member in everything} - {"", namespace}
    metadata = {
        "name": key.name,
        "namespace": namespace,
        "labels": {ID: identity(application, namespace)},
        "annotations": {
            TOOLING_NAME: TOOLING,
            GROUP_KINDS: ",".join(sorted({member.group_kind for member in everything})),
            NAMESPACES: ",".join(sorted(others)),
            APPLICATION: application,
        },
    }
    lines = "".join(f"{member.group}/{member.kind}/{member.namespace}/{member.name}\n" for member in everything)
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {DATA: lines}}
    return Resource(key, "v1", manifest)


def members_of(live: Resource) -> frozenset[Key]:
    """Read the members from a live parent. Raises ValueError where another tool, or another set, owns it."""
    key, tooling = live.key, str(live.annotations.get(TOOLING_NAME, ""))
    if tooling.partition("/")[0] != TOOL:
        raise ValueError(f"{key} belongs to {tooling[:80] or 'no tool'}, expected {TOOLING} in {TOOLING_NAME}")
    expected = applyset_id(key.name, key.namespace, key.kind, key.group)
    if live.labels.get(ID) != expected:
        raise ValueError(f"{key} has the id {str(live.labels.get(ID))[:80]}, expected {expected}")
    data = live.manifest.get("data")
    written = data.get(DATA, "") if isinstance(data, Mapping) else ""
    return frozenset(_member(key, line) for line in str(written).splitlines() if line)


def growing(recorded: Iterable[Key], desired: Iterable[Key]) -> frozenset[Key]:
    """Return the members to record before anything is applied."""
    return frozenset(recorded) | frozenset(desired)


def shrunk(desired: Iterable[Key], left: Iterable[Key]) -> frozenset[Key]:
    """Return the members to record after a prune; `left` are those that were kept, or could not be deleted."""
    return frozenset(desired) | frozenset(left)


def tracking(application: str, key: Key) -> str:
    """Return what an object's annotation says: `shop:apps/Deployment:web/api`."""
    return f"{application}:{key.group}/{key.kind}:{key.namespace}/{key.name}"


def member(resource: Resource, application: str, set_id: str) -> Resource:
    """Mark an object as a member of an application's set. Raises ValueError where it names owners of its own."""
    metadata = resource.manifest["metadata"]
    if metadata.get("ownerReferences"):
        raise ValueError(f"{resource.key}: found ownerReferences, expected none; its owner would delete it")
    labels = {**resource.labels, PART_OF: set_id}
    annotations = {**resource.annotations, TRACKING: tracking(application, resource.key)}
    marked = {**metadata, "labels": labels, "annotations": annotations}
    return replace(resource, manifest={**resource.manifest, "metadata": marked})


def set_of(live: Resource) -> str:
    """Return the id of the set that a live object is part of, empty for none."""
    return str(live.labels.get(PART_OF) or "")


def copied(live: Resource) -> bool:
    """Whether its annotation was put on another object, and came here with a copy of it."""
    said = str(live.annotations.get(TRACKING) or "")
    return bool(said) and said.partition(":")[2] != tracking("", live.key)[1:]


def _member(key: Key, line: str) -> Key:
    group, *rest = line.split("/")
    if len(rest) != 3 or not rest[0] or not rest[2]:
        raise ValueError(f"{key}: found {line[:120]!r} in its inventory, expected group/Kind/namespace/name")
    return Key(group, *rest)
