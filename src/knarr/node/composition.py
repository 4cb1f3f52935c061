"""Constructs the node agent's parts from the settings; ``process`` runs them."""

import asyncio
import ipaddress
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from knarr.config import Settings
from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.controller import Controller
from knarr.kube.events import EventRecorder
from knarr.kube.factory import InformerFactory
from knarr.kube.informer import Informer
from knarr.meta.objects import Key
from knarr.node.activation import Activator
from knarr.node.addresses import AddressPool
from knarr.node.agent import Agent, remove_unwanted, sleep
from knarr.node.exits import ExitDirectory
from knarr.node.firewall import FirewallRules
from knarr.node.gateways import GatewayServer
from knarr.node.host import SandboxHost
from knarr.node.imagecleanup import Needs, needs_of
from knarr.node.launch import Launcher
from knarr.node.layout import Layout
from knarr.node.machine import Machine
from knarr.node.network import Network, parse_network
from knarr.node.parker import Parker
from knarr.node.parking import ParkingLot
from knarr.node.provisioner import Provisioner, Reclaimer
from knarr.node.record import CrashPoint
from knarr.node.registration import Registration, capacity_of
from knarr.node.renewal import Renewal
from knarr.node.revisions import RevisionIndex
from knarr.node.routing.router import ServiceRouter
from knarr.node.routing.table import RouteTable, TableSettings
from knarr.node.routing.targets import Target
from knarr.node.runc import Runc, RuntimeVersion
from knarr.node.sandbox import Sandbox
from knarr.node.seccomp import default_profile
from knarr.node.services import Images, Services
from knarr.node.sources import CachedSources
from knarr.node.tokens import Tokens
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.service import SERVICE, Service
from knarr.resources.discovery.endpointslice import ENDPOINT_SLICE, EndpointSlice
from knarr.resources.storage.storageclass import STORAGE_CLASS

GATEWAY_PORTS = (80,)
MAX_PODS = 1000


class CachedDirectory:
    """Services, Pods and EndpointSlices from informers, for the resolver."""

    def __init__(
        self, services: Informer[Service], pods: Informer[Pod], router: ServiceRouter
    ) -> None:
        self._services = services
        self._pods = pods
        self._router = router

    def service(self, namespace: str, name: str) -> Service | None:
        """A core Service, or None."""
        return self._services.get(Key(namespace, name))

    def pods(self, namespace: str) -> Iterable[Pod]:
        """The Pods of a namespace."""
        return self._pods.list(namespace)

    def slices(self, namespace: str, name: str) -> Iterable[EndpointSlice]:
        """The EndpointSlices of a Service."""
        return self._router.slices_of(Key(namespace, name))


@dataclass(frozen=True, slots=True)
class Outside:
    """What the agent's parts get from outside: the machine, time, the API, images."""

    machine: Machine
    clock: Clock
    rng: random.Random
    client: Client
    recorder: EventRecorder
    images: Images


def make_host(
    settings: Settings,
    machine: Machine,
    clock: Clock,
    rng: random.Random,
    crash_point: CrashPoint | None = None,
) -> SandboxHost:
    """Everything that touches the machine; nothing is done yet."""
    layout = Layout(settings.paths.root, settings.instance)
    network = parse_network(settings.pod_cidr)
    addresses = AddressPool(network)
    services = ipaddress.IPv4Network(settings.service_cidr)
    rules = FirewallRules(
        table=layout.instance,
        link_prefix=layout.link_prefix,
        network=network,
        gateway=addresses.gateway,
        gateway_ports=(*GATEWAY_PORTS, settings.api_port),
        node_ports_outside=table_settings(settings).node_ports_outside,
    )
    launcher = Launcher(
        layout=layout,
        runtime=Runc(settings.runtime, layout.runtime_state),
        machine=machine,
        clock=clock,
        exits=ExitDirectory(settings.paths.exits),
        gateway=addresses.gateway,
        seccomp=default_profile(machine.machine),
    )
    connections = Network(layout, rules, services)
    return SandboxHost(layout, connections, addresses, launcher, clock, rng, crash_point)


def table_settings(settings: Settings) -> TableSettings:
    """What the table of Services is made from."""
    layout = Layout(settings.paths.root, settings.instance)
    return TableSettings(
        table=layout.instance,
        link_prefix=layout.link_prefix,
        network=ipaddress.IPv4Network(settings.service_cidr),
        gateway=settings.pod_gateway,
        node_port_address=settings.node_port_address,
    )


