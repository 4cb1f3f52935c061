"""Unmodified kubectl against the API server over TLS, with the real kinds."""

import asyncio
import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.kits.clock import SystemClock
from knarr.resources.catalog import KINDS
from knarr.resources.schema import openapi_schema
from knarr.store.store import Store

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"),
]

SERVICE = """\
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: hello
spec:
  template:
    spec:
      containers:
      - image: nginx
        env:
        - {name: A, value: b}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: c
        image: nginx:1
        ports: [{containerPort: 80}]
"""


class Logs:
    """A log that ends, and one that goes on until the server is left."""

    def __init__(self):
        self._follow = False
        self._sent = False
        self._ended = asyncio.Event()

    async def open(self, namespace, pod, options):
        self._follow, self._sent, self._ended = options.follow, False, asyncio.Event()
        self.options = options
        return self

    async def next_chunks(self):
        if not self._sent:
            self._sent = True
            return [b"first line\n", b"second line\n"]
        if self._follow:
            await self._ended.wait()
        return None

    def end(self):
        self._ended.set()

    async def close(self):
        self.end()


@dataclass
class Result:
    code: int
    out: str
    err: str


class Kubectl:
    """Runs kubectl with its own home directory."""

    def __init__(self, directory: Path, server: ApiServer, logs: Logs) -> None:
        self.directory = directory
        self.server = server
        self.logs = logs
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "KUBECONFIG": str(directory / "kubeconfig"),
        }

    async def start(self, *arguments, stdin=None):
        return await asyncio.create_subprocess_exec(
            KUBECTL, *arguments,
            env=self.environment, cwd=self.directory,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments, stdin=None):
        process = await self.start(*arguments, stdin=stdin)
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode() if stdin is not None else None)
        return Result(process.returncode, out.decode(), err.decode())

    async def __call__(self, line, stdin=None):
        result = await self.run(*line.split(), stdin=stdin)
        assert result.code == 0, f"kubectl {line}: {result.err}"
        return result.out

    async def json(self, line):
        return json.loads(await self(f"{line} -o json"))

    async def apply(self, text, *more):
        return await self.run("apply", "-f", "-", *more, stdin=text)


@pytest.fixture
async def kubectl(tmp_path):
    settings = ApiServerSettings(tmp_path / "pki", tmp_path / "kubeconfig", port=0)
    logs = Logs()
    async with (
        Store(tmp_path / "store" / "knarr.db") as store,
        ApiServer(
            settings,
            store,
            KINDS,
            SystemClock(),
            random.Random(1),
            logs=logs,
            schema=openapi_schema,
        ) as server,
    ):
        yield Kubectl(tmp_path, server, logs)


async def test_apply_get_and_delete_a_knative_service(kubectl):
    assert (await kubectl.apply(SERVICE)).out == "service.serving.knative.dev/hello created\n"
    first = await kubectl.json("get ksvc hello")
    assert first["metadata"]["generation"] == 1
    assert (await kubectl.apply(SERVICE)).code == 0
    assert (await kubectl.json("get ksvc hello"))["metadata"] == first["metadata"]
    changed = await kubectl.apply(SERVICE.replace("value: b", "value: c"))
    assert changed.out == "service.serving.knative.dev/hello configured\n"
    second = await kubectl.json("get ksvc hello")
    assert second["metadata"]["generation"] == 2
    assert second["spec"]["template"]["spec"]["containers"][0]["env"] == [
        {"name": "A", "value": "c"}
    ]
    table = await kubectl("get ksvc")
    assert table.split()[:4] == ["NAME", "URL", "LATESTCREATED", "LATESTREADY"]
    assert yaml.safe_load(await kubectl("get ksvc hello -o yaml"))["metadata"]["name"] == "hello"
    assert "hello" in await kubectl("get ksvc -A -o wide")
    assert await kubectl("get ksvc -o name") == "service.serving.knative.dev/hello\n"
    described = await kubectl("describe ksvc hello")
    assert "API Version:  serving.knative.dev/v1" in described
    assert await kubectl("delete ksvc hello") == 'service.serving.knative.dev "hello" deleted\n'
    gone = await kubectl.run("get", "ksvc", "hello")
    assert (
        gone.err == 'Error from server (NotFound): services.serving.knative.dev "hello" not found\n'
    )


