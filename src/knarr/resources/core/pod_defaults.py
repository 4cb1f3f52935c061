"""What the API server fills into Pods and Pod templates (Kubernetes ``pkg/apis/core/v1/defaults.go``)."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta
from knarr.resources.core.container import (
    Container,
    EnvVar,
    HttpGetAction,
    Lifecycle,
    Probe,
    ResourceRequirements,
)
from knarr.resources.core.podspec import PodSecurityContext, PodSpec, PodTemplateSpec
from knarr.resources.core.volume import (
    DownwardApiFile,
    EmptyDirVolumeSource,
    ObjectFieldSelector,
    Quantity,
    ResourceFieldSelector,
    Volume,
    VolumeProjection,
)
from knarr.resources.quantity import canonical_quantity

DEFAULT_FILE_MODE = 420
DEFAULT_TOKEN_S = 3600
DEFAULT_GRACE_PERIOD_S = 30

C = TypeVar("C", bound=Container)


def canonical_quantities(
    quantities: Mapping[str, Quantity] | None,
) -> Mapping[str, Quantity] | None:
    """Every quantity in its canonical text; what is no quantity stays, for validation to name it."""
    if quantities is None:
        return None
    return {name: _canonical(value) for name, value in quantities.items()}


def _canonical(value: Quantity) -> Quantity:
    try:
        return canonical_quantity(value)
    except ValueError:
        return value


def image_pull_policy(image: str) -> str:
    """``Always`` for the tag ``latest`` (also when it is implied), otherwise ``IfNotPresent``."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def default_resources(resources: ResourceRequirements | None) -> ResourceRequirements:
    """Canonical quantities; a limit without a request is the request too."""
    found = resources or ResourceRequirements()
    limits = canonical_quantities(found.limits)
    requests = canonical_quantities(found.requests)
    if limits:
        requests = {**limits, **(requests or {})}
    return ResourceRequirements(limits=limits, requests=requests)


def default_probe(probe: Probe | None) -> Probe | None:
    """Kubernetes' numbers: timeout 1 s, period 10 s, one success, three failures."""
    if probe is None:
        return None
    grpc = probe.grpc
    if grpc is not None and grpc.service is None:
        grpc = replace(grpc, service="")
    return replace(
        probe,
        http_get=default_http_get(probe.http_get),
        grpc=grpc,
        timeout_seconds=probe.timeout_seconds or 1,
        period_seconds=probe.period_seconds or 10,
        success_threshold=probe.success_threshold or 1,
        failure_threshold=probe.failure_threshold or 3,
    )


def default_http_get(action: HttpGetAction | None) -> HttpGetAction | None:
    """Path ``/`` and plain HTTP."""
    if action is None:
        return None
    return replace(action, path=action.path or "/", scheme=action.scheme or "HTTP")


def default_lifecycle(lifecycle: Lifecycle | None) -> Lifecycle | None:
    """The defaults of hooks."""
    if lifecycle is None or lifecycle.pre_stop is None:
        return lifecycle
    hook = replace(lifecycle.pre_stop, http_get=default_http_get(lifecycle.pre_stop.http_get))
    return replace(lifecycle, pre_stop=hook)


def _field_ref(reference: ObjectFieldSelector | None) -> ObjectFieldSelector | None:
    if reference is None or reference.api_version:
        return reference
    return replace(reference, api_version="v1")


def _resource_ref(reference: ResourceFieldSelector | None) -> ResourceFieldSelector | None:
    if reference is None:
        return None
    return replace(reference, divisor=_canonical(reference.divisor or "0"))


def default_env(variable: EnvVar) -> EnvVar:
    """The version of field references."""
    source = variable.value_from
    if source is None:
        return variable
    source = replace(
        source,
        field_ref=_field_ref(source.field_ref),
        resource_field_ref=_resource_ref(source.resource_field_ref),
    )
    return replace(variable, value_from=source)


def default_container(container: C) -> C:
    """Everything of a container but its resources."""
    return replace(
        container,
        ports=tuple(replace(port, protocol=port.protocol or "TCP") for port in container.ports),
        env=tuple(default_env(variable) for variable in container.env),
        liveness_probe=default_probe(container.liveness_probe),
        readiness_probe=default_probe(container.readiness_probe),
        startup_probe=default_probe(container.startup_probe),
        lifecycle=default_lifecycle(container.lifecycle),
        resources=_canonical_resources(container.resources),
        termination_message_path=container.termination_message_path or "/dev/termination-log",
        termination_message_policy=container.termination_message_policy or "File",
        image_pull_policy=container.image_pull_policy or image_pull_policy(container.image),
    )


def _canonical_resources(resources: ResourceRequirements | None) -> ResourceRequirements:
    found = resources or ResourceRequirements()
    return ResourceRequirements(
        limits=canonical_quantities(found.limits), requests=canonical_quantities(found.requests)
    )


