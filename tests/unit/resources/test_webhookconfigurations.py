from typing import Any

import msgspec
import pytest

from knarr.meta.fielderrors import causes_of
from knarr.resources.admissionregistration.configuration import (
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_WEBHOOK_CONFIGURATION,
)
from knarr.resources.kind import Admission, Kind, UserInfo

ADMISSION = Admission(operation="CREATE", user=UserInfo("admin"))
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
HOOK = {
    "name": "check.example.com",
    "clientConfig": {"service": {"name": "s", "namespace": "n"}},
    "rules": [RULE],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}


def configuration(kind: Kind[Any], *webhooks: dict[str, Any]) -> Any:
    document = {"metadata": {"name": "c"}, "webhooks": list(webhooks)}
    return kind.default(msgspec.convert(document, kind.model), ADMISSION)


def problems(
    webhook: dict[str, Any], kind: Kind[Any] = MUTATING_WEBHOOK_CONFIGURATION
) -> list[str]:
    subject = configuration(kind, webhook)
    return [f"{c.field}: {c.message}" for c in causes_of(kind.validate(subject, ADMISSION))]


def test_defaults_of_mutating_webhooks() -> None:
    subject = configuration(MUTATING_WEBHOOK_CONFIGURATION, HOOK)
    (webhook,) = msgspec.json.decode(msgspec.json.encode(subject))["webhooks"]
    assert webhook == {
        **HOOK,
        "clientConfig": {"service": {"name": "s", "namespace": "n", "port": 443}},
        "rules": [{**RULE, "scope": "*"}],
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "timeoutSeconds": 10,
        "reinvocationPolicy": "Never",
    }
    assert problems(HOOK) == []


def test_validating_webhooks_are_never_asked_again() -> None:
    subject = configuration(VALIDATING_WEBHOOK_CONFIGURATION, HOOK)
    assert "reinvocationPolicy" not in msgspec.to_builtins(subject)["webhooks"][0]
    assert problems(HOOK, VALIDATING_WEBHOOK_CONFIGURATION) == []


def test_defaults_change_nothing_that_was_set() -> None:
    once = configuration(MUTATING_WEBHOOK_CONFIGURATION, HOOK)
    assert MUTATING_WEBHOOK_CONFIGURATION.default(once, ADMISSION) == once


