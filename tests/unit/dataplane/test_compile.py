"""API objects become table entries."""

import hashlib

import msgspec
import pytest

from knarr.dataplane import messages
from knarr.dataplane.compile import (
    Endpoint,
    compile_endpoint,
    compile_ingress,
    compile_revision,
    ingress_hash,
    referenced_revisions,
    serving_container,
    user_port,
)
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler
from knarr.resources.core.pod import Pod
from knarr.resources.networking.ingress import Ingress
from knarr.resources.serving.revision import Revision


def revision(**spec):
    return msgspec.convert(
        {
            "metadata": {
                "namespace": "default",
                "name": "hello-00001",
                "uid": "u1",
                "labels": {
                    "serving.knative.dev/service": "hello",
                    "serving.knative.dev/configuration": "hello",
                },
            },
            "spec": {"containers": [{"image": "x"}], **spec},
        },
        Revision,
    )


def pod(status=None, **metadata):
    return msgspec.convert(
        {
            "metadata": {"namespace": "default", "name": "p", "uid": "pod-uid", **metadata},
            "status": status
            or {
                "phase": "Running",
                "podIP": "10.0.0.2",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
        Pod,
    )


def test_a_ready_pod_is_a_replica_named_by_its_sandbox():
    found = compile_endpoint(pod(annotations={"node.knarr.dev/sandbox": "sb1"}))
    assert found == Endpoint(id="sb1", address="10.0.0.2")


def test_elsewhere_the_uid_names_it():
    assert compile_endpoint(pod()) == Endpoint(id="pod-uid", address="10.0.0.2")


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(pod(deletionTimestamp="2026-01-01T00:00:00Z"), id="terminating"),
        pytest.param(pod({"podIP": "10.0.0.2"}), id="not ready"),
        pytest.param(pod({"conditions": [{"type": "Ready", "status": "True"}]}), id="no address"),
        pytest.param(
            pod(
                {
                    "phase": "Failed",
                    "podIP": "10.0.0.2",
                    "conditions": [{"type": "Ready", "status": "True"}],
                }
            ),
            id="ended",
        ),
        pytest.param(Pod(), id="without status"),
    ],
)
def test_other_pods_take_no_requests(subject):
    assert compile_endpoint(subject) is None


def test_a_revision_with_replicas():
    subject = revision(
        containers=[
            {"image": "sidecar"},
            {"image": "x", "ports": [{"name": "h2c", "containerPort": 9000}]},
        ],
        containerConcurrency=3,
        timeoutSeconds=7,
        responseStartTimeoutSeconds=2,
        idleTimeoutSeconds=1,
    )
    entry = compile_revision(
        subject, None, [Endpoint(id="b", address="10.0.0.3"), Endpoint(id="a", address="10.0.0.2")]
    )
    assert entry == messages.Revision(
        key="default/hello-00001",
        uid="u1",
        protocol="h2c",
        container_concurrency=3,
        timeout_ms=7000,
        response_start_timeout_ms=2000,
        idle_timeout_ms=1000,
        replicas=(
            messages.Replica(id="a", address="10.0.0.2", port=9000),
            messages.Replica(id="b", address="10.0.0.3", port=9000),
        ),
        service="hello",
        configuration="hello",
    )


def test_defaults_of_a_revision():
    entry = compile_revision(revision(), None, [])
    assert (entry.protocol, entry.timeout_ms, entry.container_concurrency) == ("http1", 300_000, 0)
    assert user_port(revision().spec) == 8080
    assert serving_container(revision(containers=[]).spec).image == ""


@pytest.mark.parametrize(
    ("value", "want"), [("", True), ("Reachable", True), ("Unreachable", False)]
)
def test_reachability(value, want):
    scaler = msgspec.convert({"spec": {"reachability": value}}, PodAutoscaler)
    assert compile_revision(revision(), scaler, []).reachable is want


def test_an_ingress():
    subject = msgspec.convert(
        {
            "metadata": {"namespace": "default", "name": "hello"},
            "spec": {
                "httpOption": "Redirected",
                "rules": [
                    {
                        "hosts": ["hello.default.svc.cluster.local"],
                        "visibility": "ClusterLocal",
                        "http": {
                            "paths": [
                                {
                                    "path": "/a",
                                    "headers": {"x": {"exact": "y"}},
                                    "appendHeaders": {"p": "1"},
                                    "rewriteHost": "other",
                                    "splits": [
                                        {
                                            "serviceNamespace": "default",
                                            "serviceName": "hello-00001",
                                            "percent": 100,
                                            "appendHeaders": {"s": "2"},
                                        },
                                        {"serviceName": "hello-00002", "percent": 0},
                                    ],
                                }
                            ]
                        },
                    },
                    {
                        "hosts": ["hello.default.localhost"],
                        "visibility": "ExternalIP",
                        "http": {"paths": [{"splits": [{"serviceName": "hello-00001"}]}]},
                    },
                ],
            },
        },
        Ingress,
    )
    entry = compile_ingress(subject)
    local, public = entry.rules
    assert entry.http_option == "redirected"
    assert len(entry.hash) == 64
    assert (local.visibility, public.visibility) == ("local", "external")
    assert local.paths[0] == messages.Path(
        prefix="/a",
        headers={"x": "y"},
        append_headers={"p": "1"},
        rewrite_host="other",
        splits=(
            messages.Split(revision="default/hello-00001", percent=100, append_headers={"s": "2"}),
        ),
    )
    assert public.paths[0].splits[0].percent == 100
    assert referenced_revisions(entry) == {"default/hello-00001"}


def test_the_hash_is_the_one_that_go_clients_compute():
    split = {
        "appendHeaders": {"Z": "a<b>&c", "A": "\u00e9\u2028"},
        "percent": 100,
        "servicePort": 80,
        "serviceName": "hello-00001",
        "serviceNamespace": "default",
    }
    path = {
        "appendHeaders": {"X": "1"},
        "splits": [split],
        "headers": {"Knative-Serving-Tag": {"exact": "blue"}, "Empty": {"exact": ""}},
        "path": "/a",
    }
    rule = {"http": {"paths": [path]}, "hosts": ["h"], "visibility": "ExternalIP"}
    subject = msgspec.convert(
        {
            "metadata": {"namespace": "default", "name": "hello"},
            "spec": {"httpOption": "Enabled", "rules": [rule]},
        },
        Ingress,
    )
    text = (
        '{"rules":[{"hosts":["h"],"visibility":"ExternalIP","http":{"paths":[{"path":"/a",'
        '"headers":{"Empty":{"exact":""},"Knative-Serving-Tag":{"exact":"blue"}},'
        '"splits":[{"serviceNamespace":"default",'
        '"serviceName":"hello-00001","servicePort":80,"percent":100,'
        '"appendHeaders":{"A":"\u00e9\\u2028","Z":"a\\u003cb\\u003e\\u0026c"}}],'
        '"appendHeaders":{"X":"1"}}]}}],"httpOption":"Enabled"}defaulthello'
    )
    assert ingress_hash(subject) == hashlib.sha256(text.encode()).hexdigest()
