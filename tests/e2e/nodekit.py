"""A node agent of its own for tests: a real API server in this process, the agent in another."""

import asyncio
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.config import Settings, write_settings
from knarr.kits.clock import SystemClock
from knarr.kube.client import Client
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.node.cleanup import remove_everything
from knarr.node.images.store import ImageStore
from knarr.node.layout import Layout
from knarr.resources.catalog import KINDS
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT, ServiceAccount
from knarr.store.store import Store

IMAGE = "knarr.local/test/busybox:1"
POD_CIDR = "10.240.0.0/16"
_APPLETS = (
    "sh", "cat", "echo", "sleep", "ls", "id", "httpd", "nc", "wget", "mount", "hostname", "true", "false",
    "kill", "dd", "unshare", "nsenter", "mknod", "dmesg", "chroot", "mv", "rm", "tr", "ip", "nslookup", "touch", "env", "head", "tail", "mkdir", "sync", "grep", "seq", "ping", "chown",
)  # fmt: skip


def require_node() -> None:
    missing = [name for name in ("runc", "nft", "busybox") if shutil.which(name) is None]
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def _add(archive: tarfile.TarFile, name: str, data: bytes = b"", **attributes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o755
    for key, value in attributes.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def make_layer(extra: dict[str, bytes] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for name in ("bin", "etc", "www", "home"):
            _add(layer, name, type=tarfile.DIRTYPE)
        _add(layer, "bin/busybox", Path("/bin/busybox").read_bytes())
        for applet in _APPLETS:
            _add(layer, f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")
        _add(layer, "etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home:/bin/sh\n")
        _add(layer, "etc/group", b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n")
        _add(layer, "www/index.html", b"hello\n")
        for name, data in (extra or {}).items():
            _add(layer, name, data)
    return out.getvalue()


def make_image(
    path: Path, config: dict | None = None, extra: dict[str, bytes] | None = None
) -> None:
    """A ``docker save`` archive."""
    import hashlib

    layer = make_layer(extra)
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    document = json.dumps(
        {
            "architecture": "amd64", "os": "linux",
            "config": {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    ).encode()  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        _add(archive, "config.json", document)
        _add(archive, "layer.tar", layer)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def traces(settings: Settings) -> list[str]:
    """Everything outside the data directory that carries the instance's name."""
    layout = Layout(settings.paths.root, settings.instance)
    roots = (str(layout.runtime), str(settings.paths.root))
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [
        f"mount {line.split(' ')[4]}" for line in lines if line.split(" ")[4].startswith(roots)
    ]
    links = os.listdir("/sys/class/net")
    found += [f"link {name}" for name in links if name.startswith(layout.link_prefix)]
    found += [f"cgroup {one}" for one in Path("/sys/fs/cgroup").glob(f"*/{settings.instance}")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    found += [line for line in tables.stdout.splitlines() if line.endswith(settings.instance)]
    return found + ([str(layout.runtime)] if layout.runtime.exists() else [])


@dataclass
class Node:
    """A running agent, its API, and the ways to speak to both."""

    settings: Settings
    client: Client
    images: ImageStore
    process: subprocess.Popen | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return Path(self.settings.data_dir)

    def start(self) -> None:
        log = (self.root / "node.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "knarr.node.process", "--settings", str(self.settings.paths.settings)],
            stdout=log, stderr=log, env={**os.environ, **self.environment},
        )  # fmt: skip
        log.close()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def log_text(self) -> str:
        return (self.root / "node.log").read_text(errors="replace")

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    async def request(self, target: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One request to the node's socket."""
        reader, writer = await asyncio.open_unix_connection(str(self.settings.paths.node_socket))
        try:
            method = "GET" if body is None else "POST"
            length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
            writer.write(
                f"{method} {target} HTTP/1.0\r\nHost: node\r\n{length}\r\n".encode() + (body or b"")
            )
            answer = await reader.read(-1)
        finally:
            writer.close()
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), rest

    async def sandboxes(self) -> list[dict]:
        return json.loads((await self.request("/v1/sandboxes"))[1])["sandboxes"]

    async def ready(self) -> None:
        async def answers() -> bool:
            try:
                return (await self.request("/v1/status"))[0] == 200
            except OSError:
                assert self.process is not None
                assert self.process.poll() is None, self.log_text()
                return False

        await until(answers, "the agent answers")

    async def fetch(self, address: str) -> str:
        """What the pod's web server answers, once it listens."""
        found: list[str] = []

        async def answered() -> bool:
            url = f"http://{address}:8080/"
            done = await asyncio.to_thread(self.command, "busybox", "wget", "-q", "-O", "-", url)
            found[:] = [done.stdout]
            return done.returncode == 0

        await until(answered, f"{address} answers", 10)
        return found[0]

    async def logs(self, name: str, query: str = "") -> str:
        return (await self.request(f"/v1/pods/default/{name}/logs?{query}"))[1].decode()

    async def create(self, name: str, command: str, **container) -> Pod:
        """A Pod with one busybox container running a shell command."""
        spec = container.pop("pod_spec", {})
        document = pod_document(name, command, container, spec)
        return await self.create_document(document)

    async def create_document(self, document: dict) -> Pod:
        import msgspec

        return await self.client.create(POD, msgspec.convert(document, Pod))

    async def get(self, name: str) -> Pod | None:
        try:
            return await self.client.get(POD, Key("default", name))
        except NotFound:
            return None

    async def wait_pod(
        self, name: str, condition: Callable[[Pod], object], what: str, timeout_s: float = 30
    ) -> Pod:
        last: list[Pod | None] = [None]

        async def holds() -> object:
            last[0] = await self.get(name)
            return last[0] is not None and condition(last[0])

        try:
            await until(holds, what, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last[0]}\n{self.log_text()[-4000:]}") from error
        assert last[0] is not None
        return last[0]

    async def wait_gone(self, name: str, timeout_s: float = 30) -> None:
        async def gone() -> bool:
            return await self.get(name) is None

        await until(gone, f"{name} is gone", timeout_s)


def pod_document(name: str, command: str, container: dict, spec: dict) -> dict:
    base = {
        "name": "app", "image": IMAGE, "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", command], "terminationMessagePolicy": "FallbackToLogsOnError",
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": "knarr", "restartPolicy": "Always", "terminationGracePeriodSeconds": 5,
            "containers": [{**base, **container}], **spec,
        },
    }  # fmt: skip


def ready(pod: Pod) -> bool:
    conditions = pod.status.conditions if pod.status else ()
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


def state(pod: Pod, index: int = 0):
    assert pod.status is not None
    return pod.status.container_statuses[index].state


def terminated(pod: Pod):
    statuses = pod.status.container_statuses if pod.status else ()
    return statuses[0].state.terminated if statuses and statuses[0].state else None


async def until(condition, what: str, timeout_s: float = 30.0) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not await condition():
        if loop.time() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(0.02)


async def make_account(client: Client, settings: Settings) -> None:
    """What controllers put into a namespace."""
    authority = (settings.paths.pki / "ca.crt").read_text()
    await client.create(SERVICE_ACCOUNT, ServiceAccount(metadata=owned("default")))
    await client.create(
        CONFIG_MAP, ConfigMap(metadata=owned("kube-root-ca.crt"), data={"ca.crt": authority})
    )


@contextlib.asynccontextmanager
async def running_node(
    cidr: str = POD_CIDR, *, start: bool = True, config: dict | None = None, **settings
) -> AsyncIterator[Node]:
    """API server and agent; afterwards everything is removed and compared."""
    require_node()
    root = Path(tempfile.mkdtemp(prefix="knarr-node-", dir="/tmp"))
    chosen = Settings(data_dir=str(root), pod_cidr=cidr, **settings)
    for directory in (chosen.paths.run, chosen.paths.exits):
        directory.mkdir(parents=True, exist_ok=True)
    write_settings(chosen)
    clock, rng = SystemClock(), random.Random()
    node: Node | None = None
    try:
        async with Store(None) as store:
            api = ApiServer(
                ApiServerSettings(
                    pki_directory=chosen.paths.pki, kubeconfig=chosen.paths.kubeconfig, port=0,
                    socket=chosen.paths.api_socket,
                ),
                store, KINDS, clock, rng,
            )  # fmt: skip
            async with api:
                await make_account(Client(api.transport), chosen)
                images = ImageStore(chosen.paths.images)
                images.prepare()
                archive = root / "image.tar"
                make_image(archive, config)
                await images.load(archive)
                node = Node(chosen, Client(api.transport), images)
                if start:
                    node.start()
                    await node.ready()
                yield node
    finally:
        if node is not None and node.process is not None and node.process.poll() is None:
            node.kill(signal.SIGTERM)
        remove_everything(chosen.instance, root)
        log = node.log_text() if node is not None and node.process is not None else ""
        shutil.rmtree(root)
    assert traces(chosen) == []
    assert "Traceback" not in log, log


def owned(name: str, namespace: str = "default") -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace)
