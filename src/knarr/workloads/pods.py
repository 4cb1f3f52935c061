"""What controllers read from a Pod's status (Kubernetes ``pkg/api/v1/pod``)."""

import datetime as dt

from knarr.kits.clock import parse_timestamp
from knarr.resources.core.pod import Pod
from knarr.resources.core.references import Condition


def phase_of(pod: Pod) -> str:
    """The phase; a Pod that no node reported about is Pending."""
    return (pod.status.phase if pod.status else "") or "Pending"


def node_of(pod: Pod) -> str:
    """The node it is bound to, empty when it is not."""
    return pod.spec.node_name if pod.spec else ""


def is_finished(pod: Pod) -> bool:
    """Whether its containers ended for good."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Pod) -> bool:
    """Whether it counts as a replica: neither finished nor told to end."""
    return not is_finished(pod) and not pod.deleting


def condition_of(pod: Pod, kind: str) -> Condition | None:
    """One condition, or None."""
    conditions = pod.status.conditions if pod.status else ()
    return next((item for item in conditions if item.type == kind), None)


def is_ready(pod: Pod) -> bool:
    """Whether its Ready condition is True."""
    ready = condition_of(pod, "Ready")
    return ready is not None and ready.status == "True"


def ready_since(pod: Pod) -> dt.datetime | None:
    """When it became ready; None when it is not ready or does not say when."""
    ready = condition_of(pod, "Ready")
    if ready is None or ready.status != "True" or not ready.last_transition_time:
        return None
    return parse_timestamp(ready.last_transition_time)


def available_in_s(pod: Pod, min_ready_s: int, now: dt.datetime) -> float | None:
    """Seconds until a Pod counts as available; 0 when it does, None when it is not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if not min_ready_s or since is None:
        return 0.0 if not min_ready_s else float(min_ready_s)
    return max(0.0, min_ready_s - (now - since).total_seconds())


def restarts_of(pod: Pod) -> int:
    """The highest restart count among its containers."""
    statuses = pod.status.container_statuses if pod.status else ()
    return max((status.restart_count or 0 for status in statuses), default=0)
