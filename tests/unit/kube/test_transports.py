"""One suite for every transport: the embedded API called directly, over a Unix socket and over TLS."""

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.kits.clock import SystemClock
from knarr.kube.client import Client
from knarr.kube.http import Endpoint, HttpTransport, unix_endpoint
from knarr.kube.informer import Informer
from knarr.kube.kubeconfig import load_kubeconfig
from knarr.meta.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
    error_from_status,
)
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apps.deployment import DEPLOYMENT, Deployment, DeploymentSpec
from knarr.resources.catalog import KINDS
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.container import Container
from knarr.resources.core.podspec import PodSpec, PodTemplateSpec
from knarr.resources.core.references import LabelSelector
from knarr.store.store import Store

KEY = Key("default", "a")


@asynccontextmanager
async def api_server(directory: Path):
    settings = ApiServerSettings(
        pki_directory=directory / "pki",
        kubeconfig=directory / "kubeconfig",
        port=0,
        socket=directory / "api.sock",
    )
    async with (
        Store(None) as store,
        ApiServer(settings, store, KINDS, SystemClock(), random.Random(1)) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return tmp_path_factory.mktemp("pki")


@pytest.fixture(params=["in process", "unix", "tls"])
async def transport(request, pki):
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(api_server(pki))
        match request.param:
            case "in process":
                yield server.transport
            case "unix":
                endpoint = unix_endpoint(pki / "api.sock")
                yield await stack.enter_async_context(HttpTransport(endpoint))
            case "tls":
                endpoint = load_kubeconfig(pki / "kubeconfig").endpoint
                yield await stack.enter_async_context(HttpTransport(endpoint))


@pytest.fixture
def client(transport):
    return Client(transport)


def config_map(name="a", **data) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data or None)


async def test_an_object_lives(client):
    created = await client.create(CONFIG_MAP, config_map(k="1"))
    assert created.metadata.uid
    changed = await client.patch(CONFIG_MAP, KEY, {"data": {"k": "2"}})
    assert (await client.get(CONFIG_MAP, KEY)) == changed
    assert [item.key for item in await client.list(CONFIG_MAP, "default")] == [KEY]
    assert await client.delete(CONFIG_MAP, KEY, uid=created.metadata.uid) is None
    assert (await client.list(CONFIG_MAP, "default")).items == ()


async def test_refusals_come_as_the_errors_they_are(client):
    with pytest.raises(NotFound) as missing:
        await client.get(CONFIG_MAP, KEY)
    assert missing.value.message == 'configmaps "a" not found'
    assert (missing.value.kind, missing.value.name) == ("configmaps", "a")
    first = await client.create(CONFIG_MAP, config_map())
    with pytest.raises(AlreadyExists):
        await client.create(CONFIG_MAP, config_map())
    await client.patch(CONFIG_MAP, KEY, {"data": {"k": "1"}})
    with pytest.raises(Conflict):
        await client.update(CONFIG_MAP, first)
    with pytest.raises(Invalid) as invalid:
        await client.create(
            DEPLOYMENT, Deployment(metadata=ObjectMeta(name="d", namespace="default"))
        )
    assert invalid.value.causes


async def test_an_unknown_resource_is_not_found(transport):
    with pytest.raises(NotFound):
        await transport.request("GET", "/apis/example.com/v1/widgets")


async def test_scale_and_status_are_apart(client):
    labels = {"app": "x"}
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels),
        spec=PodSpec(containers=(Container(name="c", image="i"),)),
    )
    spec = DeploymentSpec(
        replicas=1, selector=LabelSelector(match_labels=labels), template=template
    )
    metadata = ObjectMeta(name="d", namespace="default")
    await client.create(DEPLOYMENT, Deployment(metadata=metadata, spec=spec))
    await client.scale(DEPLOYMENT, Key("default", "d"), 4)

    assert (await client.get(DEPLOYMENT, Key("default", "d"))).spec.replicas == 4


