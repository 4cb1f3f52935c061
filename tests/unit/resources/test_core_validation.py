import base64
from typing import Any

import pytest
from tests.unit.resources.builders import admission, causes, decode

from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.apps.replicaset import REPLICA_SET
from knarr.resources.coordination.lease import LEASE
from knarr.resources.core.configmap import CONFIG_MAP
from knarr.resources.core.event import EVENT
from knarr.resources.core.namespace import NAMESPACE
from knarr.resources.core.node import NODE
from knarr.resources.core.pod import POD
from knarr.resources.core.secret import SECRET
from knarr.resources.core.service import SERVICE
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT

NAMED = {"metadata": {"name": "x", "namespace": "default"}}
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def pod(**spec: Any) -> dict[str, Any]:
    return {**NAMED, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "image": "i", **fields}])


def test_what_is_right_passes() -> None:
    assert causes(POD, pod()) == []
    assert causes(NAMESPACE, NAMED) == []
    assert causes(CONFIG_MAP, {**NAMED, "data": {"a.b_c-d": "x"}}) == []
    assert causes(SECRET, NAMED) == []
    assert causes(SERVICE_ACCOUNT, NAMED) == []
    assert causes(NODE, NAMED) == []
    assert causes(LEASE, {**NAMED, "spec": {"leaseDurationSeconds": 15}}) == []
    assert causes(SERVICE, {**NAMED, "spec": {"ports": [{"port": 80}]}}) == []
    assert causes(EVENT, {**NAMED, "involvedObject": {"namespace": "default"}}) == []


