"""The API server alone: writes, reads, lists, watches and memory, beside kube-apiserver where it can be had.

``python bench/api.py`` measures Knarr's API server in a process of its own, without controllers, as
kube-apiserver is measured too. ``--reference`` also starts kube-apiserver and etcd (``make reference``
builds them) in the same run and prints ratios. The load comes from this process over TLS: on a machine with
few cores it takes its share of them, for both alike.
"""

import argparse
import asyncio
import json
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.harness import free_port, wait_for

ROOT = Path(__file__).resolve().parents[1]
SERVICES = "/apis/serving.knative.dev/v1/namespaces/default/services"


@dataclass
class Server:
    """Where a server is, and what it is made of."""

    name: str
    host: str
    port: int
    token: str
    tls: ssl.SSLContext
    pids: list[int]


@dataclass
class Figures:
    """What was measured of one server; seconds, MiB."""

    values: dict[str, float] = field(default_factory=dict)


class Connection:
    """One HTTP/1.1 connection with keep-alive."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> "Connection":
        server = self._server
        self._reader, self._writer = await asyncio.open_connection(
            server.host, server.port, ssl=server.tls, limit=1 << 26
        )
        return self

    def close(self) -> None:
        self._writer.transport.abort()

    async def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        self._send(method, path, body)
        status, headers = await self._head()
        if headers.get("transfer-encoding") == "chunked":
            return status, await self._chunks()
        return status, await self._reader.readexactly(int(headers.get("content-length", "0")))

    def _send(self, method: str, path: str, body: bytes) -> None:
        server = self._server
        self._writer.write(
            (
                f"{method} {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
                f"Authorization: Bearer {server.token}\r\nAccept: application/json\r\n"
                f"User-Agent: bench/1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode()
            + body
        )

    async def _head(self) -> tuple[int, dict[str, str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def _chunks(self) -> bytes:
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def chunk(self) -> bytes:
        size = int((await self._reader.readline()).strip() or b"0", 16)
        data = await self._reader.readexactly(size)
        await self._reader.readexactly(2)
        return data

    async def watch(self, path: str) -> None:
        """Open a watch; read it with ``line``."""
        self._send("GET", path, b"")
        status, _ = await self._head()
        if status != 200:
            raise SystemExit(f"watch: {status}")


def service(name: str) -> bytes:
    """A Knative Service as users write it, with its defaults set so that both servers store the same."""
    container = {
        "name": "user-container",
        "image": "example.com/hello:latest",
        "env": [{"name": f"KEY_{index}", "value": "value"} for index in range(5)],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1},
    }
    document = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "hello"}},
        "spec": {
            "template": {
                "spec": {
                    "containers": [container],
                    "containerConcurrency": 0,
                    "timeoutSeconds": 300,
                    "responseStartTimeoutSeconds": 300,
                    "enableServiceLinks": False,
                }
            },
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
    }
    return json.dumps(document).encode()


def rss_mib(pids: list[int]) -> float:
    """Resident memory of processes together."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def create(server: Server, names: list[str], connections: int) -> list[float]:
    """Create Services over several connections; the time of each."""
    times: list[float] = []
    left = iter(names)

    async def worker() -> None:
        connection = await Connection(server).open()
        for name in left:
            body = service(name)
            started = time.perf_counter()
            status, answer = await connection.call("POST", SERVICES, body)
            times.append(time.perf_counter() - started)
            if status != 201:
                raise SystemExit(f"{server.name}: {status} {answer[:500]!r}")
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(worker())
    return times


