"""Pulling from Debian's docker-registry, pushed to by skopeo."""

import asyncio
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import aiohttp
import pytest

from knarr.kits.clock import SystemClock
from knarr.node.images.errors import NotFound, Unauthorized
from knarr.node.images.manifests import host_platform
from knarr.node.images.pull import RegistryPuller
from knarr.node.images.records import Credentials
from knarr.node.images.reference import parse_reference
from knarr.node.images.registry import RegistryClient
from knarr.node.images.store import ImageStore

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(
        shutil.which("docker-registry") is None or shutil.which("skopeo") is None,
        reason="needs docker-registry and skopeo",
    ),
]
# bcrypt of "secret"
HTPASSWD = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
SECRET = Credentials("me", "secret")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until_listening(port, process):
    for _ in range(3000):
        assert process.poll() is None, "docker-registry ended"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            await writer.wait_closed()
            return
    raise AssertionError("docker-registry does not listen")


async def started(directory, *, auth):
    directory.mkdir()
    port = free_port()
    config = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}}}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
        "log: {level: error}",
    ]
    if auth:
        (directory / "htpasswd").write_text(HTPASSWD)
        config.append(f"auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}")
    (directory / "config.yml").write_text("\n".join(config))
    log = (directory / "log").open("wb")
    process = subprocess.Popen(
        ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log
    )
    log.close()
    await until_listening(port, process)
    return process, f"127.0.0.1:{port}"


@pytest.fixture
async def registry(tmp_path):
    process, name = await started(tmp_path / "registry", auth=False)
    yield name
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)


@pytest.fixture
async def locked_registry(tmp_path):
    process, name = await started(tmp_path / "registry", auth=True)
    yield name
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)


@pytest.fixture
async def client():
    async with RegistryClient(clock=SystemClock(), rng=random.Random(1)) as found:
        yield found


@pytest.fixture
def store(tmp_path, client):
    return ImageStore(tmp_path / "images", puller=RegistryPuller(client), durable=False)


@pytest.fixture
def layout(tmp_path):
    """An OCI layout with three layers, one of them of 4 MiB."""
    path = tmp_path / "layout"
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data):
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}

    layers = []
    for number in range(3):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            entry = tarfile.TarInfo(f"file{number}")
            data = random.Random(number).randbytes(4 << 20 if number == 1 else 100)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        layers.append(out.getvalue())
    config = put(
        json.dumps(
            {
                "architecture": host_platform().architecture,
                "os": "linux",
                "config": {"Cmd": ["/x"], "Env": ["A=b"]},
                "rootfs": {
                    "type": "layers",
                    "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers],
                },
            }
        ).encode()
    )
    manifest = put(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
                "layers": [
                    {
                        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                        **put(gzip.compress(layer, 1)),
                    }
                    for layer in layers
                ],
            }
        ).encode()
    )
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                **manifest,
                "annotations": {"org.opencontainers.image.ref.name": "v1"},
            }
        ],
    }
    (path / "index.json").write_text(json.dumps(index))
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return path


async def skopeo(*arguments):
    process = await asyncio.create_subprocess_exec(
        "skopeo", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def push(layout, name, *options):
    await skopeo(
        "copy",
        "--dest-tls-verify=false",
        *options,
        f"oci:{layout}:v1",
        f"docker://{name}/team/app:v1",
    )


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--format", "v2s2"),
        ("--dest-compress-format", "zstd", "--dest-compress"),
    ],
    ids=["oci", "docker", "zstd"],
)
async def test_what_skopeo_pushes_is_pulled_and_unpacked(registry, store, layout, client, options):
    await push(layout, registry, *options)
    reference = f"{registry}/team/app:v1"
    record = await store.ensure(reference, policy="IfNotPresent")
    assert record.config.env == ("A=b",)
    assert await client.resolve_digest(parse_reference(reference)) == record.digest
    root = await store.layers(record)
    found = {path.name: path.stat().st_size for low in root.lower_dirs for path in low.iterdir()}
    assert found == {"file0": 100, "file1": 4 << 20, "file2": 100}
    by_digest = await store.ensure(f"{registry}/team/app@{record.digest}", policy="Always")
    assert by_digest.digest == record.digest
    with pytest.raises(NotFound):
        await store.ensure(f"{registry}/team/none:v1", policy="Always")


