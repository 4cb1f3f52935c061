"""The server process: the only place where the store, the API and the controllers are put together.

``python -m knarr.server --settings FILE``. Everything is entered in order of need on one stack and left in
reverse; a fault of any part ends the process, and the supervisor starts it again.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.apiserver.nodeproxy import NodeLogs
from knarr.apiserver.streams.nodesessions import NodeStreams
from knarr.config import Settings, read_settings
from knarr.controllers import Setting, ensure_configuration, enter_controllers
from knarr.kits.clock import Clock, SystemClock
from knarr.kube.client import Client
from knarr.meta.errors import KnarrError, NotFound, Unavailable
from knarr.resources.catalog import KINDS
from knarr.resources.schema import openapi_schema
from knarr.serving.gatewayservice import ensure_gateway_service
from knarr.store.sqlite import StoreBroken
from knarr.store.store import Store

LOG = logging.getLogger(__name__)

_RESOLVE_TIMEOUT_S = 30.0


class _Resolved(msgspec.Struct, frozen=True):
    """The node agent's answer to ``POST /v1/images/resolve``."""

    digest: str = ""
    message: str = ""


@dataclass(slots=True)
class NodeDigests:
    """``serving.revision.DigestResolver`` that asks the node agent: images here first, then registries."""

    socket: Path

    async def resolve(self, reference: str, namespace: str, pull_secrets: tuple[str, ...]) -> str:
        """The reference by digest.

        Raises:
            NotFound: there is no such image; the text is the registry's or the store's.
            Unavailable: the node agent cannot be asked now.
        """
        document = {
            "reference": reference,
            "namespace": namespace,
            "pullSecrets": list(pull_secrets),
        }
        connector = aiohttp.UnixConnector(str(self.socket))
        timeout = aiohttp.ClientTimeout(total=_RESOLVE_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post("http://node/v1/images/resolve", json=document) as response,
            ):
                answer = msgspec.json.decode(await response.read(), type=_Resolved)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"the node agent cannot be asked: {error}") from error
        if response.status != 200:
            raise NotFound(answer.message or f"HTTP {response.status}")
        return answer.digest


async def serve(settings: Settings, clock: Clock, rng: random.Random, stop: asyncio.Event) -> None:
    """Run until ``stop`` is set.

    Raises:
        StoreUnusable, AddressUnavailable: this process cannot run; the text says why.
    """
    paths = settings.paths
    async with AsyncExitStack() as stack:
        paths.database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = await stack.enter_async_context(Store(paths.database))
        logs = await stack.enter_async_context(NodeLogs(paths.node_socket))
        streams = await stack.enter_async_context(NodeStreams(paths.node_socket))
        api_settings = ApiServerSettings(
            pki_directory=paths.pki,
            kubeconfig=paths.kubeconfig,
            host=settings.api_address,
            port=settings.api_port,
            socket=paths.api_socket,
            extra_hosts=settings.api_names,
            service_cidr=settings.service_cidr,
            pod_api_endpoint=(settings.pod_gateway, settings.api_port),
        )
        started = asyncio.Event()
        api = ApiServer(
            api_settings,
            store,
            KINDS,
            clock,
            rng,
            logs=logs,
            streams=streams,
            schema=openapi_schema,
            ready=started.is_set,
        )
        await stack.enter_async_context(api)
        client = Client(api.transport)
        await ensure_configuration(client, settings.domain, settings.http_port)
        await ensure_gateway_service(
            client,
            external=(settings.http_address, settings.http_port),
            internal_address=settings.pod_gateway,
        )
        await enter_controllers(
            stack,
            Setting(
                client=client,
                clock=clock,
                rng=rng,
                dataplane_socket=paths.dataplane_socket,
                digests=NodeDigests(paths.node_socket),
                domain=settings.domain,
                http_port=settings.http_port,
                ca_pem=(paths.pki / "ca.crt").read_text(encoding="ascii"),
                tokens=api.credentials.issuer,
            ),
        )
        started.set()
        LOG.info("ready: API on %s:%d", settings.api_address, api.port)
        await _until_stopped(store, stop)
        LOG.info("stopping")


async def _until_stopped(store: Store, stop: asyncio.Event) -> None:
    """Wait for the signal, or for a disk that fails: then only a new start can tell what is on it.

    Raises:
        StoreBroken: the store refuses writes since an I/O error.
    """
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(stop.wait()), group.create_task(store.wait_broken())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    if not stop.is_set():
        raise StoreBroken("the disk failed: the store refuses every write until it is opened again")


async def run(settings: Settings) -> None:
    """The process's main coroutine: SIGTERM and SIGINT end it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, SystemClock(), random.Random(), stop)  # noqa: S311 - names, not secrets


def main(arguments: list[str]) -> int:
    """Run the server; the exit status is ``EX_CONFIG`` when a restart would not help."""
    parser = argparse.ArgumentParser(prog="knarr.server")
    parser.add_argument("--settings", type=Path, required=True)
    settings = read_settings(parser.parse_args(arguments).settings)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        uvloop.run(run(settings))
    except StoreBroken as error:
        LOG.error("%s", error)  # noqa: TRY400 - expected, its text is complete
        return os.EX_IOERR
    except KnarrError as error:
        LOG.error("%s", error)  # noqa: TRY400 - expected, its text is complete
        return os.EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