async def test_a_deployment_through_all_kinds_of_patches(kubectl):
    assert (await kubectl.apply(DEPLOYMENT)).out == "deployment.apps/web created\n"
    assert (await kubectl.apply(DEPLOYMENT)).out == "deployment.apps/web unchanged\n"
    changed = await kubectl.apply(DEPLOYMENT.replace("nginx:1", "nginx:2"))
    assert changed.out == "deployment.apps/web configured\n"
    assert await kubectl("scale deploy web --replicas=4") == "deployment.apps/web scaled\n"
    assert await kubectl("label deploy web x=y") == "deployment.apps/web labeled\n"
    assert await kubectl("annotate deploy web note=1") == "deployment.apps/web annotated\n"
    assert await kubectl("set image deploy/web c=nginx:3") == "deployment.apps/web image updated\n"
    assert await kubectl("set env deploy/web K=V") == "deployment.apps/web env updated\n"
    assert await kubectl("rollout restart deploy/web") == "deployment.apps/web restarted\n"
    for kind, patch in (
        ("strategic", {"spec": {"template": {"spec": {"containers": [{"name": "c", "command": ["x"]}]}}}}),
        ("merge", {"spec": {"progressDeadlineSeconds": 77}}),
        ("json", [{"op": "replace", "path": "/spec/revisionHistoryLimit", "value": 3}]),
    ):  # fmt: skip
        result = await kubectl.run(
            "patch", "deploy", "web", f"--type={kind}", "-p", json.dumps(patch)
        )
        assert result.out == "deployment.apps/web patched\n", result.err
    stored = await kubectl.json("get deploy web")
    (container,) = stored["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "nginx:3"
    assert container["command"] == ["x"]
    assert container["env"] == [{"name": "K", "value": "V"}]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert stored["spec"]["replicas"] == 4
    assert stored["spec"]["progressDeadlineSeconds"] == 77
    assert stored["spec"]["revisionHistoryLimit"] == 3
    assert stored["metadata"]["labels"] == {"x": "y"}
    assert await kubectl("get deploy -l x=y -o name") == "deployment.apps/web\n"
    assert await kubectl("get deploy -l x!=y -o name") == ""
    wide = await kubectl("get deploy -o wide")
    assert wide.split()[:8] == [
        "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR",
    ]  # fmt: skip
    assert "Replicas:               4 desired" in await kubectl("describe deploy web")
    (kubectl.directory / "d.yaml").write_text(DEPLOYMENT)
    assert await kubectl("replace -f d.yaml") == "deployment.apps/web replaced\n"
    assert await kubectl("delete -f d.yaml") == 'deployment.apps "web" deleted\n'


async def test_commands_that_speak_protobuf(kubectl):
    assert await kubectl("create namespace foo") == "namespace/foo created\n"
    assert (
        await kubectl("create configmap cm --from-literal=a=b -n foo") == "configmap/cm created\n"
    )
    assert (
        await kubectl("create secret generic s --from-literal=a=b -n foo") == "secret/s created\n"
    )
    assert await kubectl("create sa robot -n foo") == "serviceaccount/robot created\n"
    assert await kubectl("create deployment d --image=nginx --replicas=0 --port=80 -n foo") == (
        "deployment.apps/d created\n"
    )
    assert (await kubectl.json("get deploy d -n foo"))["spec"]["replicas"] == 0
    assert (await kubectl.json("get secret s -n foo"))["data"] == {"a": "Yg=="}
    assert await kubectl("auth can-i delete pods") == "yes\n"
    assert "system:admin" in await kubectl("auth whoami")
    assert await kubectl("expose deployment d --port=80 -n foo") == "service/d exposed\n"
    listed = await kubectl("get all -n foo")
    assert "deployment.apps/d" in listed
    assert "service/d" in listed
    assert await kubectl("delete cm --all -n foo") == 'configmap "cm" deleted\n'
    assert await kubectl("create quota q --hard=pods=1") == "resourcequota/q created\n"
    missing = await kubectl.run("create", "ingress", "i", "--rule=a.example.com/=s:80")
    assert "could not find the requested resource" in missing.err


async def test_discovery_and_help(kubectl):
    resources = await kubectl("api-resources --no-headers")
    names = {line.split()[0] for line in resources.splitlines()}
    assert {"pods", "services", "deployments", "revisions", "routes", "configurations"} <= names
    assert "serving.knative.dev/v1" in await kubectl("api-versions")
    assert "replicas" in await kubectl("explain deployment.spec")
    assert "KIND:       Service" in await kubectl("explain ksvc.spec.template.spec")
    assert await kubectl("get --raw /readyz") == "ok"
    version = await kubectl.json("version")
    assert version["serverVersion"]["minor"] == "34"
    unknown = await kubectl.run("get", "nonsense")
    assert 'the server doesn\'t have a resource type "nonsense"' in unknown.err


async def test_wait_and_watch_see_changes(kubectl):
    await kubectl.apply(SERVICE)
    waiting = await kubectl.start("wait", "--for=condition=Ready", "ksvc/hello", "--timeout=30s")
    watching = await kubectl.start("get", "ksvc", "-w", "-o", "name")
    assert await watching.stdout.readline() == b"service.serving.knative.dev/hello\n"
    status = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}
    await kubectl.run(
        "patch", "ksvc", "hello", "--subresource=status", "--type=merge", "-p",
        json.dumps({"status": status}),
    )  # fmt: skip
    out, err = await asyncio.wait_for(waiting.communicate(), 30)
    assert out == b"service.serving.knative.dev/hello condition met\n", err
    assert await asyncio.wait_for(watching.stdout.readline(), 10) == (
        b"service.serving.knative.dev/hello\n"
    )
    watching.terminate()
    await watching.wait()
    deleting = await kubectl.start("wait", "--for=delete", "ksvc/hello", "--timeout=30s")
    tables = await kubectl.start("get", "ksvc", "-w")
    header = await asyncio.wait_for(tables.stdout.readline(), 10)
    assert header.startswith(b"NAME")
    assert (await tables.stdout.readline()).split()[0] == b"hello"
    await kubectl("annotate ksvc hello x=y")
    assert (await asyncio.wait_for(tables.stdout.readline(), 10)).split()[0] == b"hello"
    tables.terminate()
    await tables.wait()
    await kubectl("delete ksvc hello --wait=false")
    out, err = await asyncio.wait_for(deleting.communicate(), 30)
    assert deleting.returncode == 0, err


