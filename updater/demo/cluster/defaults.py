"""What the server adds to objects that do not say it: enough that a naive comparison would see drift everywhere.

Quantities stay as they are written; a genuine server rewrites some (`1000m` becomes `1`).
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from typing import Any

from updater.demo.cluster.schemas import Json

_ADDRESSES = itertools.count(10)


def defaulted(kind: str, group: str, obj: Json) -> None:
    """Complete an object in place; custom resources have their own schema for that.

    Raises ValueError, TypeError or AttributeError where it can't be read as its kind.
    """
    if rule := _RULES.get((group, kind)):
        rule(obj)


def carried(kind: str, group: str, new: Json, old: Json) -> None:
    """Keep what the server itself gave an object, where a replacement does not say it."""
    if (group, kind) == ("", "Service"):
        _carry_addresses(new.setdefault("spec", {}), old["spec"])
    elif (group, kind) == ("", "PersistentVolumeClaim") and "volumeName" in old["spec"]:
        _set(new.setdefault("spec", {}), volumeName=old["spec"]["volumeName"])
    elif (group, kind) == ("", "Namespace"):
        new.setdefault("spec", old["spec"])


def _carry_addresses(new: Json, old: Json) -> None:
    if new.get("type") == "ExternalName":
        return
    _set(new, **{key: old[key] for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy") if key in old})
    given = {(port.get("port"), port.get("protocol", "TCP")): port.get("nodePort") for port in old.get("ports", ())}
    if new.get("type") in ("NodePort", "LoadBalancer"):
        for port in new.get("ports", ()):
            if number := given.get((port.get("port"), port.get("protocol", "TCP"))):
                _set(port, nodePort=number)


def _set(target: Json, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _probe(probe: Json | None) -> None:
    if not probe:
        return
    _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    _http(probe.get("httpGet"))
    if (grpc := probe.get("grpc")) is not None:
        _set(grpc, service="")


def _http(action: Json | None) -> None:
    if action is not None:
        _set(action, scheme="HTTP", path="/")


def _pull_policy(image: str) -> str:
    """`Always` for latest or no tag at all, where no digest fixes the content."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _container(container: Json) -> None:
    _set(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=_pull_policy(container.get("image", "")),
    )
    for port in container.get("ports", ()):
        _set(port, protocol="TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        _probe(container.get(probe))
    for step in (container.get("lifecycle") or {}).values():
        if isinstance(step, dict):
            _http(step.get("httpGet"))
    for variable in container.get("env", ()):
        if reference := (variable.get("valueFrom") or {}).get("fieldRef"):
            _set(reference, apiVersion="v1")


_VOLUMES: dict[str, Json] = {
    "configMap": {"defaultMode": 420},
    "secret": {"defaultMode": 420},
    "projected": {"defaultMode": 420},
    "downwardAPI": {"defaultMode": 420},
    "hostPath": {"type": ""},
}


def _pod_spec(spec: Json, restart: str = "Always") -> None:
    _set(
        spec,
        restartPolicy=restart,
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    for container in itertools.chain(spec.get("initContainers", ()), spec.get("containers", ())):
        _container(container)
    for volume in spec.get("volumes", ()):
        for source, values in _VOLUMES.items():
            if source in volume:
                _set(volume[source], **values)
        if not any(key != "name" for key in volume):
            volume["emptyDir"] = {}
    if account := spec.get("serviceAccountName"):
        _set(spec, serviceAccount=account)


def _template(spec: Json, restart: str = "Always") -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}), restart)


def _spec(obj: Json) -> Json:
    spec: Json = obj.setdefault("spec", {})
    return spec


