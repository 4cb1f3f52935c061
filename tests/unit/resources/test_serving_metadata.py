"""What Knative says about metadata, annotations and traffic, word for word."""

from typing import Any

import pytest
from tests.unit.resources.builders import admission, problems
from tests.unit.resources.serving_builders import (
    LABEL_1035,
    pod,
    service,
)

from knarr.resources.serving.route import ROUTE
from knarr.resources.serving.service import SERVICE

TRAFFIC: list[tuple[list[dict[str, Any]], str]] = [
    ([{"percent": 50}], "Traffic targets sum to 50, want 100: spec.traffic"),
    (
        [{"percent": 100, "tag": "t"}, {"tag": "t"}],
        'Multiple definitions for "t": spec.traffic[0].tag, spec.traffic[1].tag',
    ),
    (
        [{"percent": 100, "tag": "T"}],
        f"invalid value: not a DNS 1035 label: [{LABEL_1035}]: spec.traffic.tag[0]",
    ),
    (
        [{"percent": 100, "revisionName": "x", "latestRevision": True}],
        'may not set revisionName "x" when latestRevision is true: spec.traffic[0].latestRevision',
    ),
    (
        [{"percent": 100, "latestRevision": False}],
        'may not set revisionName "" when latestRevision is false: spec.traffic[0].latestRevision',
    ),
    (
        [{"percent": 100, "configurationName": "c"}],
        "must not set the field(s): spec.traffic[0].configurationName",
    ),
    (
        [{"percent": 101}, {"percent": -1}],
        "expected 0 <= -1 <= 100: spec.traffic[1].percent\n"
        "expected 0 <= 101 <= 100: spec.traffic[0].percent",
    ),
    ([{"percent": 100, "url": "http://x"}], "must not set the field(s): spec.traffic[0].url"),
]


@pytest.mark.parametrize(("traffic", "text"), TRAFFIC)
def test_traffic(traffic: list[dict[str, Any]], text: str) -> None:
    document = pod()
    document["spec"]["traffic"] = traffic
    assert problems(SERVICE, document) == text


def test_traffic_of_routes() -> None:
    def route(*traffic: dict[str, Any]) -> str:
        return problems(ROUTE, {"metadata": {"name": "r"}, "spec": {"traffic": traffic}})

    assert route({"configurationName": "c", "percent": 100}) == ""
    assert route() == "Traffic targets sum to 0, want 100: spec.traffic"
    both = {"configurationName": "c", "revisionName": "r", "percent": 100}
    assert route(both) == (
        "expected exactly one, got both: spec.traffic[0].configurationName, "
        "spec.traffic[0].revisionName"
    )
    assert route({"percent": 100}) == (
        "expected exactly one, got neither: spec.traffic[0].configurationName, "
        "spec.traffic[0].revisionName"
    )


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"name": "Foo"}, f"not a DNS 1035 label: [{LABEL_1035}]: metadata.name"),
        (
            {"name": "x" * 64},
            "not a DNS 1035 label: [must be no more than 63 characters]: metadata.name",
        ),
        (
            {"generateName": "11-"},
            f"not a DNS 1035 label prefix: [{LABEL_1035}]: metadata.generateName",
        ),
        ({}, "name or generateName is required: metadata.name"),
        (
            {"name": "a", "annotations": {"autoscaling.knative.dev/min-scale": "1"}},
            'invalid key name "autoscaling.knative.dev/min-scale": metadata.annotations\n'
            'autoscaling annotations must be put under "spec.template.metadata.annotations" to work',
        ),
        (
            {"name": "a", "annotations": {"serving.knative.dev/rollout-duration": "1.5s"}},
            "rollout-duration=1.5s is not at second precision: "
            "metadata.annotations.serving.knative.dev/rollout-duration",
        ),
        (
            {"name": "a", "annotations": {"serving.knative.dev/rolloutDuration": "-5s"}},
            "rollout-duration=-5s must be positive: "
            "metadata.annotations.serving.knative.dev/rolloutDuration",
        ),
        (
            {"name": "a", "annotations": {"serving.knative.dev/rollout-duration": "soon"}},
            "invalid value: soon: metadata.annotations.serving.knative.dev/rollout-duration",
        ),
    ],
)
def test_metadata(metadata: dict[str, Any], text: str) -> None:
    assert problems(SERVICE, {**pod(), "metadata": metadata}) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ({"name": "hello-one"}, ""),
        (
            {"name": "one"},
            'invalid value: "one" must have prefix "hello-": spec.template.metadata.name',
        ),
        (
            {"name": "Hello"},
            f"invalid value: not a DNS 1035 label: [{LABEL_1035}]: spec.template.metadata.name",
        ),
        (
            {"annotations": {"networking.knative.dev/foo": "x"}},
            'invalid key name "networking.knative.dev/foo": spec.template.metadata.annotations',
        ),
        (
            {"annotations": {"serving.knative.dev/progress-deadline": "1.5s"}},
            "progress-deadline=1.5s is not at second precision: "
            "spec.template.metadata.annotations.serving.knative.dev/progress-deadline",
        ),
        (
            {"annotations": {"queue.sidecar.serving.knative.dev/resource-percentage": "101"}},
            "expected 0.1 <= 101 <= 100: spec.template.metadata.annotations."
            "[queue.sidecar.serving.knative.dev/resource-percentage]",
        ),
        (
            {"annotations": {"queue.sidecar.serving.knative.dev/cpu-resource-limit": "x"}},
            "invalid value: x: spec.template.metadata.annotations."
            "[queue.sidecar.serving.knative.dev/cpu-resource-limit]",
        ),
    ],
)
def test_metadata_of_templates(template: dict[str, Any], text: str) -> None:
    document = service({"containers": [{"image": "app"}]}, metadata=template)
    assert problems(SERVICE, document) == text