async def test_finalizers_hold_a_deletion(kubectl):
    await kubectl("create configmap held")
    await kubectl.run(
        "patch", "cm", "held", "--type=merge", "-p", '{"metadata":{"finalizers":["ex.dev/x"]}}'
    )
    deleting = await kubectl.start("delete", "cm", "held", "--timeout=30s")
    while "deletionTimestamp" not in (await kubectl.json("get cm held"))["metadata"]:
        pass
    assert deleting.returncode is None
    await kubectl.run(
        "patch",
        "cm",
        "held",
        "--type=json",
        "-p",
        '[{"op":"remove","path":"/metadata/finalizers"}]',
    )
    out, err = await asyncio.wait_for(deleting.communicate(), 30)
    assert (deleting.returncode, out) == (0, b'configmap "held" deleted\n'), err


async def test_logs(kubectl):
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
    }  # fmt: skip
    assert (await kubectl.apply(json.dumps(pod))).code == 0
    assert await kubectl("logs p --tail=5 --since=10s --timestamps") == "first line\nsecond line\n"
    options = kubectl.logs.options
    assert (options.container, options.tail_lines, options.since_seconds) == ("c", 5, 10)
    following = await kubectl.start("logs", "-f", "p")
    assert await asyncio.wait_for(following.stdout.readline(), 10) == b"first line\n"
    following.terminate()
    await following.wait()
    # This server has no node agent, so nothing could run a command.
    denied = await kubectl.run("exec", "p", "--", "ls")
    assert denied.code != 0
    assert "could not find the requested resource" in denied.err


