"""``config-deployment`` (Knative ``pkg/deployment/config.go``).

Knarr has no queue-proxy: its keys are checked and otherwise have no effect, and its image may be absent.
"""

from collections.abc import Mapping

import msgspec

from knarr.resources.config.values import ConfigError, ConfigReader
from knarr.resources.duration import SECOND_NS, format_duration

NAME = "config-deployment"
LOCAL_REGISTRIES = ("kind.local", "ko.local", "dev.local")
_AFFINITIES = ("none", "prefer-spread-revision-over-nodes")
_QUANTITY_KEYS = tuple(
    f"queue-sidecar-{name}-{side}"
    for name in ("cpu", "memory", "ephemeral-storage")
    for side in ("request", "limit")
)


class DeploymentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How Revisions become Deployments; durations in seconds."""

    registries_skipping_tag_resolving: frozenset[str] = frozenset(LOCAL_REGISTRIES)
    digest_resolution_timeout_s: float = 10.0
    progress_deadline_s: int = 600
    default_affinity_type: str = "prefer-spread-revision-over-nodes"
    pod_is_always_schedulable: bool = False


def parse_deployment(data: Mapping[str, str]) -> DeploymentConfig:
    """Read ``config-deployment``.

    Raises:
        ConfigError: a value does not parse or is out of bounds; names the key.
    """
    read = ConfigReader(data)
    deadline = read.duration_ns(600 * SECOND_NS, "progressDeadline", "progress-deadline")
    timeout = read.duration_ns(
        10 * SECOND_NS, "digestResolutionTimeout", "digest-resolution-timeout"
    )
    for key in _QUANTITY_KEYS:
        read.quantity(None, key)
    if deadline <= 0:
        shown = format_duration(deadline)
        raise ConfigError(f"progress-deadline cannot be a non-positive duration, was {shown}")
    if deadline % SECOND_NS:
        shown = format_duration(deadline)
        raise ConfigError(f"progress-deadline must be rounded to a whole second, was: {shown}")
    if timeout <= 0:
        shown = format_duration(timeout)
        text = f"digest-resolution-timeout cannot be a non-positive duration, was {shown}"
        raise ConfigError(text)
    affinity = read.raw("default-affinity-type")
    if affinity is not None and affinity not in _AFFINITIES:
        raise ConfigError(f'unsupported default-affinity-type value: "{affinity}"')
    return DeploymentConfig(
        registries_skipping_tag_resolving=read.names(
            LOCAL_REGISTRIES, "registriesSkippingTagResolving", "registries-skipping-tag-resolving"
        ),
        digest_resolution_timeout_s=timeout / SECOND_NS,
        progress_deadline_s=deadline // SECOND_NS,
        default_affinity_type=affinity or _AFFINITIES[1],
        pod_is_always_schedulable=read.flag("pod-is-always-schedulable", default=False),
    )
