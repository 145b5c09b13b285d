"""What an application has in a cluster, kept there: a ConfigMap beside it lists the members.

Before anything is applied it names the union of what was and what will be, and after the prune what is left, so that
a sync that is killed between loses no object. What stands in it is said in updater.sync.inventory.
"""

from __future__ import annotations

from collections.abc import Iterable

from updater.cluster.client import Cluster
from updater.errors import Refused
from updater.model.resource import Key, Resource
from updater.sync.inventory import growing, members_of, parent, parent_key


class Inventory:
    """The inventory of one application in its cluster and namespace; one sync at a time writes it."""

    def __init__(self, cluster: Cluster, application: str, namespace: str, *, as_user: str | None = None) -> None:
        self._cluster, self._application, self._namespace = cluster, application, namespace
        self._as_user = as_user

    def read(self) -> frozenset[Key]:
        """Return the recorded members, none where there is no inventory yet.

        Raises Refused where another tool, or another application, owns the ConfigMap; what `Cluster.get` raises.
        """
        live = self._cluster.get(parent_key(self._application, self._namespace))
        if live is None:
            return frozenset()
        try:
            return members_of(Resource.of(live))
        except ValueError as err:
            raise Refused(f"inventory at cluster {self._cluster.name}: {err}", reason="ForeignInventory") from err

    def widen(self, desired: Iterable[Key], known: frozenset[Key] | None = None) -> frozenset[Key]:
        """Record what will be beside what was, before anything is applied; return both together.

        known  what was recorded, where it was read a moment ago
        """
        recorded = self.read() if known is None else known
        members = growing(recorded, desired)
        if members != recorded:
            self._write(members)
        return members

    def shrink(self, members: Iterable[Key]) -> None:
        """Record exactly these, after the prune; of none, the inventory goes too."""
        wanted = frozenset(members)
        recorded = self.read()
        if not wanted:
            self._cluster.delete(parent_key(self._application, self._namespace), propagation="Background")
        elif wanted != recorded:
            self._write(wanted)

    def _write(self, members: frozenset[Key]) -> None:
        self._cluster.apply(parent(self._application, self._namespace, members), as_user=self._as_user)
