import pytest
from tests.e2e.nodekit import ready, running_node, terminated, until

from knarr.meta.objects import Key
from knarr.resources.core.pod import POD

pytestmark = pytest.mark.root


async def test_a_pod_runs_gets_an_address_and_ends_without_a_trace():
    async with running_node() as node:
        await node.create("web", "echo started; exec httpd -f -p 8080 -h /www")
        pod = await node.wait_pod("web", ready, "Ready")
        assert pod.status.phase == "Running"
        assert pod.status.pod_ip.startswith("10.240.")
        status = pod.status.container_statuses[0]
        assert status.container_id.startswith("runc://")
        assert status.image_id.startswith("knarr.local/test/busybox@sha256:")
        assert (status.restart_count, status.started) == (0, True)
        assert await node.fetch(pod.status.pod_ip) == "hello\n"

        async def said() -> bool:
            return await node.logs("web") == "started\n"

        await until(said, "output is read")

        await node.client.delete(POD, Key("default", "web"))
        await node.wait_gone("web")
        assert await node.sandboxes() == []


async def test_exit_codes_reasons_and_messages_are_told():
    async with running_node() as node:
        never = {"pod_spec": {"restartPolicy": "Never"}}
        await node.create("good", "echo fine", **never)
        await node.create("bad", "echo broken >&2; exit 7", **never)
        pod = await node.wait_pod(
            "good", lambda pod: pod.status and pod.status.phase == "Succeeded", "done"
        )
        assert (terminated(pod).exit_code, terminated(pod).reason) == (0, "Completed")
        pod = await node.wait_pod(
            "bad", lambda pod: pod.status and pod.status.phase == "Failed", "failed"
        )
        end = terminated(pod)
        assert (end.exit_code, end.reason, end.message) == (7, "Error", "broken\n")
