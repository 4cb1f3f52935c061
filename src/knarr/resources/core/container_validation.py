"""Rules for containers of Pods, in Kubernetes' words (``pkg/apis/core/validation``)."""

import re
from collections.abc import Mapping

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1123_label_problems
from knarr.resources.core.container import (
    Container,
    ContainerPort,
    HttpGetAction,
    Lifecycle,
    Probe,
    ResourceRequirements,
    VolumeMount,
)
from knarr.resources.core.env_validation import env_errors, env_from_errors
from knarr.resources.core.security_validation import security_context_errors
from knarr.resources.core.volume import Quantity
from knarr.resources.fielderrors import (
    duplicate,
    duplicates,
    forbidden,
    invalid,
    not_supported,
    required,
)
from knarr.resources.quantity import parse_quantity

_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PORT_RANGE = "must be between 1 and 65535, inclusive"
_NOT_NEGATIVE = "must be greater than or equal to 0"
_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})


def port_number_errors(path: str, port: int) -> list[FieldError]:
    """A TCP or UDP port."""
    return [] if 1 <= port <= 65535 else [invalid(path, port, _PORT_RANGE)]


def port_name_problems(name: str) -> list[str]:
    """Why ``name`` is no port name (``IANA_SVC_NAME``)."""
    problems = []
    if len(name) > 15:
        problems.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(name):
        problems.append(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), and must start "
            "and end with an alpha-numeric character"
        )
    elif not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    return problems


def _port_errors(port: ContainerPort) -> list[FieldError]:
    errors = []
    if port.name:
        errors += [invalid("name", port.name, text) for text in port_name_problems(port.name)]
    if not port.container_port:
        errors.append(required("containerPort"))
    else:
        errors += port_number_errors("containerPort", port.container_port)
    if port.protocol not in {"", "TCP", "UDP"}:
        errors.append(not_supported("protocol", port.protocol, ("TCP", "UDP")))
    return errors


def quantities_errors(path: str, quantities: Mapping[str, Quantity] | None) -> list[FieldError]:
    """Names and amounts of resources that a container can be given."""
    errors = []
    for name, value in (quantities or {}).items():
        where = f"{path}[{name}]"
        if name not in _RESOURCES:
            errors.append(
                invalid(
                    where, name, "Knarr gives containers cpu, memory and ephemeral-storage only"
                )
            )
        try:
            if parse_quantity(value).value < 0:
                errors.append(invalid(where, str(value), _NOT_NEGATIVE))
        except ValueError as error:
            errors.append(invalid(where, str(value), str(error)))
    return errors


def resources_errors(resources: ResourceRequirements | None) -> list[FieldError]:
    """Requests and limits; no request beyond its limit."""
    if resources is None:
        return []
    errors = quantities_errors("limits", resources.limits)
    errors += quantities_errors("requests", resources.requests)
    if errors:
        return errors
    for name, value in (resources.requests or {}).items():
        limit = (resources.limits or {}).get(name)
        if limit is not None and parse_quantity(value).value > parse_quantity(limit).value:
            detail = f"must be less than or equal to {name} limit of {limit}"
            errors.append(invalid("requests", str(value), detail))
    return errors


def _probe_port_errors(path: str, port: int | str | None) -> list[FieldError]:
    if isinstance(port, str) and not port.isdecimal():
        return [invalid(path, port, text) for text in port_name_problems(port)]
    return port_number_errors(path, int(port or 0))


def _http_get_errors(action: HttpGetAction) -> list[FieldError]:
    errors = [] if action.path else [required("path")]
    errors += _probe_port_errors("port", action.port)
    if action.scheme not in {"", "HTTP", "HTTPS"}:
        errors.append(not_supported("scheme", action.scheme, ("HTTP", "HTTPS")))
    errors += [
        required(f"httpHeaders[{index}].name")
        for index, header in enumerate(action.http_headers)
        if not header.name
    ]
    return errors


def probe_errors(probe: Probe | None, *, successes: bool = True) -> list[FieldError]:
    """A probe; only readiness probes may ask for more than one success."""
    if probe is None:
        return []
    handlers = [
        name
        for name, value in (
            ("exec", probe.exec),
            ("httpGet", probe.http_get),
            ("tcpSocket", probe.tcp_socket),
            ("grpc", probe.grpc),
        )
        if value is not None
    ]
    errors = []
    if not handlers:
        errors.append(required("", "must specify a handler type"))
    errors += [forbidden(name, "may not specify more than 1 handler type") for name in handlers[1:]]
    if probe.exec is not None and not probe.exec.command:
        errors.append(required("exec.command"))
    if probe.http_get is not None:
        errors += at("httpGet", _http_get_errors(probe.http_get))
    if probe.tcp_socket is not None:
        errors += _probe_port_errors("tcpSocket.port", probe.tcp_socket.port)
    if probe.grpc is not None:
        errors += port_number_errors("grpc.port", probe.grpc.port or 0)
    return errors + _probe_number_errors(probe, successes=successes)


