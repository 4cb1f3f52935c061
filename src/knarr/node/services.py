"""What the workers of Pods need of the rest of the agent."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.events import EventRecorder
from knarr.node.host import SandboxHost
from knarr.node.images.records import Credentials, ImageRecord, PullPolicy, RootFs
from knarr.node.launch import Launcher
from knarr.node.machine import Machine
from knarr.node.podfacts import Sources
from knarr.node.sandbox import Sandbox
from knarr.node.tokens import TokenSource
from knarr.resources.core.pod import Pod

SANDBOX_ANNOTATION = "node.knarr.dev/sandbox"
ACTIVATED_ANNOTATION = "node.knarr.dev/activated"
REVISION_LABEL = "serving.knative.dev/revision"


class Images(Protocol):
    """Where root file systems come from (``knarr.node.images.store``)."""

    def resolve(self, reference: str) -> ImageRecord | None:
        """The image when it is here."""
        ...

    async def ensure(
        self,
        reference: str,
        *,
        policy: PullPolicy,
        credentials: Mapping[str, Credentials] | None = None,
    ) -> ImageRecord:
        """The image, pulled when the policy says so.

        Raises:
            ImageError: with the reason for the container's waiting state.
        """
        ...

    async def layers(self, image: ImageRecord) -> RootFs:
        """The image's files.

        Raises:
            ImageError: a layer cannot be used.
        """
        ...


class Gateways(Protocol):
    """The connected data planes."""

    async def drain(self, revision: str, replica: str, timeout_s: float) -> None:
        """Return when no gateway has a request in flight to the replica, or the time is over."""
        ...


class Spares(Protocol):
    """Sandboxes that wait for a Pod."""

    def own(self, pod: Pod) -> Sandbox | None:
        """The sandbox that this Pod has already, of an earlier agent or by activation."""
        ...

    async def claim(self, pod: Pod) -> Sandbox | None:
        """One that can serve this Pod, parked or activated; it belongs to the caller from now on."""
        ...

    def ended(self, pod: Pod) -> None:
        """A Pod's sandbox is gone: its revision may want a parked one."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Dependencies of a Pod's worker.

    Attributes:
        node_name: of the Node object.
        max_pids: per container.
        machine_capacity: the node's resources as quantities.
        sleep: pauses that tests can shorten.
        starts: how many Pods' containers are made at once; activations do not wait for it.
    """

    client: Client
    recorder: EventRecorder
    host: SandboxHost
    launcher: Launcher
    images: Images
    gateways: Gateways
    spares: Spares
    sources: Sources
    tokens: TokenSource
    machine: Machine
    clock: Clock
    rng: random.Random
    node_name: str
    machine_capacity: Mapping[str, str]
    sleep: Callable[[float], Awaitable[None]]
    starts: asyncio.Semaphore
    max_pids: int = 4096
