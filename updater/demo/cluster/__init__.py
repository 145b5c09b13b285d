"""A Kubernetes API server in a thread: HTTPS on loopback, for the demonstration, the tests and the benchmark.

It answers as a genuine one does in what a syncer, kubectl and the official client use: discovery, reading, lists in
pages, watches, server-side apply with conflicts and managed fields, the other patches, deletion with finalizers and
owners, defaults, validation, and `Status` errors word for word.

Left out: protobuf (`kubectl create namespace` and `kubectl auth can-i` insist on it; `apply` does not) and HTTP/2;
admission webhooks, quotas, RBAC (a `deny` function stands in); pods and replica sets, logs and exec; conversion between
versions; what a custom resource's schema says beyond shapes and defaults; most of the validation of built-in kinds;
groups, and logins but tokens and client certificates; types in OpenAPI documents. Quantities are kept as written, and
managed fields of more than ten updaters are not folded into one.
Unknown fields are known for every built-in kind, except inside the parts that `types.txt` marks `u`.

    schemas types.txt kinds     what objects look like
    ownership managers          server-side apply
    objects                     storage, resource versions, the watch log
    defaults validation writes patches   the way of a write
    registry discovery selectors tables api   the way of a request
    wire server controller      the server around it
"""

from updater.demo.cluster.asked import Answer, Asked, Cut, Drip, Fault, Hang, refuse, say
from updater.demo.cluster.server import ADMIN, ClusterServer

__all__ = ["ADMIN", "Answer", "Asked", "ClusterServer", "Cut", "Drip", "Fault", "Hang", "refuse", "say"]
