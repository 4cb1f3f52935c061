"""Deployments and PodAutoscalers as Revisions ask for them."""

import msgspec
import pytest

from knarr.resources.serving.revision import Revision
from knarr.serving.config import ServingConfig, ServingSettings, initial_config, parse_serving
from knarr.serving.revision.resources import make_autoscaler, make_deployment

CONFIG = ServingConfig()


def revision(containers, annotations=None, labels=None, **spec):
    return msgspec.convert(
        {
            "metadata": {
                "namespace": "ns",
                "name": "app-00001",
                "uid": "u1",
                "labels": {
                    "serving.knative.dev/configuration": "app",
                    "serving.knative.dev/routingState": "active",
                    "serving.knative.dev/route": "app",
                    **(labels or {}),
                },
                "annotations": {
                    "autoscaling.knative.dev/target": "5",
                    "serving.knative.dev/routes": "app",
                    "serving.knative.dev/creator": "me",
                    **(annotations or {}),
                },
            },
            "spec": {"containers": containers, "timeoutSeconds": 7, **spec},
        },
        Revision,
    )


def test_what_goes_to_the_pods_and_what_does_not():
    deployment = make_deployment(revision([{"name": "c", "image": "x"}]), CONFIG)
    meta, template = deployment.metadata, deployment.spec.template
    assert meta.name == "app-00001-deployment"
    own = dict(meta.labels)
    assert len(own.pop("serving.knative.dev/deployment-hash")) == 12
    assert (
        own
        == template.metadata.labels
        == {
            "app": "app-00001",
            "serving.knative.dev/configuration": "app",
            "serving.knative.dev/revision": "app-00001",
            "serving.knative.dev/revisionUID": "u1",
        }
    )
    assert meta.annotations == {"serving.knative.dev/creator": "me"}
    assert template.metadata.annotations == {
        "serving.knative.dev/creator": "me",
        "kubectl.kubernetes.io/default-container": "c",
    }
    assert template.spec.termination_grace_period_seconds == 7
    assert deployment.spec.replicas == 1
    assert deployment.spec.revision_history_limit == 0
    assert deployment.spec.strategy.rolling_update.max_unavailable == 0


def test_a_users_app_label_stays():
    found = make_deployment(revision([{"image": "x"}], labels={"app": "mine"}), CONFIG)
    assert found.spec.template.metadata.labels["app"] == "mine"


def test_probes_are_aimed_at_the_applications_port():
    container = {
        "image": "x",
        "ports": [{"containerPort": 9000}],
        "readinessProbe": {"tcpSocket": {}},
        "livenessProbe": {"httpGet": {"path": "/live"}},
        "startupProbe": {"httpGet": {"path": "/start", "port": 9001}},
    }
    found = make_deployment(revision([container]), CONFIG).spec.template.spec.containers[0]
    assert found.readiness_probe.tcp_socket.port == 9000
    assert (found.liveness_probe.http_get.port, found.startup_probe.http_get.port) == (9000, 9001)
    assert [(item.name, item.container_port) for item in found.ports] == [("user-port", 9000)]
    assert [item.value for item in found.env if item.name == "PORT"] == ["9000"]


def test_sidecars_keep_their_own():
    containers = [
        {"name": "side", "image": "s", "readinessProbe": {"exec": {"command": ["true"]}}},
        {"name": "main", "image": "m", "ports": [{"containerPort": 80}], "env": [{"name": "A"}]},
    ]
    side, main = make_deployment(revision(containers), CONFIG).spec.template.spec.containers
    assert side.ports == ()
    assert side.readiness_probe.exec.command == ("true",)
    assert [item.name for item in side.env] == ["K_REVISION", "K_CONFIGURATION", "K_SERVICE"]
    assert [item.name for item in main.env] == [
        "A",
        "PORT",
        "K_REVISION",
        "K_CONFIGURATION",
        "K_SERVICE",
    ]
    assert side.termination_message_policy == "FallbackToLogsOnError"


def test_images_run_by_digest():
    subject = revision([{"name": "c", "image": "x"}], initContainers=[{"name": "i", "image": "y"}])
    status = {
        "containerStatuses": [{"name": "c", "imageDigest": "x@sha256:1"}],
        "initContainerStatuses": [{"name": "i"}],
    }
    subject = msgspec.convert(
        {**msgspec.to_builtins(subject), "status": status}, Revision, strict=False
    )
    spec = make_deployment(subject, CONFIG).spec.template.spec
    assert spec.containers[0].image == "x@sha256:1"
    assert spec.init_containers[0].image == "y"


def test_deadline_and_initial_scale_come_from_annotations():
    subject = revision(
        [{"image": "x"}],
        {
            "serving.knative.dev/progress-deadline": "90s",
            "autoscaling.knative.dev/initial-scale": "4",
        },
    )
    spec = make_deployment(subject, CONFIG).spec
    assert (spec.progress_deadline_seconds, spec.replicas) == (90, 4)
    settings = ServingSettings()
    config = parse_serving(
        settings, initial_config(settings), "config-deployment", {"progress-deadline": "30s"}
    )
    assert make_deployment(revision([{}]), config).spec.progress_deadline_seconds == 30


def test_the_hash_follows_the_content_and_not_the_replicas():
    def hash_of(**changes):
        found = make_deployment(revision([{"image": "x", **changes}]), CONFIG)
        return found.metadata.labels["serving.knative.dev/deployment-hash"]

    assert hash_of() == hash_of()
    assert hash_of() != hash_of(args=["y"])


@pytest.mark.parametrize(("port", "protocol"), [("h2c", "h2c"), ("http1", "http1"), ("", "http1")])
def test_the_autoscaler(port, protocol):
    subject = revision(
        [{"image": "x", "ports": [{"name": port, "containerPort": 80}]}], containerConcurrency=3
    )
    found = make_autoscaler(subject, "Reachable")
    assert found.metadata.annotations == {
        "autoscaling.knative.dev/target": "5",
        "serving.knative.dev/creator": "me",
    }
    spec = found.spec
    assert (spec.container_concurrency, spec.protocol_type, spec.reachability) == (
        3,
        protocol,
        "Reachable",
    )
    assert (spec.scale_target_ref.kind, spec.scale_target_ref.name) == (
        "Deployment",
        "app-00001-deployment",
    )
