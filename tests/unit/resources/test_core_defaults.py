import base64
from typing import Any

import pytest
from tests.unit.resources.builders import admission, decode, defaulted

from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.apps.replicaset import REPLICA_SET
from knarr.resources.core.namespace import NAMESPACE
from knarr.resources.core.pod import POD
from knarr.resources.core.pod_defaults import image_pull_policy, qos_class
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.secret import SECRET
from knarr.resources.core.service import SERVICE

CONTAINER_DEFAULTS = {
    "imagePullPolicy": "Always",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
SPEC_DEFAULTS = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}


def test_pod() -> None:
    document = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "nginx",
                    "ports": [{"containerPort": 80}],
                    "readinessProbe": {"httpGet": {"port": 80}},
                    "livenessProbe": {"grpc": {"port": 81}, "periodSeconds": 3},
                    "env": [
                        {
                            "name": "IP",
                            "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}},
                        }
                    ],
                    "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
                }
            ],
            "volumes": [
                {"name": "s", "secret": {"secretName": "x"}},
                {"name": "c", "configMap": {"name": "x"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "x"}}]}},
                {"name": "e"},
            ],
        },
    }
    numbers = {"timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
    assert defaulted(POD, document) == {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            **SPEC_DEFAULTS,
            "enableServiceLinks": True,
            "containers": [
                {
                    **CONTAINER_DEFAULTS,
                    "name": "c",
                    "image": "nginx",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "readinessProbe": {
                        "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                        "periodSeconds": 10,
                        **numbers,
                    },
                    "livenessProbe": {
                        "grpc": {"port": 81, "service": ""},
                        "periodSeconds": 3,
                        **numbers,
                    },
                    "env": [
                        {
                            "name": "IP",
                            "valueFrom": {
                                "fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}
                            },
                        }
                    ],
                    "resources": {
                        "limits": {"cpu": "500m", "memory": "1Gi"},
                        "requests": {"cpu": "500m", "memory": "1Gi"},
                    },
                }
            ],
            "volumes": [
                {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
                {"name": "c", "configMap": {"name": "x", "defaultMode": 420}},
                {
                    "name": "p",
                    "projected": {"sources": [{"secret": {"name": "x"}}], "defaultMode": 420},
                },
                {"name": "e", "emptyDir": {}},
            ],
        },
        "status": {"phase": "Pending", "qosClass": "Guaranteed"},
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "Always"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert image_pull_policy(image) == policy


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "Burstable"),
        (
            {
                "limits": {"cpu": "1", "memory": "1Gi"},
                "requests": {"cpu": "1", "memory": "1Gi"},
            },
            "Guaranteed",
        ),
    ],
)
def test_qos(resources: dict[str, Any], qos: str) -> None:
    pod = decode(POD, {"spec": {"containers": [{"resources": resources}]}})
    assert qos_class(pod.spec) == qos
    assert qos_class(PodSpec()) == "BestEffort"


def test_pod_status_is_left_alone() -> None:
    document = {"metadata": {"name": "p"}, "status": {"phase": "Running"}}
    assert defaulted(POD, document, admission(decode(POD, document), subresource="status")) == (
        document
    )


def test_deployment() -> None:
    document = {
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i:1"}]},
            },
        },
    }
    assert defaulted(DEPLOYMENT, document)["spec"] == {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        },
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                **SPEC_DEFAULTS,
                "containers": [
                    {
                        **CONTAINER_DEFAULTS,
                        "name": "c",
                        "image": "i:1",
                        "imagePullPolicy": "IfNotPresent",
                    }
                ],
            },
        },
    }


def test_zero_is_kept() -> None:
    spec = {"replicas": 0, "revisionHistoryLimit": 0, "strategy": {"type": "Recreate"}}
    result = defaulted(DEPLOYMENT, {"spec": spec})["spec"]
    assert (result["replicas"], result["revisionHistoryLimit"]) == (0, 0)
    assert result["strategy"] == {"type": "Recreate"}
    result = defaulted(REPLICA_SET, {"spec": {"replicas": 0}})
    assert result["spec"]["replicas"] == 0
    assert result["status"] == {"replicas": 0}


def test_service() -> None:
    ports = [{"port": 80}, {"name": "x", "port": 81, "targetPort": "web", "protocol": "UDP"}]
    assert defaulted(SERVICE, {"spec": {"ports": ports, "clusterIP": "None"}}) == {
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "None",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [
                {"port": 80, "protocol": "TCP", "targetPort": 80},
                {"name": "x", "port": 81, "protocol": "UDP", "targetPort": "web"},
            ],
        },
        "status": {"loadBalancer": {}},
    }


def test_external_service() -> None:
    spec = {"type": "ExternalName", "externalName": "a.b", "ports": [{"port": 80}]}
    assert defaulted(SERVICE, {"spec": spec})["spec"] == {
        **spec,
        "sessionAffinity": "None",
        "ports": [{"port": 80, "protocol": "TCP"}],
    }


def test_secret() -> None:
    document = {"data": {"a": base64.b64encode(b"1").decode()}, "stringData": {"a": "2", "b": "3"}}
    assert defaulted(SECRET, document) == {
        "type": "Opaque",
        "data": {"a": "Mg==", "b": "Mw=="},
    }


def test_namespace() -> None:
    assert defaulted(NAMESPACE, {"metadata": {"name": "n", "labels": {"a": "b"}}}) == {
        "metadata": {"name": "n", "labels": {"a": "b", "kubernetes.io/metadata.name": "n"}},
        "spec": {},
        "status": {"phase": "Active"},
    }
    terminating = {
        "metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}},
        "spec": {},
        "status": {"phase": "Terminating"},
    }
    old = decode(NAMESPACE, terminating)
    assert defaulted(NAMESPACE, terminating, admission(old)) == terminating


def prepared(kind, document):
    return kind.prepare(decode(kind, document), admission())


def test_what_the_server_adds_is_nobodys() -> None:
    pod = prepared(POD, {"spec": {"tolerations": [{"key": "node.kubernetes.io/not-ready"}]}})
    keys = [each.key.rpartition("/")[2] for each in pod.spec.tolerations]
    assert keys == ["not-ready", "unreachable"]
    assert pod.spec.tolerations[1].toleration_seconds == 300
    everything = {"spec": {"tolerations": [{"operator": "Exists"}]}}
    assert len(prepared(POD, everything).spec.tolerations) == 1
    service = prepared(SERVICE, {"spec": {"type": "ClusterIP", "clusterIP": "None"}})
    assert (service.spec.cluster_ips, service.spec.ip_families) == (("None",), ("IPv4",))
    assert prepared(NAMESPACE, {}).spec.finalizers == ("kubernetes",)
