"""What a server process needs around it to make Services ready, without containers: one process.

``python -m tests.contract.fakenode --settings FILE`` is a node agent that starts every Pod at once, answers
``/v1/images/resolve`` and serves logs; and a gateway that acknowledges every version. An image's name says how its
containers behave: see ``tests.unit.serving.world.FakeNode``; one named ``once`` succeeds and ends.
"""

import argparse
import asyncio
import random
import signal
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
from aiohttp import web
from tests.unit.serving.world import FakeNode

from knarr.config import read_settings
from knarr.dataplane import messages
from knarr.kits.clock import SystemClock, format_timestamp
from knarr.kits.framing import encode_frame, read_frame
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Controller
from knarr.kube.factory import InformerFactory
from knarr.kube.handlers import enqueue_self
from knarr.kube.http import HttpTransport, unix_endpoint
from knarr.meta.errors import AlreadyExists, StatusError
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.container import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
)
from knarr.resources.core.node import NODE, Node, NodeStatus
from knarr.resources.core.pod import POD, PodStatus
from knarr.resources.core.references import Condition

replace = msgspec.structs.replace


class Naming:
    """A client that fills in what every container's status must have."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.delete = client.delete

    async def update_status(self, kind, pod):
        image = pod.spec.containers[0].image
        named = tuple(
            replace(item, image=image, image_id="") for item in pod.status.container_statuses
        )
        status = replace(pod.status, container_statuses=named)
        return await self._client.update_status(kind, replace(pod, status=status))


class Agent(FakeNode):
    """As the fake of the unit tests, with Pods that end, and with every field that clients insist on."""

    async def report(self, pod):
        if not pod.spec.containers[0].image.endswith("once"):
            await super().report(pod)
            return
        moment = format_timestamp(self.clock.wall())
        ended = ContainerStateTerminated(exit_code=0, finished_at=moment, started_at=moment)
        status = PodStatus(
            phase="Succeeded",
            pod_ip=f"10.232.0.{self.addresses % 250 + 1}",
            conditions=(Condition(type="Ready", status="False", last_transition_time=moment),),
            container_statuses=(
                ContainerStatus(
                    name=pod.spec.containers[0].name,
                    ready=False,
                    restart_count=0,
                    state=ContainerState(terminated=ended),
                ),
            ),
        )
        await self.client.update_status(POD, replace(pod, status=status))

    async def reconcile(self, key):
        try:
            return await super().reconcile(key)
        except StatusError:
            return DONE


async def register(client: Client) -> None:
    try:
        made = await client.create(NODE, Node(metadata=ObjectMeta(name="node")))
    except AlreadyExists:
        made = await client.get(NODE, Key("", "node"))
    resources = {"cpu": "64", "memory": "64Gi", "pods": "1000", "ephemeral-storage": "100Gi"}
    status = NodeStatus(
        allocatable=resources,
        capacity=resources,
        conditions=(Condition(type="Ready", status="True"),),
    )
    await client.update_status(NODE, replace(made, status=status))


async def gateway(path: Path) -> None:
    """Acknowledge everything, for as long as there is a server; then try again."""
    while True:
        with suppress(OSError):
            await _session(path)
        await asyncio.sleep(0.05)


async def _session(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    epoch = ""

    def send(message) -> None:
        writer.write(encode_frame(msgspec.json.encode(message)))

    try:
        send(messages.Hello(protocol=1, gateway="fake", epoch="", version=0))
        while (body := await read_frame(reader)) is not None:
            message = msgspec.json.decode(body, type=messages.ToDataplane)
            match message:
                case messages.Snapshot():
                    epoch = message.epoch
                    send(messages.Ack(epoch=epoch, version=message.version))
                case messages.Delta():
                    send(messages.Ack(epoch=epoch, version=message.version))
                case messages.PickIdle():
                    send(messages.PickedIdle(id=message.id, revision=message.revision, replicas=()))
    finally:
        writer.close()


async def resolve(request: web.Request) -> web.Response:
    reference = (await request.json())["reference"]
    if "absent" in reference:
        return web.json_response({"message": f"{reference}: not found"}, status=404)
    name = reference.partition("@")[0].rpartition(":")[0] or reference.partition("@")[0]
    return web.json_response({"digest": f"{name}@sha256:{'0' * 64}"})


async def logs(request: web.Request) -> web.StreamResponse:
    """Two lines at once; with ``follow`` a third one later, then the container ends."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    lines = [b"first line\n", b"second line\n"]
    if tail := request.query.get("tailLines"):
        lines = lines[-int(tail) :]
    await response.write(b"".join(lines))
    if request.query.get("follow") == "true":
        await asyncio.sleep(0.3)
        await response.write(b"third line\n")
    return response


async def run(settings) -> None:
    clock, rng = SystemClock(), random.Random(7)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        application = web.Application()
        application.router.add_post("/v1/images/resolve", resolve)
        application.router.add_get("/v1/pods/{namespace}/{pod}/logs", logs)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        settings.paths.node_socket.unlink(missing_ok=True)
        await web.UnixSite(runner, str(settings.paths.node_socket)).start()
        transport = await enter(HttpTransport(unix_endpoint(settings.paths.api_socket)))
        client = Client(transport)
        await register(client)
        informers = InformerFactory(client, clock=clock, rng=rng)
        pods = informers.informer(POD)
        node = Controller("node", Agent(Naming(client), pods, clock), clock=clock, rng=rng)
        pods.add_handler(enqueue_self(node.enqueue))
        await enter(informers)
        await enter(node)
        group = await enter(asyncio.TaskGroup())
        acknowledging = group.create_task(gateway(settings.paths.dataplane_socket))
        stack.callback(acknowledging.cancel)
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", type=Path, required=True)
    asyncio.run(run(read_settings(parser.parse_args(sys.argv[1:]).settings)))
