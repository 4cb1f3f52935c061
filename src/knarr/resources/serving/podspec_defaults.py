"""What Knative's webhook fills into a Revision's template (``pkg/apis/serving/v1/revision_defaults.go``).

``normalize_*`` is what any write does, because Knative decodes into Go structs and encodes them again: empty
structs appear, empty maps vanish, quantities become canonical. ``default_*`` adds Knative's defaults.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from knarr.meta.names import child_name
from knarr.meta.objects import ObjectMeta
from knarr.resources.config.defaults import Defaults
from knarr.resources.config.features import (
    ALLOW_ROOT_BOUNDED,
    ENABLED,
    SECURE_POD_DEFAULTS,
    Features,
)
from knarr.resources.core.container import (
    Capabilities,
    GrpcAction,
    Probe,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    TcpSocketAction,
)
from knarr.resources.core.pod_defaults import canonical_quantities
from knarr.resources.core.podspec import PodSecurityContext
from knarr.resources.core.volume import Quantity
from knarr.resources.quantity import canonical_quantity
from knarr.resources.serving.podspec import Container, RevisionSpec, RevisionTemplate, Volume


def normalize_metadata(metadata: ObjectMeta | None) -> ObjectMeta:
    """Metadata without empty maps."""
    found = metadata or ObjectMeta()
    return replace(found, labels=found.labels or None, annotations=found.annotations or None)


def normalize_spec(spec: RevisionSpec) -> RevisionSpec:
    """A Revision's spec as Go would write it."""
    return replace(
        spec,
        containers=tuple(_normalize_container(item) for item in spec.containers),
        init_containers=tuple(_normalize_container(item) for item in spec.init_containers),
        volumes=tuple(_normalize_volume(item) for item in spec.volumes),
    )


def normalize_template(template: RevisionTemplate | None) -> RevisionTemplate:
    """A template as Go would write it."""
    found = template or RevisionTemplate()
    return RevisionTemplate(
        metadata=normalize_metadata(found.metadata),
        spec=normalize_spec(found.spec or RevisionSpec()),
    )


def _normalize_container(container: Container) -> Container:
    resources = container.resources or ResourceRequirements()
    return replace(
        container,
        resources=ResourceRequirements(
            limits=canonical_quantities(resources.limits) or None,
            requests=canonical_quantities(resources.requests) or None,
        ),
        liveness_probe=_normalize_probe(container.liveness_probe),
        readiness_probe=_normalize_probe(container.readiness_probe),
        startup_probe=_normalize_probe(container.startup_probe),
    )


def _normalize_probe(probe: Probe | None) -> Probe | None:
    if probe is None:
        return None
    http, tcp, grpc = probe.http_get, probe.tcp_socket, probe.grpc
    if http is not None and http.port is None:
        http = replace(http, port=0)
    if tcp is not None and tcp.port is None:
        tcp = replace(tcp, port=0)
    if grpc is not None and grpc.port is None:
        grpc = replace(grpc, port=0)
    return replace(
        probe,
        http_get=http,
        tcp_socket=tcp,
        grpc=grpc,
        initial_delay_seconds=probe.initial_delay_seconds or None,
        timeout_seconds=probe.timeout_seconds or None,
        period_seconds=probe.period_seconds or None,
        success_threshold=probe.success_threshold or None,
        failure_threshold=probe.failure_threshold or None,
    )


def _normalize_volume(volume: Volume) -> Volume:
    source = volume.empty_dir
    if source is None or source.size_limit is None:
        return volume
    try:
        limit = canonical_quantity(source.size_limit)
    except ValueError:
        return volume
    return replace(volume, empty_dir=replace(source, size_limit=limit))


def default_template(
    template: RevisionTemplate | None,
    *,
    previous: RevisionTemplate | None,
    parent: ObjectMeta,
    defaults: Defaults,
    features: Features,
    creating: bool,
) -> RevisionTemplate:
    """The template of a Service or Configuration.

    A template whose name the user chose and did not change is left as it is: new defaults would look
    like a change that asks for a new name.
    """
    found = normalize_template(template)
    name = chosen_name(found)
    if name and name == chosen_name(previous):
        return found
    spec = found.spec or RevisionSpec()
    return replace(found, spec=default_spec(spec, parent, defaults, features, creating=creating))


def chosen_name(template: RevisionTemplate | None) -> str:
    """The name the user chose for the Revision, or nothing."""
    return template.metadata.name if template and template.metadata else ""


