"""The Deployment and the PodAutoscaler of a Revision (Knative ``pkg/reconciler/revision/resources``).

No queue-proxy: the gateway queues, limits and times requests, and the node agent drains and probes.
"""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from knarr.dataplane.compile import serving_container, user_port
from knarr.meta.names import child_name
from knarr.meta.objects import ObjectMeta
from knarr.resources.apps.deployment import (
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    RollingUpdate,
)
from knarr.resources.autoscaling.podautoscaler import (
    PodAutoscaler,
    PodAutoscalerSpec,
    ScaleTargetRef,
)
from knarr.resources.core.container import ContainerPort, EnvVar, Probe
from knarr.resources.core.podspec import PodTemplateSpec
from knarr.resources.core.references import LabelSelector
from knarr.resources.serving.podspec import Container, RevisionSpec, pod_spec_of
from knarr.resources.serving.revision import Revision, RevisionStatus
from knarr.serving import labels
from knarr.serving.autoscaler.policy import Reachability, resolve_initial_scale
from knarr.serving.config import ServingConfig
from knarr.serving.values import annotation_duration

USER_PORT_NAME = "user-port"
TERMINATION_POLICY = "FallbackToLogsOnError"
_NOT_INHERITED_LABELS = frozenset({labels.ROUTE, labels.ROUTING_STATE})
_NOT_INHERITED_ANNOTATIONS = frozenset(
    {labels.LAST_PINNED, labels.NO_GC, labels.ROUTING_STATE_MODIFIED, labels.ROUTES}
)

T = TypeVar("T")


def deployment_name(revision: str) -> str:
    """The name of a Revision's Deployment."""
    return child_name(revision, "-deployment")


def make_labels(revision: Revision) -> dict[str, str]:
    """Labels of everything that belongs to a Revision."""
    meta = revision.metadata
    own = {
        key: value for key, value in (meta.labels or {}).items() if key not in _NOT_INHERITED_LABELS
    }
    own |= {labels.REVISION: meta.name, labels.REVISION_UID: meta.uid}
    own.setdefault("app", meta.name)
    return own


def _annotations(revision: Revision, *, autoscaling: bool) -> dict[str, str]:
    return {
        key: value
        for key, value in (revision.metadata.annotations or {}).items()
        if key not in _NOT_INHERITED_ANNOTATIONS
        and (autoscaling or not key.startswith(labels.AUTOSCALING_PREFIX))
    }


def make_pod_template(revision: Revision) -> PodTemplateSpec:
    """The Pods of a Revision."""
    spec = revision.spec or RevisionSpec()
    status = revision.status or RevisionStatus()
    digests = {item.name: item.image_digest for item in status.container_statuses}
    init_digests = {item.name: item.image_digest for item in status.init_container_statuses}
    main = serving_container(spec)
    annotations = _annotations(revision, autoscaling=False)
    if main.name:
        annotations[labels.DEFAULT_CONTAINER] = main.name
    pod = msgspec.structs.replace(
        pod_spec_of(spec),
        containers=tuple(
            _container(item, revision, digests.get(item.name, ""), serving=item is main)
            for item in spec.containers
        ),
        init_containers=tuple(
            _with_image(item, init_digests.get(item.name, "")) for item in spec.init_containers
        ),
        termination_grace_period_seconds=spec.timeout_seconds,
    )
    metadata = ObjectMeta(labels=make_labels(revision), annotations=annotations or None)
    return PodTemplateSpec(metadata=metadata, spec=pod)


def _with_image(container: Container, digest: str) -> Container:
    return msgspec.structs.replace(container, image=digest) if digest else container


def _container(
    container: Container, revision: Revision, digest: str, *, serving: bool
) -> Container:
    meta = revision.metadata
    port = user_port(revision.spec or RevisionSpec())
    environment = [*container.env]
    if serving:
        environment.append(EnvVar(name="PORT", value=str(port)))
    environment += [
        EnvVar(name="K_REVISION", value=meta.name),
        EnvVar(name="K_CONFIGURATION", value=meta.label(labels.CONFIGURATION)),
        EnvVar(name="K_SERVICE", value=meta.label(labels.SERVICE)),
    ]
    changed = msgspec.structs.replace(
        _with_image(container, digest),
        env=tuple(environment),
        stdin=False,
        tty=False,
        termination_message_policy=container.termination_message_policy or TERMINATION_POLICY,
    )
    if not serving:
        return changed
    return msgspec.structs.replace(
        changed,
        ports=(ContainerPort(name=USER_PORT_NAME, container_port=port),),
        readiness_probe=_aimed(changed.readiness_probe, port),
        liveness_probe=_aimed(changed.liveness_probe, port),
        startup_probe=_aimed(changed.startup_probe, port),
    )


def _aimed(probe: Probe | None, port: int) -> Probe | None:
    """A probe whose port is the application's unless it names another."""
    if probe is None:
        return None
    if probe.http_get is not None and not probe.http_get.port:
        return msgspec.structs.replace(
            probe, http_get=msgspec.structs.replace(probe.http_get, port=port)
        )
    if probe.tcp_socket is not None and not probe.tcp_socket.port:
        return msgspec.structs.replace(
            probe, tcp_socket=msgspec.structs.replace(probe.tcp_socket, port=port)
        )
    if probe.grpc is not None and not probe.grpc.port:
        return msgspec.structs.replace(probe, grpc=msgspec.structs.replace(probe.grpc, port=port))
    return probe


def make_deployment(revision: Revision, config: ServingConfig) -> Deployment:
    """The Deployment, with the replicas that it begins with."""
    meta = revision.metadata
    given = meta.annotations or {}
    deadline_s = annotation_duration(
        given, labels.PROGRESS_DEADLINE, config.deployment.progress_deadline_s
    )
    own = make_labels(revision)
    spec = DeploymentSpec(
        selector=LabelSelector(match_labels={labels.REVISION_UID: meta.uid}),
        template=make_pod_template(revision),
        strategy=DeploymentStrategy(
            type="RollingUpdate", rolling_update=RollingUpdate(max_unavailable=0)
        ),
        revision_history_limit=0,
        progress_deadline_seconds=int(deadline_s),
    )
    annotations = _annotations(revision, autoscaling=False)
    own[labels.DEPLOYMENT_HASH] = _hash(spec, annotations, own)
    return Deployment(
        metadata=ObjectMeta(
            name=deployment_name(meta.name),
            namespace=meta.namespace,
            labels=own,
            annotations=annotations or None,
        ),
        spec=msgspec.structs.replace(
            spec, replicas=resolve_initial_scale(config.autoscaler, given)
        ),
    )


def _hash(spec: DeploymentSpec, annotations: Mapping[str, str], own: Mapping[str, str]) -> str:
    text = msgspec.json.encode([spec, annotations, own], order="sorted")
    return hashlib.sha256(text).hexdigest()[:12]


def make_autoscaler(revision: Revision, reachability: Reachability) -> PodAutoscaler:
    """The PodAutoscaler; the Revision's annotations go with it, live."""
    meta, spec = revision.metadata, revision.spec or RevisionSpec()
    ports = serving_container(spec).ports
    return PodAutoscaler(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            labels=make_labels(revision),
            annotations=_annotations(revision, autoscaling=True) or None,
        ),
        spec=PodAutoscalerSpec(
            container_concurrency=spec.container_concurrency or 0,
            scale_target_ref=ScaleTargetRef(
                api_version="apps/v1", kind="Deployment", name=deployment_name(meta.name)
            ),
            reachability=reachability,
            protocol_type="h2c" if ports and ports[0].name == "h2c" else "http1",
        ),
    )
