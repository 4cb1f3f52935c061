"""The agent dies between any two steps; the next one finishes or undoes what it finds."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.nodekit import Node, ready, running_node, until
from tests.e2e.test_node_activation import activated_pod, gateway, replica_set, wait_parked

from knarr.meta.objects import Key
from knarr.resources.apps.replicaset import REPLICA_SET
from knarr.resources.core.pod import POD

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).parent / "crashing_node.py"


async def start_crashing(node: Node, lines: int) -> None:
    (node.root / "armed").unlink(missing_ok=True)
    node.process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(node.settings.paths.settings), str(lines)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    await node.ready()
    (node.root / "armed").touch()


async def crashed(node: Node) -> str:
    async def ended() -> bool:
        return node.process.poll() is not None

    await until(ended, "the agent died")
    assert node.process.returncode == 9
    text = node.process.stdout.read().strip()
    node.process.stdout.close()
    return text


async def nothing_left(node: Node) -> None:
    async def empty() -> bool:
        return await node.sandboxes() == []

    try:
        await until(empty, "no sandbox is left", 10)
    except AssertionError as error:
        raise AssertionError(f"{await node.sandboxes()}\n{node.log_text()[-3000:]}") from error
    # Two spares may be there, or still on their way.
    assert len(list((node.root / "node" / "sandboxes").iterdir())) <= 2


async def test_each_step_of_starting_and_ending_a_pod():
    async with running_node(start=False) as node:
        seen = []
        for lines in range(1, 12):
            name = f"pod-{lines}"
            await start_crashing(node, lines)
            await node.create(name, "exec httpd -f -p 8080 -h /www")
            # The lines up to 7 are written while it starts, the others while it ends.
            if lines > 7:
                await node.wait_pod(name, ready, "Ready")
                await node.client.delete(POD, Key("default", name), grace_s=1)
            seen.append(await crashed(node))
            print(lines, seen[-1])
            node.start()
            await node.ready()
            if lines <= 7:
                pod = await node.wait_pod(name, ready, f"Ready after {seen[-1]}")
                assert pod.status.container_statuses[0].restart_count == 0
                assert await node.fetch(pod.status.pod_ip) == "hello\n"
                await node.client.delete(POD, Key("default", name), grace_s=1)
            await node.wait_gone(name)
            await nothing_left(node)
            node.kill(signal.SIGTERM)
        assert len(set(seen)) == len(seen), seen


async def test_each_step_of_an_activation():
    async with running_node(start=False) as node:
        for lines in (1, 2, 3):
            node.start()
            await node.ready()
            await node.client.create(REPLICA_SET, replica_set(f"hello-{lines}"))
            await wait_parked(node)
            node.kill(signal.SIGTERM)
            await start_crashing(node, lines)
            async with gateway(node) as peer:
                peer.send(type="activate", id=1, revision="default/hello-00001")
                told = await crashed(node)
            print(lines, told)
            node.start()
            await node.ready()
            if "done" in told:
                # It was started: it gets its Pod, late.
                name = await activated_pod(node)
                await node.wait_pod(name, ready, "Ready")
                await node.client.delete(POD, Key("default", name), grace_s=1)
                await node.wait_gone(name)
            await wait_parked(node)
            await node.client.delete(REPLICA_SET, Key("default", f"hello-{lines}"))
            await nothing_left(node)
            node.kill(signal.SIGTERM)
