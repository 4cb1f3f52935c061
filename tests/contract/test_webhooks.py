"""Webhooks and rules in CEL with unmodified kubectl; the webhooks are served by the test over TLS."""

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import self_signed
from tests.contract.cluster import Cluster

pytestmark = pytest.mark.contract

Reply = Callable[[dict[str, Any]], dict[str, Any]]


class HookServer:
    """Answers reviews by the path they come to."""

    def __init__(self, directory: Path) -> None:
        certificate, key = self_signed(directory, "localhost", "127.0.0.1")
        self.bundle = base64.b64encode(certificate.read_bytes()).decode()
        self.replies: dict[str, Reply] = {}
        self.seen: list[tuple[str, dict[str, Any]]] = []
        hooks = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = self.path.partition("?")[0]
                hooks.seen.append((path, review["request"]))
                response = {"uid": review["request"]["uid"], "allowed": True}
                response |= hooks.replies[path](review["request"])
                body = json.dumps({**review, "response": response}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def configuration(self, kind: str, name: str, namespace: str, path: str, **more: Any) -> str:
        rule = {
            "operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "scope": "*",
        }  # fmt: skip
        webhook = {
            "name": f"{name}.example.com",
            "clientConfig": {"url": f"{self.url}{path}", "caBundle": self.bundle},
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **more,
        }
        document = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [webhook],
        }
        return json.dumps(document)


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[HookServer]:
    running = HookServer(tmp_path)
    running.thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    running.thread.join()


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"patch": encoded, "patchType": "JSONPatch"}


def test_mutating_and_validating_webhooks(
    cluster: Cluster, namespace: str, hooks: HookServer
) -> None:
    hooks.replies["/add"] = lambda request: (
        patch({"op": "add", "path": "/data/added", "value": "yes"}) if request["object"] else {}
    )
    hooks.replies["/check"] = lambda request: {
        "allowed": "forbidden" not in ((request["object"] or {}).get("data") or {}),
        "status": {"message": "no forbidden data", "code": 403, "reason": "Forbidden"},
        "warnings": ["data are watched"],
    }
    mutating = hooks.configuration("Mutating", f"m-{namespace}", namespace, "/add")
    validating = hooks.configuration("Validating", f"v-{namespace}", namespace, "/check")
    for document in (mutating, validating):
        assert "created" in cluster.call("kubectl", "apply", "-f", "-", stdin=document)
        assert "unchanged" in cluster.call("kubectl", "apply", "-f", "-", stdin=document)
    try:
        listed = cluster.call("kubectl", "get", "mutatingwebhookconfigurations", f"m-{namespace}")
        assert listed.split()[:3] == ["NAME", "WEBHOOKS", "AGE"]
        made = cluster.run(
            "kubectl", "-n", namespace, "create", "configmap", "a", "--from-literal=x=1"
        )
        assert made.returncode == 0, made.stderr
        assert "Warning: data are watched" in made.stderr
        data = cluster.call(
            "kubectl", "-n", namespace, "get", "configmap", "a", "-o", "jsonpath={.data}"
        )
        assert json.loads(data) == {"x": "1", "added": "yes"}
        refused = cluster.run(
            "kubectl", "-n", namespace, "patch", "configmap", "a", "-p", '{"data":{"forbidden":"1"}}'
        )  # fmt: skip
        assert refused.returncode == 1
        assert (
            f'Error from server (Forbidden): admission webhook "v-{namespace}.example.com" denied the '
            "request: no forbidden data"
        ) in refused.stderr
        dry = cluster.call(
            "kubectl", "-n", namespace, "create", "configmap", "b", "--from-literal=y=2", "--dry-run=server", "-o", "json"
        )  # fmt: skip
        assert json.loads(dry)["data"] == {"y": "2", "added": "yes"}
        cluster.call("kubectl", "-n", namespace, "delete", "configmap", "a")
        operations = [
            (path, request["operation"], request["dryRun"]) for path, request in hooks.seen
        ]
        assert operations == [
            (path, operation, dry_run)
            for operation, dry_run in (
                ("CREATE", False), ("UPDATE", False), ("CREATE", True), ("DELETE", False)
            )
            for path in ("/add", "/check")
        ]  # fmt: skip
        user = hooks.seen[0][1]["userInfo"]
        assert user["username"] == "system:admin"
    finally:
        for kind, name in (("mutating", "m"), ("validating", "v")):
            cluster.call("kubectl", "delete", f"{kind}webhookconfiguration", f"{name}-{namespace}")


def test_webhooks_that_cannot_be_asked(cluster: Cluster, namespace: str, hooks: HookServer) -> None:
    name = f"gone-{namespace}"
    gone = {"service": {"name": "nobody", "namespace": namespace, "path": "/x"}}
    document = hooks.configuration("Validating", name, namespace, "", clientConfig=gone)
    cluster.call("kubectl", "apply", "-f", "-", stdin=document)
    try:
        made = cluster.run("kubectl", "-n", namespace, "create", "configmap", "a")
        assert (
            f'Internal error occurred: failed calling webhook "{name}'
            '.example.com": failed to call webhook: service "nobody" not found'
        ) in made.stderr
        ignoring = hooks.configuration(
            "Validating", name, namespace, "", clientConfig=gone, failurePolicy="Ignore"
        )
        cluster.call("kubectl", "apply", "-f", "-", stdin=ignoring)
        assert "created" in cluster.call("kubectl", "-n", namespace, "create", "configmap", "a")
    finally:
        cluster.call("kubectl", "delete", "validatingwebhookconfiguration", name)


GAUGES = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gauges.cel.example.com}
spec:
  group: cel.example.com
  scope: Namespaced
  names: {plural: gauges, singular: gauge, kind: Gauge}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - rule: self.low <= self.high
              messageExpression: '"low (%d) is above high (%d)".format([self.low, self.high])'
              fieldPath: .low
            properties:
              low: {type: integer}
              high: {type: integer}
              unit:
                type: string
                maxLength: 10
                x-kubernetes-validations:
                - {rule: self == oldSelf, message: the unit cannot change}
"""
GAUGE = """\
apiVersion: cel.example.com/v1
kind: Gauge
metadata: {name: one}
spec: {low: %d, high: 5, unit: %s}
"""


def test_rules_in_cel(cluster: Cluster, namespace: str) -> None:
    broken = cluster.run(
        "kubectl", "apply", "-f", "-", stdin=GAUGES.replace("self.low <= self.high", "self.lo <= 'x'")
    )  # fmt: skip
    assert broken.returncode == 1
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'lo'" in broken.stderr
    cluster.call("kubectl", "apply", "-f", "-", stdin=GAUGES)
    cluster.call("kubectl", "wait", "--for=condition=Established", "crd/gauges.cel.example.com")
    apply = ("kubectl", "-n", namespace, "apply", "-f", "-")
    refused = cluster.run(*apply, stdin=GAUGE % (6, "bar"))
    assert (
        'The Gauge "one" is invalid: spec.low: Invalid value: "object": low (6) is above high (5)'
    ) in refused.stderr
    assert "created" in cluster.call(*apply, stdin=GAUGE % (1, "bar"))
    refused = cluster.run(*apply, stdin=GAUGE % (1, "psi"))
    assert 'spec.unit: Invalid value: "string": the unit cannot change' in refused.stderr
    assert "configured" in cluster.call(*apply, stdin=GAUGE % (2, "bar"))
    cluster.call("kubectl", "delete", "crd", "gauges.cel.example.com")