async def repeat(call: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
    return times


async def watch_latency(server: Server, watchers: int, writes: int) -> list[float]:
    """From sending a write to each watcher's event, of ``watchers`` that all see it."""
    sent: dict[str, float] = {}
    delays: list[float] = []

    async def follow(connection: Connection, ready: asyncio.Event) -> None:
        rest = b""
        seen = 0
        ready.set()
        while seen < writes:
            rest += await connection.chunk()
            *lines, rest = rest.split(b"\n")
            now = time.perf_counter()
            for line in lines:
                mark = line.partition(b'"mark":"')[2].partition(b'"')[0].decode()
                if mark in sent:
                    delays.append(now - sent[mark])
                    seen += 1

    writer = await Connection(server).open()
    _, listed = await writer.call("GET", f"{SERVICES}?limit=1")
    version = json.loads(listed)["metadata"]["resourceVersion"]
    connections = [await Connection(server).open() for _ in range(watchers)]
    for connection in connections:
        await connection.watch(f"{SERVICES}?watch=1&resourceVersion={version}&timeoutSeconds=600")
    async with asyncio.timeout(300), asyncio.TaskGroup() as group:
        for connection in connections:
            ready = asyncio.Event()
            group.create_task(follow(connection, ready))
            await ready.wait()
        for index in range(writes):
            mark = f"m{index}"
            body = json.loads(service(f"watched-{index}"))
            body["metadata"]["annotations"] = {"mark": mark}
            sent[mark] = time.perf_counter()
            status, answer = await writer.call("POST", SERVICES, json.dumps(body).encode())
            if status != 201:
                raise SystemExit(f"{server.name}: {status} {answer[:300]!r}")
            await asyncio.sleep(0.02)
    for connection in (writer, *connections):
        connection.close()
    return delays


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


async def measure(server: Server, arguments: argparse.Namespace) -> Figures:
    """Every figure of one server."""
    found = Figures()
    say = found.values
    await asyncio.sleep(2)
    say["memory at rest, MiB"] = rss_mib(server.pids)
    await create(server, [f"warm-{index}" for index in range(50)], 8)
    names = [f"s-{index:05}" for index in range(2_000 - 50)]
    started = time.perf_counter()
    times = await create(server, names, 8)
    say["creates per second, 8 connections"] = len(times) / (time.perf_counter() - started)
    say["create p50, ms"] = 1e3 * percentile(times, 0.5)
    say["create p99, ms"] = 1e3 * percentile(times, 0.99)
    connection = await Connection(server).open()
    gets = await repeat(lambda: connection.call("GET", f"{SERVICES}/s-00007"), 500)
    say["sequential gets per second"] = len(gets) / sum(gets)
    lists = await repeat(lambda: connection.call("GET", SERVICES), 5)
    say["list of 2,000, ms"] = 1e3 * statistics.median(lists)
    connection.close()
    delays = await watch_latency(server, 100, 50)
    say["watch latency p50, 100 watchers, ms"] = 1e3 * percentile(delays, 0.5)
    say["watch latency p99, 100 watchers, ms"] = 1e3 * percentile(delays, 0.99)
    more = [f"t-{index:05}" for index in range(arguments.objects - 2_050)]
    await create(server, more, 8)
    connection = await Connection(server).open()
    lists = await repeat(lambda: connection.call("GET", SERVICES), 3)
    say[f"list of {arguments.objects:,}, ms"] = 1e3 * statistics.median(lists)
    connection.close()
    await asyncio.sleep(2)
    say[f"memory with {arguments.objects:,} Services, MiB"] = rss_mib(server.pids)
    return found


@asynccontextmanager
async def knarr(directory: Path):  # type: ignore[no-untyped-def]
    """Knarr's API server in a process of its own."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.apiserver_alone",
        "--data-dir", str(directory), "--port", str(port), cwd=ROOT,
    )  # fmt: skip
    try:
        config = directory / "kubeconfig"
        await asyncio.to_thread(wait_for, config.exists, "the API server", 60)
        document = yaml.safe_load(config.read_text(encoding="utf-8"))
        tls = ssl.create_default_context(cafile=str(directory / "pki" / "ca.crt"))
        token = document["users"][0]["user"]["token"]
        yield Server("Knarr", "127.0.0.1", port, token, tls, [process.pid])
    finally:
        process.terminate()
        await process.wait()


@contextmanager
def _reference(directory: Path):  # type: ignore[no-untyped-def]
    from tests.reference.cluster import reference_programs, start_cluster

    programs = reference_programs()
    if programs is None:
        raise SystemExit("kube-apiserver and etcd are not here: make reference")
    cluster = start_cluster(directory, programs)
    try:
        port = int(cluster.url.rpartition(":")[2])
        pids = [process.pid for process in cluster.processes]
        yield Server("kube-apiserver and etcd", "127.0.0.1", port, cluster.token, cluster.tls, pids)
    finally:
        cluster.stop()


async def prepare_reference(server: Server) -> None:
    """The Service kind as a CustomResourceDefinition, as Knative installs it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "knarr.cli.main", "crds", stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    output, _ = await process.communicate()
    connection = await Connection(server).open()
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for document in yaml.safe_load_all(output):
        if document and document["metadata"]["name"] == "services.serving.knative.dev":
            await connection.call("POST", path, json.dumps(document).encode())
    while (await connection.call("GET", SERVICES))[0] != 200:
        await asyncio.sleep(0.2)
    connection.close()


def report(results: dict[str, Figures]) -> None:
    names = list(results)
    print(f"{'':<40}" + "".join(f"{name:>26}" for name in names) + f"{'ratio':>10}")
    for what, value in results[names[0]].values.items():
        values = [result.values.get(what, float("nan")) for result in results.values()]
        ratio = f"{value / values[1]:10.2f}" if len(values) > 1 else ""
        print(f"{what:<40}" + "".join(f"{each:>26,.1f}" for each in values) + ratio)


async def run(arguments: argparse.Namespace) -> None:
    results: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(knarr(Path(directory) / "knarr"))
            results[server.name] = await measure(server, arguments)
        if arguments.reference:
            with _reference(Path(directory) / "reference") as server:
                await prepare_reference(server)
                results[server.name] = await measure(server, arguments)
    report(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--reference", action="store_true", help="kube-apiserver in the same run")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
