"""The controllers over a Kubernetes API, whichever it is.

The server process runs them over its own API, ``knarr controllers`` over any other. What differs between
the two comes in through ``Setting``; no controller knows.
"""

import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from knarr.dataplane.session import DataplaneServer
from knarr.dataplane.table import RoutingTable
from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.events import EventRecorder
from knarr.kube.factory import InformerFactory
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.namespace import NAMESPACE, Namespace
from knarr.resources.core.secret import SECRET, Secret
from knarr.serving.config import ServingSettings
from knarr.serving.controllers import Environment as ServingEnvironment
from knarr.serving.controllers import Serving
from knarr.serving.revision import DigestResolver
from knarr.workloads.controllers import Environment as WorkloadEnvironment
from knarr.workloads.controllers import build_workload_controllers
from knarr.workloads.tokensecrets import TokenMaker

if TYPE_CHECKING:
    from knarr.node.images.registry import RegistryClient

SYSTEM_NAMESPACE = "knative-serving"
_CONFIG_LABELS = {"app.kubernetes.io/name": "knative-serving"}
_COMPONENTS = {
    "config-autoscaler": "autoscaler",
    "config-defaults": "controller",
    "config-deployment": "controller",
    "config-domain": "controller",
    "config-features": "controller",
    "config-gc": "controller",
    "config-network": "networking",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the controllers are told about where they run.

    Attributes:
        client: to the API.
        clock, rng: time and randomness.
        dataplane_socket: where gateways connect.
        digests: resolves images.
        domain: of the Routes when config-domain names none.
        http_port: of the external listener, as URLs show it.
        ca_pem: certificate of the API's CA; the controllers of Kubernetes' own kinds (Deployments, Jobs,
            namespaces, garbage and others) run when it is given, None where a cluster has its own.
        tokens: signs the tokens of Secrets that ask for one; None where the API does.
    """

    client: Client
    clock: Clock
    rng: random.Random
    dataplane_socket: Path
    digests: DigestResolver
    domain: str
    http_port: int
    ca_pem: str | None
    tokens: TokenMaker | None = None


async def ensure_namespace(client: Client) -> None:
    """Make the namespace of the configuration exist."""
    try:
        await client.get(NAMESPACE, Key("", SYSTEM_NAMESPACE))
    except NotFound:
        await client.create(NAMESPACE, Namespace(metadata=ObjectMeta(name=SYSTEM_NAMESPACE)))


async def ensure_configuration(client: Client, domain: str, http_port: int) -> None:
    """Make Knative's ConfigMaps exist; the domain and the port follow how Knarr was started."""
    wanted: Mapping[str, dict[str, str]] = {
        "config-domain": {domain: ""},
        "config-network": {"knarr-external-port": str(http_port)},
    }
    for name, component in _COMPONENTS.items():
        key = Key(SYSTEM_NAMESPACE, name)
        try:
            existing = await client.get(CONFIG_MAP, key)
        except NotFound:
            labels = {**_CONFIG_LABELS, "app.kubernetes.io/component": component}
            metadata = ObjectMeta(name=name, namespace=SYSTEM_NAMESPACE, labels=labels)
            await client.create(CONFIG_MAP, ConfigMap(metadata=metadata, data=wanted.get(name)))
            continue
        data = dict(existing.data or {})
        if name == "config-network" and data.items() < (data | wanted[name]).items():
            await client.patch(CONFIG_MAP, key, {"data": wanted[name]})


async def enter_controllers(stack: AsyncExitStack, setting: Setting) -> None:
    """Start the controllers; they run until the stack is left.

    Returns once every cache is complete and gateways are let in.
    """
    client, clock, rng = setting.client, setting.clock, setting.rng
    recorder = EventRecorder(client, "knarr", clock=clock, rng=rng)
    await stack.enter_async_context(recorder)
    informers = InformerFactory(client, clock=clock, rng=rng)
    table = RoutingTable(f"{rng.getrandbits(64):016x}")
    gateways = DataplaneServer(setting.dataplane_socket, table)
    serving = Serving(
        ServingEnvironment(
            client=client,
            informers=informers,
            clock=clock,
            rng=rng,
            recorder=recorder,
            table=table,
            digests=setting.digests,
            picker=gateways,
            settings=ServingSettings(default_domain=setting.domain),
        )
    )
    gateways.traffic = (serving.autoscaler,)
    controllers = list(serving.controllers)
    if setting.ca_pem is not None:
        environment = WorkloadEnvironment(
            client, informers, clock, rng, recorder, setting.ca_pem, setting.tokens
        )
        controllers[:0] = build_workload_controllers(environment)
    await stack.enter_async_context(informers)
    await stack.enter_async_context(serving)
    for controller in controllers:
        await stack.enter_async_context(controller)
    await stack.enter_async_context(gateways)
    gateways.ready()


class Unresolved:
    """``serving.revision.DigestResolver`` that leaves images as they are named."""

    async def resolve(self, reference: str, namespace: str, pull_secrets: tuple[str, ...]) -> str:  # noqa: ARG002 - one for all images
        """Empty: the image runs by the name that it has."""
        return ""


class RegistryDigests:
    """``serving.revision.DigestResolver`` that asks registries, with the pull secrets of the API.

    Args:
        client: for the secrets.
        registries: entered.
    """

    def __init__(self, client: Client, registries: "RegistryClient") -> None:
        self._client = client
        self._registries = registries

    async def resolve(self, reference: str, namespace: str, pull_secrets: tuple[str, ...]) -> str:
        """The reference by digest.

        Raises:
            KnarrError: there is no such image, or its registry does not answer.
        """
        from knarr.node.images.reference import parse_reference
        from knarr.node.pulling import pull_credentials

        parsed = parse_reference(reference)
        secrets = [await self._secret(Key(namespace, name)) for name in pull_secrets]
        credentials = pull_credentials(secret for secret in secrets if secret is not None)
        return str(parsed.at(await self._registries.resolve_digest(parsed, credentials)))

    async def _secret(self, key: Key) -> Secret | None:
        try:
            return await self._client.get(SECRET, key)
        except NotFound:
            return None
