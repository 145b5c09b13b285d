"""Taking over objects that another tool has applied.

Fields stay for as long as anybody owns them. Where the tool that was here before still does, a field that is removed in
Git would linger, so its entry among the managed fields becomes ours, as kubectl does it when one changes to server-side
apply: https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from updater.cluster.client import MANAGER, Cluster
from updater.errors import Refused
from updater.model.resource import Key

TOOLS = frozenset(
    {
        "kubectl-client-side-apply",
        "argocd-controller",
        "argocd-application-controller",  # before Argo CD 2.5
        "helm",
        "helm-controller",
        "kustomize-controller",
    }
)
TRIES = 3  # of a change that somebody else overtakes

Json = dict[str, Any]


def adopt(cluster: Cluster, key: Key, *, tools: Iterable[str] = TOOLS, as_user: str | None = None) -> tuple[str, ...]:
    """Make what these tools own of an object ours; return whose it was, nothing where there was nothing to do.

    To be done before the first apply of an object that is there already. Raises what `Cluster.patch` raises.
    """
    for attempt in range(1, TRIES + 1):
        live = cluster.get(key)
        entries = (live or {}).get("metadata", {}).get("managedFields") or []
        changed, owners = taken_over(entries, frozenset(tools))
        if live is None or not owners:
            return ()
        patch = [
            {"op": "replace", "path": "/metadata/managedFields", "value": changed},
            # Another version than the live one is a conflict: nobody's change in between is lost.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        ]
        try:
            cluster.patch(key, patch, kind="json", as_user=as_user)
        except Refused as err:
            if err.reason != "Conflict" or attempt == TRIES:
                raise
        else:
            return owners
    raise AssertionError("unreachable")


def taken_over(entries: list[Json], tools: frozenset[str]) -> tuple[list[Json], tuple[str, ...]]:
    """Return managed fields with the entries of these tools merged into ours, and whose they were.

    Entries of subresources, and of another version of the API than ours, are left as they are.
    """
    ours = next((entry for entry in entries if _is_ours(entry)), None)
    theirs = [entry for entry in entries if entry.get("manager") in tools and not entry.get("subresource")]
    if ours is None and theirs:
        newest = max(theirs, key=lambda entry: str(entry.get("time") or ""))
        ours = {**newest, "manager": MANAGER, "operation": "Apply"}
    merged = [entry for entry in theirs if ours and entry.get("apiVersion") == ours.get("apiVersion")]
    if ours is None or not merged:
        return entries, ()
    fields: Json = {}
    for entry in (ours, *merged):
        _unite(fields, entry.get("fieldsV1") or {})
    kept = [entry for entry in entries if not _is_ours(entry) and not any(entry is gone for gone in merged)]
    return [{**ours, "fieldsV1": fields}, *kept], tuple(sorted({str(entry["manager"]) for entry in merged}))


def _is_ours(entry: Json) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")


def _unite(into: Json, fields: Json) -> None:
    """Add a set of fields, a tree whose leaves are empty, to another."""
    for name, below in fields.items():
        if isinstance(below, dict) and isinstance(into.get(name), dict):
            _unite(into[name], below)
        else:
            into[name] = copy.deepcopy(below)
