"""What Knative says about Pods and what is insecure, word for word."""

from typing import Any

import pytest
from tests.unit.resources.builders import admission, problems, warnings
from tests.unit.resources.serving_builders import (
    FIRST,
    SPEC,
    SUBDOMAIN,
    YET,
    container,
    flags,
    kubernetes,
    pod,
)

from knarr.resources.serving.service import SERVICE

ROWS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "fields never allowed",
        pod(restartPolicy="Always", nodeName="n", hostname="h", priority=0),
        {},
        f"must not set the field(s): {SPEC}.hostname, {SPEC}.nodeName, {SPEC}.priority, "
        f"{SPEC}.restartPolicy",
    ),
    (
        "flags that are off",
        pod(affinity={"x": {}}, nodeSelector={"a": "b"}, hostNetwork=True, hostPID=True),
        {},
        f"must not set the field(s): {SPEC}.affinity, {SPEC}.hostNetwork, {SPEC}.hostPID, "
        f"{SPEC}.nodeSelector",
    ),
    (
        "flags that are on, but not in Knarr",
        pod(affinity={"x": {}}),
        kubernetes("podspec-affinity"),
        f"must not set the field(s): {SPEC}.affinity\n{YET}",
    ),
    ("flags that are on", pod(nodeSelector={"a": "b"}), kubernetes("podspec-nodeselector"), ""),
    (
        "DNS policy",
        pod(dnsPolicy="None"),
        kubernetes("podspec-dnspolicy"),
        f"invalid value: None: {SPEC}.dnsPolicy\nKnarr supports ClusterFirst and Default",
    ),
    (
        "token",
        pod(automountServiceAccountToken=True),
        {},
        f"must not set the field(s): {SPEC}.automountServiceAccountToken",
    ),
    ("no token", pod(automountServiceAccountToken=False), {}, ""),
    (
        "pod security context",
        pod(securityContext={"fsGroup": -1}),
        {},
        f"expected 0 <= -1 <= 2147483647: {SPEC}.securityContext.fsGroup\n"
        f"must not set the field(s): {SPEC}.securityContext, {SPEC}.securityContext.fsGroup",
    ),
    (
        "pod security context allowed",
        pod(securityContext={"fsGroup": 1, "supplementalGroups": [-1]}),
        kubernetes("podspec-securitycontext"),
        f"expected 0 <= -1 <= 2147483647: {SPEC}.securityContext.supplementalGroups[0]",
    ),
    (
        "seccomp under secure defaults",
        pod(securityContext={"seccompProfile": {"type": "RuntimeDefault"}}),
        flags(secure_pod_defaults="Enabled"),
        "",
    ),
    (
        "account",
        pod(serviceAccountName="foo@bar.baz"),
        {},
        f"invalid value: foo@bar.baz: {SPEC}.serviceAccountName\n{SUBDOMAIN}",
    ),
    (
        "timeout",
        pod(timeoutSeconds=601),
        {},
        f"expected 0 <= 601 <= 600: {SPEC}.timeoutSeconds",
    ),
    (
        "concurrency",
        pod(containerConcurrency=1001),
        {},
        f"expected 0 <= 1001 <= 1000: {SPEC}.containerConcurrency",
    ),
    (
        "concurrency must be bounded",
        pod(containerConcurrency=0),
        {"config-defaults": {"allow-container-concurrency-zero": "false"}},
        f"expected 1 <= 0 <= 1000: {SPEC}.containerConcurrency",
    ),
]


@pytest.mark.parametrize(
    ("document", "config", "text"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_templates(document: dict[str, Any], config: dict[str, Any], text: str) -> None:
    assert problems(SERVICE, document, admission(config=config)) == text


INSECURE = (
    "Kubernetes default value is insecure, Knative may default this to secure in a future release: "
)


@pytest.mark.parametrize(
    ("context", "config", "text"),
    [
        (
            {},
            {},
            f"{INSECURE}{FIRST}.securityContext.allowPrivilegeEscalation, "
            f"{FIRST}.securityContext.capabilities, {FIRST}.securityContext.runAsNonRoot, "
            f"{FIRST}.securityContext.seccompProfile",
        ),
        (
            {
                "allowPrivilegeEscalation": False,
                "runAsNonRoot": True,
                "seccompProfile": {},
                "capabilities": {},
            },
            {},
            f"{INSECURE}{FIRST}.securityContext.capabilities.drop, "
            f"{FIRST}.securityContext.seccompProfile.type",
        ),
        (
            {
                "allowPrivilegeEscalation": False,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
                "capabilities": {"drop": ["all"]},
            },
            {},
            f"invalid value: all: {FIRST}.securityContext.capabilities.drop\n"
            "Must be spelled as 'ALL'",
        ),
        ({}, flags(secure_pod_defaults="Enabled"), ""),
    ],
)
def test_warnings(context: dict[str, Any], config: dict[str, Any], text: str) -> None:
    document = container(securityContext=context)
    assert warnings(SERVICE, document, admission(config=config)) == text
