"""A domain of one's own on a whole instance: mapped, moved under load, given up, fought for."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import (
    REPOSITORY,
    Instance,
    Load,
    manifest_list,
    require_root,
    service,
    start_instance,
    wait_for,
)

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(300)]

DOMAIN = "custom.example.com"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance whose claims make themselves, with two Services."""
    require_root()
    data_dir = Path("/tmp") / f"knarr-domain-{os.getpid()}"
    home = tmp_path_factory.mktemp("home")
    flags = ("--service-cidr", "10.121.0.0/16")
    instance = start_instance(data_dir, home, "10.221.0.0/16", *flags)
    try:
        build = ("build", str(REPOSITORY / "tests/e2e/apps/probe"), "-o", "json")
        image = json.loads(instance.knarr(*build))["reference"]
        autocreate(instance, enabled=True)
        for name in ("one", "two"):
            document = service(name, image, env={"TARGET": name})
            instance.kubectl("apply", "-f", "-", stdin=document)
        for name in ("one", "two"):
            instance.wait_ready(name)
        yield instance
    finally:
        instance.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)


def autocreate(instance: Instance, *, enabled: bool) -> None:
    data = {"autocreate-cluster-domain-claims": str(enabled).lower()}
    instance.kubectl(
        "-n", "knative-serving", "patch", "configmap", "config-network", "--type=merge",
        "-p", json.dumps({"data": data}),
    )  # fmt: skip


def apply(
    instance: Instance,
    to: str,
    namespace: str = "default",
    version: str = "serving.knative.dev/v1",
) -> None:
    document = {
        "apiVersion": "serving.knative.dev/v1beta1",
        "kind": "DomainMapping",
        "metadata": {"name": DOMAIN, "namespace": namespace},
        "spec": {"ref": {"kind": "Service", "name": to, "apiVersion": version}},
    }
    instance.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def wait_mapped(instance: Instance, namespace: str = "default") -> None:
    def ready() -> bool:
        found = instance.get("domainmapping", DOMAIN, namespace)
        status = found.get("status", {})
        return status.get("observedGeneration") == found["metadata"]["generation"] and any(
            item["type"] == "Ready" and item["status"] == "True" for item in status["conditions"]
        )

    wait_for(ready, f"{DOMAIN} of {namespace} is Ready")


def ready_of(instance: Instance, namespace: str) -> tuple[str, str]:
    status = instance.get("domainmapping", DOMAIN, namespace).get("status", {})
    found = [item for item in status.get("conditions", ()) if item["type"] == "Ready"]
    return (found[0]["status"], found[0].get("reason", "")) if found else ("", "")


def test_a_domain_from_its_first_request_to_its_next_holder(machine: Instance) -> None:
    assert machine.request(DOMAIN)[0] == 404
    apply(machine, "one")
    wait_mapped(machine)
    assert DOMAIN in machine.kubectl("get", "cdc", "-o", "name")
    status, body, _ = machine.request(DOMAIN)
    assert (status, body.split()[0]) == (200, b"one")
    headers = machine.request(DOMAIN, "/headers")[1].decode().lower()
    assert f"host: {DOMAIN}\n" in headers, "the application sees the domain, not the name inside"
    assert "k-original-host" not in headers

    # From zero.
    machine.wait_scaled_to_zero("one")
    status, body, headers_of = machine.request(DOMAIN)
    assert (status, body.split()[0]) == (200, b"one")
    assert "server-timing" in headers_of, "a cold start says where its time went"

    # To another Service and back, under load.
    with Load(machine, DOMAIN, path="/env") as load:
        for target in ("two", "one", "two"):
            apply(machine, target)
            wait_mapped(machine)
            line = f"TARGET={target}"
            seen = machine.request(DOMAIN, "/env")[1].decode()
            assert line in seen.splitlines(), "Ready means that the new target answers"
    assert load.failures == []

    # The Service's next Revision and its traffic are followed under load.
    with Load(machine, DOMAIN) as load:
        image = machine.get("ksvc", "two")["spec"]["template"]["spec"]["containers"][0]["image"]
        machine.kubectl("apply", "-f", "-", stdin=service("two", image, env={"TARGET": "next"}))
        wait_for(lambda: machine.request(DOMAIN)[1].startswith(b"next"), "the next Revision")
    assert load.failures == []

    # Another namespace waits for the domain and gets it.
    machine.kubectl("create", "namespace", "rival")
    rival = json.loads(service("three", image, env={"TARGET": "three"}))
    rival["metadata"]["namespace"] = "rival"
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(rival))
    apply(machine, "three", "rival")
    wait_for(
        lambda: ready_of(machine, "rival") == ("False", "DomainAlreadyClaimed"), "the conflict"
    )
    assert machine.request(DOMAIN)[1].startswith(b"next")
    machine.kubectl("delete", "domainmapping", DOMAIN)
    wait_mapped(machine, "rival")
    assert machine.request(DOMAIN)[1].startswith(b"three")

    # Given up for good.
    machine.kubectl("delete", "domainmapping", DOMAIN, "-n", "rival")
    wait_for(lambda: machine.request(DOMAIN)[0] == 404, "nobody serves the domain")
    assert machine.kubectl("get", "cdc", "-o", "name") == ""

    # Without claims that make themselves, an administrator's word is needed.
    autocreate(machine, enabled=False)
    apply(machine, "one")
    wait_for(lambda: ready_of(machine, "default") == ("False", "DomainClaimFailed"), "no claim")
    claim = {
        "apiVersion": "networking.internal.knative.dev/v1alpha1",
        "kind": "ClusterDomainClaim",
        "metadata": {"name": DOMAIN},
        "spec": {"namespace": "default"},
    }
    machine.kubectl("apply", "-f", "-", stdin=json.dumps(claim))
    wait_mapped(machine)
    assert machine.request(DOMAIN)[1].startswith(b"one")


def test_a_domain_for_a_deployment(machine: Instance) -> None:
    autocreate(machine, enabled=True)
    image = machine.get("ksvc", "one")["spec"]["template"]["spec"]["containers"][0]["image"]
    labels = {"app": "plain"}
    env = [{"name": "TARGET", "value": "plain"}, {"name": "PORT", "value": "8080"}]
    container = {"name": "app", "image": image, "env": env, "ports": [{"containerPort": 8080}]}
    container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "plain"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    plain = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "plain"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    documents = [json.dumps(document) for document in (deployment, plain)]
    machine.kubectl("apply", "-f", "-", stdin=manifest_list(documents))
    apply(machine, "plain", version="v1")
    wait_mapped(machine)
    machine.kubectl("rollout", "status", "deployment/plain")
    wait_for(lambda: machine.request(DOMAIN)[0] == 200, "an answer")
    seen: set[bytes] = set()

    def both() -> bool:
        status, body, _ = machine.request(DOMAIN)
        assert (status, body.split()[0]) == (200, b"plain")
        seen.add(body)
        return len(seen) == 2

    wait_for(both, "both replicas answer")
    machine.kubectl("scale", "deployment/plain", "--replicas=0")
    wait_for(lambda: machine.request(DOMAIN)[0] == 503, "nobody answers")
    machine.kubectl("delete", "service", "plain")
    wait_for(lambda: machine.request(DOMAIN)[0] == 404, "nobody serves the domain")
