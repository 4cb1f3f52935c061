"""Protobuf bodies: what kubectl and kn really sent, and what a hostile client might."""

import contextlib
import random

import pytest
from tests.unit.apiserver.kit import CONFIG_MAPS, DEPLOYMENTS

from knarr.apiserver.protobuf.decode import decode_body
from knarr.apiserver.protobuf.wire import WireTables
from knarr.meta.errors import BadRequest, StatusError, UnsupportedMediaType

PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = WireTables().get()

# Bodies as kubectl 1.32 sent them.
NAMESPACE = b'k8s\x00\n\x0f\n\x02v1\x12\tNamespace\x12\x1b\n\x13\n\x03foo\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x00\x1a\x02\n\x00\x1a\x00"\x00'
CONFIG_MAP = b'k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12\x1c\n\x12\n\x02cm\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x06\n\x01a\x12\x01b\x1a\x00"\x00'
SECRET = b'k8s\x00\n\x0c\n\x02v1\x12\x06Secret\x12\x1d\n\x11\n\x01s\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x06\n\x01a\x12\x01b\x1a\x00\x1a\x00"\x00'
ACCOUNT = b'k8s\x00\n\x14\n\x02v1\x12\x0eServiceAccount\x12\x15\n\x13\n\x03sa1\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x1a\x00"\x00'
ROLE = b'k8s\x00\n$\n\x1crbac.authorization.k8s.io/v1\x12\x04Role\x12"\n\x11\n\x01r\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\r\n\x03get\x12\x00\x1a\x04pods\x1a\x00"\x00'
AUTOSCALER = b'k8s\x00\n)\n\x0eautoscaling/v1\x12\x17HorizontalPodAutoscaler\x129\n\x12\n\x02d1\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x1d\n\x19\n\nDeployment\x12\x02d1\x1a\x07apps/v1\x18\x03\x1a\x04\x18\x00 \x00\x1a\x00"\x00'
REVIEW = b'k8s\x00\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12<\n\x10\n\x00\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x1e\n\x1c\n\x07default\x12\x03get\x1a\x00"\x00*\x04pods2\x00:\x00\x1a\x08\x08\x00\x12\x00\x1a\x00 \x00\x1a\x00"\x00'
WHOAMI = b'k8s\x00\n-\n\x18authentication.k8s.io/v1\x12\x11SelfSubjectReview\x12\x1a\n\x10\n\x00\x12\x00\x1a\x00"\x00*\x002\x008\x00B\x00\x12\x06\n\x04\n\x00\x12\x00\x1a\x00"\x00'


@pytest.mark.parametrize(
    ("body", "api_version", "kind", "document"),
    [
        (NAMESPACE, "v1", "Namespace", {"metadata": {"name": "foo"}}),
        (CONFIG_MAP, "v1", "ConfigMap", {"metadata": {"name": "cm"}, "data": {"a": "b"}}),
        (SECRET, "v1", "Secret", {"metadata": {"name": "s"}, "data": {"a": "Yg=="}}),
        (ACCOUNT, "v1", "ServiceAccount", {"metadata": {"name": "sa1"}}),
        (
            ROLE, "rbac.authorization.k8s.io/v1", "Role",
            {
                "metadata": {"name": "r"},
                "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
            },
        ),
        (
            AUTOSCALER, "autoscaling/v1", "HorizontalPodAutoscaler",
            {
                "metadata": {"name": "d1"},
                "spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": "d1", "apiVersion": "apps/v1"},
                    "maxReplicas": 3,
                },
            },
        ),
        (
            REVIEW, "authorization.k8s.io/v1", "SelfSubjectAccessReview",
            {
                "spec": {
                    "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}
                }
            },
        ),
        (WHOAMI, "authentication.k8s.io/v1", "SelfSubjectReview", {}),
    ],
)  # fmt: skip
def test_recorded_bodies(body, api_version, kind, document):
    decoded = decode_body(TABLE, body)
    assert (decoded.api_version, decoded.kind) == (api_version, kind)
    shown = {
        name: value
        for name, value in decoded.document.items()
        if name in document
    }  # fmt: skip
    assert shown == document
    assert set(decoded.document) - set(document) <= {"status"}


def field(number, wire, payload):
    tag = varint(number << 3 | wire)
    return tag + (varint(len(payload)) + payload if wire == 2 else payload)


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while True:
        byte, value = value & 127, value >> 7
        out.append(byte | (128 if value else 0))
        if not value:
            return bytes(out)


def text(number, value):
    return field(number, 2, value.encode())


def message(number, *parts):
    return field(number, 2, b"".join(parts))


def envelope(api_version, kind, raw):
    meta = message(1, text(1, api_version), text(2, kind))
    return b"k8s\0" + meta + field(2, 2, raw)


