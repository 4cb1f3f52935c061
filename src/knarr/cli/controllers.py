"""``knarr controllers``: Knarr's controllers over the API of another cluster."""

import asyncio
import logging
import random
import signal
import ssl
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from knarr.cli.context import run, target_of
from knarr.cli.output import STDERR, CommandError, ExitCode, reported
from knarr.kits.clock import SystemClock
from knarr.meta.errors import NotFound

if TYPE_CHECKING:
    from knarr.kube.client import Client
    from knarr.kube.codec import CompletingCodec
    from knarr.kube.http import Endpoint

_SYNC_TIMEOUT_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(controllers)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line asks for."""

    kubeconfig: Path
    kube_context: str
    workloads: bool
    resolve_tags: bool
    domain: str
    http_port: int
    socket: Path


def controllers(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    *,
    kubeconfig: Annotated[Path, typer.Option(help="how to reach the cluster")],
    kube_context: Annotated[str, typer.Option(help="its context; empty: the current one")] = "",
    workloads: Annotated[
        bool,
        typer.Option(help="also those of Deployments, Jobs and so on, for an API without any"),
    ] = False,
    resolve_tags: Annotated[
        bool, typer.Option(help="ask registries for the digests of images")
    ] = True,
    domain: Annotated[str, typer.Option(help="domain of the routes")] = "localhost",
    http_port: Annotated[int, typer.Option(help="port for requests, as URLs show it")] = 80,
    socket: Annotated[
        Path | None, typer.Option(help="where gateways connect; default: in the data directory")
    ] = None,
) -> None:
    """Run Knarr's controllers against another Kubernetes API until Ctrl-C.

    The cluster needs Knarr's CustomResourceDefinitions first. Run one of these per cluster.
    Defaults are filled in as objects are read; config-defaults is read once, at the start.

    Example: knarr crds | kubectl apply -f - && knarr controllers --kubeconfig ~/.kube/config
    """
    chosen = socket or target_of(context).paths.dataplane_socket
    wanted = _Wanted(
        kubeconfig, kube_context, workloads, resolve_tags, domain, http_port, chosen.absolute()
    )
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s"
    )
    with reported():
        run(lambda: _main(wanted))


async def _main(wanted: _Wanted) -> None:
    from knarr.kube.client import Client
    from knarr.kube.codec import CompletingCodec
    from knarr.kube.http import HttpTransport
    from knarr.kube.kubeconfig import load_kubeconfig
    from knarr.resources.kind import ConfigData

    access = load_kubeconfig(wanted.kubeconfig, wanted.kube_context)
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(HttpTransport(access.endpoint))
        codec = CompletingCodec(ConfigData({}))
        client = Client(transport, codec)
        await _require_definitions(client)
        try:
            async with asyncio.timeout(_SYNC_TIMEOUT_S):
                await _prepare(wanted, client, codec)
                await _start(stack, wanted, client, authority_of(access.endpoint))
        except TimeoutError:
            raise CommandError(
                f"the caches did not fill within {_SYNC_TIMEOUT_S:.0f} s; the log says what was missing",
                code=ExitCode.TIMEOUT,
            ) from None
        STDERR.print(f"[bold green]ready[/]: controllers over {access.endpoint.url}")
        await _until_stopped()


async def _require_definitions(client: "Client") -> None:
    """Refuse to start where Knarr's kinds are unknown: informers would wait for them for ever."""
    from knarr.resources.catalog import KINDS

    for kind in KINDS:
        if kind.builtin:
            continue
        try:
            await client.transport.request("GET", kind.collection_path(), query={"limit": "1"})
        except NotFound as error:
            raise CommandError(
                f"the cluster does not serve {kind.qualified_plural}: {error.message}",
                "knarr crds | kubectl apply -f -",
                ExitCode.NOT_FOUND,
            ) from error


async def _prepare(wanted: _Wanted, client: "Client", codec: "CompletingCodec") -> None:
    """The configuration: made where it is missing, and read for the defaults that it holds."""
    from knarr.controllers import SYSTEM_NAMESPACE, ensure_configuration, ensure_namespace
    from knarr.resources.core.configmap import CONFIG_MAP
    from knarr.resources.kind import ConfigData

    await ensure_namespace(client)
    await ensure_configuration(client, wanted.domain, wanted.http_port)
    found = await client.list(CONFIG_MAP, SYSTEM_NAMESPACE)
    codec.config = ConfigData({each.metadata.name: each.data or {} for each in found})


async def _start(stack: AsyncExitStack, wanted: _Wanted, client: "Client", authority: str) -> None:
    from knarr.controllers import RegistryDigests, Setting, Unresolved, enter_controllers
    from knarr.serving.revision import DigestResolver

    clock, rng = SystemClock(), random.Random()  # noqa: S311 - names, not secrets
    digests: DigestResolver = Unresolved()
    if wanted.resolve_tags:
        from knarr.node.images.registry import RegistryClient

        registries = RegistryClient(clock=clock, rng=rng, trust_env=True)
        digests = RegistryDigests(client, await stack.enter_async_context(registries))
    wanted.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    await enter_controllers(
        stack,
        Setting(
            client=client,
            clock=clock,
            rng=rng,
            dataplane_socket=wanted.socket,
            digests=digests,
            domain=wanted.domain,
            http_port=wanted.http_port,
            ca_pem=authority if wanted.workloads else None,
        ),
    )


async def _until_stopped() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


def authority_of(endpoint: "Endpoint") -> str:
    """The certificates that the API's own is checked against, as PEM; empty over plain HTTP."""
    if endpoint.tls is None:
        return ""
    found = endpoint.tls.get_ca_certs(binary_form=True)
    return "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in found)
