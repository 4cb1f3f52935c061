"""The registry client and puller against a registry that misbehaves on demand, on loopback."""

import asyncio
import gzip
import hashlib
import io
import json
import random
import tarfile
from collections import Counter

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from knarr.kits.clock import ManualClock
from knarr.node.images.errors import (
    DigestMismatch,
    InvalidManifest,
    LimitExceeded,
    NoMatchingPlatform,
    NotFound,
    RegistryUnavailable,
    Unauthorized,
)
from knarr.node.images.limits import Limits
from knarr.node.images.manifests import OCI_INDEX, OCI_MANIFEST, Platform
from knarr.node.images.pull import RegistryPuller
from knarr.node.images.records import Credentials
from knarr.node.images.reference import parse_reference
from knarr.node.images.registry import RegistryClient
from knarr.node.images.store import ImageStore

pytestmark = pytest.mark.contract
AMD64 = Platform(architecture="amd64", os="linux")


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_of(name, size=10):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = size
        archive.addfile(entry, io.BytesIO(random.Random(name).randbytes(size)))
    return out.getvalue()


class FakeRegistry:
    """Content by path, and a hook that may answer first."""

    def __init__(self):
        self.blobs = {}
        self.manifests = {}
        self.requests = []
        self.hook = None

    def add_image(self, tag, *layers, architecture="amd64"):
        packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Cmd": ["run"]},
                "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
            }
        ).encode()
        for data in (config, *packed):
            self.blobs[sha(data)] = data
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha(config),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": sha(data),
                    "size": len(data),
                }
                for data in packed
            ],
        }
        return self.add_manifest(tag, manifest, OCI_MANIFEST)

    def add_manifest(self, tag, document, media_type):
        data = json.dumps(document).encode()
        for name in (tag, sha(data)):
            self.manifests[name] = (data, media_type)
        return sha(data), len(data)

    async def handle(self, request):
        self.requests.append(request)
        if self.hook is not None:
            answer = await self.hook(request)
            if answer is not None:
                return answer
        kind, name = request.path.split("/")[-2:]
        if kind == "manifests" and name in self.manifests:
            data, media_type = self.manifests[name]
            headers = {"Content-Type": media_type, "Docker-Content-Digest": sha(data)}
            return web.Response(body=data, headers=headers)
        if kind == "blobs" and name in self.blobs:
            data = self.blobs[name]
            start = request.http_range.start or 0
            if start:
                headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
                return web.Response(status=206, body=data[start:], headers=headers)
            return web.Response(body=data)
        return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)


@pytest.fixture
async def fake():
    registry = FakeRegistry()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", registry.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        registry.name = f"127.0.0.1:{server.port}"
        yield registry


@pytest.fixture
async def client():
    async with RegistryClient(
        clock=ManualClock(), rng=random.Random(1), base_delay_s=0.001
    ) as found:
        yield found


@pytest.fixture
def store(tmp_path, client):
    return ImageStore(
        tmp_path / "images", puller=RegistryPuller(client), platform=AMD64, durable=False
    )


async def pull(store, fake, tag="1", policy="IfNotPresent", **options):
    return await store.ensure(f"{fake.name}/a/b:{tag}", policy=policy, **options)


async def test_an_image_is_pulled_with_progress_and_then_known(store, fake):
    digest, _ = fake.add_image("1", *(layer_of(str(number), 300_000) for number in range(5)))
    events = []
    record = await pull(store, fake, progress=events.append)
    assert record.digest == digest
    assert record.config.cmd == ("run",)
    assert [event.stage for event in events][0::999] == ["resolve"]
    done = {
        event.subject
        for event in events
        if event.stage == "download" and event.done_bytes == event.total_bytes
    }
    assert done >= {layer.digest for layer in record.layers}
    assert str(events[-1]) == digest
    count = len(fake.requests)
    assert (await pull(store, fake)).digest == digest
    assert len(fake.requests) == count
    root = await store.layers(record)
    assert len(root.lower_dirs) in {1, 5}
    assert list((store.root / "partial").iterdir()) == []