def test_values_of_every_type():
    probe = message(
        1, message(2, text(1, "/x"), message(2, field(1, 0, varint(0)), field(2, 0, varint(8080))))
    ) + field(2, 0, varint(5))
    port = text(1, "http") + field(2, 0, varint(0)) + field(3, 0, varint(80)) + text(4, "TCP")
    limits = message(1, text(1, "cpu"), message(2, text(1, "100m")))
    container = (
        text(1, "c")
        + text(2, "nginx")
        + field(6, 2, port)
        + message(8, limits)
        + field(11, 2, probe)
    )
    template = message(1, message(11, text(1, "app"), text(2, "d"))) + message(
        2, field(2, 2, container)
    )
    metadata = text(1, "d") + message(8, field(1, 0, varint(1_700_000_000)))
    strategy = message(2, message(1, field(1, 0, varint(1)), text(3, "25%")))
    spec = (
        field(1, 0, varint(0))
        + message(2, message(1, text(1, "app"), text(2, "d")))
        + field(3, 2, template)
        + field(4, 2, strategy)
    )
    body = envelope("apps/v1", "Deployment", message(1, metadata) + field(2, 2, spec))
    assert decode_body(TABLE, body).document == {
        "metadata": {"name": "d", "creationTimestamp": "2023-11-14T22:13:20Z"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {
                    "containers": [
                        {
                            "name": "c", "image": "nginx",
                            "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                            "resources": {"limits": {"cpu": "100m"}},
                            "readinessProbe": {
                                "httpGet": {"path": "/x", "port": 8080}, "initialDelaySeconds": 5,
                            },
                        }
                    ]
                },
            },
            "strategy": {"rollingUpdate": {"maxUnavailable": "25%"}},
        },
    }  # fmt: skip


def test_negative_numbers_and_micro_times():
    lease = message(2, message(3, b"")) + message(
        2, text(1, "me"), field(2, 0, varint(-5)),
        message(3, field(1, 0, varint(1)), field(2, 0, varint(250_000_000))),
    )  # fmt: skip
    decoded = decode_body(TABLE, envelope("coordination.k8s.io/v1", "Lease", lease)).document
    assert decoded["spec"]["leaseDurationSeconds"] == -5
    assert decoded["spec"]["acquireTime"] == "1970-01-01T00:00:01.250000Z"


def test_unknown_field_numbers_are_passed_over():
    body = envelope("v1", "ConfigMap", message(1, text(1, "a")) + field(99, 0, varint(1)))
    assert decode_body(TABLE, body).document == {"metadata": {"name": "a"}}


def test_unknown_kinds_are_415():
    with pytest.raises(UnsupportedMediaType, match=r"kind Thing in version 'ex\.dev/v1'"):
        decode_body(TABLE, envelope("ex.dev/v1", "Thing", b""))


def test_options_are_found_under_any_group():
    decoded = decode_body(
        TABLE, envelope("serving.knative.dev/v1", "DeleteOptions", text(4, "Foreground"))
    )
    assert decoded.document == {"propagationPolicy": "Foreground"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"k8s", b"k8s\0\xff", b"{}", CONFIG_MAP[:-3], b"k8s\0" + b"\x0b" * 5,
        envelope("v1", "ConfigMap", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        envelope("v1", "ConfigMap", message(1, field(1, 0, varint(3)))),
        envelope("v1", "ConfigMap", message(1, field(1, 2, b"\xff\xfe"))),
    ],
)  # fmt: skip
def test_malformed_bodies_are_400(body):
    with pytest.raises((BadRequest, UnsupportedMediaType)):
        decode_body(TABLE, body)


def test_mutated_bodies_never_crash():
    rng = random.Random(7)
    for _ in range(3_000):
        body = bytearray(rng.choice((NAMESPACE, CONFIG_MAP, SECRET, ROLE, AUTOSCALER, REVIEW)))
        for _ in range(rng.randint(1, 6)):
            body[rng.randrange(4, len(body))] = rng.randrange(256)
        with contextlib.suppress(StatusError):
            decode_body(TABLE, bytes(body))


async def test_through_the_api(api):
    answer = await api.post(
        CONFIG_MAPS, CONFIG_MAP, content_type=PROTOBUF,
        query={"fieldValidation": "Strict"}, accept=f"{PROTOBUF},application/json",
    )  # fmt: skip
    assert (answer.status, answer.json["data"]) == (201, {"a": "b"})
    assert answer.response.content_type == "application/json"
    may = await api.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", REVIEW, content_type=PROTOBUF
    )
    assert may.json["status"]["allowed"] is True
    wrong = await api.post(DEPLOYMENTS, CONFIG_MAP, content_type=PROTOBUF)
    assert wrong.status == 400


def test_schemas_of_definitions_keep_their_rules_and_whole_numbers():
    def field(number: int, data: bytes) -> bytes:
        tag = number << 3 | 2
        return (
            (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7]))
            + bytes([len(data)])
            + data
        )

    rule = field(1, b"self > 0") + field(2, b"too small")
    schema = field(5, b"object") + bytes([9 << 3 | 1]) + b"\0\0\0\0\0\0\x24\x40" + field(44, rule)
    version = field(1, b"v1") + field(4, field(1, schema)) + field(5, field(1, b""))
    spec = field(1, b"example.com") + field(7, version)
    body = b"k8s\0" + field(
        1, field(1, b"apiextensions.k8s.io/v1") + field(2, b"CustomResourceDefinition")
    )
    body += field(2, field(2, spec))
    decoded = decode_body(TABLE, body).document["spec"]["versions"][0]
    assert decoded["subresources"] == {"status": {}}
    found = decoded["schema"]["openAPIV3Schema"]
    assert found["x-kubernetes-validations"] == [{"rule": "self > 0", "message": "too small"}]
    assert repr(found["maximum"]) == "10"
