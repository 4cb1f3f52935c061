"""The API server as one component: certificates, handler, listeners and the objects of the first start."""

import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from knarr.apiserver.allocation import DEFAULT_SERVICE_CIDR
from knarr.apiserver.auth import ADMIN, LOCAL_HOSTS, HostCheck
from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authorization.bootstrap import ensure_default_access
from knarr.apiserver.bootstrap import ensure_builtin_objects
from knarr.apiserver.definitions import Definitions
from knarr.apiserver.handler import Handler
from knarr.apiserver.http import HttpServer, TlsListener, UnixListener
from knarr.apiserver.inprocess import InProcessTransport
from knarr.apiserver.kubernetesservice import KubernetesService
from knarr.apiserver.openapi import Schema
from knarr.apiserver.pki import ensure_pki, write_kubeconfig
from knarr.apiserver.podlogs import PodLogs
from knarr.apiserver.streams.node import PodStreams
from knarr.apiserver.webhooks import HttpsCaller
from knarr.kits.clock import Clock
from knarr.kube.client import Client
from knarr.resources.kind import Kind
from knarr.store.store import Store


@dataclass(frozen=True, slots=True)
class ApiServerSettings:
    """Where the server listens and keeps its keys.

    Attributes:
        pki_directory: ``<data>/pki``.
        kubeconfig: written at start, for the administrator.
        host, port: of the TLS listener; port 0 takes a free one.
        socket: of the Unix listener, None for none.
        extra_hosts: names by which clients may reach the server besides the local ones.
        service_cidr: IPv4 network of the Services' cluster IPs.
        pod_api_endpoint: address and port at which pods reach the API, listened on besides; the machine need
            not have the address yet. None when they do not.
    """

    pki_directory: Path
    kubeconfig: Path
    host: str = "127.0.0.1"
    port: int = 6443
    socket: Path | None = None
    extra_hosts: tuple[str, ...] = ()
    service_cidr: str = DEFAULT_SERVICE_CIDR
    pod_api_endpoint: tuple[str, int] | None = None


class ApiServer:
    """An async context manager: serving when entered.

    Args:
        settings: where to listen.
        store: entered before and left after this server.
        kinds: what is served.
        clock, rng: time and randomness.
        logs: where Pod logs are, None to refuse them.
        streams: where sessions with Pods are opened, None to refuse them.
        schema: OpenAPI schemas of the kinds.
        ready: what ``/readyz`` says; controllers may start after the listeners.

    Attributes:
        credentials: ``credentials.issuer`` makes service account tokens once this is entered.
    """

    def __init__(  # noqa: PLR0913 - what a server is made from
        self,
        settings: ApiServerSettings,
        store: Store,
        kinds: Sequence[Kind[Any]],
        clock: Clock,
        rng: random.Random,
        *,
        logs: PodLogs | None = None,
        streams: PodStreams | None = None,
        schema: Schema | None = None,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._stack = AsyncExitStack()
        self.credentials = Credentials(store, clock, rng)
        self._webhooks = HttpsCaller()
        self.handler = Handler(
            store,
            kinds,
            clock,
            rng,
            logs=logs,
            streams=streams,
            schema=schema,
            ready=ready,
            service_cidr=settings.service_cidr,
            credentials=self.credentials,
            webhooks=self._webhooks,
        )
        self.transport = InProcessTransport(self.handler, ADMIN)
        self._definitions = Definitions(
            store, self.handler.registry, Client(self.transport), clock, rng, kinds
        )
        self.port = settings.port

    async def __aenter__(self) -> Self:
        """Make what is missing, then listen.

        Raises:
            AddressUnavailable: a listener's address is taken.
            OSError: the directory for keys cannot be written.
            StatusError: the store refuses writes.
        """
        settings = self._settings
        pki = ensure_pki(settings.pki_directory, self._clock, settings.extra_hosts)
        self.credentials.load({pki.token: ADMIN}, pki.signing)
        await ensure_builtin_objects(self.transport)
        client = Client(self.transport)
        await ensure_default_access(client)
        hosts = HostCheck((*LOCAL_HOSTS, settings.host, *settings.extra_hosts))
        context = pki.server_context()
        tls = [TlsListener(settings.host, settings.port, context, self.credentials, hosts)]
        if settings.pod_api_endpoint is not None:
            # The node agent gives this machine the address, maybe later.
            host, port = settings.pod_api_endpoint
            tls.append(TlsListener(host, port, context, self.credentials, hosts, early=True))
        unix = [UnixListener(settings.socket)] if settings.socket is not None else []
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._webhooks)
            await stack.enter_async_context(self._definitions)
            service = KubernetesService(self._store, client, settings.pod_api_endpoint)
            await stack.enter_async_context(service)
            http = await stack.enter_async_context(HttpServer(self.handler, tls=tls, unix=unix))
            self.port = http.ports[0]
            write_kubeconfig(settings.kubeconfig, pki, host=settings.host, port=self.port)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()
