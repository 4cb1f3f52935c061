"""A Pod's status from what the node knows of its containers. Pure.

Source: Kubernetes ``pkg/kubelet/status`` and ``pkg/kubelet/kuberuntime``.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from knarr.kits.clock import format_timestamp
from knarr.resources.core.container import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
)
from knarr.resources.core.pod import PodIp, PodStatus
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.references import Condition

RUNTIME = "runc"
_CREATING = ContainerStateWaiting(reason="ContainerCreating")
_INITIALIZING = ContainerStateWaiting(reason="PodInitializing")


@dataclass(slots=True)
class ContainerView:
    """What is known of one container.

    Attributes:
        waiting: why it does not run, while it does not.
        started_at, finished_at: RFC 3339 of the current run, empty before.
        code: exit code, None while it runs.
        reason: why it ended, when the code alone does not say it.
        last: how the run before ended.
    """

    name: str
    image: str
    waiting: ContainerStateWaiting | None = None
    container_id: str = ""
    image_id: str = ""
    started_at: str = ""
    finished_at: str = ""
    code: int | None = None
    signal: int = 0
    oom: bool = False
    reason: str = ""
    message: str = ""
    restarts: int = 0
    started: bool = False
    ready: bool = False
    last: ContainerStateTerminated | None = None

    @property
    def running(self) -> bool:
        """Started and not ended."""
        return bool(self.started_at) and self.code is None

    @property
    def terminated(self) -> bool:
        """Ended, and not waiting to be run again."""
        return self.code is not None and self.waiting is None


def terminated_state(view: ContainerView) -> ContainerStateTerminated:
    """How the current run of a container ended."""
    reason = view.reason or ("Completed" if view.code == 0 else "Error")
    if view.oom:
        reason = "OOMKilled"
    return ContainerStateTerminated(
        exit_code=view.code or 0,
        signal=view.signal,
        reason=reason,
        message=view.message,
        started_at=_seconds(view.started_at),
        finished_at=_seconds(view.finished_at),
        container_id=_full_id(view.container_id),
    )


def _seconds(moment: str) -> str | None:
    """RFC 3339 with whole seconds."""
    return f"{moment[:19]}Z" if moment else None


def _full_id(container_id: str) -> str:
    return f"{RUNTIME}://{container_id}" if container_id else ""


def container_status(view: ContainerView, *, initializing: bool) -> ContainerStatus:
    """One entry of ``containerStatuses``."""
    if view.running:
        state = ContainerState(running=ContainerStateRunning(started_at=_seconds(view.started_at)))
    elif view.terminated:
        state = ContainerState(terminated=terminated_state(view))
    else:
        fallback = _INITIALIZING if initializing else _CREATING
        state = ContainerState(waiting=view.waiting or fallback)
    return ContainerStatus(
        name=view.name,
        state=state,
        last_state=ContainerState(terminated=view.last) if view.last else ContainerState(),
        ready=view.ready and view.running,
        restart_count=view.restarts,
        image=view.image,
        image_id=view.image_id,
        container_id=_full_id(view.container_id),
        started=view.started and view.running,
    )


@dataclass(frozen=True, slots=True)
class PodView:
    """What is known of a Pod.

    Attributes:
        initialized: every init container succeeded.
        failure: reason and message when the Pod as a whole failed.
    """

    spec: PodSpec
    containers: Sequence[ContainerView]
    init_containers: Sequence[ContainerView]
    initialized: bool
    address: str = ""
    host_ip: str = ""
    start_time: str = ""


def phase_of(view: PodView) -> str:
    """``Pending``, ``Running``, ``Succeeded`` or ``Failed``."""
    if any(one.terminated and one.code for one in view.init_containers):
        return "Failed"
    if not view.initialized or not any(one.started_at for one in view.containers):
        return "Pending"
    if all(one.terminated for one in view.containers):
        return "Failed" if any(one.code for one in view.containers) else "Succeeded"
    return "Running"


def pod_status(view: PodView, old: PodStatus | None, now: dt.datetime) -> PodStatus:
    """The whole status; conditions keep their transition time unless they change."""
    phase = phase_of(view)
    initializing = not view.initialized and bool(view.init_containers)
    unready = [one.name for one in view.containers if not (one.ready and one.running)]
    conditions = _conditions(view, phase, unready)
    previous = {item.type: item for item in (old.conditions if old else ())}
    return PodStatus(
        phase=phase,
        conditions=tuple(_settle(item, previous.get(item.type), now) for item in conditions)
        + tuple(item for kind, item in previous.items() if kind not in _OWN_CONDITIONS),
        host_ip=view.host_ip,
        host_ips=(PodIp(ip=view.host_ip),) if view.host_ip else (),
        pod_ip=view.address,
        pod_ips=(PodIp(ip=view.address),) if view.address else (),
        start_time=view.start_time or None,
        init_container_statuses=tuple(
            container_status(one, initializing=False) for one in view.init_containers
        ),
        container_statuses=tuple(
            container_status(one, initializing=initializing) for one in view.containers
        ),
        qos_class=qos_class(view.spec),
    )


_OWN_CONDITIONS = frozenset({"PodScheduled", "Initialized", "ContainersReady", "Ready"})


def _conditions(view: PodView, phase: str, unready: list[str]) -> list[Condition]:
    done = phase == "Succeeded"
    if not unready and view.initialized:
        reason, message = "", ""
    elif done:
        reason, message = "PodCompleted", ""
    else:
        reason = "ContainersNotReady"
        message = f"containers with unready status: [{' '.join(unready)}]"
    ready = "False" if reason else "True"
    initialized = Condition(type="Initialized", status="True")
    if not view.initialized:
        waiting = [one.name for one in view.init_containers if one.code != 0]
        initialized = Condition(
            type="Initialized",
            status="False",
            reason="ContainersNotInitialized",
            message=f"containers with incomplete status: [{' '.join(waiting)}]",
        )
    return [
        Condition(type="PodScheduled", status="True"),
        initialized,
        Condition(type="ContainersReady", status=ready, reason=reason, message=message),
        Condition(type="Ready", status=ready, reason=reason, message=message),
    ]


def _settle(new: Condition, old: Condition | None, now: dt.datetime) -> Condition:
    moment = format_timestamp(now)
    if old is not None and old.status == new.status and old.last_transition_time:
        moment = old.last_transition_time
    return msgspec.structs.replace(new, last_transition_time=moment)


def qos_class(spec: PodSpec) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort`` (Kubernetes ``pkg/apis/core/v1/helper/qos``)."""
    containers = (*spec.init_containers, *spec.containers)
    if not any(_wants(one) for one in containers):
        return "BestEffort"
    return "Guaranteed" if all(_is_guaranteed(one) for one in containers) else "Burstable"


def _wants(container: Container) -> bool:
    resources = container.resources
    return resources is not None and any(
        name in (side or {})
        for side in (resources.limits, resources.requests)
        for name in ("cpu", "memory")
    )


def _is_guaranteed(container: Container) -> bool:
    resources = container.resources
    limits = (resources.limits if resources else None) or {}
    requests = (resources.requests if resources else None) or {}
    return all(
        name in limits and requests.get(name, limits[name]) == limits[name]
        for name in ("cpu", "memory")
    )