W = "webhooks[0]"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": ""}, [f"{W}.name: Required value"]),
        (
            {"name": "a.b"},
            [
                f'{W}.name: Invalid value: "a.b": should be a domain with at least three segments '
                "separated by dots"
            ],
        ),
        ({"failurePolicy": "Maybe"}, [f'{W}.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"']),
        ({"matchPolicy": "No"}, [f'{W}.matchPolicy: Unsupported value: "No": supported values: "Equivalent", "Exact"']),
        ({"sideEffects": None}, [f"{W}.sideEffects: Required value: must specify one of None, NoneOnDryRun"]),
        ({"sideEffects": "Some"}, [f'{W}.sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"']),
        ({"timeoutSeconds": 31}, [f"{W}.timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"]),
        ({"timeoutSeconds": 0}, [f"{W}.timeoutSeconds: Invalid value: 0: the timeout value must be between 1 and 30 seconds"]),
        ({"reinvocationPolicy": "x"}, [f'{W}.reinvocationPolicy: Unsupported value: "x": supported values: "IfNeeded", "Never"']),
        ({"admissionReviewVersions": []}, [f"{W}.admissionReviewVersions: Required value: must specify one of v1, v1beta1"]),
        ({"admissionReviewVersions": ["v2"]}, [f'{W}.admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1']),
        ({"admissionReviewVersions": ["v1", "v1"]}, [f'{W}.admissionReviewVersions[1]: Invalid value: "v1": duplicate version']),
        ({"clientConfig": {}}, [f"{W}.clientConfig: Required value: exactly one of url or service is required"]),
        (
            {"clientConfig": {"url": "http://u:p@h/p?q=1#f"}},
            [
                f"{W}.clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                f'{W}.clientConfig.url: Invalid value: "u:p": user information is not permitted in the URL',
                f'{W}.clientConfig.url: Invalid value: "f": fragments are not permitted in the URL',
                f'{W}.clientConfig.url: Invalid value: "q=1": query parameters are not permitted in the URL',
            ],
        ),
        ({"clientConfig": {"url": "https:///x"}}, [f'{W}.clientConfig.url: Invalid value: "": host must be specified; desired format: https://host[/path]']),
        (
            {"clientConfig": {"service": {"port": 70000, "path": "a//b/c"}}},
            [
                f"{W}.clientConfig.service.name: Required value",
                f"{W}.clientConfig.service.namespace: Required value",
                f"{W}.clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
                f"{W}.clientConfig.service.path: Invalid value: \"a//b/c\": must start with a '/'",
                f'{W}.clientConfig.service.path: Invalid value: "a//b/c": segment[0] may not be empty',
                f'{W}.clientConfig.service.path: Invalid value: "a//b/c": segment[1] may not be empty',
            ],
        ),
        ({"clientConfig": {"url": "https://h", "caBundle": "?"}}, [f'{W}.clientConfig.caBundle: Invalid value: "?": must be PEM certificates in base64']),
        ({"rules": [{}]}, [f"{W}.rules[0].{name}: Required value" for name in ("operations", "apiGroups", "apiVersions", "resources")]),
        (
            {"rules": [{"operations": ["*", "CREATE"], "apiGroups": ["*", "a"], "apiVersions": ["*", ""], "resources": ["*", "pods"], "scope": "x"}]},
            [
                f"{W}.rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
                f"{W}.rules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups",
                f"{W}.rules[0].apiVersions: Invalid value: [\"*\",\"\"]: if '*' is present, must not specify other API versions",
                f"{W}.rules[0].apiVersions[1]: Required value",
                f"{W}.rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
                f'{W}.rules[0].scope: Unsupported value: "x": supported values: "*", "Cluster", "Namespaced"',
            ],
        ),
        (
            {"rules": [{**RULE, "resources": ["pods/*", "pods/status", "*/scale", "a/scale", ""]}]},
            [
                f"{W}.rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
                f"{W}.rules[0].resources[3]: Invalid value: \"a/scale\": if '*/scale' is present, must not specify a/scale",
                f"{W}.rules[0].resources[4]: Required value",
            ],
        ),
        ({"rules": [{**RULE, "operations": ["PATCH"]}]}, [f'{W}.rules[0].operations[0]: Unsupported value: "PATCH": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"']),
        ({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}, [f'{W}.namespaceSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator']),
        (
            {"matchConditions": [{"name": "a", "expression": " "}, {"name": "a", "expression": "true"}, {"name": "", "expression": "true"}]},
            [
                f"{W}.matchConditions[0].expression: Required value",
                f'{W}.matchConditions[1].name: Duplicate value: "a"',
                f"{W}.matchConditions[2].name: Required value",
            ],
        ),
        ({"matchConditions": [{"name": f"a{n}", "expression": "true"} for n in range(65)]}, [f"{W}.matchConditions: Too many: 65: must have at most 64 items"]),
    ],
)  # fmt: skip
def test_what_is_refused(change: dict[str, Any], expected: list[str]) -> None:
    assert problems({**HOOK, **change}) == expected


def test_names_are_unique_in_a_configuration() -> None:
    subject = configuration(MUTATING_WEBHOOK_CONFIGURATION, HOOK, HOOK)
    causes = causes_of(MUTATING_WEBHOOK_CONFIGURATION.validate(subject, ADMISSION))
    assert [f"{c.field}: {c.message}" for c in causes] == [
        'webhooks[1].name: Duplicate value: "check.example.com"'
    ]


def test_the_number_of_webhooks_is_shown() -> None:
    (column,) = MUTATING_WEBHOOK_CONFIGURATION.columns
    assert (column.name, column.cell({"webhooks": [{}, {}]}, 0)) == ("Webhooks", 2)
    assert column.cell({}, 0) == 0
