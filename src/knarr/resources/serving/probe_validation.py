"""Rules for a Revision's probes, in Knative's words."""

from knarr.meta.fielderrors import (
    FieldError,
    invalid_value,
    missing_one_of,
    multiple_one_of,
    out_of_bounds,
)
from knarr.resources.core.container import Probe
from knarr.resources.core.security_validation import MAX_ID as MAX_INT32


def probe_errors(probe: Probe, port_name: str | None) -> list[FieldError]:
    """A liveness or startup probe.

    Args:
        probe: of the container.
        port_name: of the serving container's port; None for a sidecar, whose probes name their port.
    """
    errors = []
    given = []
    for name, action in (("httpGet", probe.http_get), ("tcpSocket", probe.tcp_socket)):
        if action is not None:
            given.append(name)
            errors += _port_errors(action.port, f"{name}.port", port_name)
    if probe.exec is not None:
        given.append("exec")
    if probe.grpc is not None:
        given.append("gRPC")
    if not given:
        errors.append(missing_one_of("httpGet", "tcpSocket", "exec", "grpc"))
    elif len(given) > 1:
        errors.append(multiple_one_of(*given))
    return errors


def _port_errors(port: int | str | None, path: str, port_name: str | None) -> list[FieldError]:
    text = port if isinstance(port, str) else ""
    if port_name is None:
        if not port:
            return [
                invalid_value(0 if port is None else port, path, "Probe port must be specified")
            ]
    elif text and text != port_name:
        return [invalid_value(text, path, "Probe port must match container port")]
    return []


def readiness_errors(probe: Probe, port_name: str | None) -> list[FieldError]:
    """A readiness probe; period 0 means Knative's own eager probing."""
    errors = probe_errors(probe, port_name)
    period, successes = probe.period_seconds or 0, probe.success_threshold or 0
    delay, failures = probe.initial_delay_seconds or 0, probe.failure_threshold or 0
    timeout = probe.timeout_seconds or 0
    if period < 0:
        errors.append(out_of_bounds(period, 0, MAX_INT32, "periodSeconds"))
    if delay < 0:
        errors.append(out_of_bounds(delay, 0, MAX_INT32, "initialDelaySeconds"))
    if successes < 1:
        errors.append(out_of_bounds(successes, 1, MAX_INT32, "successThreshold"))
    for name, value in (("failureThreshold", failures), ("timeoutSeconds", timeout)):
        if period == 0 and value != 0:
            text = f"{name} is disallowed when periodSeconds is zero"
            errors.append(FieldError(message=text, paths=(name,)))
        elif period != 0 and value < 1:
            errors.append(out_of_bounds(value, 1, MAX_INT32, name))
    return errors
