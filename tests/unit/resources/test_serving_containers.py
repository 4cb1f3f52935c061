"""What Knative says about containers, word for word."""

from typing import Any

import pytest
from tests.unit.resources.builders import admission, problems
from tests.unit.resources.serving_builders import (
    FIRST,
    SPEC,
    container,
    containers,
    flags,
    kubernetes,
    pod,
    service,
)

from knarr.resources.serving.image import is_image_reference
from knarr.resources.serving.service import SERVICE

ROWS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("fine", pod(), {}, ""),
    ("no container", service({}), {}, f"missing field(s): {SPEC}.containers"),
    ("no template", {"metadata": {"name": "x"}}, {}, f"missing field(s): {SPEC}.containers"),
    (
        "duplicate name",
        containers({"name": "a", "ports": [{"containerPort": 80}]}, {"name": "a"}),
        {},
        f'duplicate container name "a": {SPEC}.containers[1].name',
    ),
    (
        "reserved name",
        container(name="queue-proxy"),
        {},
        f'"queue-proxy" is a reserved container name: {FIRST}.name',
    ),
    (
        "several containers switched off",
        containers({"ports": [{"containerPort": 80}]}, {}),
        flags(multi_container="Disabled"),
        "multi-container is off, but found 2 containers: ",
    ),
    (
        "init containers switched off",
        pod(initContainers=[{"image": "app"}]),
        {},
        f"must not set the field(s): {SPEC}.initContainers\n"
        "pod spec support for init-containers is off, but found 1 init containers: ",
    ),
    (
        "two ports",
        container(ports=[{"containerPort": 80}, {"containerPort": 81}]),
        {},
        f"more than one container port is set: {SPEC}.containers[*].ports\n"
        "Only a single port is allowed across all containers",
    ),
    ("no port", containers({}, {}), {}, f"missing field(s): {SPEC}.containers[*].ports"),
    (
        "port name",
        container(ports=[{"containerPort": 80, "name": "web"}]),
        {},
        f"Port name web is not allowed: {FIRST}.ports\n"
        "Name must be empty, or one of: 'h2c', 'http1'",
    ),
    (
        "port protocol",
        container(ports=[{"containerPort": 80, "protocol": "UDP"}]),
        {},
        f"invalid value: UDP: {FIRST}.ports.protocol",
    ),
    (
        "reserved port",
        container(ports=[{"containerPort": 8022}]),
        {},
        f"invalid value: 8022 is a reserved port: {FIRST}.ports.containerPort\n"
        "8022 is a reserved port, please use a different value",
    ),
    (
        "port range",
        container(ports=[{"containerPort": 65536}]),
        {},
        f"expected 0 <= 65536 <= 65535: {FIRST}.ports.containerPort",
    ),
    (
        "reserved variables",
        container(env=[{"name": "PORT"}, {"name": "K_SERVICE"}, {"name": ""}]),
        {},
        f'"K_SERVICE" is a reserved environment variable: {FIRST}.env[1].name\n'
        f'"PORT" is a reserved environment variable: {FIRST}.env[0].name\n'
        f"missing field(s): {FIRST}.env[2].name",
    ),
    (
        "sidecars may set PORT",
        containers({"ports": [{"containerPort": 80}]}, {"env": [{"name": "PORT", "value": "1"}]}),
        {},
        "",
    ),
    (
        "field references",
        container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        {},
        f"must not set the field(s): {FIRST}.env[0].valueFrom.fieldRef",
    ),
    (
        "field references allowed",
        container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        kubernetes("podspec-fieldref"),
        "",
    ),
    (
        "envFrom",
        container(envFrom=[{}, {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}]),
        {},
        f"expected exactly one, got both: {FIRST}.envFrom.configMapRef, {FIRST}.envFrom.secretRef\n"
        "expected exactly one, got neither: "
        f"{FIRST}.envFrom.configMapRef, {FIRST}.envFrom.secretRef",
    ),
    ("no image", container(image=""), {}, f"missing field(s): {FIRST}.image"),
    (
        "bad image",
        container(image="foo:bar:baz"),
        {},
        f"Failed to parse image reference: {FIRST}.image\n"
        'image: "foo:bar:baz", error: could not parse reference: foo:bar:baz',
    ),
    (
        "fields never allowed in containers",
        container(lifecycle={"preStop": {}}, tty=True, stdin=True, volumeDevices=[{"name": "x"}]),
        {},
        f"must not set the field(s): {FIRST}.lifecycle, {FIRST}.stdin, {FIRST}.tty, "
        f"{FIRST}.volumeDevices",
    ),
    (
        "termination message policy",
        container(terminationMessagePolicy="x"),
        {},
        f"invalid value: x: {FIRST}.terminationMessagePolicy",
    ),
    (
        "users",
        container(securityContext={"runAsUser": -10, "runAsGroup": 2**31, "privileged": True}),
        {},
        f"expected 0 <= -10 <= 2147483647: {FIRST}.securityContext.runAsUser\n"
        f"expected 0 <= 2147483648 <= 2147483647: {FIRST}.securityContext.runAsGroup\n"
        f"must not set the field(s): {FIRST}.securityContext.privileged",
    ),
    (
        "added capabilities",
        container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
        {},
        f"must not set the field(s): {FIRST}.securityContext.capabilities.add",
    ),
    (
        "low ports under secure defaults",
        container(securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}}),
        flags(secure_pod_defaults="Enabled"),
        "",
    ),
    (
        "quantities",
        container(resources={"limits": {"cpu": "much"}}),
        {},
        f"invalid value: much: {FIRST}.resources.limits.cpu\nquantities must match the regular "
        "expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
]


@pytest.mark.parametrize(
    ("document", "config", "text"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_templates(document: dict[str, Any], config: dict[str, Any], text: str) -> None:
    assert problems(SERVICE, document, admission(config=config)) == text


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("nginx", True),
        ("nginx:1.2", True),
        ("ghcr.io/a/b:v1", True),
        ("localhost:5000/app", True),
        ("a/b@sha256:" + "0" * 64, True),
        ("a/b:tag@sha256:" + "0" * 64, True),
        ("", False),
        ("a", False),
        ("Foo", False),
        ("foo:bar:baz", False),
        ("foo:", False),
        ("a/b@sha256:123", False),
        ("ex ample.com/a/b", False),
        ("foo:ta g", False),
    ],
)
def test_image_references(text: str, fine: bool) -> None:
    assert is_image_reference(text) is fine
