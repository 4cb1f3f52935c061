"""Cluster IPs, node ports and the API, as containers and this machine find them."""

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import REPOSITORY, Instance, require_root, service, start_instance, wait_for

pytestmark = [pytest.mark.root, pytest.mark.e2e, pytest.mark.timeout(300)]

SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ['HOSTNAME']} {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
FETCH = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""
CONNECT = """
import socket, sys, time
begun = time.monotonic()
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("open", end=" ")
except OSError as error:
    print(type(error).__name__, end=" ")
print(f"{time.monotonic() - begun:.3f}")
"""
RESOLVE = "import socket, sys; print(*sorted(socket.gethostbyname_ex(sys.argv[1])[2]))"
ASK_API = """
import os, ssl, sys, urllib.error, urllib.request
place = "/var/run/secrets/kubernetes.io/serviceaccount"
host = sys.argv[1] or f"{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
token = open(f"{place}/token").read()
request = urllib.request.Request(f"https://{host}{sys.argv[2]}", headers={"Authorization": f"Bearer {token}"})
context = ssl.create_default_context(cafile=f"{place}/ca.crt")
try:
    answer = urllib.request.urlopen(request, context=context, timeout=5)
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


class Cluster:
    """An instance with two web servers and a client."""

    def __init__(self, instance: Instance, image: str) -> None:
        self.instance = instance
        self.image = image

    def apply(self, *documents: dict) -> None:
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self.instance.kubectl("apply", "-f", "-", stdin=items)

    def run(self, script: str, *arguments: str, pod: str = "client") -> str:
        return self.instance.kubectl("exec", pod, "--", "python3", "-c", script, *arguments).strip()

    def deployment(self, name: str, replicas: int) -> dict:
        labels = {"app": name}
        container = {
            "name": "web", "image": self.image, "command": ["python3", "-c", SERVER],
            "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        }  # fmt: skip
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
        }
        return {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        }  # fmt: skip

    def service(self, name: str, app: str, **spec: object) -> dict:
        ports = [{"name": "http", "port": 80, "targetPort": "web"}]
        return {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": app}, "ports": ports, **spec},
        }  # fmt: skip

    def spec(self, name: str) -> dict:
        return self.instance.get("service", name)["spec"]

    def addresses(self, app: str) -> list[str]:
        listed = self.instance.api(
            "GET", f"/api/v1/namespaces/default/pods?labelSelector=app={app}"
        )
        return sorted(
            pod["status"]["podIP"] for pod in listed["items"] if pod["status"].get("podIP")
        )

    def rollout(self, name: str) -> None:
        self.instance.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require_root()
    data_dir = Path("/tmp") / f"knarr-net-{os.getpid()}"
    # Other instances on this machine have the usual network of cluster IPs.
    flags = ("--service-cidr", "10.197.0.0/16")
    home = tmp_path_factory.mktemp("home")
    running = start_instance(data_dir, home, "10.211.0.0/16", *flags)
    try:
        folder = REPOSITORY / "tests" / "e2e" / "apps" / "probe"
        image = json.loads(running.knarr("build", str(folder), "-o", "json"))["reference"]
        made = Cluster(running, image)
        client = {
            "name": "client",
            "image": image,
            "command": ["python3", "-c", "import time; time.sleep(10000)"],
        }
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"},
            "spec": {"containers": [client], "terminationGracePeriodSeconds": 1},
        }  # fmt: skip
        made.apply(pod, made.deployment("web", 2))
        running.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
        made.rollout("web")
        yield made
    finally:
        running.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    settings_name = f"knarr-{__import__('hashlib').sha256(str(data_dir).encode()).hexdigest()[:6]}"
    assert settings_name not in tables.stdout
    assert (
        "10.197.0.0/16"
        not in subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    )


def test_a_cluster_ip_leads_to_every_pod_from_pods_and_from_the_machine(cluster):
    cluster.apply(cluster.service("web", "web"))
    address = cluster.spec("web")["clusterIP"]
    assert address.startswith("10.197.")
    assert cluster.run(RESOLVE, "web") == address
    assert cluster.run(RESOLVE, "web.default.svc.cluster.local") == address

    def answers() -> set[str]:
        return {line.split()[0] for line in cluster.run(FETCH, "http://web", "20").splitlines()}

    wait_for(lambda: len(answers()) == 2, "both pods answer")
    seen = set()
    for _ in range(40):
        connection = http.client.HTTPConnection(address, timeout=5)
        connection.request("GET", "/")
        seen.add(connection.getresponse().read().split()[0])
        connection.close()
    assert len(seen) == 2
    # A pod that meets itself by its Service.
    (one, *_) = cluster.instance.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()
    names = {
        line.split()[0] for line in cluster.run(FETCH, "http://web", "20", pod=one).splitlines()
    }
    assert len(names) == 2


def test_without_endpoints_connections_are_refused_at_once(cluster):
    cluster.apply(cluster.service("empty", "nobody", type="NodePort"))
    spec = cluster.spec("empty")
    for address, port in (
        ("empty", 80),
        (spec["clusterIP"], 81),
        ("10.197.77.77", 80),
        ("10.211.0.1", spec["ports"][0]["nodePort"]),
    ):
        kind, took_s = cluster.run(CONNECT, address, str(port)).split()
        assert (kind, float(took_s) < 0.5) == ("ConnectionRefusedError", True), (address, port)
    begun = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((spec["clusterIP"], 80), timeout=3)
    assert time.monotonic() - begun < 0.5


def test_a_change_of_pods_is_followed(cluster):
    cluster.apply(cluster.deployment("moving", 1), cluster.service("moving", "moving"))
    cluster.rollout("moving")

    def names() -> set[str]:
        return {line.split()[0] for line in cluster.run(FETCH, "http://moving", "10").splitlines()}

    wait_for(lambda: len(names()) == 1, "the pod answers")
    before = names()
    cluster.instance.kubectl("rollout", "restart", "deployment/moving")
    cluster.rollout("moving")
    wait_for(lambda: names().isdisjoint(before), "another pod answers")
    cluster.instance.kubectl("scale", "deployment/moving", "--replicas=0")
    wait_for(
        lambda: cluster.run(CONNECT, "moving", "80").startswith("ConnectionRefusedError"),
        "nobody answers",
    )


def test_a_node_port_is_open_here_and_to_pods_and_not_to_others(cluster):
    cluster.apply(cluster.service("door", "web", type="NodePort"))
    port = cluster.spec("door")["ports"][0]["nodePort"]

    def open_here() -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/")
            return connection.getresponse().read().startswith(b"web-")
        except OSError:
            return False

    wait_for(open_here, "the node port is open on loopback")
    assert cluster.run(FETCH, f"http://10.211.0.1:{port}", "1").startswith("web-")
    assert cluster.run(CONNECT, "127.0.0.1", str(port)).startswith("ConnectionRefusedError")


def test_a_headless_name_stands_for_the_pods(cluster):
    cluster.apply(cluster.service("flat", "web", clusterIP="None"))
    wanted = " ".join(cluster.addresses("web"))
    wait_for(lambda: cluster.run(RESOLVE, "flat.default.svc") == wanted, "the pods' addresses")


def test_a_client_stays_with_a_pod_by_wish(cluster):
    cluster.apply(cluster.service("sticky", "web", sessionAffinity="ClientIP"))
    wait_for(lambda: cluster.run(CONNECT, "sticky", "80").startswith("open"), "it answers")
    names = {line.split()[0] for line in cluster.run(FETCH, "http://sticky", "20").splitlines()}
    assert len(names) == 1


def test_the_api_is_reached_from_inside_with_the_accounts_token(cluster):
    for host in ("kubernetes.default.svc", "kubernetes", ""):
        status, _, body = cluster.run(ASK_API, host, "/version").partition(" ")
        assert (status, json.loads(body)["major"]) == ("200", "1")
    pods = "/api/v1/namespaces/default/pods"
    status, _, body = cluster.run(ASK_API, "", pods).partition(" ")
    assert status == "403", body
    refusal = 'User "system:serviceaccount:default:default" cannot list resource "pods"'
    assert refusal in json.loads(body)["message"]
    cluster.instance.kubectl(
        "create", "rolebinding", "looks", "--clusterrole=view", "--serviceaccount=default:default"
    )
    wait_for(lambda: cluster.run(ASK_API, "", pods).startswith("200 "), "the grant counts")
    assert cluster.run(ASK_API, "", "/api/v1/namespaces/kube-system/pods").startswith("403 ")


def test_an_account_and_a_pod_may_do_without_a_token(cluster):
    script = ["python3", "-c", "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))"]
    for name, spec in {
        "bare": {"automountServiceAccountToken": False},
        "shy": {"serviceAccountName": "shy"},
    }.items():
        account = {
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shy"},
            "automountServiceAccountToken": False,
        }  # fmt: skip
        container = {"name": "c", "image": cluster.image, "command": script}
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"restartPolicy": "Never", "containers": [container], **spec},
        }  # fmt: skip
        cluster.apply(account, pod)
        cluster.instance.kubectl(
            "wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
        )
        assert cluster.instance.kubectl("logs", name).strip() == "False"
    refused = json.dumps(
        {**pod, "metadata": {"name": "x"}, "spec": {**pod["spec"], "serviceAccountName": "nobody"}}
    )
    answer = cluster.instance.kubectl("create", "-f", "-", stdin=refused, check=False)
    assert (
        'error looking up service account default/nobody: serviceaccount "nobody" not found'
        in answer
    )


def claims(token: str) -> dict:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def test_a_cold_start_gives_the_accounts_token_and_soon_the_pods(cluster):
    instance = cluster.instance
    instance.kubectl("apply", "-f", "-", stdin=service("cold", cluster.image))
    instance.wait_ready("cold")
    instance.wait_scaled_to_zero("cold")
    host, path = (
        "cold.default.localhost",
        "/file?path=/var/run/secrets/kubernetes.io/serviceaccount/token",
    )

    def token() -> dict:
        status, body, _ = instance.request(host, path)
        assert status == 200
        return claims(body.decode())["kubernetes.io"]

    first = token()
    assert first["serviceaccount"]["name"] == "default"
    bound = wait_for(lambda: token().get("pod"), "the token is the pod's", 20)
    (pod,) = instance.pods("cold")
    assert bound == {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}


def test_pods_reach_no_other_port_of_the_machine(cluster):
    with socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        host_ip = cluster.instance.get("node", "knarr")["status"]["addresses"][0]["address"]
        kubelet = json.loads((cluster.instance.data_dir / "run" / "settings.json").read_bytes())
        for address, number in (
            ("10.211.0.1", port),
            (host_ip, port),
            ("10.211.0.1", kubelet["metrics_port"]),
            (host_ip, kubelet["api_port"]),
            ("169.254.169.254", 80),
        ):
            assert not cluster.run(CONNECT, address, str(number)).startswith("open"), (
                address,
                number,
            )
        # Endpoints that somebody makes up lead there no more than anything else.
        name = {"name": "lure"}
        port_document = {"name": "", "port": port, "protocol": "TCP"}
        cluster.apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": name, "spec": {"ports": [{"port": 80}]}},
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "lure-1", "labels": {"kubernetes.io/service-name": "lure"}},
                "ports": [port_document], "endpoints": [{"addresses": ["10.211.0.1"]}],
            },
        )  # fmt: skip
        assert not cluster.run(CONNECT, "lure", "80").startswith("open")


def test_cluster_ips_outlive_the_agent(cluster):
    instance = cluster.instance
    address = instance.get("service", "web")["spec"]["clusterIP"]
    before = instance.pid("node")
    os.kill(before, signal.SIGKILL)
    for _ in range(20):
        socket.create_connection((address, 80), timeout=2).close()
    wait_for(lambda: instance.pid("node") != before and instance.status_ok(), "the agent is back")
    wait_for(lambda: cluster.run(FETCH, "http://web", "5"), "it answers")