async def test_a_watch_replays_what_came_after_a_version(transport, client):
    created = await client.create(CONFIG_MAP, config_map(k="1"))
    await client.patch(CONFIG_MAP, KEY, {"data": {"k": "2"}})
    await client.delete(CONFIG_MAP, KEY)
    query = {"watch": "true", "resourceVersion": created.metadata.resource_version}
    kinds = []
    async with transport.watch(CONFIG_MAP.collection_path("default"), query=query) as lines:
        async for line in lines:
            kinds.append(client.codec.decode_event(line)[0])
            if len(kinds) == 2:
                break

    assert kinds == ["MODIFIED", "DELETED"]


async def test_a_watch_that_is_refused_raises(transport):
    query = {"watch": "true", "sendInitialEvents": "true"}
    with pytest.raises(Invalid):
        async with transport.watch(CONFIG_MAP.collection_path(), query=query):
            pass


async def test_a_watch_ends_when_its_time_is_over(transport):
    query = {"watch": "true", "timeoutSeconds": "1", "resourceVersion": "0"}
    async with transport.watch(CONFIG_MAP.collection_path(), query=query) as lines:
        assert [line async for line in lines] == []


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_informer_follows(client):
    await client.create(CONFIG_MAP, config_map("before"))
    informer = Informer(CONFIG_MAP, client, clock=SystemClock(), rng=random.Random(1))
    async with informer:
        assert Key("default", "before") in informer
        await client.create(CONFIG_MAP, config_map(k="1"))
        await until(lambda: KEY in informer)
        await client.patch(CONFIG_MAP, KEY, {"data": {"k": "2"}})
        await until(lambda: informer.get(KEY).data == {"k": "2"})
        assert informer.get(KEY) == await client.get(CONFIG_MAP, KEY)
        await client.delete(CONFIG_MAP, KEY)
        await until(lambda: KEY not in informer)
        assert informer.statistics().relists == 1


async def test_large_objects_pass(client):
    big = "x" * 900_000
    await client.create(CONFIG_MAP, config_map(big=big))
    informer = Informer(CONFIG_MAP, client, clock=SystemClock(), rng=random.Random(1))
    async with informer:
        assert len(informer.get(KEY).data["big"]) == 900_000


async def test_an_informer_survives_a_new_server_with_an_empty_store(pki):
    """The store of the second server counts from 1 again."""
    async with HttpTransport(unix_endpoint(pki / "api.sock")) as transport:
        client = Client(transport)
        informer = Informer(CONFIG_MAP, client, clock=SystemClock(), rng=random.Random(1))
        async with AsyncExitStack() as first:
            await first.enter_async_context(api_server(pki))
            for number in range(20):
                await client.create(CONFIG_MAP, config_map(f"old{number}"))
            running = await first.enter_async_context(AsyncExitStack())
            await running.enter_async_context(informer)
            assert len(informer) == 20
            keep = running.pop_all()
        async with keep, api_server(pki):
            await client.create(CONFIG_MAP, config_map("new"))
            await until(lambda: informer.keys() == (Key("default", "new"),))


async def test_no_server_is_unavailable_and_says_where(tmp_path):
    async with HttpTransport(unix_endpoint(tmp_path / "none.sock")) as transport:
        with pytest.raises(Unavailable, match=r"the API at .*none\.sock cannot be reached"):
            await Client(transport).get(CONFIG_MAP, KEY)
        with pytest.raises(Unavailable, match="cannot be reached"):
            async with transport.watch("/api/v1/configmaps", query={}):
                pass


async def test_a_wrong_token_is_unauthorized(pki):
    async with api_server(pki):
        good = load_kubeconfig(pki / "kubeconfig").endpoint
        bad = Endpoint(url=good.url, tls=good.tls, token="wrong")
        async with HttpTransport(bad) as transport:
            with pytest.raises(Unauthorized):
                await Client(transport).get(CONFIG_MAP, KEY)


async def test_an_unknown_certificate_is_not_trusted(pki):
    async with api_server(pki):
        url = load_kubeconfig(pki / "kubeconfig").endpoint.url
        async with HttpTransport(Endpoint(url=url)) as transport:
            with pytest.raises(Unavailable, match="certificate"):
                await Client(transport).get(CONFIG_MAP, KEY)


def test_an_expired_status_is_expired():
    assert isinstance(error_from_status({"reason": "Expired", "code": 410}, 410), Expired)
