from collections.abc import Mapping

import pytest

from knarr.meta.objects import ObjectMeta
from knarr.resources.config.autoscaler import AutoscalerConfig, parse_autoscaler
from knarr.resources.config.defaults import Defaults, parse_defaults
from knarr.resources.config.deployment import DeploymentConfig, parse_deployment
from knarr.resources.config.domain import parse_domain
from knarr.resources.config.features import DEFAULT_FLAGS, parse_features
from knarr.resources.config.gc import GcConfig, parse_gc
from knarr.resources.config.guard import (
    CHECKSUM_ANNOTATION,
    EXAMPLE_TEXT,
    PARSERS,
    config_errors,
    example_checksum,
)
from knarr.resources.config.network import NetworkConfig, parse_network
from knarr.resources.config.values import ConfigError


def test_empty_maps_are_the_defaults() -> None:
    assert parse_autoscaler({}) == AutoscalerConfig()
    assert parse_defaults({}) == Defaults()
    assert parse_deployment({}) == DeploymentConfig()
    assert parse_gc({}) == GcConfig()
    assert parse_network({}) == NetworkConfig()
    assert parse_features({}).flags == DEFAULT_FLAGS


def test_autoscaler_values() -> None:
    config = parse_autoscaler(
        {
            "container-concurrency-target-percentage": "55",
            "stable-window": "2m",
            "max-scale-limit": "10",
            "max-scale": "5",
            "enable-scale-to-zero": "F",
            "target-burst-capacity": "-1",
        }
    )
    assert config.target_fraction == 0.55
    assert config.stable_window_s == 120
    assert (config.max_scale, config.max_scale_limit) == (5, 10)
    assert not config.enable_scale_to_zero


def test_defaults_values() -> None:
    config = parse_defaults(
        {
            "revision-timeout-seconds": "100",
            "revision-cpu-request": "0.5",
            "container-name-template": "{{.Name}}-c",
            "enable-service-links": "maybe",
        }
    )
    assert config.revision_response_start_timeout_seconds == 100
    assert config.cpu_request == "500m"
    assert config.user_container_name(ObjectMeta(name="hello")) == "hello-c"
    assert config.enable_service_links is None


def test_features_values() -> None:
    features = parse_features(
        {
            "multi-container": "disabled",
            "kubernetes.podspec-fieldref": "ALLOWED",
            "kubernetes.podspec-affinity": "nonsense",
            "secure-pod-defaults": "allowrootbounded",
        }
    )
    assert features.disabled("multi-container")
    assert features.flag("kubernetes.podspec-fieldref") == "Allowed"
    assert features.disabled("kubernetes.podspec-affinity")
    assert features.secure_pod_defaults


def test_network_values() -> None:
    config = parse_network(
        {
            "ingress.class": "old",
            "ingress-class": "new",
            "http-protocol": "Redirected",
            "domain-template": '{{.Name}}.{{index .Labels "team"}}.{{.Domain}}',
        }
    )
    assert config.ingress_class == "new"
    assert config.http_protocol == "redirected"
    host = config.host(name="a", namespace="n", domain="d.org", labels={"team": "t"})
    assert host == "a.t.d.org"
    assert config.tag_name(tag="blue", name="a") == "blue-a"


def test_domains() -> None:
    config = parse_domain(
        {
            "_example": "ignored",
            "example.com": "",
            "prod.com": "selector:\n  app: prod\n",
            "both.com": "selector: {app: prod, team: a}",
        }
    )
    assert config.lookup(None) == "example.com"
    assert config.lookup({"app": "prod"}) == "prod.com"
    assert config.lookup({"app": "prod", "team": "a"}) == "both.com"
    local = {"networking.knative.dev/visibility": "cluster-local"}
    assert config.lookup(local) == "svc.cluster.local"
    assert parse_domain({}).lookup(None) == "svc.cluster.local"
    assert parse_domain({"b.com": "", "a.com": ""}).lookup(None) == "a.com"


def test_gc_values() -> None:
    config = parse_gc({"retain-since-create-time": "disabled", "max-non-active-revisions": "30"})
    assert config.retain_since_create_time_s is None
    assert config.max_non_active_revisions == 30


def test_deployment_values() -> None:
    config = parse_deployment(
        {"progressDeadline": "5m", "registries-skipping-tag-resolving": "a, b"}
    )
    assert config.progress_deadline_s == 300
    assert config.registries_skipping_tag_resolving == {"a", "b"}


