"""The controllers of a small cluster: workloads get ready, claims get bound, namespaces are emptied, orphans collected.

No pods and no replica sets come into being. An image whose tag contains `broken` never gets ready, and a job whose
image's tag contains `fail` fails.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from updater.demo.cluster.kinds import Resource
from updater.demo.cluster.objects import Happened, Key, Store, Stored, Table, new_uid, now
from updater.demo.cluster.registry import Registry
from updater.demo.cluster.schemas import Json
from updater.demo.cluster.writes import FOREGROUND, ORPHAN, Writes

MANAGER = "kube-controller-manager"
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_GARBAGE = {FOREGROUND, ORPHAN}

Step = Callable[[], None]


class Controller:
    """Does what is due, in a thread of its own.

    rollout   seconds between a change and what follows from it; None: it waits for `settle`
    active    whether it does anything for workloads, claims, services and namespaces; kinds of custom resources are
              served, and their objects removed with them, in any case
    """

    def __init__(
        self, store: Store, registry: Registry, writes: Writes, *, rollout: float | None, active: bool
    ) -> None:
        self._store, self._registry, self._writes = store, registry, writes
        self._rollout, self._active = rollout, active
        self._due: list[tuple[float, int, Step]] = []
        self._count = itertools.count()
        self._changed = threading.Condition(store.lock)
        self._stopping = False
        self._templates: dict[str, tuple[Json, int]] = {}  # uid of a deployment -> the last template, and its number
        store.listeners.append(self._noticed)
        self._seed()
        self._thread = threading.Thread(target=self._run, daemon=True, name="cluster-controller")
        self._thread.start()

    def close(self) -> None:
        """Stop; what is waiting stays undone."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(5)

    def settle(self) -> None:
        """Do everything that waits, and what follows from it."""
        while True:
            with self._changed:
                if not self._due:
                    return
                _, _, step = heapq.heappop(self._due)
                step()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and not self._is_due():
                    left = self._due[0][0] - time.monotonic() if self._due and self._rollout is not None else None
                    self._changed.wait(left)
                if self._stopping:
                    return
                _, _, step = heapq.heappop(self._due)
                step()

    def _is_due(self) -> bool:
        return self._rollout is not None and bool(self._due) and self._due[0][0] <= time.monotonic()

    def _later(self, step: Step) -> None:
        at = time.monotonic() + (self._rollout or 0)
        heapq.heappush(self._due, (at, next(self._count), step))
        self._changed.notify()

    # ---------------------------------------------------------------- noticing

    def _noticed(self, resource: Resource, happened: Happened) -> None:
        """Plan what follows from a change; called under the lock."""
        stored, place = happened.stored, (resource.group, resource.kind)
        if place == ("apiextensions.k8s.io", "CustomResourceDefinition"):
            self._defined(resource, happened)
        if happened.word == "DELETED":
            self._gone(stored)
            return
        meta = stored.obj["metadata"]
        if "deletionTimestamp" in meta:
            if place == ("", "Namespace"):
                self._plan(self._empty_namespace, resource, stored.key)
            elif _GARBAGE & set(meta.get("finalizers") or ()):
                self._later(lambda: self._finish(resource, stored.key))
            return
        if place == ("", "Namespace") and happened.word == "ADDED":
            self._plan(self._furnish, resource, stored.key)
        elif (rule := _STATUS.get(place)) and _moved(happened):
            self._plan(self._report(rule), resource, stored.key)

    def _plan(self, act: Callable[[Resource, Key], None], resource: Resource, key: Key) -> None:
        if self._active:
            self._later(lambda: act(resource, key))

    def _report(self, rule: Callable[[Json], Json]) -> Callable[[Resource, Key], None]:
        def act(resource: Resource, key: Key) -> None:
            found = self._store.get(resource, key)
            if found is None or "deletionTimestamp" in found.obj["metadata"]:
                return
            status = _dated(found.obj.get("status", {}), rule(found.obj))
            notes = self._revision(found.obj) if resource.kind == "Deployment" else None
            self._writes.status_by_controller(resource, key, status, MANAGER, notes)

        return act

    def _revision(self, obj: Json) -> dict[str, str]:
        """Return the annotation that counts the templates of a deployment."""
        uid, template = obj["metadata"]["uid"], obj["spec"]["template"]
        last, count = self._templates.get(uid, (None, 0))
        if template != last:
            count += 1
            self._templates[uid] = (template, count)
        return {"deployment.kubernetes.io/revision": str(count)}

    # ----------------------------------------------------------------- garbage

    def _gone(self, stored: Stored) -> None:
        uid = stored.obj["metadata"].get("uid", "")
        self._templates.pop(uid, None)
        if any(True for _ in self._store.dependents(uid)):
            self._later(lambda: self._collect(uid))

    def _collect(self, uid: str) -> None:
        """Remove what an owner that is gone leaves behind."""
        for table, found in list(self._store.dependents(uid)):
            others = [owner for owner in found.obj["metadata"]["ownerReferences"] if owner.get("uid") != uid]
            if others and any(self._exists(owner["uid"]) for owner in others):
                self._store.put(table.resource, found.key, _with_meta(found.obj, ownerReferences=others))
            else:
                self._remove(table, found)

    def _exists(self, uid: str) -> bool:
        tables = self._store.tables()
        return any(item.obj["metadata"].get("uid") == uid for table in tables for item in table.items.values())

    def _remove(self, table: Table, found: Stored) -> None:
        """Delete as a background deletion does: finalizers hold it."""
        if not found.obj["metadata"].get("finalizers"):
            self._store.drop(table.resource, found.key)
        elif "deletionTimestamp" not in found.obj["metadata"]:
            marked = _with_meta(found.obj, deletionTimestamp=now(), deletionGracePeriodSeconds=0)
            self._store.put(table.resource, found.key, marked)

    def _finish(self, resource: Resource, key: Key) -> None:
        """Carry out a foreground or orphaning deletion."""
        found = self._store.get(resource, key)
        if found is None:
            return
        meta = found.obj["metadata"]
        held = list(meta.get("finalizers") or ())
        if ORPHAN in held:
            for table, child in list(self._store.dependents(meta["uid"])):
                owners = [o for o in child.obj["metadata"]["ownerReferences"] if o.get("uid") != meta["uid"]]
                self._store.put(table.resource, child.key, _with_meta(child.obj, ownerReferences=owners or None))
        elif FOREGROUND in held:
            for table, child in list(self._store.dependents(meta["uid"])):
                self._remove(table, child)
            if any(True for _ in self._store.dependents(meta["uid"])):
                self._later(lambda: self._finish(resource, key))
                return
        left = [name for name in held if name not in _GARBAGE]
        if left:
            self._store.put(resource, key, _with_meta(found.obj, finalizers=left))
        else:
            self._store.drop(resource, key)

    # -------------------------------------------------------------- namespaces

    def _seed(self) -> None:
        """Make what every cluster has: its namespaces and the service of the API."""
        spaces, services = self._registry.one("namespaces"), self._registry.one("services")
        for name in NAMESPACES:
            meta = {"name": name, "uid": new_uid(), "creationTimestamp": now()}
            meta["labels"] = {"kubernetes.io/metadata.name": name}  # type: ignore[assignment]
            body: Json = {"kind": "Namespace", "apiVersion": "v1", "metadata": meta}
            body |= {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
            self._store.put(spaces, ("", name), body)
            if self._active:
                self._furnish(spaces, ("", name))
        labels = {"component": "apiserver", "provider": "kubernetes"}
        meta = {"name": "kubernetes", "namespace": "default", "uid": new_uid(), "creationTimestamp": now()}
        ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
        spec = {
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": ports, "sessionAffinity": "None",
            "type": "ClusterIP",
        }  # fmt: skip
        service: Json = {"kind": "Service", "apiVersion": "v1", "metadata": meta | {"labels": labels}, "spec": spec}
        self._store.put(services, ("default", "kubernetes"), service | {"status": {"loadBalancer": {}}})
        if self._active:
            self._due.clear()

    def _furnish(self, resource: Resource, key: Key) -> None:
        """Give a namespace what every namespace has."""
        found = self._store.get(resource, key)
        if found is None or "deletionTimestamp" in found.obj["metadata"]:
            return
        for plural, kind, name, body in (
            ("serviceaccounts", "ServiceAccount", "default", {}),
            ("configmaps", "ConfigMap", "kube-root-ca.crt", {"data": {"ca.crt": ""}}),
        ):
            target = self._registry.one(plural)
            meta = {"name": name, "namespace": key[1], "uid": new_uid(), "creationTimestamp": now()}
            if self._store.get(target, (key[1], name)) is None:
                self._store.put(target, (key[1], name), {"kind": kind, "apiVersion": "v1", "metadata": meta, **body})

    def _empty_namespace(self, resource: Resource, key: Key) -> None:
        """Remove what is in a namespace, and then the namespace; finalizers of either make it wait."""
        found = self._store.get(resource, key)
        if found is None:
            return
        left = False
        for table in self._store.tables():
            if not table.resource.namespaced:
                continue
            for item in table.sorted(key[1]):
                self._remove(table, item)
            left = left or any(place[0] == key[1] for place in table.items)
        if left:
            self._later(lambda: self._empty_namespace(resource, key))
        elif found.obj["metadata"].get("finalizers"):
            self._store.put(resource, key, found.obj | {"spec": {"finalizers": []}})
        else:
            self._store.drop(resource, key)

    # -------------------------------------------------------- custom resources

    def _defined(self, resource: Resource, happened: Happened) -> None:
        """Serve a kind shortly after its definition came, and no more when it goes."""
        name = happened.stored.key[1]
        if happened.word == "DELETED":
            for gone in self._registry.forget(name):
                for item in self._store.table(gone).sorted():
                    self._store.drop(gone, item.key)
        elif happened.word == "ADDED" or _moved(happened):
            self._later(lambda: self._establish(resource, happened.stored.key))

    def _establish(self, resource: Resource, key: Key) -> None:
        found = self._store.get(resource, key)
        if found is None:
            return
        self._registry.define(found.obj)
        spec = found.obj["spec"]
        names = {k: v for k, v in spec["names"].items() if k != "categories"}
        words = (("NamesAccepted", "NoConflicts", "no conflicts found"),
                 ("Established", "InitialNamesAccepted", "the initial names have been accepted"))  # fmt: skip
        status = {
            "conditions": [_condition(kind, "True", reason, text) for kind, reason, text in words],
            "acceptedNames": names,
            "storedVersions": [version["name"] for version in spec["versions"] if version.get("storage")],
        }
        kept = found.obj.get("status", {})
        self._writes.status_by_controller(resource, key, _dated(kept, status), "kube-apiserver")


def _moved(happened: Happened) -> bool:
    """Whether the specification is new, not only the status."""
    before = happened.before
    return before is None or before.obj.get("spec") != happened.stored.obj.get("spec")


def _with_meta(obj: Json, **changes: Any) -> Json:
    meta = {key: value for key, value in {**obj["metadata"], **changes}.items() if value is not None}
    return obj | {"metadata": meta}


def _condition(kind: str, status: str, reason: str, message: str, *, updated: bool = False) -> Json:
    at = now()
    found = {"type": kind, "status": status, "lastTransitionTime": at, "reason": reason, "message": message}
    return found | {"lastUpdateTime": at} if updated else found


def _dated(old: Json, new: Json) -> Json:
    """Keep the time of conditions that are as they were."""
    before = {condition["type"]: condition for condition in old.get("conditions", ()) if "type" in condition}
    if "conditions" not in new:
        return new
    return new | {"conditions": [_kept(before.get(condition["type"]), condition) for condition in new["conditions"]]}


def _kept(old: Json | None, new: Json) -> Json:
    if old is None or old.get("status") != new["status"]:
        return new
    found = new | {"lastTransitionTime": old.get("lastTransitionTime", new["lastTransitionTime"])}
    same = old.get("reason") == new["reason"] and "lastUpdateTime" in old
    return found | {"lastUpdateTime": old["lastUpdateTime"]} if same else found


# -------------------------------------------------------------------- statuses


def _tag_has(obj: Json, word: str) -> bool:
    spec = obj["spec"]["template"]["spec"]
    images = [container.get("image", "") for container in spec.get("containers", ())]
    return any(word in image.rpartition("/")[2].partition(":")[2] for image in images)


def _deployment(obj: Json) -> Json:
    replicas, name = obj["spec"]["replicas"], obj["metadata"]["name"]
    seen = {"observedGeneration": obj["metadata"]["generation"]}
    if obj["spec"].get("paused"):
        return {**seen, **{k: v for k, v in obj.get("status", {}).items() if k != "observedGeneration"}}
    if _tag_has(obj, "broken"):
        ready = obj.get("status", {}).get("readyReplicas", 0)
        counts = _counts(replicas=max(replicas, ready) + (1 if ready else 0), updatedReplicas=min(replicas, 1),
                         readyReplicas=ready, availableReplicas=ready, unavailableReplicas=1)  # fmt: skip
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.") if ready else (
            "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")  # fmt: skip
        stuck = f'ReplicaSet "{name}-broken" has timed out progressing.'
        progress = ("False", "ProgressDeadlineExceeded", stuck)
    else:
        counts = _counts(
            replicas=replicas, updatedReplicas=replicas, readyReplicas=replicas, availableReplicas=replicas
        )
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        progress = ("True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
    conditions = [_condition("Available", *available, updated=True), _condition("Progressing", *progress, updated=True)]
    return {**seen, **counts, "conditions": conditions}


def _counts(**numbers: int) -> dict[str, int]:
    """Leave out zeros, as the real status does."""
    return {key: number for key, number in numbers.items() if number}


def _stateful_set(obj: Json) -> Json:
    replicas, name = obj["spec"]["replicas"], obj["metadata"]["name"]
    revision = f"{name}-{obj['metadata']['generation']}"
    old = obj.get("status", {})
    status = {"observedGeneration": obj["metadata"]["generation"], "replicas": replicas, "collisionCount": 0}
    if _tag_has(obj, "broken"):
        ready = max(old.get("readyReplicas", 0) - 1, 0)
        revisions = {"currentRevision": old.get("currentRevision", revision), "updateRevision": revision}
        counts = _counts(readyReplicas=ready, currentReplicas=ready, updatedReplicas=min(replicas, 1))
        return {**status, **revisions, **counts, "availableReplicas": ready}
    counts = _counts(readyReplicas=replicas, currentReplicas=replicas, updatedReplicas=replicas)
    revisions = {"currentRevision": revision, "updateRevision": revision}
    return {**status, **revisions, **counts, "availableReplicas": replicas}


def _daemon_set(obj: Json) -> Json:
    ready = 0 if _tag_has(obj, "broken") else 1
    return {
        "observedGeneration": obj["metadata"]["generation"], "currentNumberScheduled": 1, "desiredNumberScheduled": 1,
        "numberMisscheduled": 0, "numberReady": ready, "updatedNumberScheduled": 1,
        **_counts(numberAvailable=ready, numberUnavailable=1 - ready),
    }  # fmt: skip


def _replica_set(obj: Json) -> Json:
    replicas = obj["spec"]["replicas"]
    ready = 0 if _tag_has(obj, "broken") else replicas
    return {
        "observedGeneration": obj["metadata"]["generation"], "replicas": replicas,
        **_counts(fullyLabeledReplicas=replicas, readyReplicas=ready, availableReplicas=ready),
    }  # fmt: skip


def _job(obj: Json) -> Json:
    at = now()
    if obj["spec"].get("suspend"):
        return {"conditions": [_job_condition("Suspended", "JobSuspended", "Job suspended", at)]}
    if _tag_has(obj, "broken"):
        return {"active": 1, "ready": 0, "startTime": at, "uncountedTerminatedPods": {}}
    if _tag_has(obj, "fail"):
        text = "Job has reached the specified backoff limit"
        failed = _job_condition("Failed", "BackoffLimitExceeded", text, at)
        return {"conditions": [failed], "failed": obj["spec"]["backoffLimit"] + 1, "ready": 0, "startTime": at}
    done = _job_condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods", at)
    count = obj["spec"].get("completions") or 1
    return {"conditions": [done], "succeeded": count, "ready": 0, "startTime": at, "completionTime": at}


def _job_condition(kind: str, reason: str, message: str, at: str) -> Json:
    found = {"type": kind, "status": "True", "lastProbeTime": at, "lastTransitionTime": at}
    return found | {"reason": reason, "message": message}


def _service(obj: Json) -> Json:
    if obj["spec"].get("type") != "LoadBalancer":
        return {"loadBalancer": {}}
    return {"loadBalancer": {"ingress": [{"ip": "192.0.2.10", "ipMode": "VIP"}]}}


def _claim(obj: Json) -> Json:
    requests = (obj["spec"].get("resources") or {}).get("requests", {})
    return {"phase": "Bound", "accessModes": obj["spec"]["accessModes"], "capacity": requests}


def _ingress(_: Json) -> Json:
    return {"loadBalancer": {"ingress": [{"ip": "192.0.2.11"}]}}


def _budget(obj: Json) -> Json:
    allowed = _condition("DisruptionAllowed", "True", "SufficientPods", "") | {
        "observedGeneration": obj["metadata"]["generation"]
    }
    counts = {"currentHealthy": 1, "desiredHealthy": 0, "disruptionsAllowed": 1, "expectedPods": 1}
    return {"observedGeneration": obj["metadata"]["generation"], **counts, "conditions": [allowed]}


def _scaler(obj: Json) -> Json:
    count = obj["spec"]["minReplicas"]
    words = (("AbleToScale", "ReadyForNewScale"), ("ScalingActive", "ValidMetricFound"))
    conditions = [_condition(kind, "True", reason, "") for kind, reason in words]
    return {"currentReplicas": count, "desiredReplicas": count, "conditions": conditions}


def _pod(obj: Json) -> Json:
    ready = not any("broken" in container.get("image", "") for container in obj["spec"].get("containers", ()))
    conditions = [_condition("Ready", "True" if ready else "False", "" if ready else "ContainersNotReady", "")]
    return {"phase": "Running" if ready else "Pending", "qosClass": "BestEffort", "conditions": conditions}


def _api_service(_: Json) -> Json:
    text = "all checks passed"
    return {"conditions": [_condition("Available", "True", "Passed", text)]}


_STATUS: dict[tuple[str, str], Callable[[Json], Json]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("autoscaling", "HorizontalPodAutoscaler"): _scaler,
    ("policy", "PodDisruptionBudget"): _budget,
    ("apiregistration.k8s.io", "APIService"): _api_service,
}
