"""An API server with keys and the default roles, without a network."""

import random

import pytest
from tests.unit.apiserver.kit import Api

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authentication.signing import ensure_signing_keys
from knarr.apiserver.authorization.bootstrap import ensure_default_access
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.kits.clock import ManualClock
from knarr.kube.client import Client
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

ADMIN_TOKEN = "the-administrators"


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory):
    return ensure_signing_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
async def api(signing_keys):
    clock, rng = ManualClock(), random.Random(1)
    async with Store(None) as store:
        credentials = Credentials(store, clock, rng)
        credentials.load({ADMIN_TOKEN: ADMIN}, signing_keys)
        handler = Handler(store, KINDS, clock, rng, credentials=credentials)
        client = Client(InProcessTransport(handler, ADMIN))
        for name in ("default", "other"):
            await client.transport.request(
                "POST", "/api/v1/namespaces", body=f'{{"metadata":{{"name":"{name}"}}}}'.encode()
            )
        await ensure_default_access(client)
        opened = Api(handler, store, clock)
        opened.client = client
        opened.credentials = credentials
        yield opened
        await opened.close()
