"""Rules for a Revision's containers, in Knative's words (``pkg/apis/serving/k8s_validation.go``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from knarr.meta.fielderrors import (
    FieldError,
    at,
    disallowed,
    invalid_value,
    missing,
    missing_one_of,
    multiple_one_of,
    out_of_bounds,
)
from knarr.resources.config import features as flags
from knarr.resources.config.features import Features
from knarr.resources.core.container import (
    ContainerPort,
    EnvFromSource,
    EnvVar,
    Probe,
    ResourceRequirements,
    SecurityContext,
)
from knarr.resources.core.env_validation import field_path_errors, resource_path_errors
from knarr.resources.core.security_validation import MAX_ID
from knarr.resources.quantity import parse_quantity
from knarr.resources.serving.image import is_image_reference
from knarr.resources.serving.podspec import Container, Volume
from knarr.resources.serving.probe_validation import probe_errors, readiness_errors
from knarr.resources.serving.volume_validation import mounts_errors

Role = Literal["serving", "sidecar", "init"]

_RESERVED_ENV = frozenset({"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"})
_RESERVED_PORTS = frozenset({8012, 8013, 8022, 9090, 9091, 8008})
_PORT_NAMES = frozenset({"h2c", "http1", ""})
_REFUSED_FIELDS = (
    ("lifecycle", "lifecycle"),
    ("stdin", "stdin"),
    ("stdinOnce", "stdin_once"),
    ("tty", "tty"),
    ("volumeDevices", "volume_devices"),
)


@dataclass(frozen=True, slots=True)
class ContainerContext:
    """What the rules for one container look at besides the container."""

    role: Role
    features: Features
    volumes: Mapping[str, Volume]
    port_name: str = "http"


def container_errors(container: Container, context: ContainerContext) -> list[FieldError]:
    """One container; paths are relative to it."""
    return _probes_errors(container, context) + _common_errors(container, context)


def _probes_errors(container: Container, context: ContainerContext) -> list[FieldError]:
    probes = {
        "livenessProbe": container.liveness_probe,
        "readinessProbe": container.readiness_probe,
        "startupProbe": container.startup_probe,
    }
    given = {name: probe for name, probe in probes.items() if probe is not None}
    if context.role == "init":
        names = [*given, *(["lifecycle"] if container.lifecycle is not None else [])]
        text = "field not allowed in an init container"
        return [FieldError(message=text, paths=(name,)) for name in names]
    errors: list[FieldError] = []
    serving = context.role == "serving"
    if not serving and not context.features.enabled(flags.MULTI_CONTAINER_PROBING):
        for name, probe in given.items():
            errors += at(name, _fields_of(probe))
        return errors
    for name, probe in given.items():
        rule = readiness_errors if name == "readinessProbe" else probe_errors
        errors += at(name, rule(probe, context.port_name if serving else None))
    return errors


def _fields_of(probe: Probe) -> list[FieldError]:
    fields = {
        "exec": probe.exec,
        "httpGet": probe.http_get,
        "tcpSocket": probe.tcp_socket,
        "grpc": probe.grpc,
        "initialDelaySeconds": probe.initial_delay_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "periodSeconds": probe.period_seconds,
        "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
        "terminationGracePeriodSeconds": probe.termination_grace_period_seconds,
    }
    names = [name for name, value in fields.items() if value]
    return [disallowed(*names)] if names else []


def _common_errors(container: Container, context: ContainerContext) -> list[FieldError]:
    refused = [path for path, name in _REFUSED_FIELDS if getattr(container, name)]
    errors = [disallowed(*refused)] if refused else []
    if container.name == "queue-proxy":
        text = '"queue-proxy" is a reserved container name'
        errors.append(FieldError(message=text, paths=("name",)))
    for index, variable in enumerate(container.env):
        errors += at(f"env[{index}]", _env_errors(variable, context))
    errors += _env_from_errors(container.env_from)
    errors += _image_errors(container.image)
    errors += at("ports", _ports_errors(container.ports, context.role))
    errors += at("resources", _resources_errors(container.resources))
    errors += at("securityContext", _security_errors(container.security_context, context.features))
    policy = container.termination_message_policy
    if policy not in {"", "File", "FallbackToLogsOnError"}:
        errors.append(invalid_value(policy, "terminationMessagePolicy"))
    errors += mounts_errors(container.volume_mounts, context.volumes, context.features)
    return errors


def _env_errors(variable: EnvVar, context: ContainerContext) -> list[FieldError]:
    reserved = _RESERVED_ENV if context.role == "serving" else _RESERVED_ENV - {"PORT"}
    errors: list[FieldError] = []
    if not variable.name:
        errors.append(missing("name"))
    elif variable.name in reserved:
        text = f'"{variable.name}" is a reserved environment variable'
        errors.append(FieldError(message=text, paths=("name",)))
    source = variable.value_from
    if source is None:
        return errors
    if context.features.disabled(flags.FIELD_REF):
        references = {"fieldRef": source.field_ref, "resourceFieldRef": source.resource_field_ref}
        names = [f"valueFrom.{name}" for name, value in references.items() if value is not None]
        return [*errors, disallowed(*names)] if names else errors
    if source.field_ref is not None:
        errors += at("valueFrom.fieldRef", field_path_errors(source.field_ref.field_path))
    if source.resource_field_ref is not None:
        reference = source.resource_field_ref.resource
        errors += at("valueFrom.resourceFieldRef", resource_path_errors(reference))
    return errors


def _env_from_errors(sources: Sequence[EnvFromSource]) -> list[FieldError]:
    errors = []
    for source in sources:
        # Knative leaves the index out of these paths.
        if source.config_map_ref is not None and source.secret_ref is not None:
            errors.append(multiple_one_of("envFrom.configMapRef", "envFrom.secretRef"))
        elif source.config_map_ref is None and source.secret_ref is None:
            errors.append(missing_one_of("envFrom.configMapRef", "envFrom.secretRef"))
    return errors


def _image_errors(image: str) -> list[FieldError]:
    if not image:
        return [missing("image")]
    if is_image_reference(image):
        return []
    return [
        FieldError(
            message="Failed to parse image reference",
            paths=("image",),
            details=f'image: "{image}", error: could not parse reference: {image}',
        )
    ]


def _ports_errors(ports: Sequence[ContainerPort], role: Role) -> list[FieldError]:
    if role == "init":
        return [error for port in ports for error in _port_errors(port)]
    if not ports:
        return []
    port = ports[0]
    errors = _port_errors(port)
    if port.protocol not in {"", "TCP"}:
        errors.append(invalid_value(port.protocol, "protocol"))
    if port.name not in _PORT_NAMES:
        errors.append(
            FieldError(
                message=f"Port name {port.name} is not allowed",
                paths=("",),
                details="Name must be empty, or one of: 'h2c', 'http1'",
            )
        )
    return errors


def _port_errors(port: ContainerPort) -> list[FieldError]:
    number = port.container_port
    errors = []
    if number in _RESERVED_PORTS:
        text = f"{number} is a reserved port"
        detail = f"{text}, please use a different value"
        errors.append(invalid_value(text, "containerPort", detail))
    if not 0 <= number <= 65535:
        errors.append(out_of_bounds(number, 0, 65535, "containerPort"))
    return errors


def _resources_errors(resources: ResourceRequirements | None) -> list[FieldError]:
    errors = []
    for side in ("limits", "requests"):
        for name, value in (getattr(resources, side, None) or {}).items():
            try:
                parse_quantity(value)
            except ValueError as error:
                errors.append(invalid_value(value, f"{side}.{name}", str(error)))
    return errors


def _security_errors(context: SecurityContext | None, features: Features) -> list[FieldError]:
    if context is None:
        return []
    errors: list[FieldError] = []
    if context.privileged:
        errors.append(disallowed("privileged"))
    capabilities = context.capabilities
    if capabilities and capabilities.add and not features.enabled(flags.ADD_CAPABILITIES):
        secure = features.secure_pod_defaults and capabilities.add == ("NET_BIND_SERVICE",)
        if not secure:
            errors.append(disallowed("capabilities.add"))
    for path, value in (("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)):
        errors += id_errors(path, value)
    return errors


def id_errors(path: str, value: int | None) -> list[FieldError]:
    """A numeric user or group."""
    if value is None or 0 <= value <= MAX_ID:
        return []
    return [out_of_bounds(value, 0, MAX_ID, path)]