def default_volume(volume: Volume) -> Volume:
    """File modes; a volume without a source is an emptyDir."""
    if not (
        volume.secret
        or volume.config_map
        or volume.projected
        or volume.downward_api
        or volume.empty_dir
        or volume.persistent_volume_claim
    ):
        return replace(volume, empty_dir=EmptyDirVolumeSource())
    mode = DEFAULT_FILE_MODE
    if volume.secret and volume.secret.default_mode is None:
        volume = replace(volume, secret=replace(volume.secret, default_mode=mode))
    if volume.config_map and volume.config_map.default_mode is None:
        volume = replace(volume, config_map=replace(volume.config_map, default_mode=mode))
    if volume.downward_api:
        given = volume.downward_api.default_mode
        files = tuple(_default_file(item) for item in volume.downward_api.items)
        downward = replace(
            volume.downward_api, items=files, default_mode=mode if given is None else given
        )
        volume = replace(volume, downward_api=downward)
    if volume.projected:
        sources = tuple(_default_projection(source) for source in volume.projected.sources)
        given = volume.projected.default_mode
        projected = replace(
            volume.projected, sources=sources, default_mode=mode if given is None else given
        )
        volume = replace(volume, projected=projected)
    if volume.empty_dir and volume.empty_dir.size_limit is not None:
        limit = _canonical(volume.empty_dir.size_limit)
        volume = replace(volume, empty_dir=replace(volume.empty_dir, size_limit=limit))
    return volume


def _default_projection(source: VolumeProjection) -> VolumeProjection:
    token = source.service_account_token
    if token is not None and token.expiration_seconds is None:
        token = replace(token, expiration_seconds=DEFAULT_TOKEN_S)
        source = replace(source, service_account_token=token)
    if source.downward_api is None:
        return source
    files = tuple(_default_file(item) for item in source.downward_api.items)
    return replace(source, downward_api=replace(source.downward_api, items=files))


def _default_file(item: DownwardApiFile) -> DownwardApiFile:
    return replace(
        item,
        field_ref=_field_ref(item.field_ref),
        resource_field_ref=_resource_ref(item.resource_field_ref),
    )


def default_pod_spec(spec: PodSpec) -> PodSpec:
    """What holds for Pods and templates alike."""
    account = spec.service_account_name or spec.service_account
    return replace(
        spec,
        volumes=tuple(default_volume(volume) for volume in spec.volumes),
        init_containers=tuple(default_container(item) for item in spec.init_containers),
        containers=tuple(default_container(item) for item in spec.containers),
        restart_policy=spec.restart_policy or "Always",
        dns_policy=spec.dns_policy or "ClusterFirst",
        service_account_name=account,
        service_account=account,
        security_context=spec.security_context or PodSecurityContext(),
        scheduler_name=spec.scheduler_name or "default-scheduler",
        termination_grace_period_seconds=(
            DEFAULT_GRACE_PERIOD_S
            if spec.termination_grace_period_seconds is None
            else spec.termination_grace_period_seconds
        ),
    )


def default_running_spec(spec: PodSpec) -> PodSpec:
    """What a Pod gets beyond its template: requests from limits, service links."""
    spec = default_pod_spec(spec)
    return replace(
        spec,
        containers=tuple(_with_requests(item) for item in spec.containers),
        init_containers=tuple(_with_requests(item) for item in spec.init_containers),
        enable_service_links=(
            True if spec.enable_service_links is None else spec.enable_service_links
        ),
    )


def _with_requests(container: Container) -> Container:
    return replace(container, resources=default_resources(container.resources))


def default_template(template: PodTemplateSpec | None) -> PodTemplateSpec:
    """The template of a Deployment or ReplicaSet."""
    found = template or PodTemplateSpec()
    metadata = found.metadata or ObjectMeta()
    return replace(found, metadata=metadata, spec=default_pod_spec(found.spec or PodSpec()))


def qos_class(spec: PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort (``pkg/apis/core/helper/qos``)."""
    wanted: list[tuple[Mapping[str, Quantity], Mapping[str, Quantity]]] = []
    for container in (*spec.init_containers, *spec.containers):
        resources = container.resources or ResourceRequirements()
        wanted.append((_computed(resources.requests), _computed(resources.limits)))
    if not any(requests or limits for requests, limits in wanted):
        return "BestEffort"
    if all(len(limits) == 2 and requests == limits for requests, limits in wanted):
        return "Guaranteed"
    return "Burstable"


def _computed(quantities: Mapping[str, Quantity] | None) -> Mapping[str, Quantity]:
    return {
        name: value
        for name, value in (quantities or {}).items()
        if name in {"cpu", "memory"} and str(value) != "0"
    }
