"""From changes to keys, as Serving's controllers need it: what concerns whom, and what concerns nobody."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from knarr.kube.cache import Change, Handler
from knarr.kube.handlers import Add
from knarr.kube.informer import Informer
from knarr.meta.objects import Key, Resource
from knarr.resources.apps.deployment import Deployment
from knarr.resources.core.pod import Pod
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route, RouteSpec, RouteStatus
from knarr.serving import labels
from knarr.serving.configuration.plan import is_ready

BY_TARGET = "target"
"""Name of the index of Routes by what their targets name."""

T = TypeVar("T", bound=Resource)


def target_value(kind: str, key: Key) -> str:
    """What ``targets_of`` files a Route under that names this object."""
    return f"{kind}:{key}"


def targets_of(route: Route) -> Iterable[str]:
    """Index function of ``BY_TARGET``: what a Route's spec and status name."""
    namespace = route.metadata.namespace
    spec, status = route.spec or RouteSpec(), route.status or RouteStatus()
    values: set[str] = set()
    for target in (*spec.traffic, *status.traffic):
        if target.configuration_name:
            key = Key(namespace, target.configuration_name)
            values.add(target_value("Configuration", key))
        if target.revision_name:
            values.add(target_value("Revision", Key(namespace, target.revision_name)))
    return values


def enqueue_referring(routes: Informer[Route], kind: str, add: Add) -> Handler[Any]:
    """Enqueue the Routes whose targets name the object that changed."""

    def handle(change: Change[Any]) -> None:
        for key in routes.keys_by_index(BY_TARGET, target_value(kind, change.key)):
            add(key)

    return handle


def when_changed(view: Callable[[T], object], handler: Handler[T]) -> Handler[T]:
    """Pass on only changes of what ``view`` shows; new and deleted objects always pass."""

    def handle(change: Change[T]) -> None:
        before, after = change.old, change.new
        if before is None or after is None or view(before) != view(after):
            handler(change)

    return handle


def add_known(informer: Informer[Any], add: Add) -> Add:
    """Add only keys of objects that the informer holds."""

    def guarded(key: Key) -> None:
        if key in informer:
            add(key)

    return guarded


def add_all(informer: Informer[Any], add: Add) -> Callable[[], None]:
    """Add every object's key."""

    def everything() -> None:
        for key in informer.keys():  # noqa: SIM118 - an informer is no dictionary
            add(key)

    return everything


def pod_trouble(pod: Pod) -> object:
    """What a Revision tells of its Pods: whether they are placed, and how containers wait or ended."""
    if pod.status is None:
        return None
    placed = [item for item in pod.status.conditions if item.type == "PodScheduled"]
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return placed, [(item.state, item.last_state) for item in statuses]


def wanted_replicas(deployment: Deployment) -> object:
    """What the PodAutoscaler sets."""
    return deployment.spec.replicas if deployment.spec else None


def readiness(revision: Revision) -> object:
    """What a Route asks of a Revision."""
    conditions = revision.status.conditions if revision.status else ()
    return is_ready(revision), [item.status for item in conditions if item.type == "Ready"]


def routing_state(revision: Revision) -> object:
    """What makes a Revision collectable."""
    return revision.metadata.label(labels.ROUTING_STATE), revision.metadata.annotation(labels.NO_GC)