async def test_mistakes_are_answered_clearly(kubectl):
    unknown = await kubectl.apply(SERVICE + "bogus: 1\n")
    assert 'strict decoding error: unknown field "bogus"' in unknown.err
    warned = await kubectl.apply(SERVICE + "bogus: 1\n", "--validate=warn")
    assert warned.code == 0
    assert 'Warning: unknown field "bogus"' in warned.err
    invalid = await kubectl.apply(SERVICE.replace("image: nginx", "imagePullPolicy: Always"))
    assert (
        'admission webhook "validation.webhook.serving.knative.dev" denied the request'
        in invalid.err
    )
    unsupported = await kubectl.apply(
        DEPLOYMENT.replace(
            "      containers:", "      hostAliases: [{ip: 1.2.3.4}]\n      containers:"
        )
    )
    assert "spec.template.spec.hostAliases: Forbidden" in unsupported.err
    assert "not supported by Knarr" in unsupported.err
    wrong_type = await kubectl.apply(DEPLOYMENT.replace("replicas: 2", "replicas: two"))
    assert "spec.replicas" in wrong_type.err
    nowhere = await kubectl.run("create", "cm", "x", "-n", "nowhere")
    assert 'namespaces "nowhere" not found' in nowhere.err


async def test_server_side_apply(kubectl):
    first = await kubectl.apply(DEPLOYMENT, "--server-side")
    assert first.out == "deployment.apps/web serverside-applied\n", first.err
    other = DEPLOYMENT.replace("replicas: 2", "replicas: 3")
    refused = await kubectl.apply(other, "--server-side", "--field-manager=other")
    assert "Apply failed with 1 conflict" in refused.err
    assert ".spec.replicas" in refused.err
    forced = await kubectl.apply(
        other, "--server-side", "--field-manager=other", "--force-conflicts"
    )
    assert forced.out == "deployment.apps/web serverside-applied\n"
    shown = await kubectl.run("get", "deployment", "web", "-o", "yaml", "--show-managed-fields")
    assert "manager: other" in shown.out
    service = await kubectl.apply(SERVICE, "--server-side")
    assert "serverside-applied" in service.out, service.err
    again = await kubectl.apply(SERVICE)
    assert again.code == 0, again.err


async def test_dry_run_and_diff(kubectl):
    dry = await kubectl.apply(DEPLOYMENT, "--dry-run=server")
    assert dry.out == "deployment.apps/web created (server dry run)\n"
    assert (await kubectl.run("get", "deploy", "web")).code != 0
    await kubectl.apply(DEPLOYMENT)
    (kubectl.directory / "d.yaml").write_text(DEPLOYMENT.replace("nginx:1", "nginx:9"))
    difference = await kubectl.run("diff", "-f", "d.yaml")
    assert difference.code == 1, difference.err
    assert "+      - image: nginx:9" in difference.out or "nginx:9" in difference.out


async def test_chunks_and_sorting(kubectl):
    for number in range(7):
        await kubectl(f"create configmap c{number}")
    chunked = await kubectl("get cm --chunk-size=2 -o name")
    assert len(chunked.splitlines()) == 7
    labels = await kubectl("get cm --show-labels --sort-by=.metadata.name")
    assert labels.splitlines()[0].split() == ["NAME", "DATA", "AGE", "LABELS"]
