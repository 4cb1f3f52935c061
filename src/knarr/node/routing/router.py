"""Keeps the table of Services what Services and EndpointSlices say."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from knarr.kits.backoff import Backoff
from knarr.kube.cache import Change
from knarr.kube.handlers import LabelIndex, label_value
from knarr.kube.informer import Informer
from knarr.meta.objects import Key
from knarr.node import firewall, programs
from knarr.node.firewall import FirewallRules
from knarr.node.programs import ProgramError
from knarr.node.routing.conntrack import forget_udp
from knarr.node.routing.table import RouteTable, Transaction
from knarr.node.routing.targets import PortRoute, Target, routes_of
from knarr.node.threads import in_thread
from knarr.resources.core.service import Service
from knarr.resources.discovery.endpointslice import SERVICE_NAME_LABEL, EndpointSlice

LOG = logging.getLogger(__name__)

KUBERNETES = Key("default", "kubernetes")
BY_SERVICE = "service"
_RETRY = Backoff(initial_s=0.2, max_s=30.0, jitter=0.3)
_GATHER_S = 0.05
_CHECK_S = 60.0
_NFT_TIMEOUT_S = 20.0


class ServiceRouter:
    """Follows Services and EndpointSlices; ``run`` works until cancelled.

    The keys that wait are at most those of all Services. Changes are gathered while a transaction runs and
    for 50 ms after it, so a storm of them costs at most twenty runs of nft a second.

    Args:
        table: of the instance.
        rules: of the firewall, put back with the table when somebody has flushed the machine's rules.
        services, slices: informers; handlers are added here.
        api: where the API listens, for the Service ``kubernetes`` until it has EndpointSlices.
        sleep: pauses that tests can shorten.
        rng: jitter of retries.
    """

    def __init__(
        self,
        table: RouteTable,
        rules: FirewallRules,
        services: Informer[Service],
        slices: Informer[EndpointSlice],
        *,
        api: Target,
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
    ) -> None:
        self.error = ""
        self._table = table
        self._rules = rules
        self._services = services
        self._slices = slices
        self._api = api
        self._sleep = sleep
        self._rng = rng
        self._dirty: dict[Key, None] = {}
        self._wake = asyncio.Event()
        slices.add_index(BY_SERVICE, LabelIndex(SERVICE_NAME_LABEL))
        services.add_handler(self._service_changed)
        slices.add_handler(self._slice_changed)

    def __len__(self) -> int:
        return len(self._table)

    def _service_changed(self, change: Change[Service]) -> None:
        self._mark(change.key)

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for side in (change.old, change.new):
            name = side.metadata.label(SERVICE_NAME_LABEL) if side is not None else ""
            if name:
                self._mark(Key(change.key.namespace, name))

    def _mark(self, key: Key) -> None:
        self._dirty[key] = None
        self._wake.set()

    def slices_of(self, key: Key) -> tuple[EndpointSlice, ...]:
        """The EndpointSlices that carry a Service's name."""
        return self._slices.by_index(BY_SERVICE, label_value(key.namespace, key.name))

    async def run(self) -> None:
        """Load the table once the world is known, then follow it."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        attempt = 0
        whole = True
        while True:
            try:
                ran = await self._pass(whole=whole)
            except ProgramError as error:
                # What the kernel holds is not known any more.
                whole, self.error = True, str(error)
                LOG.warning("cluster IPs are not up to date: %s", error)
                await self._sleep(_RETRY.delay_s(attempt, self._rng))
                attempt += 1
                continue
            whole, attempt, self.error = False, 0, ""
            if ran:
                await self._sleep(_GATHER_S)
            whole = await self._wait()

    async def _wait(self) -> bool:
        """Until something changes; whether the whole table must be loaded because it is gone."""
        while not self._wake.is_set():
            try:
                async with asyncio.timeout(_CHECK_S):
                    await self._wake.wait()
            except TimeoutError:
                if not await self._present():
                    LOG.warning("somebody removed the rules of this instance: they are put back")
                    return True
        return False

    async def _present(self) -> bool:
        output = await programs.run(("nft", "list", "tables"), timeout_s=_NFT_TIMEOUT_S)
        names = output.stdout.decode(errors="replace").splitlines()
        name = self._table.settings.table
        return f"table ip {name}" in names and f"table inet {name}" in names

    async def _pass(self, *, whole: bool) -> bool:
        """Bring the kernel up to date; whether nft was needed.

        Raises:
            ProgramError: nft refused; the table must be loaded whole next time.
        """
        transaction = self._changes()
        if whole:
            await firewall.load(self._rules)
            transaction = Transaction(self._table.full(), transaction.gone)
        if transaction.text:
            await programs.run(
                ("nft", "-f", "-"), data=transaction.text.encode(), timeout_s=_NFT_TIMEOUT_S
            )
        if transaction.gone:
            await self._forget(transaction.gone)
        return bool(transaction.text)

    def _changes(self) -> Transaction:
        self._wake.clear()
        dirty, self._dirty = self._dirty, {}
        return self._table.change({key: self._routes(key) for key in dirty})

    def _routes(self, key: Key) -> tuple[PortRoute, ...]:
        service = self._services.get(key)
        if service is None:
            return ()
        fallback = self._api if key == KUBERNETES else None
        return routes_of(service, self.slices_of(key), fallback)

    async def _forget(self, gone: frozenset[Target]) -> None:
        try:
            count = await in_thread(lambda: forget_udp(gone))
        except OSError as error:
            LOG.warning("UDP flows to ended Pods are kept by the kernel: %s", error)
            return
        if count:
            LOG.info("forgot %d UDP flows to targets that are gone", count)
