"""Parked sandboxes, activations by the data plane's socket, drains."""

import asyncio
import contextlib
import json
import signal
import struct
from collections.abc import AsyncIterator

import msgspec
import pytest
from tests.e2e.nodekit import IMAGE, Node, ready, running_node, until

from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.apps.replicaset import REPLICA_SET, ReplicaSet
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.pod import POD

pytestmark = pytest.mark.root

LABELS = {"serving.knative.dev/revision": "hello-00001", "app": "hello"}


def replica_set(name: str = "hello-00001-deployment-abc", **container) -> ReplicaSet:
    labels = LABELS
    return msgspec.convert(
        {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 10, "containers": [{
                        "name": "user-container", "image": IMAGE,
                        "command": ["/bin/sh", "-c", "echo $MODE up; exec httpd -f -p 8080 -h /www"],
                        "ports": [{"name": "user-port", "containerPort": 8080}],
                        "readinessProbe": {"tcpSocket": {"port": 8080}, "successThreshold": 1},
                        **container,
                    }]},
                },
            },
        },
        ReplicaSet,
    )  # fmt: skip


class Gateway:
    """Speaks the data plane's part."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, **message) -> None:
        body = json.dumps(message).encode()
        self.writer.write(struct.pack(">I", len(body)) + body)

    async def receive(self) -> dict:
        async with asyncio.timeout(30):
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            return json.loads(await self.reader.readexactly(length))

    async def activate(self, revision: str, number: int = 1) -> dict:
        self.send(type="activate", id=number, revision=revision)
        return await self.receive()


@contextlib.asynccontextmanager
async def gateway(node: Node) -> AsyncIterator[Gateway]:
    reader, writer = await asyncio.open_unix_connection(str(node.settings.paths.activate_socket))
    try:
        yield Gateway(reader, writer)
    finally:
        writer.close()


async def parked(node: Node) -> int:
    return json.loads((await node.request("/v1/status"))[1])["parked"]["count"]


async def wait_parked(node: Node, count: int = 1) -> None:
    async def enough() -> bool:
        return await parked(node) == count

    await until(enough, f"{count} parked")


async def activated_pod(node: Node) -> str:
    found: list[str] = []

    async def there() -> bool:
        pods = await node.client.list(POD, "default")
        found[:] = [pod.metadata.name for pod in pods.items if not pod.deleting]
        return bool(found)

    await until(there, "the Pod object follows")
    return found[0]


async def test_a_parked_sandbox_is_activated_drained_and_parked_again():
    async with running_node() as node, gateway(node) as peer:
        assert (await peer.activate("default/none"))["reason"] == "UnknownRevision"
        created = await node.client.create(REPLICA_SET, replica_set())
        await wait_parked(node)
        times = []
        for cycle in range(3):
            begun = asyncio.get_running_loop().time()
            answer = await peer.activate("default/hello-00001", cycle)
            times.append((asyncio.get_running_loop().time() - begun) * 1e3)
            assert answer["type"] == "activated", answer
            assert answer["timings"]["parked"] is True
            replica = answer["replica"]
            assert await node.fetch(replica["address"]) == "hello\n"
            name = await activated_pod(node)
            assert name.startswith("hello-00001-deployment-abc-")
            pod = await node.wait_pod(name, ready, "Ready")
            assert pod.metadata.annotations["node.knarr.dev/sandbox"] == replica["id"]
            assert pod.metadata.annotations["node.knarr.dev/activated"]
            assert pod.metadata.owner_references[0].uid == created.metadata.uid
            assert pod.status.pod_ip == replica["address"]
            assert await node.logs(name) == "up\n"
            again = await peer.activate("default/hello-00001", 100 + cycle)
            assert again["replica"]["id"] == replica["id"]

            await node.client.delete(POD, Key("default", name))
            drain = await peer.receive()
            assert (drain["type"], drain["replica"]) == ("drain", replica["id"])
            assert (await node.get(name)) is not None
            peer.send(type="drained", id=drain["id"], replica=replica["id"])
            await node.wait_gone(name, 5)
            await wait_parked(node)
        print(
            f"\nparked activation, round trip ms: {[round(one, 1) for one in times]}",
            answer["timings"],
        )


async def test_parked_sandboxes_follow_their_template_and_survive_the_agent():
    async with running_node() as node:
        env = [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "mode", "key": "m"}}}]
        meta = ObjectMeta(name="mode", namespace="default")
        await node.client.create(CONFIG_MAP, ConfigMap(metadata=meta, data={"m": "one"}))
        made = await node.client.create(REPLICA_SET, replica_set(env=env))
        await wait_parked(node)
        (first,) = await node.sandboxes()
        await node.client.patch(CONFIG_MAP, Key("default", "mode"), {"data": {"m": "two"}})

        async def replaced() -> bool:
            now = await node.sandboxes()
            return len(now) == 1 and now[0]["id"] != first["id"] and await parked(node) == 1

        await until(replaced, "a fresh one is parked")
        (second,) = await node.sandboxes()
        node.kill(signal.SIGKILL)
        node.start()
        await node.ready()
        await wait_parked(node)
        assert [one["id"] for one in await node.sandboxes()] == [second["id"]]
        async with gateway(node) as peer:
            answer = await peer.activate("default/hello-00001")
            assert answer["replica"]["id"] == second["id"]
            name = await activated_pod(node)
            await node.wait_pod(name, ready, "Ready")
            assert await node.logs(name) == "two up\n"
        await node.client.delete(POD, Key("default", name))
        await node.wait_gone(name)
        await wait_parked(node)
        await node.client.delete(REPLICA_SET, made.key)

        async def nothing() -> bool:
            return await node.sandboxes() == []

        await until(nothing, "what was parked goes with its ReplicaSet")


async def test_without_room_to_park_activation_makes_a_sandbox():
    async with running_node(park_bytes=1024) as node, gateway(node) as peer:
        await node.client.create(REPLICA_SET, replica_set())

        async def answered() -> bool:
            nonlocal answer
            answer = await peer.activate("default/hello-00001")
            return answer["type"] == "activated"

        answer: dict = {}
        await until(answered, "activated")
        assert answer["timings"].get("parked", False) is False
        print("\nunparked:", answer["timings"])
        name = await activated_pod(node)
        await node.wait_pod(name, ready, "Ready")


async def test_an_application_that_ends_at_once_is_refused():
    async with running_node() as node, gateway(node) as peer:
        await node.client.create(REPLICA_SET, replica_set(command=["/bin/false"]))
        await wait_parked(node)
        answer = await peer.activate("default/hello-00001")
        assert answer["type"] == "activation_refused", answer