def _probe_number_errors(probe: Probe, *, successes: bool) -> list[FieldError]:
    fields = {
        "initialDelaySeconds": probe.initial_delay_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "periodSeconds": probe.period_seconds,
        "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
    }
    errors = [
        invalid(name, value, _NOT_NEGATIVE) for name, value in fields.items() if (value or 0) < 0
    ]
    if not successes and (probe.success_threshold or 1) != 1:
        errors.append(invalid("successThreshold", probe.success_threshold, "must be 1"))
    grace = probe.termination_grace_period_seconds
    if grace is not None and grace <= 0:
        errors.append(invalid("terminationGracePeriodSeconds", grace, "must be greater than 0"))
    return errors


def _lifecycle_errors(lifecycle: Lifecycle | None) -> list[FieldError]:
    hook = lifecycle.pre_stop if lifecycle else None
    if hook is None:
        return []
    given = [item for item in (hook.exec, hook.http_get, hook.sleep) if item is not None]
    if len(given) != 1:
        return [required("preStop", "must specify a handler type")]
    errors: list[FieldError] = []
    if hook.exec is not None and not hook.exec.command:
        errors.append(required("preStop.exec.command"))
    if hook.http_get is not None:
        errors += at("preStop.httpGet", _http_get_errors(hook.http_get))
    if hook.sleep is not None and hook.sleep.seconds < 0:
        errors.append(invalid("preStop.sleep.seconds", hook.sleep.seconds, _NOT_NEGATIVE))
    return errors


def _mount_errors(mount: VolumeMount, volumes: frozenset[str]) -> list[FieldError]:
    errors = []
    if not mount.name:
        errors.append(required("name"))
    elif mount.name not in volumes:
        errors.append(
            FieldError(
                message=f'Not found: "{mount.name}"', paths=("name",), reason="FieldValueNotFound"
            )
        )
    if not mount.mount_path:
        errors.append(required("mountPath"))
    if mount.sub_path.startswith("/"):
        errors.append(invalid("subPath", mount.sub_path, "must be a relative path"))
    elif ".." in mount.sub_path.split("/"):
        errors.append(invalid("subPath", mount.sub_path, "must not contain '..'"))
    return errors


def container_errors(container: Container, volumes: frozenset[str]) -> list[FieldError]:
    """One container; paths are relative to it."""
    errors = _identity_errors(container)
    errors += duplicates("ports", [port.name for port in container.ports])
    for index, port in enumerate(container.ports):
        errors += at(f"ports[{index}]", _port_errors(port))
    for index, variable in enumerate(container.env):
        errors += at(f"env[{index}]", env_errors(variable))
    for index, source in enumerate(container.env_from):
        errors += at(f"envFrom[{index}]", env_from_errors(source))
    paths: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        errors += at(f"volumeMounts[{index}]", _mount_errors(mount, volumes))
        if mount.mount_path and mount.mount_path in paths:
            detail = duplicate(f"volumeMounts[{index}].mountPath", mount.mount_path)
            errors.append(detail)
        paths.add(mount.mount_path)
    errors += at("resources", resources_errors(container.resources))
    errors += at("livenessProbe", probe_errors(container.liveness_probe, successes=False))
    errors += at("readinessProbe", probe_errors(container.readiness_probe))
    errors += at("startupProbe", probe_errors(container.startup_probe, successes=False))
    errors += at("lifecycle", _lifecycle_errors(container.lifecycle))
    errors += at("securityContext", security_context_errors(container.security_context))
    return errors


def _identity_errors(container: Container) -> list[FieldError]:
    errors = []
    if not container.name:
        errors.append(required("name"))
    else:
        errors += [
            invalid("name", container.name, text) for text in dns1123_label_problems(container.name)
        ]
    if not container.image:
        errors.append(required("image"))
    elif container.image != container.image.strip():
        detail = "must not have leading or trailing whitespace"
        errors.append(invalid("image", container.image, detail))
    policies = ("Always", "IfNotPresent", "Never")
    if container.image_pull_policy not in {"", *policies}:
        errors.append(not_supported("imagePullPolicy", container.image_pull_policy, policies))
    messages = ("File", "FallbackToLogsOnError")
    if container.termination_message_policy not in {"", *messages}:
        policy = container.termination_message_policy
        errors.append(not_supported("terminationMessagePolicy", policy, messages))
    return errors
