"""Ingress (``networking.internal.knative.dev/v1alpha1``)."""

from collections.abc import Mapping

import msgspec

from knarr.meta.conditions import ConditionSet
from knarr.meta.objects import Resource, Struct
from knarr.resources.kind import Kind
from knarr.resources.knative import Status

INGRESS_CONDITIONS = ConditionSet(("NetworkConfigured", "LoadBalancerReady"))


class IngressTls(Struct, frozen=True, kw_only=True):
    """A certificate for hosts."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""
    secret_namespace: str = ""


class IngressBackendSplit(Struct, frozen=True, kw_only=True):
    """A share of a path's requests; ``appendHeaders`` are set on the request to the backend."""

    service_namespace: str = ""
    service_name: str = ""
    service_port: int | str | None = None
    percent: int = 0
    append_headers: Mapping[str, str] | None = None


class HeaderMatch(Struct, frozen=True, kw_only=True):
    """A header's exact value."""

    exact: str = ""


class HttpIngressPath(Struct, frozen=True, kw_only=True):
    """Requests whose path begins with ``path`` and whose headers match."""

    path: str = ""
    rewrite_host: str = ""
    headers: Mapping[str, HeaderMatch] | None = None
    append_headers: Mapping[str, str] | None = None
    splits: tuple[IngressBackendSplit, ...] = ()


class HttpIngressRuleValue(Struct, frozen=True, kw_only=True):
    """The paths of a rule."""

    paths: tuple[HttpIngressPath, ...] = ()


class IngressRule(Struct, frozen=True, kw_only=True):
    """Hosts and their paths; ``visibility`` is ExternalIP or ClusterLocal."""

    hosts: tuple[str, ...] = ()
    visibility: str = ""
    http: HttpIngressRuleValue | None = None


class IngressSpec(Struct, frozen=True, kw_only=True):
    """``httpOption`` is Enabled or Redirected."""

    tls: tuple[IngressTls, ...] = ()
    rules: tuple[IngressRule, ...] = ()
    http_option: str = msgspec.field(default="", name="httpOption")


class LoadBalancerIngressStatus(Struct, frozen=True, kw_only=True):
    """Where the gateway is."""

    ip: str = ""
    domain: str = ""
    domain_internal: str = ""
    mesh_only: bool = False


class LoadBalancerStatus(Struct, frozen=True, kw_only=True):
    """The gateway's addresses."""

    ingress: tuple[LoadBalancerIngressStatus, ...] = ()


class IngressStatus(Status, frozen=True, kw_only=True):
    """Which gateways serve the hosts from outside and from inside."""

    public_load_balancer: LoadBalancerStatus | None = None
    private_load_balancer: LoadBalancerStatus | None = None


class Ingress(Resource, frozen=True, kw_only=True):
    """Hosts and paths, and the revisions that answer them. Made by a Route."""

    spec: IngressSpec | None = None
    status: IngressStatus | None = None


INGRESS: Kind[Ingress] = Kind(
    group="networking.internal.knative.dev",
    version="v1alpha1",
    kind="Ingress",
    plural="ingresses",
    singular="ingress",
    short_names=("kingress", "king"),
    categories=("knative-internal", "networking"),
    model=Ingress,
)
