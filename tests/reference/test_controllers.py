"""Knarr's controllers over a real kube-apiserver: the same code, another API."""

import http.client
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import REPOSITORY, free_port, wait_for
from tests.reference.cluster import Cluster, start_cluster
from tests.reference.definitions import PATH, apply_definitions
from tests.reference.rawclient import RawClient

pytestmark = [pytest.mark.reference, pytest.mark.timeout(240)]

SERVING = "/apis/serving.knative.dev/v1/namespaces/default"
INGRESSES = "/apis/networking.internal.knative.dev/v1alpha1/namespaces/default/ingresses"
AUTOSCALERS = "/apis/autoscaling.internal.knative.dev/v1alpha1/namespaces/default/podautoscalers"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JSON = {"Content-Type": "application/json"}
DIGEST = "sha256:" + "a" * 64


class Api:
    """The reference's API in short."""

    def __init__(self, client: RawClient) -> None:
        self.client = client

    def get(self, path: str) -> dict | None:
        answer = self.client.send("GET", path)
        return answer.document if answer.status == 200 else None

    def items(self, path: str) -> list[dict]:
        found = self.get(path)
        return found["items"] if found is not None else []

    def send(self, method: str, path: str, body: dict, kind: str = JSON["Content-Type"]) -> dict:
        answer = self.client.send(method, path, json.dumps(body).encode(), {"Content-Type": kind})
        assert answer.status in (200, 201), answer.body
        return answer.document

    def merge(self, path: str, body: dict) -> dict:
        return self.send("PATCH", path, body, "application/merge-patch+json")


@pytest.fixture(scope="module")
def cluster(programs, tmp_path_factory) -> Iterator[Cluster]:
    started = start_cluster(tmp_path_factory.mktemp("cluster"), programs)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[Api]:
    with cluster.client() as client:
        made = Api(client)
        for name in apply_definitions(client):
            path = f"{PATH}/{name}"
            wait_for(lambda path=path: _established(made.get(path)), f"{name} established", 30)
        yield made


def _established(document: dict | None) -> bool:
    return condition(document, "Established") == "True"


@pytest.fixture(scope="module")
def controllers(cluster: Cluster, api: Api, tmp_path_factory) -> Iterator[Path]:
    """``knarr controllers`` with the workload controllers; its log."""
    directory = tmp_path_factory.mktemp("c")
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "knarr.cli.main", "controllers",
                "--kubeconfig", str(cluster.kubeconfig()), "--workloads", "--no-resolve-tags",
                "--socket", str(directory / "dataplane.sock"),
            ],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=REPOSITORY,
        )  # fmt: skip
    try:
        wait_for(lambda: _ready(process, log), "the controllers", 60)
        yield log
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def gateway(controllers: Path) -> Iterator[int]:
    """A data plane that is told by those controllers; its port for requests."""
    directory = controllers.parent
    port = free_port()
    config = {
        "gateway": "gateway-0",
        "external_listen": [f"127.0.0.1:{port}"],
        "server_socket": str(directory / "dataplane.sock"),
    }
    (directory / "dataplane.json").write_text(json.dumps(config))
    with (directory / "dataplane.log").open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "knarr.dataplane.process",
                "--config", str(directory / "dataplane.json"),
            ],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=REPOSITORY,
        )  # fmt: skip
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _ready(process: subprocess.Popen, log: Path) -> bool:
    text = log.read_text()
    assert process.poll() is None, text
    return "ready" in text


def service(name: str, image: str, **more) -> dict:
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"image": image}], **more}}},
    }


def owner(document: dict) -> tuple[str, str, bool]:
    (reference,) = document["metadata"]["ownerReferences"]
    return reference["kind"], reference["name"], reference["controller"]


PODS = "/api/v1/namespaces/default/pods"


def make_node(api: Api) -> None:
    """A node that could run Pods; kube-apiserver taints it until something says that it is ready."""
    api.send("POST", "/api/v1/nodes", {"metadata": {"name": "node"}})
    api.merge("/api/v1/nodes/node", {"spec": {"taints": []}})
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    ready = [{"type": "Ready", "status": "True"}]
    status = {"capacity": capacity, "allocatable": capacity, "conditions": ready}
    api.merge("/api/v1/nodes/node/status", {"status": status})