async def test_always_asks_for_the_digest_only(store, fake):
    fake.add_image("1", layer_of("a"))
    first = await pull(store, fake)
    fake.requests.clear()
    assert (await pull(store, fake, policy="Always")).digest == first.digest
    assert [request.method for request in fake.requests] == ["HEAD"]
    moved, _ = fake.add_image("1", layer_of("a"), layer_of("b"))
    fake.requests.clear()
    assert (await pull(store, fake, policy="Always")).digest == moved
    blobs = [request.path for request in fake.requests if "/blobs/" in request.path]
    assert len(blobs) == 2  # configuration and the new layer


async def test_an_index_leads_to_this_machines_manifest_and_stays_resolvable(store, fake, client):
    arm, arm_size = fake.add_image("arm", layer_of("arm"), architecture="arm64")
    amd, amd_size = fake.add_image("amd", layer_of("amd"))
    index, _ = fake.add_manifest(
        "1",
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {"mediaType": OCI_MANIFEST, "digest": arm, "size": arm_size,
                 "platform": {"os": "linux", "architecture": "arm64"}},
                {"mediaType": OCI_MANIFEST, "digest": amd, "size": amd_size,
                 "platform": {"os": "linux", "architecture": "amd64"}},
            ],
        },
        OCI_INDEX,
    )  # fmt: skip
    record = await pull(store, fake)
    assert record.digest == amd
    assert await client.resolve_digest(parse_reference(f"{fake.name}/a/b:1")) == index
    assert store.resolve(f"{fake.name}/a/b@{index}").digest == amd
    assert store.resolve(f"{fake.name}/a/b@{amd}").digest == amd
    fake.requests.clear()
    await pull(store, fake, policy="Always")
    assert [request.method for request in fake.requests] == ["HEAD"]


async def test_no_manifest_for_this_machine_lists_what_there_is(store, fake):
    arm, size = fake.add_image("arm", layer_of("arm"), architecture="arm64")
    entry = {"mediaType": OCI_MANIFEST, "digest": arm, "size": size}
    platforms = [
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "windows", "architecture": "amd64"},
    ]
    fake.add_manifest(
        "1",
        {"schemaVersion": 2, "manifests": [entry | {"platform": each} for each in platforms]},
        OCI_INDEX,
    )
    with pytest.raises(
        NoMatchingPlatform, match=r"linux/amd64; it offers: linux/arm64/v8, windows/amd64"
    ):
        await pull(store, fake)
    with pytest.raises(NoMatchingPlatform, match="it offers: linux/arm64"):
        await pull(store, fake, "arm")
    assert not any(
        "/blobs/" in r.path and r.path.endswith(sha(gzip.compress(layer_of("arm"), 1, mtime=0)))
        for r in fake.requests
    )


async def test_indexes_that_never_end_are_refused(store, fake):
    index = {"schemaVersion": 2, "manifests": []}
    below, size = fake.add_manifest("x0", index, OCI_INDEX)
    for depth in range(1, 4):
        index["manifests"] = [{"mediaType": OCI_INDEX, "digest": below, "size": size}]
        below, size = fake.add_manifest(f"x{depth}", index, OCI_INDEX)
    with pytest.raises(LimitExceeded, match="nested more than 2 deep"):
        await pull(store, fake, "x3")


async def test_a_broken_connection_is_resumed_where_it_ended(store, fake):
    fake.add_image("1", layer_of("big", 3_000_000))
    breaks = Counter()

    async def hook(request):
        name = request.path.split("/")[-1]
        data = fake.blobs.get(name)
        if "/blobs/" not in request.path or len(data) < 1_000_000 or breaks[name] >= 3:
            return None
        breaks[name] += 1
        start = request.http_range.start or 0
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(data) - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await response.prepare(request)
        await response.write(data[start : start + 700_000])
        request.transport.abort()
        return response

    fake.hook = hook
    record = await pull(store, fake)
    assert store.blobs.has(record.layers[0].digest)
    starts = [r.http_range.start for r in fake.requests if r.path.endswith(record.layers[0].digest)]
    assert starts[0] is None
    assert starts[1:] == sorted(starts[1:])
    assert starts[1] > 0


