"""Documents before and after Knative's defaulting webhook."""

from typing import Any

import pytest
from tests.unit.resources.builders import admission, decode, defaulted

from knarr.resources.autoscaling.podautoscaler import POD_AUTOSCALER
from knarr.resources.networking.ingress import INGRESS
from knarr.resources.serving.configuration import CONFIGURATION
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.route import ROUTE
from knarr.resources.serving.service import SERVICE

CREATOR, MODIFIER = "serving.knative.dev/creator", "serving.knative.dev/lastModifier"
SELF = {CREATOR: "jane", MODIFIER: "jane"}
READINESS = {"successThreshold": 1, "tcpSocket": {"port": 0}}


def service(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "hello", "namespace": "default", **metadata},
        "spec": {"template": {"spec": spec}},
    }


def template_spec(spec: dict[str, Any], **config: dict[str, str]) -> dict[str, Any]:
    """A template's spec after defaulting."""
    given = admission(config={name.replace("_", "-"): data for name, data in config.items()})
    result: dict[str, Any] = defaulted(SERVICE, service(spec), given)["spec"]["template"]["spec"]
    return result


def container(fields: dict[str, Any], **config: dict[str, str]) -> dict[str, Any]:
    """The only container of a template after defaulting."""
    result: dict[str, Any] = template_spec({"containers": [fields]}, **config)["containers"][0]
    return result


def test_smallest_service() -> None:
    assert defaulted(SERVICE, service({"containers": [{"image": "i"}]})) == {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "hello", "namespace": "default", "annotations": SELF},
        "spec": {
            "template": {
                "metadata": {},
                "spec": {
                    "containerConcurrency": 0,
                    "containers": [
                        {
                            "image": "i",
                            "name": "user-container",
                            "readinessProbe": READINESS,
                            "resources": {},
                        }
                    ],
                    "enableServiceLinks": False,
                    "timeoutSeconds": 300,
                },
            },
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
    }


def test_configuration_and_revision() -> None:
    spec = {"containers": [{"image": "i"}]}
    expected = template_spec(spec)
    given = {"metadata": {"name": "c"}, "spec": {"template": {"spec": spec}}}
    result = defaulted(CONFIGURATION, given)
    assert result["spec"] == {"template": {"metadata": {}, "spec": expected}}
    assert result["metadata"]["annotations"] == SELF
    result = defaulted(REVISION, {"metadata": {"name": "r"}, "spec": spec})
    assert result == {"metadata": {"name": "r"}, "spec": expected}