def _deployment(obj: Json) -> None:
    spec = _spec(obj)
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _stateful_set(obj: Json) -> None:
    spec = _spec(obj)
    _set(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady")
    _set(spec, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"})
    strategy = spec.setdefault("updateStrategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy.setdefault("rollingUpdate", {}), partition=0)
    _template(spec)
    for claim in spec.get("volumeClaimTemplates", ()):
        _set(claim, apiVersion="v1", kind="PersistentVolumeClaim", status={"phase": "Pending"})
        _set(claim.setdefault("spec", {}), volumeMode="Filesystem")


def _daemon_set(obj: Json) -> None:
    spec = _spec(obj)
    _set(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    _template(spec)


def _replica_set(obj: Json) -> None:
    _set(_spec(obj), replicas=1)
    _template(_spec(obj))


def _job_spec(spec: Json) -> None:
    if spec.get("parallelism") is None and spec.get("completions") is None:
        _set(spec, completions=1)
    _set(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _set(spec, podReplacementPolicy="TerminatingOrFailed")
    _template(spec)


def _job(obj: Json) -> None:
    """A job without a selector gets one of its own uid, and its pods the labels for it."""
    spec, meta = _spec(obj), obj["metadata"]
    _job_spec(spec)
    if "selector" not in spec and "uid" in meta:
        label = {"batch.kubernetes.io/controller-uid": meta["uid"]}
        spec["selector"] = {"matchLabels": label}
        labels = spec["template"]["metadata"].setdefault("labels", {})
        labels |= label | {
            "controller-uid": meta["uid"],
            "batch.kubernetes.io/job-name": meta["name"],
            "job-name": meta["name"],
        }


def _cron_job(obj: Json) -> None:
    spec = _spec(obj)
    _set(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    template = spec.setdefault("jobTemplate", {})
    template.setdefault("metadata", {})
    job = template.setdefault("spec", {})
    _template(job)


def _service(obj: Json) -> None:
    spec = _spec(obj)
    _set(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports", ()):
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if spec["sessionAffinity"] == "ClientIP":
        _set(spec, sessionAffinityConfig={"clientIP": {"timeoutSeconds": 10800}})
    if spec["type"] == "ExternalName":
        return
    _set(spec, internalTrafficPolicy="Cluster", ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"])
    if not spec.get("clusterIP"):
        number = next(_ADDRESSES)
        spec["clusterIP"] = f"10.96.{number >> 8 & 255}.{number & 255}"
    _set(spec, clusterIPs=[spec["clusterIP"]])
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _set(spec, externalTrafficPolicy="Cluster")
        for port in spec.get("ports", ()):
            _set(port, nodePort=30000 + next(_ADDRESSES) % 2768)
    if spec["type"] == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)
    _set(obj, status={"loadBalancer": {}})


def _secret(obj: Json) -> None:
    if plain := obj.pop("stringData", None):
        data = obj.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode()
    for value in (obj.get("data") or {}).values():
        base64.b64decode(value, validate=True)
    _set(obj, type="Opaque")


def _claim(obj: Json) -> None:
    _set(_spec(obj), volumeMode="Filesystem")
    _set(obj, status={"phase": "Pending"})


def _volume(obj: Json) -> None:
    _set(_spec(obj), volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    _set(obj, status={"phase": "Available"})


def _namespace(obj: Json) -> None:
    _set(_spec(obj), finalizers=["kubernetes"])
    _set(obj, status={"phase": "Active"})
    labels = obj["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def _pod(obj: Json) -> None:
    _pod_spec(_spec(obj))
    _set(_spec(obj), enableServiceLinks=True, serviceAccountName="default", serviceAccount="default")
    _set(obj, status={"phase": "Pending", "qosClass": "BestEffort"})


def _policy(obj: Json) -> None:
    spec = _spec(obj)
    for rule in itertools.chain(spec.get("ingress", ()), spec.get("egress", ())):
        for port in rule.get("ports", ()):
            _set(port, protocol="TCP")
    spec.setdefault("podSelector", {})
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", *(["Egress"] if "egress" in spec else [])]


def _scaler(obj: Json) -> None:
    spec = _spec(obj)
    _set(spec, minReplicas=1)
    utilization = {"type": "Utilization", "averageUtilization": 80}
    _set(spec, metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}])


def _storage_class(obj: Json) -> None:
    _set(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _binding(obj: Json) -> None:
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            _set(subject, apiGroup="rbac.authorization.k8s.io")
    if reference := obj.get("roleRef"):
        _set(reference, apiGroup="rbac.authorization.k8s.io")


def _custom_definition(obj: Json) -> None:
    spec = _spec(obj)
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    _set(names, singular=kind.lower(), listKind=f"{kind}List")
    _set(spec, conversion={"strategy": "None"})


def _ingress(obj: Json) -> None:
    _set(obj, status={"loadBalancer": {}})


def _limits(obj: Json) -> None:
    for limit in _spec(obj).get("limits", ()):
        if "max" in limit and limit.get("type") == "Container":
            _set(limit, default=limit["max"])
        if "default" in limit and limit.get("type") == "Container":
            _set(limit, defaultRequest=limit["default"])


_RULES: dict[tuple[str, str], Callable[[Json], None]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("", "Service"): _service,
    ("", "Secret"): _secret,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "LimitRange"): _limits,
    ("networking.k8s.io", "NetworkPolicy"): _policy,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("autoscaling", "HorizontalPodAutoscaler"): _scaler,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("rbac.authorization.k8s.io", "RoleBinding"): _binding,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): _binding,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _custom_definition,
}
