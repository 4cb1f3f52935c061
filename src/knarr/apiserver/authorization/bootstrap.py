"""Makes the default roles and bindings exist, at each start."""

import asyncio

from knarr.apiserver.authorization.defaults import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from knarr.apiserver.authorization.reconciling import merge_binding, merge_role
from knarr.kube.client import Client
from knarr.meta.errors import NotFound
from knarr.resources.rbac.binding import CLUSTER_ROLE_BINDING, ClusterRoleBinding
from knarr.resources.rbac.role import CLUSTER_ROLE, ClusterRole
from knarr.resources.rbac.rules import aggregated_rules


async def ensure_default_access(client: Client) -> None:
    """Create what is missing and add what is missing to what exists. All at once: one fsync.

    Raises:
        ExceptionGroup: of what the API refused.
    """
    async with asyncio.TaskGroup() as group:
        for role in CLUSTER_ROLES:
            group.create_task(_ensure_role(client, role))
        for binding in CLUSTER_ROLE_BINDINGS:
            group.create_task(_ensure_binding(client, binding))


async def _ensure_role(client: Client, expected: ClusterRole) -> None:
    try:
        stored = await client.get(CLUSTER_ROLE, expected.key)
    except NotFound:
        # Nobody should have to wait for a controller to have the rights of an aggregated role.
        await client.create(CLUSTER_ROLE, _with_rules(expected))
        return
    merged = merge_role(stored, expected)
    if merged != stored:
        await client.update(CLUSTER_ROLE, merged)


def _with_rules(role: ClusterRole) -> ClusterRole:
    """An aggregated role with the rules that the defaults lend it, in two steps: edit lends to admin."""
    lent = [_aggregate(each, CLUSTER_ROLES) for each in CLUSTER_ROLES]
    lent = [_aggregate(each, lent) for each in lent]
    return _aggregate(role, lent)


def _aggregate(
    role: ClusterRole, roles: "tuple[ClusterRole, ...] | list[ClusterRole]"
) -> ClusterRole:
    return ClusterRole(
        metadata=role.metadata,
        rules=aggregated_rules(role, roles),
        aggregation_rule=role.aggregation_rule,
    )


async def _ensure_binding(client: Client, expected: ClusterRoleBinding) -> None:
    try:
        stored = await client.get(CLUSTER_ROLE_BINDING, expected.key)
    except NotFound:
        await client.create(CLUSTER_ROLE_BINDING, expected)
        return
    merged = merge_binding(stored, expected)
    if merged is None:
        await client.delete(CLUSTER_ROLE_BINDING, stored.key, uid=stored.metadata.uid)
        await client.create(CLUSTER_ROLE_BINDING, expected)
    elif merged != stored:
        await client.update(CLUSTER_ROLE_BINDING, merged)
