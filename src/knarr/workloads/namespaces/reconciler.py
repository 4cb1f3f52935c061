"""Fills new Namespaces and empties those that are deleted."""

from collections.abc import Sequence
from typing import Any

import msgspec

from knarr.kits.clock import Clock
from knarr.kube.cache import Change
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import Add
from knarr.kube.informer import Informer
from knarr.meta.errors import Conflict, NotFound
from knarr.meta.objects import Key
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.event import EVENT, Event
from knarr.resources.core.namespace import NAMESPACE, Namespace
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT, ServiceAccount
from knarr.workloads.namespaces.plan import (
    DEFAULT_ACCOUNT,
    FINALIZER,
    ROOT_CA,
    Remaining,
    make_root_ca,
    make_service_account,
    terminating_status,
    without_finalizer,
)


class NamespaceReconciler:
    """Keeps the default account and the root CA in each Namespace; ends Namespaces.

    Args:
        client: for writing.
        namespaces, accounts, config_maps: informers.
        contents: informers of every namespaced kind; others come and go.
        ca_pem: the certificate of the API server's CA.
        clock: for transition times.
    """

    def __init__(
        self,
        client: Client,
        namespaces: Informer[Namespace],
        accounts: Informer[ServiceAccount],
        config_maps: Informer[ConfigMap],
        *,
        contents: Sequence[Informer[Any]],
        ca_pem: str,
        clock: Clock,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._accounts = accounts
        self._config_maps = config_maps
        self._contents = list(contents)
        self._add: Add = lambda _: None
        self._ca_pem = ca_pem
        self._clock = clock

    def watch(self, add: Add) -> None:
        """Follow Namespaces, what must be in them, and what leaves them while they end."""

        def namespace_changed(change: Change[Namespace]) -> None:
            add(change.key)

        def required_changed(change: Change[Any]) -> None:
            if change.key.name in (DEFAULT_ACCOUNT, ROOT_CA) and change.type != "added":
                add(Key("", change.key.namespace))

        self._add = add
        self._namespaces.add_handler(namespace_changed)
        self._accounts.add_handler(required_changed)
        self._config_maps.add_handler(required_changed)
        for informer in self._contents:
            informer.add_handler(self._content_changed)

    def _content_changed(self, change: Change[Any]) -> None:
        if change.type == "modified":
            return
        namespace = self._namespaces.get(Key("", change.key.namespace))
        if namespace is not None and namespace.deleting:
            self._add(namespace.key)

    def come(self, informer: Informer[Any]) -> None:
        """A kind has come whose objects go with their Namespaces."""
        if informer.kind.namespaced:
            self._contents.append(informer)
            informer.add_handler(self._content_changed)

    def go(self, informer: Informer[Any]) -> None:
        """A kind has gone."""
        self._contents = [each for each in self._contents if each is not informer]

    async def reconcile(self, key: Key) -> Result:
        """Fill or empty one Namespace."""
        namespace = self._namespaces.get(key)
        if namespace is None:
            return DONE
        if namespace.deleting:
            await self._empty(namespace)
        else:
            await self._fill(namespace.metadata.name)
        return DONE

    async def _fill(self, name: str) -> None:
        account = self._accounts.get(Key(name, DEFAULT_ACCOUNT))
        if account is None:
            created = await self._client.apply(SERVICE_ACCOUNT, make_service_account(name))
            self._accounts.observe(created.subject)
        wanted = make_root_ca(name, self._ca_pem)
        current = self._config_maps.get(wanted.key)
        applied = await self._client.apply(CONFIG_MAP, wanted, current=current)
        if applied.changed:
            self._config_maps.observe(applied.subject)

    async def _empty(self, namespace: Namespace) -> None:
        if namespace.spec is None or FINALIZER not in namespace.spec.finalizers:
            return
        name = namespace.metadata.name
        for informer in self._contents:
            for subject in informer.list(name):
                if not subject.deleting:
                    await self._delete(informer, subject.key, subject.metadata.uid)
        remaining = [
            Remaining(informer.kind, left)
            for informer in self._contents
            if (left := informer.list(name))
        ]
        if not remaining:
            remaining = await self._ask_remaining(name)
        if not remaining:
            await self._finalize(namespace)
            return
        status = terminating_status(namespace, remaining, self._clock.wall())
        if status != namespace.status:
            updated = msgspec.structs.replace(namespace, status=status)
            self._namespaces.observe(await self._client.update_status(NAMESPACE, updated))

    async def _ask_remaining(self, name: str) -> list[Remaining]:
        """What the API itself holds: a cache may not have seen the last creation yet.

        Raises:
            Conflict: something is left that the caches do not show; the caller is to come again.
        """
        for informer in self._contents:
            if left := (await self._client.list(informer.kind, name)).items:
                raise Conflict(f"{informer.kind.qualified_plural} {left[0].key} is not cached yet")
        return []

    async def _delete(self, informer: Informer[Any], key: Key, uid: str) -> None:
        try:
            left = await self._client.delete(informer.kind, key, uid=uid, propagation="Background")
        except NotFound:
            left = None
        if left is not None and left.deleting:
            informer.observe(left)
        else:
            informer.forget(key, uid)

    async def _finalize(self, namespace: Namespace) -> None:
        # Events are not cached and hold nothing; they go with their Namespace.
        for event in await self._client.list(EVENT, namespace.metadata.name):
            await self._discard(event)
        freed = msgspec.structs.replace(namespace, spec=without_finalizer(namespace))
        try:
            await self._client.replace(NAMESPACE, freed, "finalize")
        except NotFound:
            return

    async def _discard(self, event: Event) -> None:
        try:
            await self._client.delete(EVENT, event.key, uid=event.metadata.uid)
        except NotFound:
            return