def default_spec(
    spec: RevisionSpec,
    parent: ObjectMeta,
    defaults: Defaults,
    features: Features,
    *,
    creating: bool,
) -> RevisionSpec:
    """A Revision's spec, normalized before."""
    timeout = spec.timeout_seconds or defaults.revision_timeout_seconds
    names = {item.name for item in (*spec.containers, *spec.init_containers)}
    containers = _named(spec.containers, names, defaults.user_container_name(parent))
    init_containers = _named(spec.init_containers, names, defaults.init_container_name(parent))
    writable = {item.name for item in spec.volumes if item.empty_dir or _is_claim(item)}
    single = len(containers) == 1
    containers = tuple(
        _secured(
            _default_container(item, defaults, writable, single=single),
            spec.security_context,
            features,
        )
        for item in containers
    )
    links = spec.enable_service_links
    if links is None and creating and containers:
        links = defaults.enable_service_links
    concurrency = spec.container_concurrency
    return replace(
        spec,
        containers=containers,
        init_containers=tuple(
            _secured(item, spec.security_context, features) for item in init_containers
        ),
        timeout_seconds=timeout,
        idle_timeout_seconds=_within(
            spec.idle_timeout_seconds, defaults.revision_idle_timeout_seconds, timeout
        ),
        response_start_timeout_seconds=_within(
            spec.response_start_timeout_seconds,
            defaults.revision_response_start_timeout_seconds,
            timeout,
        ),
        container_concurrency=(
            defaults.container_concurrency if concurrency is None else concurrency
        ),
        enable_service_links=links,
    )


def _is_claim(volume: Volume) -> bool:
    return volume.persistent_volume_claim is not None or volume.ephemeral is not None


def _within(given: int | None, default: int, timeout: int) -> int | None:
    return default if given is None and 0 != default < timeout else given


def _named(containers: Sequence[Container], names: set[str], default: str) -> tuple[Container, ...]:
    suffix = 0
    named = []
    for container in containers:
        if not container.name:
            name = default
            while len(containers) > 1 or name in names:
                name = child_name(default, f"-{suffix}")
                suffix += 1
                if name not in names:
                    break
            container = replace(container, name=name)  # noqa: PLW2901 - the loop builds a new list
        named.append(container)
    return tuple(named)


def _default_container(
    container: Container, defaults: Defaults, writable: set[str], *, single: bool
) -> Container:
    readiness = container.readiness_probe
    if single or container.ports:
        readiness = readiness or Probe()
        if not (readiness.tcp_socket or readiness.http_get or readiness.exec or readiness.grpc):
            readiness = replace(readiness, tcp_socket=TcpSocketAction(port=0))
    return replace(
        container,
        resources=_default_resources(container.resources, defaults),
        readiness_probe=_default_readiness(readiness),
        liveness_probe=_default_grpc(container.liveness_probe),
        startup_probe=_default_grpc(container.startup_probe),
        volume_mounts=tuple(
            mount if mount.name in writable else replace(mount, read_only=True)
            for mount in container.volume_mounts
        ),
    )


def _default_resources(
    resources: ResourceRequirements | None, defaults: Defaults
) -> ResourceRequirements:
    found = resources or ResourceRequirements()
    requests = {
        "cpu": defaults.cpu_request,
        "memory": defaults.memory_request,
        "ephemeral-storage": defaults.ephemeral_storage_request,
    }
    limits = {
        "cpu": defaults.cpu_limit,
        "memory": defaults.memory_limit,
        "ephemeral-storage": defaults.ephemeral_storage_limit,
    }
    return ResourceRequirements(
        limits=_filled(found.limits, limits), requests=_filled(found.requests, requests)
    )


def _filled(
    given: Mapping[str, Quantity] | None, defaults: Mapping[str, str | None]
) -> Mapping[str, Quantity] | None:
    filled = {**{name: value for name, value in defaults.items() if value}, **(given or {})}
    return filled or None


def _default_readiness(probe: Probe | None) -> Probe | None:
    if probe is None:
        return None
    probe = replace(probe, success_threshold=probe.success_threshold or 1)
    if probe.period_seconds:
        probe = replace(
            probe,
            failure_threshold=probe.failure_threshold or 3,
            timeout_seconds=probe.timeout_seconds or 1,
        )
    return _default_grpc(probe)


def _default_grpc(probe: Probe | None) -> Probe | None:
    if probe is None or probe.grpc is None or probe.grpc.service is not None:
        return probe
    return replace(probe, grpc=GrpcAction(port=probe.grpc.port, service=""))


def _secured(container: Container, pod: PodSecurityContext | None, features: Features) -> Container:
    """``secure-pod-defaults``: what the restricted profile asks for, unless something is said."""
    mode = features.flag(SECURE_POD_DEFAULTS)
    if mode not in {ENABLED, ALLOW_ROOT_BOUNDED}:
        return container
    pod = pod or PodSecurityContext()
    context = container.security_context or SecurityContext()
    if context.allow_privilege_escalation is None:
        context = replace(context, allow_privilege_escalation=False)
    if pod.seccomp_profile is None or not pod.seccomp_profile.type:
        profile = context.seccomp_profile or SeccompProfile()
        if not profile.type:
            profile = replace(profile, type="RuntimeDefault")
        context = replace(context, seccomp_profile=profile)
    if context.capabilities is None:
        low_port = any(port.container_port < 1024 for port in container.ports)
        added = ("NET_BIND_SERVICE",) if low_port else ()
        context = replace(context, capabilities=Capabilities(add=added, drop=("ALL",)))
    if mode == ENABLED and pod.run_as_non_root is None and context.run_as_non_root is None:
        context = replace(context, run_as_non_root=True)
    return replace(container, security_context=context)
