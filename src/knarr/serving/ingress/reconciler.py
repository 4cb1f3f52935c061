"""Puts Ingresses into the routing table and says when every gateway serves them.

Nothing is polled: what waits for an acknowledgement is kept in a heap by version, and ``acknowledged``
enqueues it when the gateways have come that far; what waits for a revision is enqueued when it comes.

Bounds: the heap and the waiting sets hold at most one entry per Ingress and version or revision; entries
that are outdated are dropped when they come up.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from knarr.dataplane import messages
from knarr.dataplane.backends import ServiceBackends
from knarr.dataplane.compile import compile_ingress, referenced_revisions
from knarr.dataplane.following import Followed, follow
from knarr.dataplane.table import RoutingTable
from knarr.kits.clock import Clock
from knarr.kube.controller import DONE, Result
from knarr.kube.informer import Informer
from knarr.meta.objects import Key
from knarr.resources.networking.ingress import Ingress
from knarr.serving.config import ServingSettings
from knarr.serving.ingress.plan import (
    IngressPlan,
    find_conflict,
    is_ours,
    is_settled,
    owner_of,
)
from knarr.serving.writes import Writer

BY_HOST = "host"
"""Name of the index of Ingresses by their hosts."""
BY_REWRITE = "rewrite"
"""Name of the index of Ingresses by the hosts that they rewrite to."""


@dataclass(slots=True)
class Waiting:
    """Which Ingresses wait for a version, and which for a revision."""

    _due: list[tuple[int, Key]] = field(default_factory=list)
    _versions: dict[Key, int] = field(default_factory=dict)
    _revisions: dict[str, set[Key]] = field(default_factory=dict)

    def for_version(self, key: Key, version: int) -> None:
        """Have ``key`` told when the gateways serve ``version``; an older wish is forgotten."""
        if self._versions.get(key) != version:
            self._versions[key] = version
            heapq.heappush(self._due, (version, key))

    def for_revision(self, key: Key, revision: str) -> None:
        """Have ``key`` told when a revision comes into the table."""
        self._revisions.setdefault(revision, set()).add(key)

    def acknowledged(self, version: int) -> list[Key]:
        """The Ingresses that waited for at most this version."""
        told: list[Key] = []
        while self._due and self._due[0][0] <= version:
            wanted, key = heapq.heappop(self._due)
            if self._versions.get(key) == wanted:
                del self._versions[key]
                told.append(key)
        return told

    def arrived(self, revision: str) -> list[Key]:
        """The Ingresses that waited for a revision."""
        return sorted(self._revisions.pop(revision, ()))


@dataclass(frozen=True, slots=True)
class IngressReconciler:
    """Serves the Ingresses of our class and leaves all others alone."""

    writer: Writer
    ingresses: Informer[Ingress]
    table: RoutingTable
    backends: ServiceBackends
    settings: ServingSettings
    clock: Clock
    waiting: Waiting = field(default_factory=Waiting)

    def listen(self, enqueue: Callable[[Key], None]) -> None:
        """Have what waits enqueued by acknowledgements and new revisions."""

        def acknowledged(version: int) -> None:
            for key in self.waiting.acknowledged(version):
                enqueue(key)

        def arrived(revision: str) -> None:
            for key in self.waiting.arrived(revision):
                enqueue(key)

        self.table.on_acknowledged(acknowledged)
        self.table.on_revision(arrived)

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        ingress = self.ingresses.get(key)
        ours = ingress is not None and is_ours(ingress, self.settings.ingress_class)
        if ingress is None or ingress.deleting or not ours:
            self.table.remove_ingress(str(key))
            self.backends.settle(str(key))
            return DONE
        plan = IngressPlan(ingress, self.clock.wall())
        self._install(ingress, plan)
        self.backends.settle(str(key))
        return await self.writer.write_status(self.ingresses, ingress, plan.status())

    def _install(self, ingress: Ingress, plan: IngressPlan) -> None:
        conflict = find_conflict(ingress, self.settings.ingress_class, self._sharing)
        if conflict:
            self.table.remove_ingress(str(ingress.key))
            plan.conflict(conflict)
            return
        if ingress.spec is not None and ingress.spec.tls:
            text = "This version of Knarr serves no TLS: spec.tls must be empty"
            plan.refused("NotSupported", text)
            return
        followed = self._follow(ingress)
        if not self._is_followed(followed, plan):
            return
        entry = followed.entry
        missing = self._missing(entry)
        if missing:
            for revision in missing:
                self.waiting.for_revision(ingress.key, revision)
            plan.revisions_missing(missing)
            if self.table.ingress(entry.key) is not None:
                # What is served now is better than a share that leads nowhere.
                return
        version = self.table.set_ingress(entry)
        if missing:
            return
        acknowledged = self.table.acknowledged_version
        if (acknowledged is not None and acknowledged >= version) or is_settled(ingress):
            plan.ready(self.settings.gateway_host)
        else:
            self.waiting.for_version(ingress.key, version)
            plan.waiting()

    def _sharing(self, host: str) -> tuple[Ingress, ...]:
        return self.ingresses.by_index(BY_HOST, host)

    def _follow(self, ingress: Ingress) -> Followed:
        def rule_of(host: str) -> messages.Rule | None:
            owner = owner_of(host, self.settings.ingress_class, self._sharing)
            if owner is None:
                return self.backends.rule_of(host)
            if owner.key == ingress.key:
                return None
            rules = compile_ingress(owner).rules
            return next((rule for rule in rules if host in rule.hosts), None)

        return follow(compile_ingress(ingress), self.settings.cluster_domain, rule_of)

    def _is_followed(self, followed: Followed, plan: IngressPlan) -> bool:
        absent = [] if not followed.absent else self._missing(followed.entry)
        if absent:
            plan.hosts_absent(followed.absent)
            served = self.table.ingress(followed.entry.key)
            if served is not None and served.hash == followed.entry.hash:
                # It was there and is gone; before it came, what is served is better than nothing.
                self.table.remove_ingress(served.key)
        if followed.divided:
            plan.hosts_divided(followed.divided)
        return not absent and not followed.divided

    def _missing(self, entry: messages.Ingress) -> list[str]:
        return [
            revision
            for revision in referenced_revisions(entry)
            if self.table.revision(revision) is None
        ]
