"""What Knative says about volumes and probes, word for word."""

from typing import Any

import pytest
from tests.unit.resources.builders import admission, problems
from tests.unit.resources.serving_builders import (
    FIRST,
    SPEC,
    YET,
    container,
    containers,
    flags,
    kubernetes,
    mounted,
    pod,
    service,
)

from knarr.resources.serving.service import SERVICE

ROWS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("secret volume", mounted({"secret": {"secretName": "s"}}), {}, ""),
    (
        "reserved path",
        mounted({"secret": {"secretName": "s"}}, {"mountPath": "/dev/"}),
        {},
        f'mountPath "/dev" is a reserved path: {FIRST}.volumeMounts[0].mountPath',
    ),
    (
        "relative path",
        mounted({"secret": {"secretName": "s"}}, {"mountPath": "v"}),
        {},
        f"invalid value: v: {FIRST}.volumeMounts[0].mountPath",
    ),
    (
        "unknown volume",
        container(volumeMounts=[{"name": "x", "mountPath": "/x"}]),
        {},
        f"volumeMount has no matching volume: {FIRST}.volumeMounts[0].name",
    ),
    (
        "unused volumes",
        pod(volumes=[{"name": "v", "emptyDir": {}}, {"name": "v", "secret": {}}]),
        {},
        f'duplicate volume name "v": {SPEC}.volumes[1].name\n'
        f'volume with name "v" not mounted: {SPEC}.volumes[0].name, {SPEC}.volumes[1].name',
    ),
    (
        "same path twice",
        service(
            {
                "containers": [
                    {
                        "image": "app",
                        "volumeMounts": [
                            {"name": "v", "mountPath": "/v"},
                            {"name": "v", "mountPath": "/v/"},
                        ],
                    }
                ],
                "volumes": [{"name": "v", "emptyDir": {}}],
            }
        ),
        {},
        f'invalid value: "/v/" must be unique: {FIRST}.volumeMounts[1].mountPath',
    ),
    (
        "no source",
        mounted({}),
        {},
        f"expected exactly one, got neither: {SPEC}.volumes[0].configMap, "
        f"{SPEC}.volumes[0].emptyDir, {SPEC}.volumes[0].projected, {SPEC}.volumes[0].secret",
    ),
    (
        "two sources",
        mounted({"secret": {}, "configMap": {}}),
        {},
        f"expected exactly one, got both: {SPEC}.volumes[0].configMap, {SPEC}.volumes[0].secret",
    ),
    (
        "emptyDir switched off",
        mounted({"emptyDir": {}}),
        kubernetes("podspec-volumes-emptydir", "Disabled"),
        "EmptyDir volume support is disabled, but found EmptyDir volume v: \n"
        f"must not set the field(s): {SPEC}.volumes[0].emptyDir",
    ),
    (
        "hostPath",
        mounted({"hostPath": {"path": "/"}}),
        {},
        "HostPath volume support is disabled, but found HostPath volume v: \n"
        f"must not set the field(s): {SPEC}.volumes[0].hostPath",
    ),
    (
        "hostPath allowed, but not by Knarr",
        mounted({"hostPath": {"path": "/"}}),
        kubernetes("podspec-volumes-hostpath"),
        f"must not set the field(s): {SPEC}.volumes[0].hostPath\n{YET}",
    ),
    (
        "claims",
        mounted({"persistentVolumeClaim": {"claimName": "data"}}),
        {},
        "Persistent volume claim support is disabled, but found persistent volume claim data: \n"
        "Persistent volume write support is disabled, but found persistent volume claim data that "
        f"is not read-only: \nmust not set the field(s): {SPEC}.volumes[0].persistentVolumeClaim",
    ),
    (
        "service account tokens",
        mounted({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
        {},
        "",
    ),
    (
        "service account token without a path",
        mounted({"projected": {"sources": [{"serviceAccountToken": {}}]}}),
        {},
        f"missing field(s): {SPEC}.volumes[0].projected[0].serviceAccountToken.path",
    ),
    (
        "fields of the Pod outside of a projected volume",
        mounted({"downwardAPI": {"items": []}}),
        {},
        f"expected exactly one, got neither: {SPEC}.volumes[0].configMap, {SPEC}.volumes[0].emptyDir, "
        f"{SPEC}.volumes[0].projected, {SPEC}.volumes[0].secret\n"
        f"must not set the field(s): {SPEC}.volumes[0].downwardAPI",
    ),
    (
        "mount propagation",
        mounted({"emptyDir": {}}, {"mountPropagation": "Bidirectional"}),
        {},
        "Volume Mount Propagation support is disabled, but found volume mount v with mount "
        "propagation: \nmount propagation should be set to None or HostToContainer: "
        f"{FIRST}.volumeMounts[0].mountPropagation\n"
        f"must not set the field(s): {FIRST}.volumeMounts[0].mountPropagation",
    ),
    (
        "empty items",
        mounted({"secret": {"secretName": "s", "items": [{}]}}),
        {},
        f"missing field(s): {SPEC}.volumes[0].items[0].key, {SPEC}.volumes[0].items[0].path",
    ),
    (
        "medium",
        mounted({"emptyDir": {"medium": "Tape"}}),
        {},
        f"invalid value: Tape: {SPEC}.volumes[0].emptyDir.medium",
    ),
    # probes
    (
        "two handlers",
        container(readinessProbe={"exec": {"command": ["x"]}, "httpGet": {}}),
        {},
        f"expected exactly one, got both: {FIRST}.readinessProbe.exec, "
        f"{FIRST}.readinessProbe.httpGet",
    ),
    (
        "no handler",
        container(livenessProbe={"periodSeconds": 3}),
        {},
        f"expected exactly one, got neither: {FIRST}.livenessProbe.exec, "
        f"{FIRST}.livenessProbe.grpc, {FIRST}.livenessProbe.httpGet, "
        f"{FIRST}.livenessProbe.tcpSocket",
    ),
    (
        "eager probing",
        container(readinessProbe={"failureThreshold": 1, "timeoutSeconds": 2}),
        {},
        "failureThreshold is disallowed when periodSeconds is zero: "
        f"{FIRST}.readinessProbe.failureThreshold\n"
        f"timeoutSeconds is disallowed when periodSeconds is zero: "
        f"{FIRST}.readinessProbe.timeoutSeconds",
    ),
    (
        "bounds of probes",
        container(readinessProbe={"periodSeconds": -1, "successThreshold": -1}),
        {},
        f"expected 0 <= -1 <= 2147483647: {FIRST}.readinessProbe.periodSeconds\n"
        f"expected 1 <= -1 <= 2147483647: {FIRST}.readinessProbe.successThreshold",
    ),
    (
        "named port of a probe",
        container(livenessProbe={"httpGet": {"port": "web"}}),
        {},
        f"invalid value: web: {FIRST}.livenessProbe.httpGet.port\n"
        "Probe port must match container port",
    ),
    (
        "probes of sidecars",
        containers({"ports": [{"containerPort": 80}]}, {"livenessProbe": {"httpGet": {"port": 1}}}),
        {},
        f"must not set the field(s): {SPEC}.containers[1].livenessProbe.httpGet",
    ),
    (
        "probes of sidecars need a port",
        containers({"ports": [{"containerPort": 80}]}, {"livenessProbe": {"tcpSocket": {}}}),
        flags(multi_container_probing="Enabled"),
        f"invalid value: 0: {SPEC}.containers[1].livenessProbe.tcpSocket.port\n"
        "Probe port must be specified",
    ),
    (
        "probes of init containers",
        pod(initContainers=[{"image": "app", "livenessProbe": {"httpGet": {}}}]),
        kubernetes("podspec-init-containers"),
        f"field not allowed in an init container: {FIRST}.livenessProbe",
    ),
]


@pytest.mark.parametrize(
    ("document", "config", "text"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_templates(document: dict[str, Any], config: dict[str, Any], text: str) -> None:
    assert problems(SERVICE, document, admission(config=config)) == text
