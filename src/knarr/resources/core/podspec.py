"""``PodSpec`` and ``PodTemplateSpec`` (Kubernetes ``core/v1``): the fields that Knarr honours.

A field of Kubernetes that is missing here is refused by the API server by name; it is never ignored.
Fields that choose among nodes are accepted and have no effect, because there is one node.
"""

from collections.abc import Mapping

from knarr.meta.objects import ObjectMeta, Struct
from knarr.resources.core.container import Container, SeccompProfile
from knarr.resources.core.references import LocalObjectReference
from knarr.resources.core.volume import Volume


class PodSecurityContext(Struct, frozen=True, kw_only=True):
    """Defaults for the security context of every container, and groups of volumes."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    fs_group: int | None = None
    seccomp_profile: SeccompProfile | None = None


class Toleration(Struct, frozen=True, kw_only=True):
    """Stored as sent; a single node has no taints."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class PodSpec(Struct, frozen=True, kw_only=True):
    """What runs in a Pod."""

    volumes: tuple[Volume, ...] = ()
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    dns_policy: str = ""
    node_selector: Mapping[str, str] | None = None
    service_account_name: str = ""
    service_account: str = ""
    automount_service_account_token: bool | None = None
    node_name: str = ""
    security_context: PodSecurityContext | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    hostname: str = ""
    subdomain: str = ""
    scheduler_name: str = ""
    tolerations: tuple[Toleration, ...] = ()
    priority_class_name: str = ""
    priority: int | None = None
    preemption_policy: str | None = None
    enable_service_links: bool | None = None


class PodTemplateSpec(Struct, frozen=True, kw_only=True):
    """The Pods that a controller makes."""

    metadata: ObjectMeta | None = None
    spec: PodSpec | None = None