async def test_a_pull_that_was_cancelled_continues_later(store, fake):
    fake.add_image("1", layer_of("big", 3_000_000))
    reached = asyncio.Event()

    async def hook(request):
        data = fake.blobs.get(request.path.split("/")[-1], b"")
        if len(data) < 1_000_000 or request.http_range.start:
            return
        response = web.StreamResponse()
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[:2_500_000])
        reached.set()
        await asyncio.Event().wait()

    fake.hook = hook
    parts = store.root / "partial"
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pull(store, fake))
        await reached.wait()
        while not any(part.stat().st_size > 1_000_000 for part in parts.iterdir()):
            await asyncio.sleep(0.001)
        task.cancel()
    (part,) = parts.iterdir()
    size = part.stat().st_size
    fake.hook = None
    record = await pull(store, fake)
    assert fake.requests[-1].http_range.start == size
    assert store.blobs.has(record.layers[0].digest)


async def test_a_registry_that_ignores_ranges_starts_over(store, fake):
    fake.add_image("1", layer_of("big", 2_000_000))
    seen = []

    async def hook(request):
        data = fake.blobs.get(request.path.split("/")[-1], b"")
        if len(data) < 1_000_000:
            return None
        seen.append(request.http_range.start)
        if len(seen) > 1:
            return web.Response(body=data)
        response = web.StreamResponse()
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[:1_500_000])
        request.transport.abort()
        return response

    fake.hook = hook
    record = await pull(store, fake)
    assert seen[1] > 0
    assert store.blobs.has(record.layers[0].digest)


async def test_a_damaged_part_is_downloaded_again_from_the_start(store, fake):
    fake.add_image("1", layer_of("big", 2_000_000))
    (digest,) = (name for name, data in fake.blobs.items() if len(data) > 1_000_000)
    store.prepare()
    (store.root / "partial" / digest.replace(":", "-")).write_bytes(b"x" * 500_000)
    record = await pull(store, fake)
    assert store.blobs.size(record.layers[0].digest) == len(fake.blobs[digest])


@pytest.mark.parametrize("lie", ["content", "longer", "shorter"])
async def test_a_blob_that_is_not_what_its_digest_says_is_refused(store, fake, lie):
    fake.add_image("1", layer_of("a", 5000))
    for name, data in fake.blobs.items():
        if data.startswith(b"\x1f"):
            fake.blobs[name] = {
                "content": bytes(len(data)),
                "longer": data + b"x",
                "shorter": data[:-5],
            }[lie]
    kind = RegistryUnavailable if lie == "shorter" else DigestMismatch
    with pytest.raises(kind, match=rf'failed to pull image "{fake.name}/a/b:1": '):
        await pull(store, fake)
    assert store.resolve(f"{fake.name}/a/b:1") is None


async def test_a_manifest_that_is_not_what_its_digest_says_is_refused(store, fake):
    digest, _ = fake.add_image("1", layer_of("a"))
    fake.manifests[digest] = (fake.manifests[digest][0] + b" ", OCI_MANIFEST)
    with pytest.raises(DigestMismatch):
        await store.ensure(f"{fake.name}/a/b@{digest}", policy="Always")


async def test_busy_registries_are_asked_again_and_then_given_up(store, fake):
    fake.add_image("1", layer_of("a"))
    answers = [
        web.Response(status=status, headers={"Retry-After": "0"}) for status in (429, 503, 500)
    ]

    async def hook(_request):
        return answers.pop() if answers else None

    fake.hook = hook
    await pull(store, fake)

    async def always(_request):
        return web.Response(status=502)

    fake.hook = always
    fake.requests.clear()
    with pytest.raises(RegistryUnavailable, match="answers 502") as caught:
        await pull(store, fake, "2")
    assert caught.value.retryable
    assert len(fake.requests) == 5


async def test_what_is_missing_is_named(store, fake):
    with pytest.raises(NotFound, match=rf"{fake.name}/a/b:none is not in {fake.name}") as caught:
        await pull(store, fake, "none")
    assert caught.value.reason == "ErrImagePull"
    assert not caught.value.retryable


async def test_nobody_listening_is_a_clear_error(store, unused_tcp_port):
    with pytest.raises(RegistryUnavailable, match=r"registry 127.0.0.1:\d+ cannot be reached: "):
        await store.ensure(f"127.0.0.1:{unused_tcp_port}/a/b:1", policy="Always")


async def test_a_manifest_beyond_the_cap_is_refused(store, fake):
    fake.manifests["1"] = (b" " * (Limits().manifest_bytes + 1), OCI_MANIFEST)
    with pytest.raises(LimitExceeded):
        await pull(store, fake)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2}',
        b'{"schemaVersion": 2, "layers": []}',
    ],
)
async def test_a_manifest_that_is_none_is_refused(store, fake, body):
    fake.manifests["1"] = (body, OCI_MANIFEST)
    with pytest.raises(InvalidManifest, match="failed to pull"):
        await pull(store, fake)