PROBLEMS: list[tuple[str, Mapping[str, str], str]] = [
    (
        "config-autoscaler",
        {"min-scale": "x"},
        'failed to parse data: failed to parse "min-scale": strconv.ParseInt: parsing "x": '
        "invalid syntax",
    ),
    (
        "config-autoscaler",
        {"enable-scale-to-zero": "yes"},
        'failed to parse data: failed to parse "enable-scale-to-zero": strconv.ParseBool: '
        'parsing "yes": invalid syntax',
    ),
    (
        "config-autoscaler",
        {"stable-window": "5s"},
        "stable-window = 5s, must be in [6s; 1h0m0s] range",
    ),
    (
        "config-autoscaler",
        {"stable-window": "10.5s"},
        "stable-window = 10.5s, must be specified with at most second precision",
    ),
    (
        "config-autoscaler",
        {"max-scale-up-rate": "1"},
        "max-scale-up-rate = 1, must be greater than 1.0",
    ),
    (
        "config-autoscaler",
        {"max-scale": "11", "max-scale-limit": "10"},
        "max-scale = 11, must be in [1, max-scale-limit(10)] range",
    ),
    (
        "config-autoscaler",
        {"initial-scale": "0"},
        "initial-scale = 0, must be at least 0 (or at least 1 when allow-zero-initial-scale is "
        "false)",
    ),
    (
        "config-defaults",
        {"revision-timeout-seconds": "601"},
        "revision-timeout-seconds (601) cannot be greater than max-revision-timeout-seconds (600)",
    ),
    (
        "config-defaults",
        {"container-concurrency": "1001"},
        "expected 0 <= 1001 <= 1000: container-concurrency",
    ),
    (
        "config-defaults",
        {"revision-cpu-limit": "much"},
        'failed to parse "revision-cpu-limit": quantities must match the regular expression '
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    (
        "config-deployment",
        {"progress-deadline": "1.5s"},
        "progress-deadline must be rounded to a whole second, was: 1.5s",
    ),
    (
        "config-deployment",
        {"default-affinity-type": "x"},
        'unsupported default-affinity-type value: "x"',
    ),
    (
        "config-gc",
        {"min-non-active-revisions": "9", "max-non-active-revisions": "8"},
        "min-non-active-revisions(9) must be <= max-non-active-revisions(8)",
    ),
    (
        "config-gc",
        {"retain-since-create-time": "-1s"},
        "failed to parse retain-since-create-time: must be non-negative",
    ),
    (
        "config-network",
        {"http-protocol": "never"},
        "httpProtocol never in config-network ConfigMap is not supported",
    ),
    (
        "config-network",
        {"system-internal-tls": "maybe"},
        'system-internal-tls with value: "maybe" in config-network ConfigMap is not supported',
    ),
    (
        "config-network",
        {"domain-template": "{{.Name}}/path"},
        "domain template has url path: /path",
    ),
    (
        "config-network",
        {"rollout-duration": "-1"},
        "rollout-duration must be a positive integer, but was -1",
    ),
]


@pytest.mark.parametrize(("name", "data", "text"), PROBLEMS)
def test_problems(name: str, data: Mapping[str, str], text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        PARSERS[name](data)
    assert str(refusal.value) == text
    assert [error.message for error in config_errors(name, data, {})] == [text]


def test_examples_must_not_be_edited() -> None:
    example = "\n# a comment\n\nkey: value\n"
    assert example_checksum("a\n\nb") == "9fbadef3"
    guarded = {CHECKSUM_ANNOTATION: example_checksum(example)}
    assert config_errors("config-gc", {"_example": example}, guarded) == []
    edited = {"_example": example + "more: x"}
    assert [item.message for item in config_errors("config-gc", edited, guarded)] == [EXAMPLE_TEXT]
    assert config_errors("other", edited, guarded) == []


def test_tag_headers_may_be_enabled() -> None:
    data = {"tag-header-based-routing": "enabled"}
    assert config_errors("config-features", data, {}) == []


@pytest.mark.parametrize("flag", ["autodetect-http2"])
def test_flags_that_nothing_honours_are_refused_by_name(flag: str) -> None:
    (error,) = config_errors("config-features", {flag: "Enabled"}, {})
    assert flag in error.message
    assert "Disabled" in error.details
    assert (
        config_errors("config-features", {flag: "disabled", "multi-container": "Enabled"}, {}) == []
    )
