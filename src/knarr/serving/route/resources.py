"""The Ingress and the placeholder Services of a Route (Knative ``pkg/reconciler/route/resources``)."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from knarr.meta.errors import Terminal
from knarr.meta.objects import ObjectMeta
from knarr.resources.config.features import TAG_HEADER_BASED_ROUTING
from knarr.resources.core.service import Service as CoreService
from knarr.resources.core.service import ServicePort, ServiceSpec
from knarr.resources.networking.ingress import (
    HeaderMatch,
    HttpIngressPath,
    HttpIngressRuleValue,
    Ingress,
    IngressBackendSplit,
    IngressRule,
    IngressSpec,
)
from knarr.resources.serving.route import Route
from knarr.serving import labels
from knarr.serving.route.hosts import Naming, Visibility, expanded
from knarr.serving.route.rollout import Rollout, format_rollout, shares_of
from knarr.serving.route.traffic import DEFAULT_TAG, Traffic

REVISION_HEADER = "Knative-Serving-Revision"
NAMESPACE_HEADER = "Knative-Serving-Namespace"
TAG_HEADER = "Knative-Serving-Tag"
DEFAULT_ROUTE_HEADER = "Knative-Serving-Default-Route"
SERVICE_PORT = 80
H2C_PORT_NAME = "http2"
H2C_PROTOCOL = "kubernetes.io/h2c"


@dataclass(frozen=True, slots=True)
class RoutePicture:
    """Everything an Ingress is made of."""

    route: Route
    traffic: Traffic
    visibilities: Mapping[str, Visibility]
    rollout: Rollout


def ingress_class_of(route: Route, default: str) -> str:
    """Who serves a Route."""
    return route.metadata.annotation(labels.INGRESS_CLASS) or default


def make_ingress(picture: RoutePicture, naming: Naming) -> Ingress:
    """The Ingress: inside one rule per tag, outside one rule per host.

    Raises:
        DomainError: a host cannot be formed.
        Terminal: the http-protocol annotation has no meaning.
    """
    meta = picture.route.metadata
    by_header = naming.config.features.enabled(TAG_HEADER_BASED_ROUTING)
    rules: list[IngressRule] = []
    hosts: dict[str, list[str]] = {}
    for tag in sorted(picture.traffic.targets):
        value = HttpIngressRuleValue(paths=_paths(picture, tag, by_header=by_header))
        name = naming.tag_name(meta.name, tag)
        local = expanded(name, meta.namespace, naming.settings.cluster_domain)
        rules.append(IngressRule(hosts=local, visibility="ClusterLocal", http=value))
        found = [local[-1]]
        if picture.visibilities.get(tag, "ExternalIP") == "ExternalIP":
            public = naming.host(picture.route, tag, "ExternalIP")
            rules.append(IngressRule(hosts=(public,), visibility="ExternalIP", http=value))
            found.append(public)
        if tag != DEFAULT_TAG:
            hosts[tag] = found
    annotations = {
        key: value for key, value in (meta.annotations or {}).items() if key != labels.LAST_APPLIED
    }
    annotations[labels.INGRESS_CLASS] = ingress_class_of(
        picture.route, naming.config.network.ingress_class
    )
    annotations[labels.ROLLOUT] = format_rollout(picture.rollout)
    if hosts:
        annotations[labels.TAG_TO_HOST] = msgspec.json.encode(hosts).decode()
    return Ingress(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            labels={
                **(meta.labels or {}),
                labels.ROUTE: meta.name,
                labels.ROUTE_NAMESPACE: meta.namespace,
            },
            annotations=annotations,
        ),
        spec=IngressSpec(rules=tuple(rules), http_option=_http_option(picture.route, naming)),
    )


def _http_option(route: Route, naming: Naming) -> str:
    """Enabled or Redirected; a redirect to where nothing listens would only end the Route's service."""
    network = naming.config.network
    given = route.metadata.annotation(labels.HTTP_PROTOCOL)
    wanted = given.lower() or network.http_protocol
    if given and wanted not in {"enabled", "redirected"}:
        text = f'incorrect http-protocol annotation: "{given}"'
        raise Terminal("InvalidHttpProtocol", text)
    redirected = wanted == "redirected" and network.external_domain_tls
    return "Redirected" if redirected else "Enabled"


def _paths(picture: RoutePicture, tag: str, *, by_header: bool) -> tuple[HttpIngressPath, ...]:
    """The paths of a tag's hosts; with ``by_header`` the Route's own hosts lead to all tags.

    The application learns how it was reached: by no known tag, or by the tag of the host.
    """
    plain = HttpIngressPath(splits=_splits(picture, tag))
    if not by_header:
        return (plain,)
    if tag != DEFAULT_TAG:
        return (replace(plain, append_headers={TAG_HEADER: tag}),)
    others = sorted(picture.traffic.targets.keys() - {DEFAULT_TAG})
    return (
        *(
            HttpIngressPath(
                headers={TAG_HEADER: HeaderMatch(exact=other)}, splits=_splits(picture, other)
            )
            for other in others
        ),
        replace(plain, append_headers={DEFAULT_ROUTE_HEADER: "true"}),
    )


def _splits(picture: RoutePicture, tag: str) -> tuple[IngressBackendSplit, ...]:
    namespace = picture.route.metadata.namespace
    return tuple(
        IngressBackendSplit(
            service_namespace=namespace,
            service_name=share.revision_name,
            service_port=SERVICE_PORT,
            percent=share.percent,
            append_headers={
                REVISION_HEADER: share.revision_name,
                NAMESPACE_HEADER: namespace,
            },
        )
        for target in picture.traffic.targets[tag]
        if target.percent > 0
        for share in shares_of(target, tag, picture.rollout)
    )


def make_placeholder(route: Route, name: str, target: str) -> CoreService:
    """A Service without Pods: a name inside that leads to the gateway.

    Args:
        route: whose tag it is.
        name: of the Service.
        target: host that the name stands for.
    """
    meta = route.metadata
    own = {key: value for key, value in (meta.labels or {}).items() if key != labels.VISIBILITY}
    annotations = {
        key: value for key, value in (meta.annotations or {}).items() if key != labels.LAST_APPLIED
    }
    return CoreService(
        metadata=ObjectMeta(
            name=name,
            namespace=meta.namespace,
            labels={**own, labels.ROUTE: meta.name},
            annotations=annotations or None,
        ),
        spec=ServiceSpec(
            type="ExternalName",
            external_name=target,
            session_affinity="None",
            ports=(
                ServicePort(
                    name=H2C_PORT_NAME,
                    app_protocol=H2C_PROTOCOL,
                    port=SERVICE_PORT,
                    target_port=SERVICE_PORT,
                ),
            ),
        ),
    )
