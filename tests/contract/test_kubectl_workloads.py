"""Unmodified kubectl and the workload controllers: Jobs, CronJobs, Services and what stands behind them.

The node is a reconciler: it runs every Pod that is bound to it; an image named ``once`` succeeds at once.
"""

import asyncio
import os
import random
import shutil
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
import pytest

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.kits.clock import SystemClock, format_timestamp
from knarr.kube.client import Client
from knarr.kube.controller import DONE, Controller
from knarr.kube.events import EventRecorder
from knarr.kube.factory import InformerFactory
from knarr.kube.handlers import enqueue_self
from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.catalog import KINDS
from knarr.resources.core.node import NODE, Node, NodeStatus
from knarr.resources.core.pod import POD, PodStatus
from knarr.resources.core.references import Condition
from knarr.resources.schema import openapi_schema
from knarr.store.store import Store
from knarr.workloads.controllers import Environment, build_workload_controllers

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"),
]
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


class FakeNode:
    def __init__(self, client, pods, clock):
        self.client, self.pods, self.clock = client, pods, clock
        self.addresses = 1

    async def reconcile(self, key):
        pod = self.pods.get(key)
        if pod is None:
            return DONE
        if pod.deleting:
            with suppress(NotFound):
                await self.client.delete(POD, key, grace_s=0, uid=pod.metadata.uid)
            return DONE
        if pod.spec.node_name and not (pod.status and pod.status.pod_ip):
            self.addresses += 1
            once = pod.spec.containers[0].image == "once"
            ready = Condition(
                type="Ready",
                status="False" if once else "True",
                last_transition_time=format_timestamp(self.clock.wall()),
            )
            status = PodStatus(
                phase="Succeeded" if once else "Running",
                pod_ip=f"10.232.0.{self.addresses}",
                conditions=(ready,),
            )
            await self.client.update_status(POD, msgspec.structs.replace(pod, status=status))
        return DONE


class Kubectl:
    def __init__(self, directory: Path) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "KUBECONFIG": str(directory / "kubeconfig"),
        }

    async def run(self, line, stdin=None):
        process = await asyncio.create_subprocess_exec(
            KUBECTL, *line.split(),
            env=self.environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate((stdin or "").encode())
        return process.returncode, out.decode(), err.decode()

    async def __call__(self, line, stdin=None):
        code, out, err = await self.run(line, stdin)
        assert code == 0, f"kubectl {line}: {err}"
        return out


@pytest.fixture
async def kubectl(tmp_path):
    clock, rng = SystemClock(), random.Random(1)
    settings = ApiServerSettings(tmp_path / "pki", tmp_path / "kubeconfig", port=0)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        store = await enter(Store(tmp_path / "knarr.db"))
        server = await enter(ApiServer(settings, store, KINDS, clock, rng, schema=openapi_schema))
        client = Client(server.transport)
        recorder = await enter(EventRecorder(client, "test", clock=clock, rng=rng))
        informers = InformerFactory(client, clock=clock, rng=rng)
        environment = Environment(client, informers, clock, rng, recorder, CA)
        controllers = build_workload_controllers(environment)
        pods = informers.informer(POD)
        node = Controller("node", FakeNode(client, pods, clock), clock=clock, rng=rng)
        pods.add_handler(enqueue_self(node.enqueue))
        made = await client.create(NODE, Node(metadata=ObjectMeta(name="node")))
        status = NodeStatus(
            allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"},
            conditions=(Condition(type="Ready", status="True"),),
        )
        await client.update_status(NODE, msgspec.structs.replace(made, status=status))
        await enter(informers)
        for controller in (*controllers, node):
            await enter(controller)
        assert await client.get(NODE, Key("", "node"))
        yield Kubectl(tmp_path)


async def test_a_job_from_its_creation_to_its_end(kubectl):
    assert await kubectl("create job hello --image=once -- echo hi") == "job.batch/hello created\n"
    waited = await kubectl("wait --for=condition=complete job/hello --timeout=30s")
    assert waited == "job.batch/hello condition met\n"
    table = (await kubectl("get jobs")).splitlines()
    assert table[0].split() == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert table[1].split()[:3] == ["hello", "Complete", "1/1"]
    assert "job-name=hello" in await kubectl("get pods --show-labels")
    described = await kubectl("describe job hello")
    assert "0 Active (0 Ready) / 1 Succeeded / 0 Failed" in described
    assert "SuccessfulCreate" in described
    assert await kubectl("get jobs --field-selector status.successful=1 -o name") == (
        "job.batch/hello\n"
    )
    assert await kubectl("delete job hello") == 'job.batch "hello" deleted\n'
    await kubectl("wait --for=delete pod -l job-name=hello --timeout=30s")


async def test_cron_jobs(kubectl):
    created = await kubectl("create cronjob tick --image=once --schedule=@hourly")
    assert created == "cronjob.batch/tick created\n"
    table = (await kubectl("get cj")).splitlines()
    assert table[0].split() == [
        "NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST", "SCHEDULE", "AGE",
    ]  # fmt: skip
    assert table[1].split()[:6] == ["tick", "@hourly", "<none>", "False", "0", "<none>"]
    assert await kubectl("create job now --from=cronjob/tick") == "job.batch/now created\n"
    await kubectl("wait --for=condition=complete job/now --timeout=30s")
    assert "@hourly" in await kubectl("describe cronjob tick")
    code, _, error = await kubectl.run("create cronjob bad --image=once --schedule=nonsense")
    assert code == 1
    assert "expected exactly 5 fields, found 1: [nonsense]" in error


async def test_a_service_and_what_stands_behind_it(kubectl):
    await kubectl("create deployment web --image=web --replicas=2 --port=80")
    await kubectl("rollout status deployment/web --timeout=30s")
    assert await kubectl("expose deployment web --port=80") == "service/web exposed\n"
    address = await kubectl("get svc web -o jsonpath={.spec.clusterIP}")
    assert address.startswith("10.96.")
    await kubectl("wait --for=jsonpath={.subsets[0].addresses[1].ip} ep/web --timeout=30s")
    addresses = (await kubectl("get ep web -o jsonpath={.subsets[0].addresses[*].ip}")).split()
    rows = (await kubectl("get endpointslices -l kubernetes.io/service-name=web")).splitlines()
    assert rows[0].split() == ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]
    assert rows[1].split()[1:4] == ["IPv4", "80", ",".join(addresses)]
    described = await kubectl("describe svc web")
    assert ",".join(f"{each}:80" for each in addresses) in described
    assert address in described
    assert "web" in await kubectl("get all")


async def test_explain_knows_the_fields(kubectl):
    assert "backoffLimit" in await kubectl("explain job.spec")
    assert "schedule" in await kubectl("explain cronjob.spec")
    assert "subsets" in await kubectl("explain endpoints")
    assert "serving" in await kubectl("explain endpointslices.endpoints.conditions")


async def test_server_side_what_is_not_supported_is_named(kubectl):
    manifest = """\
apiVersion: batch/v1
kind: Job
metadata: {name: policy}
spec:
  completionMode: Indexed
  completions: 2
  successPolicy:
    rules: [{succeededCount: 1}]
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: once}]}
"""
    code, _, error = await kubectl.run("create -f -", manifest)
    assert code == 1
    assert "spec.successPolicy: Forbidden: this field is not supported by Knarr" in error