def test_names_of_revisions_need_a_name_of_the_parent() -> None:
    document = service({"containers": [{"image": "app"}]}, metadata={"name": "x-1"})
    document["metadata"] = {"generateName": "x-"}
    assert problems(SERVICE, document) == "must not set the field(s): spec.template.metadata.name"


AUTOSCALING: list[tuple[dict[str, str], dict[str, str], str]] = [
    ({"min-scale": "1", "max-scale": "2", "initialScale": "1"}, {}, ""),
    ({"min-scale": "-1"}, {}, "expected 0 <= -1 <= 2147483647: {}min-scale"),
    ({"minScale": "x"}, {}, "invalid value: x: {}minScale"),
    ({"max-scale": "3000000000"}, {}, "expected 0 <= 3000000000 <= 2147483647: {}max-scale"),
    (
        {"min-scale": "3", "maxScale": "2"},
        {},
        "max-scale=2 is less than min-scale=3: {}max-scale, {}min-scale",
    ),
    (
        {"max-scale": "0"},
        {"max-scale-limit": "10", "max-scale": "5"},
        "max-scale=0 (unlimited), must be less than 10: {}max-scale",
    ),
    (
        {"max-scale": "11"},
        {"max-scale-limit": "10", "max-scale": "5"},
        "expected 1 <= 11 <= 10: {}max-scale",
    ),
    (
        {"activation-scale": "1"},
        {},
        "activation-scale=1 must be greater than 1: {}activation-scale",
    ),
    (
        {"min-scale": "4", "activation-scale": "3"},
        {},
        "min-scale=4 is greater than activation-scale=3: {}activation-scale",
    ),
    (
        {"max-scale": "2", "activation-scale": "3"},
        {},
        "max-scale=2 is less than activation-scale=3: {}activation-scale",
    ),
    ({"panic-window-percentage": "0.5"}, {}, "expected 1 <= 0.5 <= 100: {}panic-window-percentage"),
    (
        {"panicThresholdPercentage": "100"},
        {},
        "expected 110 <= 100 <= 1000: {}panicThresholdPercentage",
    ),
    ({"target": "0.001"}, {}, "target 0.001 should be at least 0.01: {}target"),
    (
        {"target-utilization-percentage": "101"},
        {},
        "expected 1 <= 101 <= 100: {}target-utilization-percentage",
    ),
    ({"target-burst-capacity": "-2"}, {}, "invalid value: -2: {}target-burst-capacity"),
    ({"targetBurstCapacity": "-1"}, {}, ""),
    ({"window": "5s"}, {}, "expected 6s <= 5s <= 1h0m0s: {}window"),
    ({"window": "6.5s"}, {}, "must be specified with at most second precision: {}window"),
    ({"scale-down-delay": "2h"}, {}, "expected 0s <= 2h <= 1h0m0s: {}scale-down-delay"),
    (
        {"scale-to-zero-pod-retention-period": "-1s"},
        {},
        "expected 0s <= -1s <= 1h0m0s: {}scale-to-zero-pod-retention-period",
    ),
    ({"metric": "cpu"}, {}, "invalid value: cpu: {}metric"),
    ({"metric": "cpu", "class": "hpa.autoscaling.knative.dev"}, {}, ""),
    ({"metric": "cpu", "class": "mine.example.com"}, {}, ""),
    ({"class": "foo.knative.dev"}, {}, "invalid value: foo.knative.dev: {}class"),
    (
        {"metric-aggregation-algorithm": "magic", "class": "kpa.autoscaling.knative.dev"},
        {},
        "invalid value: magic: {}metric-aggregation-algorithm",
    ),
    ({"initial-scale": "x"}, {}, "invalid value: x: {}initial-scale"),
    ({"initial-scale": "0"}, {}, "invalid value: 0: {}initial-scale=0 not allowed by cluster"),
    ({"initial-scale": "0"}, {"allow-zero-initial-scale": "true"}, ""),
]


@pytest.mark.parametrize(("annotations", "config", "text"), AUTOSCALING)
def test_autoscaling_annotations(
    annotations: dict[str, str], config: dict[str, str], text: str
) -> None:
    prefix = "autoscaling.knative.dev/"
    keys = {f"{prefix}{name}": value for name, value in annotations.items()}
    document = service({"containers": [{"image": "app"}]}, metadata={"annotations": keys})
    given = admission(config={"config-autoscaler": config})
    expected = text.replace("{}", f"spec.template.metadata.annotations.{prefix}")
    assert problems(SERVICE, document, given) == expected
