"""From API objects to entries of the routing table; pure.

A Revision, its PodAutoscaler and its ready Pods become one ``messages.Revision``; an Ingress becomes one
``messages.Ingress``. A Pod is a replica when it is Ready, has an address and nobody asked for its end.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from knarr.dataplane import messages
from knarr.resources.autoscaling.podautoscaler import PodAutoscaler
from knarr.resources.core.pod import Pod
from knarr.resources.networking.ingress import HttpIngressPath, Ingress, IngressRule
from knarr.resources.serving.podspec import Container, RevisionSpec
from knarr.resources.serving.revision import Revision

SANDBOX_ANNOTATION = "node.knarr.dev/sandbox"
REVISION_LABEL = "serving.knative.dev/revision"
DEFAULT_PORT = 8080
DEFAULT_TIMEOUT_S = 300
QUEUE_LIMIT = 10_000
_NO_CONTAINER = Container()
_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica is, without its port, which belongs to the revision."""

    id: str
    address: str


def serving_container(spec: RevisionSpec) -> Container:
    """The container that takes requests: the one with a port, or the first."""
    for container in spec.containers:
        if container.ports:
            return container
    return spec.containers[0] if spec.containers else _NO_CONTAINER


def user_port(spec: RevisionSpec) -> int:
    """The port of the serving container; 8080 when it names none."""
    ports = serving_container(spec).ports
    return (ports[0].container_port if ports else 0) or DEFAULT_PORT


def compile_endpoint(pod: Pod) -> Endpoint | None:
    """The replica that a Pod is, or None while it takes no requests."""
    status = pod.status
    if status is None or pod.deleting or not status.pod_ip:
        return None
    if status.phase in {"Succeeded", "Failed"}:
        return None
    if not any(item.type == "Ready" and item.status == "True" for item in status.conditions):
        return None
    sandbox = pod.metadata.annotation(SANDBOX_ANNOTATION) or pod.metadata.uid
    return Endpoint(id=sandbox, address=status.pod_ip)


def compile_revision(
    revision: Revision, autoscaler: PodAutoscaler | None, endpoints: Iterable[Endpoint]
) -> messages.Revision:
    """The gateway's view of a revision; without a PodAutoscaler it counts as reachable."""
    spec = revision.spec or RevisionSpec()
    port = user_port(spec)
    ports = serving_container(spec).ports
    unreachable = (
        autoscaler is not None
        and autoscaler.spec is not None
        and autoscaler.spec.reachability == "Unreachable"
    )
    timeout_s = DEFAULT_TIMEOUT_S if spec.timeout_seconds is None else spec.timeout_seconds
    return messages.Revision(
        key=str(revision.key),
        uid=revision.metadata.uid,
        protocol="h2c" if ports and ports[0].name == "h2c" else "http1",
        container_concurrency=spec.container_concurrency or 0,
        timeout_ms=timeout_s * 1000,
        response_start_timeout_ms=(spec.response_start_timeout_seconds or 0) * 1000,
        idle_timeout_ms=(spec.idle_timeout_seconds or 0) * 1000,
        queue_limit=QUEUE_LIMIT,
        reachable=not unreachable,
        replicas=tuple(
            messages.Replica(id=item.id, address=item.address, port=port)
            for item in sorted(endpoints, key=lambda item: item.id)
        ),
        service=revision.metadata.label("serving.knative.dev/service"),
        configuration=revision.metadata.label("serving.knative.dev/configuration"),
    )


def ingress_hash(ingress: Ingress) -> str:
    """Names one version of an Ingress's rules: sha256 of its spec, namespace and name, in hex.

    The same number as Knative's: of the JSON that Go writes (fields in the order of the types, maps
    sorted, ``<``, ``>``, ``&`` and the two line separators escaped), which clients compute as well.
    """
    text = msgspec.json.encode(ingress.spec, order="deterministic").decode()
    name = ingress.metadata.namespace + ingress.metadata.name
    return hashlib.sha256((text.translate(_GO_ESCAPES) + name).encode()).hexdigest()


def compile_ingress(ingress: Ingress) -> messages.Ingress:
    """The gateway's view of an Ingress; shares of 0 % are left out."""
    spec = ingress.spec
    rules = spec.rules if spec else ()
    redirected = spec is not None and spec.http_option == "Redirected"
    return messages.Ingress(
        key=str(ingress.key),
        rules=tuple(_compile_rule(rule, ingress.metadata.namespace) for rule in rules),
        http_option="redirected" if redirected else "enabled",
        hash=ingress_hash(ingress),
    )


def _compile_rule(rule: IngressRule, namespace: str) -> messages.Rule:
    paths = rule.http.paths if rule.http else ()
    return messages.Rule(
        hosts=rule.hosts,
        visibility="local" if rule.visibility == "ClusterLocal" else "external",
        paths=tuple(_compile_path(path, namespace) for path in paths),
    )


def _compile_path(path: HttpIngressPath, namespace: str) -> messages.Path:
    shares = [split for split in path.splits if split.percent > 0]
    if not shares and len(path.splits) == 1:
        shares = [msgspec.structs.replace(path.splits[0], percent=100)]
    return messages.Path(
        prefix=path.path,
        headers={name: match.exact for name, match in (path.headers or {}).items()},
        append_headers=_plain(path.append_headers),
        rewrite_host=path.rewrite_host,
        splits=tuple(
            messages.Split(
                revision=f"{split.service_namespace or namespace}/{split.service_name}",
                percent=split.percent,
                append_headers=_plain(split.append_headers),
            )
            for split in shares
        ),
    )


def _plain(headers: Mapping[str, str] | None) -> dict[str, str]:
    return dict(headers or {})


def referenced_revisions(ingress: messages.Ingress) -> frozenset[str]:
    """The keys of the revisions that an entry sends requests to."""
    return frozenset(
        split.revision for rule in ingress.rules for path in rule.paths for split in path.splits
    )