def test_owned_children_keep_their_annotations() -> None:
    owner = {"apiVersion": "v1", "kind": "Service", "name": "s", "uid": "u"}
    metadata = {"name": "c", "ownerReferences": [owner]}
    assert "annotations" not in defaulted(CONFIGURATION, {"metadata": metadata})["metadata"]
    assert "annotations" not in defaulted(ROUTE, {"metadata": metadata})["metadata"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, READINESS),
        ({"initialDelaySeconds": 3}, {**READINESS, "initialDelaySeconds": 3}),
        (
            {"httpGet": {"path": "/x"}},
            {"httpGet": {"path": "/x", "port": 0}, "successThreshold": 1},
        ),
        (
            {"httpGet": {"port": 8080}, "periodSeconds": 5},
            {
                "httpGet": {"port": 8080},
                "periodSeconds": 5,
                "successThreshold": 1,
                "failureThreshold": 3,
                "timeoutSeconds": 1,
            },
        ),
        (
            {"grpc": {"port": 1}},
            {"grpc": {"port": 1, "service": ""}, "successThreshold": 1},
        ),
        ({"exec": {"command": ["x"]}}, {"exec": {"command": ["x"]}, "successThreshold": 1}),
        ({"tcpSocket": {}, "successThreshold": 2}, {**READINESS, "successThreshold": 2}),
        ({"periodSeconds": 0, "failureThreshold": 0}, READINESS),
    ],
)
def test_readiness_probes(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    fields = {"image": "i"} if before is None else {"image": "i", "readinessProbe": before}
    assert container(fields)["readinessProbe"] == after


def test_other_probes_are_left_to_kubernetes() -> None:
    result = container({"image": "i", "livenessProbe": {"httpGet": {"port": 1}}})
    assert result["livenessProbe"] == {"httpGet": {"port": 1}}


@pytest.mark.parametrize(
    ("containers", "names"),
    [
        ([{}], ["user-container"]),
        ([{}, {}], ["user-container-0", "user-container-1"]),
        ([{"name": "a"}, {}], ["a", "user-container-0"]),
        ([{"name": "user-container-0"}, {}], ["user-container-0", "user-container-1"]),
    ],
)
def test_container_names(containers: list[dict[str, str]], names: list[str]) -> None:
    spec = template_spec({"containers": [{"image": "i", **item} for item in containers]})
    assert [item["name"] for item in spec["containers"]] == names


def test_init_container_names() -> None:
    spec = {"containers": [{"image": "i"}], "initContainers": [{"image": "i"}]}
    assert template_spec(spec)["initContainers"] == [
        {"image": "i", "name": "init-container", "resources": {}}
    ]


def test_container_name_template() -> None:
    config = {"container-name-template": "{{.Name}}-main"}
    assert container({"image": "i"}, config_defaults=config)["name"] == "hello-main"


def test_sidecars_get_no_probe() -> None:
    spec = template_spec(
        {"containers": [{"image": "a", "ports": [{"containerPort": 80}]}, {"image": "b"}]}
    )
    assert spec["containers"][0]["readinessProbe"] == READINESS
    assert "readinessProbe" not in spec["containers"][1]


def test_resources() -> None:
    config = {"revision-cpu-request": "400m", "revision-memory-limit": "200M"}
    fields = {"image": "i", "resources": {"requests": {"cpu": 1, "memory": "1024Mi"}}}
    assert container(fields, config_defaults=config)["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"memory": "200M"},
    }
    assert container({"image": "i", "resources": {"limits": {}}})["resources"] == {}


@pytest.mark.parametrize(
    ("spec", "config", "expected"),
    [
        ({}, {}, (300, None, None, 0)),
        ({"timeoutSeconds": 0}, {}, (300, None, None, 0)),
        ({"timeoutSeconds": 400}, {}, (400, 300, None, 0)),
        (
            {"timeoutSeconds": 60},
            {
                "revision-idle-timeout-seconds": "20",
                "revision-response-start-timeout-seconds": "30",
            },
            (60, 30, 20, 0),
        ),
        (
            {"timeoutSeconds": 10},
            {"revision-idle-timeout-seconds": "20", "container-concurrency": "7"},
            (10, None, None, 7),
        ),
        (
            {"idleTimeoutSeconds": 0, "containerConcurrency": 1},
            {"revision-idle-timeout-seconds": "20"},
            (300, None, 0, 1),
        ),
    ],
)
def test_timeouts(
    spec: dict[str, Any],
    config: dict[str, str],
    expected: tuple[int, int | None, int | None, int],
) -> None:
    result = template_spec({"containers": [{"image": "i"}], **spec}, config_defaults=config)
    assert (
        result["timeoutSeconds"],
        result.get("responseStartTimeoutSeconds"),
        result.get("idleTimeoutSeconds"),
        result["containerConcurrency"],
    ) == expected


def test_mounts_are_read_only_unless_volumes_can_be_written() -> None:
    spec = template_spec(
        {
            "containers": [
                {
                    "image": "i",
                    "volumeMounts": [
                        {"name": "s", "mountPath": "/s"},
                        {"name": "e", "mountPath": "/e"},
                    ],
                }
            ],
            "volumes": [
                {"name": "s", "secret": {"secretName": "s"}},
                {"name": "e", "emptyDir": {"sizeLimit": "1024Mi"}},
            ],
        }
    )
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "s", "mountPath": "/s", "readOnly": True},
        {"name": "e", "mountPath": "/e"},
    ]
    assert spec["volumes"][1] == {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}}


