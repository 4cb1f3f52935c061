"""A webhook in a Pod, found through its Service and called over verified TLS."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.certificates import self_signed
from tests.harness import REPOSITORY, Instance, require_root, start_instance, wait_for

pytestmark = [pytest.mark.root, pytest.mark.e2e, pytest.mark.timeout(300)]

NAME = "hooks.default.svc"
SERVER = """
import base64, http.server, json, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = [{"op": "add", "path": "/data/host", "value": self.headers["Host"]}]
        response = {
            "uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        body = json.dumps({**review, "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Instance]:
    require_root()
    data_dir = Path("/tmp/knarr-hooks")
    shutil.rmtree(data_dir, ignore_errors=True)
    instance = start_instance(
        data_dir, tmp_path / "home", "10.214.0.0/16", "--service-cidr", "10.198.0.0/16"
    )
    try:
        yield instance
    finally:
        instance.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)


def documents(image: str, certificate: Path, key: Path) -> list[dict]:
    container = {
        "name": "web", "image": image, "command": ["python3", "-c", SERVER],
        "ports": [{"name": "tls", "containerPort": 8443}],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    }  # fmt: skip
    pod = {
        "metadata": {"name": "hooks", "labels": {"app": "hooks"}},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}],
        },
    }
    secret = {"stringData": {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}}
    service = {
        "selector": {"app": "hooks"}, "ports": [{"name": "tls", "port": 443, "targetPort": "tls"}],
    }  # fmt: skip
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    webhook = {
        "name": "hooks.example.com",
        "clientConfig": {
            "service": {"name": "hooks", "namespace": "default"},
            "caBundle": base64.b64encode(certificate.read_bytes()).decode(),
        },
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, **secret},
        {"apiVersion": "v1", "kind": "Pod", **pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hooks"}, "spec": service},
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "hooks"},
            "webhooks": [webhook],
        },
    ]


def test_a_webhook_in_a_pod(running: Instance, tmp_path: Path) -> None:
    built = running.knarr(
        "build", str(REPOSITORY / "tests" / "e2e" / "apps" / "probe"), "-o", "json"
    )
    image = json.loads(built)["reference"]
    certificate, key = self_signed(tmp_path, NAME)
    *backend, configuration = documents(image, certificate, key)
    items = {"apiVersion": "v1", "kind": "List", "items": backend}
    running.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    wait_for(
        lambda: running.get("endpoints", "hooks").get("subsets", [{}])[0].get("addresses"),
        "an endpoint of the webhook",
    )
    running.kubectl("apply", "-f", "-", stdin=json.dumps(configuration))
    running.kubectl("create", "configmap", "a", "--from-literal=x=1")
    assert running.get("configmap", "a")["data"] == {"x": "1", "host": f"{NAME}:443"}
    # the name on the certificate is what counts, not the address
    configuration["webhooks"][0]["clientConfig"]["service"]["name"] = "other"
    service = {**backend[2], "metadata": {"name": "other"}}
    for document in (service, configuration):
        running.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    wait_for(
        lambda: running.get("endpoints", "other").get("subsets", [{}])[0].get("addresses"),
        "an endpoint under the other name",
    )
    with pytest.raises(AssertionError, match="tls: failed to verify certificate"):
        running.kubectl("create", "configmap", "b", "--from-literal=x=1")
    running.kubectl("delete", "mutatingwebhookconfiguration", "hooks")
    running.kubectl("create", "configmap", "b")
