"""An API server without a network that serves definitions."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest
from tests.unit.apiserver.kit import Api

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.bootstrap import ensure_builtin_objects
from knarr.apiserver.definitions import Definitions
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.kits.clock import ManualClock
from knarr.kube.client import Client
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class World(Api):
    """Requests in short, and waiting for what follows them."""

    async def until(self, condition, what=""):
        """Let everything run until a condition holds; the loop is never idle for long here."""
        for _ in range(10_000):
            value = await condition() if asyncio.iscoroutinefunction(condition) else condition()
            if value:
                return value
            await asyncio.sleep(0)
        raise AssertionError(f"never happened: {what}")

    async def define(self, document, expected=201):
        made = await self.post(DEFINITIONS, document)
        assert made.status == expected, made.json
        name = document["metadata"]["name"]
        if expected == 201:
            await self.established(name)
        return made

    async def established(self, name):
        async def holds():
            return await self.condition(name, "Established") == "True"

        await self.until(holds, f"{name} is established")

    async def condition(self, name, kind, field="status"):
        found = (await self.get(f"{DEFINITIONS}/{name}")).json
        conditions = found.get("status", {}).get("conditions", [])
        return next((each.get(field) for each in conditions if each["type"] == kind), None)

    async def gone(self, path):
        async def holds():
            return (await self.get(path)).status == 404

        await self.until(holds, f"{path} is gone")


class Servers:
    """Servers over one store, one after another."""

    def __init__(self) -> None:
        self.store = Store(None)
        self._stack = AsyncExitStack()
        self.clock = ManualClock()

    async def start(self, kinds=KINDS) -> World:
        handler = Handler(self.store, kinds, self.clock, random.Random(1))
        transport = InProcessTransport(handler, ADMIN)
        await ensure_builtin_objects(transport)
        definitions = Definitions(
            self.store, handler.registry, Client(transport), self.clock, random.Random(2), kinds
        )
        await self._stack.enter_async_context(definitions)
        world = World(handler, self.store, self.clock)
        self._stack.push_async_callback(world.close)
        return world

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def servers():
    made = Servers()
    async with made.store:
        yield made
        await made.stop()


@pytest.fixture
async def api(servers):
    return await servers.start()
