"""Keeps the rules of aggregated ClusterRoles (Kubernetes ``pkg/controller/clusterroleaggregation``)."""

from msgspec.structs import replace

from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add
from knarr.kube.informer import Informer
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key
from knarr.resources.rbac.role import CLUSTER_ROLE, ClusterRole
from knarr.resources.rbac.rules import aggregated_rules


class ClusterRoleReconciler:
    """Keeps one aggregated role.

    Args:
        client: for writing.
        roles: informer.
    """

    def __init__(self, client: Client, roles: Informer[ClusterRole]) -> None:
        self._client = client
        self._roles = roles

    def watch(self, add: Add) -> None:
        """Look at every aggregated role when any role changes: who lends to whom is not kept."""

        def changed(_: Change[ClusterRole]) -> None:
            for role in self._roles.list():
                if role.aggregation_rule is not None:
                    add(role.key)

        self._roles.add_handler(changed)

    async def reconcile(self, key: Key) -> Result:
        """Write the rules when they differ."""
        role = self._roles.get(key)
        if role is None or role.aggregation_rule is None or role.deleting:
            return DONE
        rules = aggregated_rules(role, self._roles.list())
        if rules != role.rules:
            try:
                await self._client.update(CLUSTER_ROLE, replace(role, rules=rules))
            except NotFound:
                return DONE
        return DONE
