"""Roles and bindings by subject, so that a request looks at its own user's bindings only; pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from knarr.apiserver.authentication.names import service_account_name
from knarr.meta.objects import Key
from knarr.resources.kind import UserInfo
from knarr.resources.rbac.binding import (
    SERVICE_ACCOUNT,
    SUBJECT_GROUP,
    USER,
    ClusterRoleBinding,
    RoleBinding,
    RoleRef,
    Subject,
)
from knarr.resources.rbac.role import PolicyRule

_Slot = tuple[str, str, str]
"""User or Group, its name, and the namespace of the binding (empty for a ClusterRoleBinding)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding that gives a role to one subject."""

    binding: Key
    role: Key
    subject: Subject

    def describe(self) -> str:
        """The grant as an access review names it."""
        kind = "RoleBinding" if self.binding.namespace else "ClusterRoleBinding"
        name = "/".join(filter(None, (self.binding.name, self.binding.namespace)))
        role_kind = "Role" if self.role.namespace else "ClusterRole"
        subject = self.subject
        shown = subject.name
        if subject.kind == SERVICE_ACCOUNT:
            shown = f"{subject.name}/{subject.namespace or self.binding.namespace}"
        return f'{kind} "{name}" of {role_kind} "{self.role.name}" to {subject.kind} "{shown}"'


def role_key(reference: RoleRef, namespace: str) -> Key:
    """Where the role of a binding is: a Role in the binding's namespace, a ClusterRole in none."""
    return Key(namespace if reference.kind == "Role" else "", reference.name)


class RbacIndex:
    """The roles and bindings as they are now.

    Roles and ClusterRoles share one map, as do the bindings: keys of cluster-scoped ones have no namespace.
    """

    def __init__(self) -> None:
        self._roles: dict[Key, tuple[PolicyRule, ...]] = {}
        self._grants: dict[_Slot, dict[Key, Grant]] = {}
        self._slots: dict[Key, tuple[_Slot, ...]] = {}

    def put_role(self, key: Key, rules: tuple[PolicyRule, ...]) -> None:
        """Add or replace a role."""
        self._roles[key] = rules

    def remove_role(self, key: Key) -> None:
        """Forget a role; harmless when it is unknown."""
        self._roles.pop(key, None)

    def put_binding(self, key: Key, binding: RoleBinding | ClusterRoleBinding) -> None:
        """Add or replace a binding."""
        self.remove_binding(key)
        role = role_key(binding.role_ref, key.namespace)
        slots: dict[_Slot, Subject] = {}
        for subject in binding.subjects:
            slot = _slot_of(subject, key.namespace)
            if slot is not None:
                slots.setdefault(slot, subject)
        for slot, subject in slots.items():
            self._grants.setdefault(slot, {})[key] = Grant(key, role, subject)
        self._slots[key] = tuple(slots)

    def remove_binding(self, key: Key) -> None:
        """Forget a binding; harmless when it is unknown."""
        for slot in self._slots.pop(key, ()):
            grants = self._grants[slot]
            del grants[key]
            if not grants:
                del self._grants[slot]

    def rules(self, role: Key) -> tuple[PolicyRule, ...] | None:
        """The rules of a role, None when there is no such role."""
        return self._roles.get(role)

    def grants_of(self, user: UserInfo, namespace: str) -> Iterator[Grant]:
        """What a user has been given everywhere and then in a namespace; a binding may occur twice."""
        found = self._grants
        for scope in ("", namespace) if namespace else ("",):
            yield from found.get((USER, user.name, scope), {}).values()
            for group in user.groups:
                yield from found.get((SUBJECT_GROUP, group, scope), {}).values()


def _slot_of(subject: Subject, namespace: str) -> _Slot | None:
    if subject.kind != SERVICE_ACCOUNT:
        return (subject.kind, subject.name, namespace)
    home = subject.namespace or namespace
    return (USER, service_account_name(home, subject.name), namespace) if home else None
