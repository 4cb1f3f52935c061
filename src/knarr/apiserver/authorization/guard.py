"""Nobody gives away more than they have: checks on writes of roles and bindings.

Semantics: Kubernetes ``pkg/registry/rbac``. Whoever has the verb ``escalate`` on roles, or ``bind`` on a
role, may; so may members of ``system:masters``.
"""

from typing import Any

from msgspec.structs import replace

from knarr.apiserver.authentication.names import MASTERS
from knarr.apiserver.authorization.attributes import Attributes
from knarr.apiserver.authorization.authorizer import EVERYTHING, Authorizer
from knarr.apiserver.request import ApiRequest
from knarr.apiserver.served import Served
from knarr.meta.errors import Forbidden
from knarr.meta.objects import Resource
from knarr.resources.kind import UserInfo
from knarr.resources.rbac.binding import ClusterRoleBinding, RoleBinding
from knarr.resources.rbac.role import GROUP, ClusterRole, PolicyRule, Role
from knarr.resources.rbac.rules import (
    TooManyParts,
    describe_missing,
    missing_rules,
    quoted_list,
)


class WriteGuard:
    """Checks what only the object to be written shows, after the request itself was authorized."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def check(
        self, served: Served, subject: Resource, request: ApiRequest, old: Resource | None
    ) -> None:
        """Refuse a write that its sender may not make.

        Raises:
            Forbidden: it would create by patching without the verb ``create``, or give away rights
                that the sender does not have.
            NotFound: the role of a binding does not exist, so nobody can tell what it gives.
        """
        user = request.user
        if MASTERS in user.groups:
            return
        if old is None and request.method == "PATCH":
            self._check_create(served, subject, user)
        if served.kind.group != GROUP or (old is not None and _same_meaning(subject, old)):
            return
        match subject:
            case Role() | ClusterRole():
                self._check_role(served, subject, user, old)
            case RoleBinding() | ClusterRoleBinding():
                self._check_binding(served, subject, user)
            case _:
                return

    def _check_create(self, served: Served, subject: Resource, user: UserInfo) -> None:
        kind, metadata = served.kind, subject.metadata
        wanted = Attributes(
            "create",
            kind.group,
            kind.plural,
            namespace=metadata.namespace,
            name=metadata.name,
        )
        self._authorizer.check(user, wanted)

    def _check_role(
        self, served: Served, role: Role | ClusterRole, user: UserInfo, old: Resource | None
    ) -> None:
        namespace, name = role.metadata.namespace, role.metadata.name
        wanted = Attributes(
            "escalate",
            GROUP,
            served.kind.plural,
            namespace=namespace,
            name=name if old is not None else "",
        )
        if self._authorizer.authorize(user, wanted).allowed:
            return
        self._confirm(served, name, user, namespace, role.rules)
        if _aggregates(role) or _aggregates(old):
            held, _ = self._authorizer.rules_for(user, namespace)
            if missing_rules(held, EVERYTHING):
                raise served.forbidden(
                    name, "must have cluster-admin privileges to use the aggregationRule"
                )

    def _check_binding(
        self, served: Served, binding: RoleBinding | ClusterRoleBinding, user: UserInfo
    ) -> None:
        namespace, reference = binding.metadata.namespace, binding.role_ref
        wanted = Attributes(
            "bind",
            GROUP,
            "roles" if reference.kind == "Role" else "clusterroles",
            namespace=namespace,
            name=reference.name,
        )
        if self._authorizer.authorize(user, wanted).allowed:
            return
        rules = self._authorizer.role_rules(reference, namespace)
        if rules is None:
            # Kubernetes names the binding's resource, not the role's.
            raise served.not_found(reference.name)
        self._confirm(served, binding.metadata.name, user, namespace, rules)

    def _confirm(
        self,
        served: Served,
        name: str,
        user: UserInfo,
        namespace: str,
        rules: tuple[PolicyRule, ...],
    ) -> None:
        held, unresolved = self._authorizer.rules_for(user, namespace)
        try:
            missing = missing_rules(held, rules)
        except TooManyParts as error:
            raise _too_much(served, name, str(error)) from None
        if missing:
            why = (
                f'user "{user.name}" (groups={quoted_list(user.groups)}) is attempting to grant RBAC '
                f"permissions not currently held:\n{describe_missing(missing)}"
            )
            suffix = f"; resolution errors: [{unresolved}]" if unresolved else ""
            raise served.forbidden(name, why + suffix)


def _too_much(served: Served, name: str, why: str) -> Forbidden:
    return served.forbidden(
        name, f"the rules are too many to be compared with what you may do ({why}): split the role"
    )


def _aggregates(role: Resource | None) -> bool:
    rule = role.aggregation_rule if isinstance(role, ClusterRole) else None
    return rule is not None and bool(rule.cluster_role_selectors)


def _same_meaning(new: Any, old: Any) -> bool:
    """Whether only what the garbage collector changes was changed."""
    metadata = replace(
        new.metadata,
        owner_references=old.metadata.owner_references,
        finalizers=old.metadata.finalizers,
        managed_fields=old.metadata.managed_fields,
        generation=old.metadata.generation,
        resource_version=old.metadata.resource_version,
    )
    return bool(replace(new, metadata=metadata) == old)