class Echo(http.server.BaseHTTPRequestHandler):
    """What runs in the Pods."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a program that answers requests."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def run_pod(api: Api, revision: str) -> dict:
    """Do a node's work for the Pod of a Revision: wait until it is scheduled, say that it is ready."""
    selector = f"{PODS}?labelSelector=serving.knative.dev/revision={revision}"

    def scheduled() -> dict | None:
        found = [pod for pod in api.items(selector) if pod["spec"].get("nodeName")]
        return found[0] if found else None

    pod = wait_for(scheduled, f"a Pod of {revision} on the node", 60)
    conditions = [
        {"type": kind, "status": "True"}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    container = {
        "name": "user-container", "image": "i", "imageID": "i", "ready": True, "started": True,
        "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }  # fmt: skip
    status = {
        "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": conditions, "containerStatuses": [container],
    }  # fmt: skip
    return api.merge(f"{PODS}/{pod['metadata']['name']}/status", {"status": status})


def condition(document: dict | None, kind: str = "Ready") -> str:
    conditions = ((document or {}).get("status") or {}).get("conditions") or []
    return next((each["status"] for each in conditions if each["type"] == kind), "")


@pytest.fixture(scope="module")
def hello(api: Api, controllers: Path, gateway: int, port: int) -> str:
    """A Service with a ready Revision that keeps one Pod."""
    make_node(api)
    document = service("hello", f"example.com/hello@{DIGEST}")
    annotations = {"autoscaling.knative.dev/min-scale": "1"}
    template = document["spec"]["template"]
    template["metadata"] = {"annotations": annotations}
    template["spec"]["containers"][0]["ports"] = [{"containerPort": port}]
    api.send("POST", f"{SERVING}/services", document)
    try:
        run_pod(api, "hello-00001")
        wait_for(lambda: api.get(f"{INGRESSES}/hello"), "an Ingress", 30)
    except AssertionError as error:
        error.add_note(controllers.read_text()[-4000:])
        raise
    return "hello"


def test_a_service_becomes_what_it_becomes_here(api: Api, hello: str) -> None:
    made = {
        "configuration": api.get(f"{SERVING}/configurations/hello"),
        "route": api.get(f"{SERVING}/routes/hello"),
        "revision": api.get(f"{SERVING}/revisions/hello-00001"),
        "autoscaler": wait_for(lambda: api.get(f"{AUTOSCALERS}/hello-00001"), "a PA"),
        "deployment": wait_for(
            lambda: api.get(f"{DEPLOYMENTS}/hello-00001-deployment"),
            "a Deployment",
        ),
        "ingress": api.get(f"{INGRESSES}/hello"),
        "placeholder": wait_for(
            lambda: api.get("/api/v1/namespaces/default/services/hello"), "a core Service"
        ),
    }
    assert {name: owner(document) for name, document in made.items()} == {
        "configuration": ("Service", "hello", True),
        "route": ("Service", "hello", True),
        "revision": ("Configuration", "hello", True),
        "autoscaler": ("Revision", "hello-00001", True),
        "deployment": ("Revision", "hello-00001", True),
        "ingress": ("Route", "hello", True),
        "placeholder": ("Route", "hello", True),
    }
    (container,) = made["deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "user-container"


def test_workload_controllers_run_there_too(api: Api, hello: str) -> None:
    path = "/apis/apps/v1/namespaces/default/replicasets"
    sets = wait_for(lambda: api.items(path), "a ReplicaSet")
    assert owner(sets[0])[:2] == ("Deployment", "hello-00001-deployment")
    pods = wait_for(lambda: api.items(PODS), "a Pod")
    assert owner(pods[0])[0] == "ReplicaSet"
    account = wait_for(
        lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default"), "the account"
    )
    assert account["metadata"]["name"] == "default"


def test_statuses_arrive(api: Api, hello: str) -> None:
    revision = wait_for(
        lambda: condition(api.get(f"{SERVING}/revisions/hello-00001")) == "True", "a ready Revision"
    )
    assert revision
    wait_for(
        lambda: condition(api.get(f"{SERVING}/services/hello")) == "True", "a ready Service", 30
    )
    status = api.get(f"{SERVING}/services/hello")["status"]
    assert status["observedGeneration"] == 1
    assert status["latestReadyRevisionName"] == "hello-00001"
    (target,) = status["traffic"]
    assert (target["revisionName"], target["percent"]) == ("hello-00001", 100)


def test_requests_reach_the_pod(api: Api, hello: str, gateway: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway, timeout=20)
    connection.request("GET", "/", headers={"Host": "hello.default.localhost"})
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"hello")
    connection.close()


def test_nothing_is_written_when_nothing_changes(api: Api, hello: str) -> None:
    paths = [
        f"{SERVING}/services/hello", f"{SERVING}/configurations/hello", f"{SERVING}/routes/hello",
        f"{SERVING}/revisions/hello-00001",
        f"{DEPLOYMENTS}/hello-00001-deployment",
        f"{INGRESSES}/hello",
    ]  # fmt: skip

    def versions() -> list[str]:
        return [api.get(path)["metadata"]["resourceVersion"] for path in paths]

    quiet = {"before": versions(), "rounds": 0}

    def still() -> bool:
        now = versions()
        quiet["rounds"] = quiet["rounds"] + 1 if now == quiet["before"] else 0
        quiet["before"] = now
        return quiet["rounds"] >= 100

    wait_for(still, "no writes for two seconds", 30)


def test_an_update_makes_a_second_revision(api: Api, hello: str) -> None:
    change = {
        "spec": {"template": {"spec": {"containers": [{"image": f"example.com/two@{DIGEST}"}]}}}
    }
    api.merge(f"{SERVING}/services/hello", change)
    second = wait_for(lambda: api.get(f"{SERVING}/revisions/hello-00002"), "a second Revision")
    assert second["spec"]["containers"][0]["image"] == f"example.com/two@{DIGEST}"
    run_pod(api, "hello-00002")

    def moved() -> bool:
        traffic = api.get(f"{SERVING}/services/hello")["status"].get("traffic") or [{}]
        return traffic[0].get("revisionName") == "hello-00002"

    wait_for(moved, "traffic to the second Revision", 30)


def test_deletion_takes_everything_along(api: Api, hello: str, controllers: Path) -> None:
    api.client.send("DELETE", f"{SERVING}/services/hello")
    rest = [
        f"{SERVING}/configurations", f"{SERVING}/routes", f"{SERVING}/revisions",
        INGRESSES,
        AUTOSCALERS,
        DEPLOYMENTS,
    ]  # fmt: skip
    wait_for(lambda: not any(api.items(path) for path in rest), "all of it gone", 60)
    log = controllers.read_text()
    assert "Traceback" not in log, log[-4000:]