class NodeParts:
    """The agent's parts, constructed and connected, not started."""

    def __init__(self, settings: Settings, host: SandboxHost, outside: Outside) -> None:
        self.settings = settings
        self.host = host
        self.outside = outside
        self.factory = InformerFactory(outside.client, clock=outside.clock, rng=outside.rng)
        self.pods: Informer[Pod] = self.factory.informer(POD)
        self.replica_sets: Informer[ReplicaSet] = self.factory.informer(REPLICA_SET)
        self.core_services: Informer[Service] = self.factory.informer(SERVICE)
        self.slices: Informer[EndpointSlice] = self.factory.informer(ENDPOINT_SLICE)
        self.router = ServiceRouter(
            RouteTable(table_settings(settings)),
            host.network.rules,
            self.core_services,
            self.slices,
            api=Target(settings.pod_gateway, settings.api_port),
            sleep=sleep,
            rng=outside.rng,
        )
        self.tokens = Tokens(outside.client.transport, outside.clock, outside.rng)
        self.sources = CachedSources(
            self.factory,
            self.tokens,
            settings.kubernetes_address,
            volumes_root=host.layout.persistent_volumes,
        )
        self.gateways = GatewayServer(settings.paths.activate_socket)
        self.capacity = capacity_of(outside.machine, MAX_PODS)
        self.index = RevisionIndex(self._replica_set_changed)
        bound = settings.park_bytes or outside.machine.memory_bytes // 10
        self.parker = Parker(ParkingLot(bound), self.index, self.replica_sets, self._busy)
        self.activator = Activator(
            self.parker, self.index, self.replica_sets, self.pods, self._running
        )
        self.services = self._make_services()
        self.parker.use(self.services)
        self.activator.use(self.services)
        self.agent = Agent(self.services, self.factory, self.sources)
        self.replica_sets.add_handler(self.index.changed)
        self.sources.config_maps.add_handler(lambda _: self.parker.consider_all())
        self.sources.secrets.add_handler(lambda _: self.parker.consider_all())
        self.sources.accounts.add_handler(lambda _: self.parker.consider_all())
        self.core_services.add_handler(lambda change: self.parker.consider_links(change.key))
        self.renewal = Renewal(self.services, self.parker.lot, self.index, self.replica_sets, sleep)
        self.sources.claims.add_handler(lambda _: self.parker.consider_all())
        self.provisioning = self._make_provisioning()

    def _make_services(self) -> Services:
        outside = self.outside
        return Services(
            client=outside.client,
            recorder=outside.recorder,
            host=self.host,
            launcher=self.host.launcher,
            images=outside.images,
            gateways=self.gateways,
            spares=self.activator,
            sources=self.sources,
            tokens=self.tokens,
            machine=outside.machine,
            clock=outside.clock,
            rng=outside.rng,
            node_name=self.settings.node_name,
            machine_capacity=self.capacity,
            sleep=sleep,
            starts=asyncio.Semaphore(2 * outside.machine.cpus + 2),
        )

    def _make_provisioning(self) -> tuple[Controller, ...]:
        """Who makes and removes the directories of PersistentVolumes."""
        outside, root = self.outside, self.host.layout.persistent_volumes
        provisioner = Provisioner(
            client=outside.client,
            claims=self.sources.claims,
            classes=self.factory.informer(STORAGE_CLASS),
            recorder=outside.recorder,
            root=root,
            node=self.settings.node_name,
        )
        reclaimer = Reclaimer(outside.client, self.sources.volumes, outside.recorder, root)
        controllers = []
        for name, reconciler in (("provisioner", provisioner), ("reclaimer", reclaimer)):
            controller = Controller(
                name, reconciler, clock=outside.clock, rng=outside.rng, workers=1
            )
            reconciler.watch(controller.enqueue)
            controllers.append(controller)
        return tuple(controllers)

    def _replica_set_changed(self, uid: str) -> None:
        self.parker.consider(uid)

    def _running(self, revision: str) -> Sandbox | None:
        return self.agent.running(revision)

    def _busy(self, replica_set: str) -> bool:
        return self.agent.has_replica(replica_set) or self.activator.busy(replica_set)

    def registration(self, runtime: RuntimeVersion) -> Registration:
        """The keeper of the Node object."""
        words = runtime.text.split()
        outside = self.outside
        return Registration(
            outside.client,
            outside.machine,
            outside.clock,
            name=self.settings.node_name,
            pod_cidr=self.settings.pod_cidr,
            runtime=f"{words[0]}://{words[-1]}" if words else "unknown",
            capacity=self.capacity,
        )

    def status(self, runtime: RuntimeVersion) -> dict[str, Any]:
        """The agent's own state, for people and ``knarr status``."""
        lot = self.parker.lot
        return {
            "runtime": runtime.text,
            "missingFixes": list(runtime.missing),
            "synced": self.pods.synced,
            "pods": len(self.agent.workers),
            "sandboxes": len(self.host.sandboxes),
            "gateways": self.gateways.connected,
            "services": {"ports": len(self.router), "error": self.router.error},
            "parked": {
                "count": len(lot),
                "bytes": lot.size_bytes,
                "boundBytes": lot.bound_bytes,
            },
        }

    async def run_parker(self) -> None:
        """Park once the world is known: before that every ReplicaSet seems gone."""
        await self.factory.wait_synced()
        await self.parker.run()

    def image_needs(self) -> Needs:
        """What Pods, sandboxes and ReplicaSets, those of every revision among them, need of the images."""
        templates = (one.spec.template if one.spec else None for one in self.replica_sets.list())
        specs = [one.spec for one in (*self.pods.list(), *templates) if one and one.spec]
        return needs_of(specs, self.host.sandboxes.values())

    async def run_renewal(self) -> None:
        """Renew once the world is known."""
        await self.factory.wait_synced()
        await self.renewal.run()

    async def settle_recovered(self) -> None:
        """Once the world is known: end recovered sandboxes whose Pod is gone, go on with the others."""
        await self.factory.wait_synced()
        alive = {pod.metadata.uid for pod in self.pods.list()}
        names = {pod.key for pod in self.pods.list()}
        unwanted = []
        for sandbox in self.parker.unclaimed:
            identity = sandbox.identity
            if identity.uid in alive or Key(identity.namespace, identity.name) in names:
                continue
            self.parker.forget(sandbox)
            if identity.uid or not sandbox.started or not self.activator.resume(sandbox):
                unwanted.append(sandbox)
        for entry in self.parker.lot.entries:
            self.parker.consider(entry.replica_set)
        await remove_unwanted(self.services, tuple(unwanted))
