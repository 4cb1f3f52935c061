"""What every workload controller needs."""

import random
from dataclasses import dataclass

from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.kube.controller import Controller, Reconciler
from knarr.kube.events import EventRecorder
from knarr.kube.factory import InformerFactory
from knarr.workloads.tokensecrets import TokenMaker


@dataclass(frozen=True, slots=True)
class Environment:
    """What every workload controller needs.

    Attributes:
        client: to the embedded API.
        informers: not entered yet.
        clock, rng: time and randomness.
        recorder: for Events.
        ca_pem: certificate of the API server's CA, published in each Namespace.
        tokens: signs the tokens of Secrets that ask for one; without it they stay empty.
    """

    client: Client
    informers: InformerFactory
    clock: Clock
    rng: random.Random
    recorder: EventRecorder
    ca_pem: str
    tokens: TokenMaker | None = None

    def controller(self, name: str, reconciler: Reconciler, workers: int) -> Controller:
        """A controller around a reconciler."""
        return Controller(name, reconciler, clock=self.clock, rng=self.rng, workers=workers)
