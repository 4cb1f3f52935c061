"""An API server without a network: the handler on a store in memory."""

import random

import pytest
from tests.unit.apiserver.kit import Api

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.bootstrap import ensure_builtin_objects
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.kits.clock import ManualClock
from knarr.resources.catalog import KINDS
from knarr.store.store import Store


@pytest.fixture
async def api():
    clock = ManualClock()
    async with Store(None) as store:
        handler = Handler(store, KINDS, clock, random.Random(1))
        await ensure_builtin_objects(InProcessTransport(handler, ADMIN))
        opened = Api(handler, store, clock)
        yield opened
        await opened.close()