@pytest.mark.parametrize(
    ("mode", "fields", "expected"),
    [
        (
            "Enabled",
            {},
            {
                "allowPrivilegeEscalation": False,
                "seccompProfile": {"type": "RuntimeDefault"},
                "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": True,
            },
        ),
        (
            "AllowRootBounded",
            {"ports": [{"containerPort": 80}]},
            {
                "allowPrivilegeEscalation": False,
                "seccompProfile": {"type": "RuntimeDefault"},
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        ),
        (
            "Enabled",
            {
                "securityContext": {
                    "allowPrivilegeEscalation": True,
                    "runAsNonRoot": False,
                    "capabilities": {},
                    "seccompProfile": {"type": "Unconfined"},
                }
            },
            {
                "allowPrivilegeEscalation": True,
                "runAsNonRoot": False,
                "capabilities": {},
                "seccompProfile": {"type": "Unconfined"},
            },
        ),
    ],
)
def test_secure_pod_defaults(mode: str, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    result = container({"image": "i", **fields}, config_features={"secure-pod-defaults": mode})
    assert result["securityContext"] == expected


@pytest.mark.parametrize(("links", "expected"), [("true", True), ("default", None)])
def test_service_links(links: str, expected: bool | None) -> None:
    config = {"enable-service-links": links}
    spec = template_spec({"containers": [{"image": "i"}]}, config_defaults=config)
    assert spec.get("enableServiceLinks") is expected


def test_traffic() -> None:
    document = service({"containers": [{"image": "i"}]})
    document["spec"]["traffic"] = [
        {"revisionName": "hello-1", "percent": 40, "tag": "old"},
        {"percent": 60},
        {"tag": "canary", "latestRevision": True},
    ]
    assert defaulted(SERVICE, document)["spec"]["traffic"] == [
        {"revisionName": "hello-1", "percent": 40, "tag": "old", "latestRevision": False},
        {"percent": 60, "latestRevision": True},
        {"tag": "canary", "latestRevision": True, "percent": 0},
    ]
    assert defaulted(ROUTE, {"metadata": {"name": "r"}})["spec"] == {}


def test_modifier_follows_the_spec() -> None:
    document = service({"containers": [{"image": "i"}]})
    document["metadata"]["annotations"] = {}
    document = defaulted(SERVICE, document)
    stored = decode(SERVICE, document)
    assert defaulted(SERVICE, document, admission(stored, user="joe")) == document
    document["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    result = defaulted(SERVICE, document, admission(stored, user="joe"))
    assert result["metadata"]["annotations"] == {CREATOR: "jane", MODIFIER: "joe"}


def test_chosen_names_keep_their_template() -> None:
    document = service({"containers": [{"image": "i"}]})
    document["spec"]["template"]["metadata"] = {"name": "hello-one"}
    stored = decode(SERVICE, document)
    config = {"config-defaults": {"revision-timeout-seconds": "42"}}
    result = defaulted(SERVICE, document, admission(stored, config=config))
    assert result["spec"]["template"] == {
        "metadata": {"name": "hello-one"},
        "spec": {"containers": [{"image": "i", "resources": {}}]},
    }
    document["spec"]["template"]["metadata"] = {"name": "hello-two"}
    result = defaulted(SERVICE, document, admission(stored, config=config))
    assert result["spec"]["template"]["spec"]["timeoutSeconds"] == 42


def test_revisions_are_not_defaulted_again() -> None:
    document = {"metadata": {"name": "r"}, "spec": {"containers": [{"image": "i"}]}}
    given = admission(decode(REVISION, document))
    assert defaulted(REVISION, document, given)["spec"] == {
        "containers": [{"image": "i", "resources": {}}]
    }


def test_pod_autoscaler() -> None:
    def annotations(given: dict[str, str], **config: dict[str, str]) -> dict[str, str]:
        document = {"metadata": {"name": "a", "annotations": given}}
        found = admission(config={name.replace("_", "-"): item for name, item in config.items()})
        result: dict[str, str] = defaulted(POD_AUTOSCALER, document, found)["metadata"][
            "annotations"
        ]
        return result

    key, metric = "autoscaling.knative.dev/class", "autoscaling.knative.dev/metric"
    kpa, hpa = "kpa.autoscaling.knative.dev", "hpa.autoscaling.knative.dev"
    assert annotations({}) == {key: kpa, metric: "concurrency"}
    assert annotations({key: hpa}) == {key: hpa, metric: "cpu"}
    assert annotations({metric: "rps"}) == {key: kpa, metric: "rps"}
    config = {"pod-autoscaler-class": hpa}
    assert annotations({}, config_autoscaler=config) == {key: hpa, metric: "cpu"}


def test_ingress() -> None:
    split = {"serviceNamespace": "n", "serviceName": "s", "servicePort": 80}
    rules = [{"http": {"paths": [{"splits": [split]}]}}]
    assert defaulted(INGRESS, {"spec": {"rules": rules}})["spec"]["rules"] == [
        {"visibility": "ExternalIP", "http": {"paths": [{"splits": [{**split, "percent": 100}]}]}}
    ]