async def test_basic_authentication(locked_registry, store, layout, client):
    await push(layout, locked_registry, "--dest-creds", "me:secret")
    reference = f"{locked_registry}/team/app:v1"
    with pytest.raises(Unauthorized, match="imagePullSecrets"):
        await store.ensure(reference, policy="Always")
    with pytest.raises(Unauthorized, match="refuses the credentials"):
        await store.ensure(
            reference, policy="Always", credentials={locked_registry: Credentials("me", "no")}
        )
    credentials = {locked_registry: SECRET}
    record = await store.ensure(reference, policy="Always", credentials=credentials)
    assert await client.resolve_digest(parse_reference(reference), credentials) == record.digest


async def test_a_part_of_a_layer_is_continued_with_a_range_request(registry, store, layout):
    await push(layout, registry)
    async with aiohttp.ClientSession() as session:
        url = f"http://{registry}/v2/team/app/manifests/v1"
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        async with session.get(url, headers=accept) as response:
            manifest = await response.json(content_type=None)
    (big,) = (layer for layer in manifest["layers"] if layer["size"] > 1 << 20)
    store.prepare()
    blob = layout / "blobs" / "sha256" / big["digest"].removeprefix("sha256:")
    part = store.root / "partial" / big["digest"].replace(":", "-")
    part.write_bytes(blob.read_bytes()[: 3 << 20])
    first = []

    def watch(event):
        if event.stage == "download" and event.subject == big["digest"] and not first:
            first.append(event.done_bytes)

    record = await store.ensure(f"{registry}/team/app:v1", policy="Always", progress=watch)
    assert store.blobs.has(big["digest"])
    assert first[0] > 3 << 20
    assert await store.layers(record)


async def test_skopeo_reads_what_is_exported(store, layout, tmp_path):
    (record,) = await store.load(layout, reference="knarr.local/app:v1")
    await store.export(record, tmp_path / "out")
    document = json.loads(await skopeo("inspect", f"oci:{tmp_path}/out:v1"))
    assert document["Digest"] == record.digest
    assert len(document["Layers"]) == 3
    await skopeo("copy", f"oci:{tmp_path}/out:v1", f"docker-archive:{tmp_path}/saved.tar:me/app:v2")
    (saved,) = await store.load(tmp_path / "saved.tar")
    assert saved.reference == "docker.io/me/app:v2"
    assert saved.layers[0].diff_id == record.layers[0].diff_id
    await skopeo("copy", f"oci:{tmp_path}/out:v1", f"oci-archive:{tmp_path}/archive.tar:v3")
    (archived,) = await store.load(tmp_path / "archive.tar")
    assert archived.digest == record.digest
    assert archived.reference == "knarr.local/archive:v3"


PROCESS = """
import asyncio, random, sys
from pathlib import Path
from knarr.kits.clock import SystemClock
from knarr.node.images.pull import RegistryPuller
from knarr.node.images.registry import RegistryClient
from knarr.node.images.store import ImageStore

async def main():
    async with RegistryClient(clock=SystemClock(), rng=random.Random()) as client:
        store = ImageStore(Path(sys.argv[1]), puller=RegistryPuller(client))
        record = await store.ensure(sys.argv[2], policy="Always")
        root = await store.layers(record)
        await store.collect_garbage((), wait_s=60)
        print(record.digest, len(root.lower_dirs))

asyncio.run(main())
"""


async def test_processes_share_a_store_and_one_may_be_killed(registry, layout, tmp_path):
    await push(layout, registry)
    argv = [sys.executable, "-c", PROCESS, str(tmp_path / "images"), f"{registry}/team/app:v1"]

    async def run():
        return await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )

    victim = await run()
    parts = Path(tmp_path / "images" / "partial")
    while victim.returncode is None and not (parts.is_dir() and any(parts.iterdir())):
        await asyncio.sleep(0.001)
    if victim.returncode is None:
        victim.kill()
    await victim.communicate()
    processes = [await run() for _ in range(3)]
    results = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert len({out for out, _ in results}) == 1
    assert list((tmp_path / "images" / "tmp").iterdir()) == []
    assert os.listdir(parts) == []