POD_PROBLEMS: list[tuple[dict[str, Any], tuple[str, str]]] = [
    (pod(containers=[]), ("spec.containers", "Required value")),
    (container(name=""), ("spec.containers[0].name", "Required value")),
    (container(image=""), ("spec.containers[0].image", "Required value")),
    (
        container(imagePullPolicy="Sometimes"),
        (
            "spec.containers[0].imagePullPolicy",
            'Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"',
        ),
    ),
    (
        container(ports=[{"containerPort": 70000}]),
        (
            "spec.containers[0].ports[0].containerPort",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
    ),
    (
        container(ports=[{}]),
        ("spec.containers[0].ports[0].containerPort", "Required value"),
    ),
    (
        container(env=[{"name": "a=b"}]),
        (
            "spec.containers[0].env[0].name",
            'Invalid value: "a=b": a valid environment variable name must consist only of printable '
            "ASCII characters other than '='",
        ),
    ),
    (
        container(env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {}}}]),
        (
            "spec.containers[0].env[0].valueFrom",
            'Invalid value: "": may not be specified when `value` is not empty',
        ),
    ),
    (
        container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]),
        ("spec.containers[0].env[0].valueFrom.secretKeyRef.key", "Required value"),
    ),
    (
        container(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
        ("spec.containers[0].volumeMounts[0].name", 'Not found: "v"'),
    ),
    (
        container(resources={"limits": {"cpu": "much"}}),
        (
            "spec.containers[0].resources.limits[cpu]",
            'Invalid value: "much": quantities must match the regular expression '
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ),
    (
        container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
        (
            "spec.containers[0].resources.requests",
            'Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
    ),
    (
        container(livenessProbe={"exec": {"command": ["x"]}, "successThreshold": 2}),
        ("spec.containers[0].livenessProbe.successThreshold", "Invalid value: 2: must be 1"),
    ),
    (
        container(readinessProbe={"tcpSocket": {"port": 1}, "exec": {"command": ["x"]}}),
        (
            "spec.containers[0].readinessProbe.tcpSocket",
            "Forbidden: may not specify more than 1 handler type",
        ),
    ),
    (
        container(readinessProbe={"periodSeconds": 1}),
        ("spec.containers[0].readinessProbe", "Required value: must specify a handler type"),
    ),
    (
        container(securityContext={"runAsUser": -10}),
        (
            "spec.containers[0].securityContext.runAsUser",
            "Invalid value: -10: must be between 0 and 2147483647, inclusive",
        ),
    ),
    (
        pod(
            containers=[{"name": "c", "image": "i"}, {"name": "c", "image": "i"}],
        ),
        ("spec.containers[1].name", 'Duplicate value: "c"'),
    ),
    (
        pod(volumes=[{"name": "v", "secret": {}, "emptyDir": {}}]),
        ("spec.volumes[0].secret", "Forbidden: may not specify more than 1 volume type"),
    ),
    (
        pod(volumes=[{"name": "v", "secret": {}}]),
        ("spec.volumes[0].secret.secretName", "Required value"),
    ),
    (
        pod(volumes=[{"name": "v", "configMap": {"name": "c", "items": [{"key": "a"}]}}]),
        ("spec.volumes[0].configMap.items[0].path", "Required value"),
    ),
    (
        pod(volumes=[{"name": "v", "secret": {"secretName": "s", "defaultMode": 9999}}]),
        (
            "spec.volumes[0].secret.defaultMode",
            "Invalid value: 9999: must be a number between 0 and 0777 (octal), both inclusive",
        ),
    ),
    (
        pod(restartPolicy="Perhaps"),
        (
            "spec.restartPolicy",
            'Unsupported value: "Perhaps": supported values: "Always", "Never", "OnFailure"',
        ),
    ),
    (
        pod(serviceAccountName="Foo"),
        ("spec.serviceAccountName", f'Invalid value: "Foo": {SUBDOMAIN}'),
    ),
    (
        pod() | {"metadata": {"name": "Foo"}},
        ("metadata.name", f'Invalid value: "Foo": {SUBDOMAIN}'),
    ),
    (
        pod() | {"metadata": {}},
        ("metadata.name", "Required value: name or generateName is required"),
    ),
    (
        pod(initContainers=[{"name": "i", "image": "i", "lifecycle": {}}]),
        (
            "spec.initContainers[0].lifecycle",
            "Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
    ),
]


@pytest.mark.parametrize(("document", "cause"), POD_PROBLEMS)
def test_problems_of_pods(document: dict[str, Any], cause: tuple[str, str]) -> None:
    assert cause in causes(POD, document)


def test_pods_hardly_change() -> None:
    old = POD.default(decode(POD, pod()), admission())  # type: ignore[misc]
    given = admission(old)
    assert causes(POD, container(image="other"), given) == []
    assert causes(POD, container(command=["x"]), given)[0][0] == "spec"
    two = pod(containers=[{"name": "c", "image": "i"}, {"name": "d", "image": "i"}])
    text = "Forbidden: pod updates may not add or remove containers"
    assert causes(POD, two, given) == [("spec.containers", text)]
    assert causes(POD, pod(containers=[]), admission(old, subresource="status")) == []


def deployment(**spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    selector = {"matchLabels": {"a": "b"}}
    return {**NAMED, "spec": {"selector": selector, "template": template, **spec}}


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (deployment(selector=None), ("spec.selector", "Required value")),
        (
            deployment(selector={"matchLabels": {"a": "c"}}),
            (
                "spec.template.metadata.labels",
                'Invalid value: {"a":"b"}: `selector` does not match template `labels`',
            ),
        ),
        (
            deployment(selector={}),
            (
                "spec.selector",
                'Invalid value: "{}": empty selector is invalid for deployment',
            ),
        ),
        (
            deployment(replicas=-1),
            ("spec.replicas", "Invalid value: -1: must be greater than or equal to 0"),
        ),
        (
            deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
            (
                "spec.strategy.rollingUpdate",
                "Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
        ),
        (
            deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
            (
                "spec.strategy.rollingUpdate.maxUnavailable",
                "Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ),
        ),
        (
            deployment(progressDeadlineSeconds=5, minReadySeconds=5),
            (
                "spec.progressDeadlineSeconds",
                "Invalid value: 5: must be greater than minReadySeconds",
            ),
        ),
        (
            deployment(template={"metadata": {"labels": {"a": "b"}}, "spec": {}}),
            ("spec.template.spec.containers", "Required value"),
        ),
    ],
)
def test_problems_of_deployments(document: dict[str, Any], cause: tuple[str, str]) -> None:
    document = {
        **document,
        "spec": {name: value for name, value in document["spec"].items() if value is not None},
    }
    assert causes(DEPLOYMENT, document) == [cause]


@pytest.mark.parametrize("kind", [DEPLOYMENT, REPLICA_SET])
def test_selectors_are_immutable(kind: Any) -> None:
    assert causes(kind, deployment()) == []
    old = decode(kind, deployment(selector={"matchLabels": {"a": "b", "c": "d"}}))
    text = 'Invalid value: {"matchLabels":{"a":"b"}}: field is immutable'
    assert causes(kind, deployment(), admission(old)) == [("spec.selector", text)]


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({}, ("spec.ports", "Required value")),
        (
            {"ports": [{"port": 0}]},
            ("spec.ports[0].port", "Invalid value: 0: must be between 1 and 65535, inclusive"),
        ),
        (
            {"ports": [{"name": "a", "port": 1}, {"port": 2}]},
            ("spec.ports[1].name", "Required value"),
        ),
        (
            {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]},
            ("spec.ports[1]", 'Duplicate value: "TCP 1"'),
        ),
        (
            {"type": "Magic", "ports": [{"port": 1}]},
            (
                "spec.type",
                'Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", '
                '"LoadBalancer", "NodePort"',
            ),
        ),
        ({"type": "ExternalName"}, ("spec.externalName", "Required value")),
    ],
)
def test_problems_of_services(spec: dict[str, Any], cause: tuple[str, str]) -> None:
    assert causes(SERVICE, {**NAMED, "spec": spec}) == [cause]


def test_names_of_services_and_namespaces() -> None:
    assert causes(SERVICE, {"metadata": {"name": "1a"}, "spec": {"ports": [{"port": 1}]}})
    assert causes(NAMESPACE, {"metadata": {"name": "a.b"}})
    assert causes(CONFIG_MAP, {"metadata": {"name": "a.b"}}) == []


def test_immutable_data() -> None:
    before = {**NAMED, "data": {"a": "1"}, "immutable": True}
    given = admission(decode(CONFIG_MAP, before))
    text = "Forbidden: field is immutable when `immutable` is set"
    assert causes(CONFIG_MAP, before, given) == []
    after = {**NAMED, "data": {"a": "2"}}
    assert causes(CONFIG_MAP, after, given) == [("immutable", text), ("data", text)]
    secret = {**NAMED, "data": {"a": "MQ=="}, "immutable": True, "type": "Opaque"}
    given = admission(decode(SECRET, secret))
    assert causes(SECRET, {**secret, "data": {}}, given) == [("data", text)]
    changed = {**secret, "type": "other"}
    assert causes(SECRET, changed, given) == [
        ("type", 'Invalid value: "other": field is immutable')
    ]


def test_data_keys_and_sizes() -> None:
    keys = causes(CONFIG_MAP, {**NAMED, "data": {"a b": "", "..x": ""}})
    assert [field for field, _ in keys] == ["data[a b]", "data[..x]"]
    both = {**NAMED, "data": {"a": ""}, "binaryData": {"a": "MQ=="}}
    assert causes(CONFIG_MAP, both)[0][0] == "data[a]"
    large = base64.b64encode(b"x" * (1024 * 1024 + 1)).decode()
    assert causes(SECRET, {**NAMED, "data": {"a": large}}) == [
        ("data", "Too long: may not be more than 1048576 bytes")
    ]


def test_secret_types_need_their_keys() -> None:
    tls = {**NAMED, "type": "kubernetes.io/tls", "data": {"tls.crt": ""}}
    assert causes(SECRET, tls) == [("data[tls.key]", "Required value")]


def test_events_live_with_their_object() -> None:
    event = {**NAMED, "involvedObject": {"namespace": "other"}}
    text = 'Invalid value: "other": does not match event.namespace'
    assert causes(EVENT, event) == [("involvedObject.namespace", text)]
    assert causes(EVENT, NAMED) == []


def test_knative_configuration_is_guarded() -> None:
    def config(namespace: str) -> dict[str, Any]:
        return {
            "metadata": {"name": "config-gc", "namespace": namespace},
            "data": {"min-non-active-revisions": "-1"},
        }

    text = "min-non-active-revisions must be non-negative, was: -1"
    assert causes(CONFIG_MAP, config("knative-serving")) == [("data", text)]
    assert causes(CONFIG_MAP, config("default")) == []


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "c d"}}, "metadata.labels"),
        ({"annotations": {"x/y/z": ""}}, "metadata.annotations"),
        ({"finalizers": ["a b"]}, "metadata.finalizers"),
        ({"generateName": "A-"}, "metadata.generateName"),
        (
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "u"}]},
            "metadata.ownerReferences.name",
        ),
        (
            {
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "P", "name": "a", "uid": "1", "controller": True},
                    {"apiVersion": "v1", "kind": "P", "name": "b", "uid": "2", "controller": True},
                ]
            },
            "metadata.ownerReferences",
        ),
        ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
    ],
)
def test_problems_of_metadata(metadata: dict[str, Any], field: str) -> None:
    document = {"metadata": {"name": "x", **metadata}}
    assert [path for path, _ in causes(CONFIG_MAP, document)] == [field]
