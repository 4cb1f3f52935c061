"""Decides requests by RBAC; keeps up with the store by reading its changes when it is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.apiserver.authentication.names import MASTERS
from knarr.apiserver.authorization.attributes import Attributes, refusal
from knarr.apiserver.authorization.index import RbacIndex, role_key
from knarr.meta.errors import Expired
from knarr.meta.objects import Key
from knarr.resources.kind import Kind, UserInfo
from knarr.resources.rbac.binding import CLUSTER_ROLE_BINDING, ROLE_BINDING, RoleRef
from knarr.resources.rbac.role import (
    ALL,
    CLUSTER_ROLE,
    GROUP,
    ROLE,
    PolicyRule,
)
from knarr.resources.rbac.rules import matches_resource, matches_url
from knarr.store.store import Store

EVERYTHING = (
    PolicyRule(verbs=(ALL,), api_groups=(ALL,), resources=(ALL,)),
    PolicyRule(verbs=(ALL,), non_resource_urls=(ALL,)),
)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed and, where RBAC has something to say, why."""

    allowed: bool
    reason: str = ""


@dataclass(slots=True)
class _Followed:
    """One collection that the index is made from, and up to which version it was read."""

    decoder: "msgspec.json.Decoder[Any]"
    put: Callable[[Key, Any], None]
    remove: Callable[[Key], None]
    rv: int = -1


class Authorizer:
    """Answers whether a user may do something.

    The members of ``system:masters`` may do everything. For others the index of roles and bindings is
    brought up to date from the store's visible changes first, which costs four comparisons when there
    are none.

    Args:
        store: entered when the first question comes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index = RbacIndex()
        self._followed: dict[str, _Followed] = {}
        self._start_over()

    def _start_over(self) -> None:
        index = self._index = RbacIndex()

        def follow(kind: Kind[Any], put: Callable[[Key, Any], None], remove: Any) -> None:
            decoder = msgspec.json.Decoder(kind.model)
            self._followed[kind.qualified_plural] = _Followed(decoder, put, remove)

        def put_role(key: Key, role: Any) -> None:
            index.put_role(key, role.rules)

        follow(ROLE, put_role, index.remove_role)
        follow(CLUSTER_ROLE, put_role, index.remove_role)
        follow(ROLE_BINDING, index.put_binding, index.remove_binding)
        follow(CLUSTER_ROLE_BINDING, index.put_binding, index.remove_binding)

    def _current(self) -> RbacIndex:
        try:
            for collection, followed in self._followed.items():
                if followed.rv != self._store.changed_rv(collection):
                    self._catch_up(collection, followed)
        except Expired:
            self._start_over()
            return self._current()
        return self._index

    def _catch_up(self, collection: str, followed: _Followed) -> None:
        store = self._store
        if followed.rv < 0:
            for item in store.page(collection).items:
                subject = followed.decoder.decode(item)
                followed.put(subject.key, subject)
        else:
            for event in store.changes_after(collection, followed.rv):
                if event.kind == "DELETED":
                    followed.remove(event.key)
                else:
                    followed.put(event.key, followed.decoder.decode(event.data))
        followed.rv = store.changed_rv(collection)

    def authorize(self, user: UserInfo, attributes: Attributes) -> Decision:
        """Whether a user may do something."""
        if MASTERS in user.groups:
            return Decision(allowed=True)
        index = self._current()
        absent: dict[Key, None] = {}
        for grant in index.grants_of(user, attributes.namespace):
            rules = index.rules(grant.role)
            if rules is None:
                absent[grant.role] = None
            elif _allows(rules, attributes):
                return Decision(allowed=True, reason=f"RBAC: allowed by {grant.describe()}")
        return Decision(allowed=False, reason=_absence(absent))

    def check(self, user: UserInfo, attributes: Attributes) -> None:
        """Refuse what a user may not do.

        Raises:
            Forbidden: in Kubernetes' words.
        """
        decision = self.authorize(user, attributes)
        if not decision.allowed:
            raise refusal(user, attributes, decision.reason)

    def rules_for(self, user: UserInfo, namespace: str) -> tuple[tuple[PolicyRule, ...], str]:
        """Every rule that applies to a user in a namespace, and what could not be resolved."""
        index = self._current()
        rules: list[PolicyRule] = list(EVERYTHING) if MASTERS in user.groups else []
        absent: dict[Key, None] = {}
        seen: set[Key] = set()
        for grant in index.grants_of(user, namespace):
            if grant.binding in seen:
                continue
            seen.add(grant.binding)
            found = index.rules(grant.role)
            if found is None:
                absent[grant.role] = None
            else:
                rules += found
        return tuple(rules), _absence(absent).removeprefix("RBAC: ")

    def role_rules(self, reference: RoleRef, namespace: str) -> tuple[PolicyRule, ...] | None:
        """The rules of the role that a binding in a namespace (empty: a cluster one) refers to.

        None when there is no such role.
        """
        return self._current().rules(role_key(reference, namespace))


def _allows(rules: Sequence[PolicyRule], wanted: Attributes) -> bool:
    path = wanted.path
    if path is not None:
        return any(matches_url(rule, wanted.verb, path) for rule in rules)
    return any(
        matches_resource(
            rule, wanted.verb, wanted.group, wanted.resource, wanted.subresource, wanted.name
        )
        for rule in rules
    )


def _absence(roles: dict[Key, None]) -> str:
    texts = [_absent_text(role) for role in roles]
    if not texts:
        return ""
    return f"RBAC: {texts[0]}" if len(texts) == 1 else f"RBAC: [{', '.join(texts)}]"


def _absent_text(role: Key) -> str:
    kind = "role" if role.namespace else "clusterrole"
    return f'{kind}.{GROUP} "{role.name}" not found'
