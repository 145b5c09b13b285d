"""The kinds that the server knows from the start, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field

from updater.demo.cluster.schemas import Node, kind_node

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """A kind of object and where it is served.

    node     the shape of its objects
    status   whether status is written at a path of its own
    scale    whether there is a /scale
    custom   a CustomResourceDefinition brought it
    """

    group: str
    version: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = True
    scale: bool = False
    categories: tuple[str, ...] = ()
    custom: bool = False
    singular: str = ""
    node: Node = field(default_factory=Node)

    @property
    def api_version(self) -> str:
        """`v1`, or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        """What its objects are stored under: versions of a kind share their objects."""
        return f"{self.plural}.{self.group}"


_ALL = ("all",)
_APPS, _BATCH, _NET, _RBAC = "apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1"
# apiVersion, kind, short names, and: c cluster-wide, s has a status, x has a scale, a in the category "all"
_TABLE = (
    ("v1", "Namespace", "ns", "cs"),
    ("v1", "ConfigMap", "cm", ""),
    ("v1", "Secret", "", ""),
    ("v1", "Service", "svc", "sa"),
    ("v1", "ServiceAccount", "sa", ""),
    ("v1", "Pod", "po", "sa"),
    ("v1", "PersistentVolume", "pv", "cs"),
    ("v1", "PersistentVolumeClaim", "pvc", "s"),
    ("v1", "Event", "ev", ""),
    ("v1", "Node", "no", "cs"),
    ("v1", "ResourceQuota", "quota", "s"),
    ("v1", "LimitRange", "limits", ""),
    ("v1", "Endpoints", "ep", ""),
    (_APPS, "Deployment", "deploy", "sxa"),
    (_APPS, "StatefulSet", "sts", "sxa"),
    (_APPS, "DaemonSet", "ds", "sa"),
    (_APPS, "ReplicaSet", "rs", "sxa"),
    (_BATCH, "Job", "", "sa"),
    (_BATCH, "CronJob", "cj", "sa"),
    (_NET, "Ingress", "ing", "s"),
    (_NET, "IngressClass", "", "c"),
    (_NET, "NetworkPolicy", "netpol", ""),
    (_RBAC, "Role", "", ""),
    (_RBAC, "RoleBinding", "", ""),
    (_RBAC, "ClusterRole", "", "c"),
    (_RBAC, "ClusterRoleBinding", "", "c"),
    ("policy/v1", "PodDisruptionBudget", "pdb", "s"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "hpa", "sa"),
    ("storage.k8s.io/v1", "StorageClass", "sc", "c"),
    ("scheduling.k8s.io/v1", "PriorityClass", "pc", "c"),
    ("coordination.k8s.io/v1", "Lease", "", ""),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "crd crds", "cs"),
    ("apiregistration.k8s.io/v1", "APIService", "", "cs"),
)


def plural_of(kind: str) -> str:
    """Return the plural as the built-in kinds form it."""
    word = kind.lower()
    if word == "endpoints":
        return word
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith("s") else f"{word}s"


def built_in() -> list[Resource]:
    """Return the built-in kinds."""
    found = []
    for api_version, kind, short, marks in _TABLE:
        group, _, version = api_version.rpartition("/")
        found.append(
            Resource(
                group, version, kind, plural_of(kind), tuple(short.split()),
                namespaced="c" not in marks, status="s" in marks, scale="x" in marks,
                categories=_ALL if "a" in marks else (), singular=kind.lower(), node=kind_node(kind),
            )
        )  # fmt: skip
    return found
