"""Knarr's API server and store in a process of their own: no controllers, no containers, no root.

``python -m tests.apiserver_alone --data-dir DIR --port N``; ready when ``DIR/kubeconfig`` exists and the port answers.
"""

import argparse
import asyncio
import faulthandler
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.kits.clock import SystemClock
from knarr.resources.catalog import KINDS
from knarr.resources.schema import openapi_schema
from knarr.store.store import Store


async def serve(data_dir: Path, port: int, socket: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings = ApiServerSettings(
        pki_directory=data_dir / "pki",
        kubeconfig=data_dir / "kubeconfig",
        port=port,
        socket=socket,
    )
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(data_dir / "knarr.db"))
        api = ApiServer(
            settings, store, KINDS, SystemClock(), random.Random(), schema=openapi_schema
        )
        await stack.enter_async_context(api)
        await stop.wait()


def main() -> None:
    faulthandler.register(signal.SIGUSR1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", type=Path)
    arguments = parser.parse_args()
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    uvloop.run(serve(arguments.data_dir, arguments.port, arguments.socket))


if __name__ == "__main__":
    main()