# --- authentication -----------------------------------------------------------------------------------

ACCOUNT = Credentials("me", "secret")
BASIC = "Basic bWU6c2VjcmV0"


async def test_basic_credentials(store, fake):
    fake.add_image("1", layer_of("a"))

    async def hook(request):
        if request.headers.get("Authorization") != BASIC:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return None

    fake.hook = hook
    with pytest.raises(Unauthorized, match="imagePullSecrets"):
        await pull(store, fake)
    with pytest.raises(Unauthorized, match="refuses the credentials"):
        await pull(store, fake, credentials={fake.name: Credentials("me", "wrong")})
    assert await pull(store, fake, credentials={fake.name: ACCOUNT})


@pytest.mark.parametrize("account", [None, ACCOUNT, Credentials(identity_token="idt")])
async def test_bearer_tokens_are_fetched_once_per_repository(store, fake, account):
    fake.add_image("1", *(layer_of(str(number)) for number in range(4)))
    asked = []

    async def hook(request):
        if request.path == "/token":
            asked.append(request)
            form = await request.post()
            query = form if request.method == "POST" else request.query
            assert query["service"] == "registry, the"
            assert query["scope"] == "repository:a/b:pull"
            if account is None:
                assert "Authorization" not in request.headers
            elif account.identity_token:
                assert form["refresh_token"] == "idt"
            else:
                assert request.headers["Authorization"] == BASIC
            return web.json_response({"access_token": "tok", "expires_in": 300})
        if request.headers.get("Authorization") != "Bearer tok":
            realm = f'Bearer realm="http://{fake.name}/token",service="registry, the",scope="repository:a/b:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": realm})
        return None

    fake.hook = hook
    await pull(store, fake, credentials={fake.name: account} if account else {})
    assert len(asked) == 1


async def test_a_refused_token_is_not_retried(store, fake):
    async def hook(request):
        if request.path == "/token":
            return web.Response(status=403)
        realm = f'Bearer realm="http://{fake.name}/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": realm})

    fake.hook = hook
    with pytest.raises(Unauthorized, match="does not exist"):
        await pull(store, fake)
    assert len(fake.requests) == 2


async def test_credentials_stay_home_when_a_blob_is_elsewhere(store, fake):
    """Another port of this machine is another origin."""
    fake.add_image("1", layer_of("a"))
    elsewhere = []

    async def other(request):
        elsewhere.append(request.headers.get("Authorization"))
        return web.Response(body=fake.blobs[request.path.removeprefix("/")])

    app = web.Application()
    app.router.add_get("/{digest}", other)
    async with TestServer(app, host="127.0.0.1") as server:

        async def hook(request):
            if request.headers.get("Authorization") != BASIC:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            if "/blobs/" in request.path:
                target = f"http://127.0.0.1:{server.port}/{request.path.split('/')[-1]}"
                return web.Response(status=307, headers={"Location": target})
            return None

        fake.hook = hook
        await pull(store, fake, credentials={fake.name: ACCOUNT})
    assert elsewhere == [None, None]


async def test_redirects_that_never_end_are_given_up(store, fake):
    async def hook(request):
        return web.Response(status=302, headers={"Location": str(request.url)})

    fake.hook = hook
    with pytest.raises(RegistryUnavailable, match="redirects more than"):
        await pull(store, fake)


async def test_two_stores_on_one_directory_download_once(tmp_path, client, fake):
    fake.add_image("1", layer_of("a", 500_000), layer_of("b", 500_000))
    stores = [
        ImageStore(tmp_path / "i", puller=RegistryPuller(client), platform=AMD64, durable=False)
        for _ in range(3)
    ]
    records = await asyncio.gather(*(pull(each, fake) for each in stores))
    assert len({record.digest for record in records}) == 1
    downloads = Counter(request.path for request in fake.requests if "/blobs/" in request.path)
    assert set(downloads.values()) == {1}
    roots = await asyncio.gather(*(each.layers(records[0]) for each in stores))
    assert roots[0] == roots[1] == roots[2]
