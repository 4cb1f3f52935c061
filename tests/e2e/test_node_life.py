"""Restarts, probes, limits, termination, logs, and what happens when the agent is killed."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.e2e.nodekit import pod_document, ready, running_node, terminated, until

from knarr.meta.objects import Key
from knarr.resources.core.pod import POD

pytestmark = pytest.mark.root

TRAP = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"


def restarts(pod) -> int:
    statuses = pod.status.container_statuses if pod.status else ()
    return statuses[0].restart_count or 0 if statuses else 0


def waiting_reason(pod) -> str:
    statuses = pod.status.container_statuses if pod.status else ()
    waiting = statuses[0].state.waiting if statuses else None
    return waiting.reason if waiting else ""


async def test_crashes_are_restarted_with_back_off_and_the_reason_is_kept():
    async with running_node() as node:
        await node.create("crash", "echo run; exit 3")
        pod = await node.wait_pod(
            "crash", lambda pod: waiting_reason(pod) == "CrashLoopBackOff", "back-off"
        )
        last = pod.status.container_statuses[0].last_state.terminated
        assert (restarts(pod), last.exit_code, last.reason) == (1, 3, "Error")
        assert "back-off 10s restarting failed container=app in pod crash_default" in (
            pod.status.container_statuses[0].state.waiting.message
        )
        assert await node.logs("crash", "previous=true") == "run\n"
        assert await node.logs("crash") == "run\n"
        await node.create("oom", "x=; while :; do x=$x$(seq 20000); done",
                          resources={"limits": {"memory": "16Mi"}}, pod_spec={"restartPolicy": "Never"})  # fmt: skip
        pod = await node.wait_pod("oom", terminated, "killed")
        assert (terminated(pod).reason, terminated(pod).exit_code) == ("OOMKilled", 137)
        document = pod_document("nocmd", "", {"command": ["/bin/none"]}, {"restartPolicy": "Never"})
        await node.create_document(document)
        pod = await node.wait_pod("nocmd", terminated, "refused")
        assert (terminated(pod).reason, terminated(pod).exit_code) == ("StartError", 128)
        assert "/bin/none" in terminated(pod).message
        document = pod_document("noimage", "true", {"image": "knarr.local/none:1"}, {})
        await node.create_document(document)
        pod = await node.wait_pod(
            "noimage", lambda pod: waiting_reason(pod).startswith("Err"), "no image"
        )
        assert "knarr.local/none:1" in pod.status.container_statuses[0].state.waiting.message
        await node.client.delete(POD, Key("default", "noimage"))
        await node.wait_gone("noimage")


async def test_probes_decide_readiness_and_restarts():
    async with running_node() as node:
        tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
        http = {
            "httpGet": {"path": "/ok", "port": "web"},
            "periodSeconds": 1,
            "failureThreshold": 1,
        }
        ports = [{"name": "web", "containerPort": 8080}]
        await node.create(
            "tcp", "sleep 0.3; exec httpd -f -p 8080 -h /www", readinessProbe=tcp, ports=ports
        )
        await node.create(
            "flips", "mkdir /srv; echo ok > /srv/ok; httpd -p 8080 -h /srv; sleep 2; "
            "mv /srv/ok /srv/no || busybox mv /srv/ok /srv/no; exec sleep 1000",
            readinessProbe=http, ports=ports,
        )  # fmt: skip
        live = {
            "exec": {"command": ["cat", "/tmp/alive"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        }
        await node.create(
            "sick", f"echo > /tmp/alive; {TRAP}", livenessProbe={**live, "initialDelaySeconds": 0}
        )
        await node.wait_pod("tcp", ready, "Ready", timeout_s=10)
        await node.wait_pod("flips", ready, "Ready", timeout_s=10)
        await node.wait_pod("flips", lambda pod: not ready(pod), "not Ready any more", timeout_s=10)
        await node.wait_pod("sick", ready, "Ready")
        pid = next(
            one["containers"][0]["pid"]
            for one in await node.sandboxes()
            if one["pod"] == "default/sick"
        )
        Path(f"/proc/{pid}/root/tmp/alive").unlink()
        pod = await node.wait_pod("sick", lambda pod: restarts(pod) == 1, "restarted", timeout_s=15)
        assert pod.status.container_statuses[0].last_state.terminated.exit_code == 0
        assert await node.logs("sick", "previous=true") == "up\nbye\n"


async def test_termination_is_graceful_and_bounded():
    async with running_node() as node:
        await node.create("polite", TRAP)
        await node.create("stubborn", "trap '' TERM; while :; do sleep 0.05; done")
        await node.create(
            "default",
            "while :; do sleep 0.05; done",
            pod_spec={"terminationGracePeriodSeconds": 600},
        )
        for name in ("polite", "stubborn", "default"):
            await node.wait_pod(name, ready, "Ready")
        loop = asyncio.get_running_loop()
        follow = asyncio.ensure_future(node.logs("polite", "follow=true"))
        await asyncio.sleep(0.1)
        begun = loop.time()
        for name in ("polite", "stubborn", "default"):
            await node.client.delete(
                POD, Key("default", name), grace_s=600 if name == "default" else 2
            )
        await node.wait_gone("polite", 2)
        assert await follow == "up\nbye\n"
        # Nobody handles SIGTERM there: what it does anywhere else is end the process.
        await node.wait_gone("default", 2)
        await node.wait_gone("stubborn", 5)
        assert loop.time() - begun >= 2


async def test_the_agent_can_be_killed_at_any_time():
    async with running_node() as node:
        await node.create("serves", "echo before; httpd -p 8080 -h /www; "
                          "while :; do echo tick; sleep 0.2; done")  # fmt: skip
        await node.create("ends", "sleep 1; exit 9", pod_spec={"restartPolicy": "Never"})
        await node.create(
            "lives",
            "while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 8",
            pod_spec={"restartPolicy": "Never"},
        )
        pod = await node.wait_pod("serves", ready, "Ready")
        await node.wait_pod("ends", ready, "Ready")
        await node.wait_pod("lives", ready, "Ready")
        before = {one["id"]: one["containers"][0]["pid"] for one in await node.sandboxes()}
        node.kill(signal.SIGKILL)

        assert await node.fetch(pod.status.pod_ip) == "hello\n"
        # No supervisor here: what ends meanwhile ends unseen.
        ended = [pid for pid in before.values() if b"sleep 1" in _cmdline(pid)]
        await until(lambda: _all_gone(ended), "one ended while nobody watched")
        node.start()
        await node.ready()
        after = {one["id"]: one["containers"][0]["pid"] for one in await node.sandboxes()}
        assert after == before
        assert (await node.wait_pod("serves", ready, "Ready")).status.container_statuses[
            0
        ].restart_count == 0
        pod = await node.wait_pod("ends", terminated, "told")
        assert terminated(pod).reason == "ContainerStatusUnknown"
        pid = next(
            one["containers"][0]["pid"]
            for one in await node.sandboxes()
            if one["pod"] == "default/lives"
        )
        Path(f"/proc/{pid}/root/tmp/go").touch()
        pod = await node.wait_pod("lives", terminated, "told")
        assert terminated(pod).exit_code == 8

        async def ticks() -> bool:
            return (await node.logs("serves")).count("tick") > 10

        await until(ticks, "output goes on")
        text = await node.logs("serves")
        assert text.startswith("before\n")
        for name in ("serves", "ends", "lives"):
            await node.client.delete(POD, Key("default", name), grace_s=1)
            await node.wait_gone(name)

        async def nothing_left() -> bool:
            return await node.sandboxes() == []

        await until(nothing_left, "sandboxes are gone")


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""


async def _all_gone(pids: list[int]) -> bool:
    return all(not os.path.exists(f"/proc/{pid}") for pid in pids)
