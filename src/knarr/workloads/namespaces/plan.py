"""Decides about one Namespace; pure (``pkg/controller/namespace``, ``rootcacertpublisher``)."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from knarr.kits.clock import format_timestamp
from knarr.meta.objects import ObjectMeta, Resource
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.namespace import Namespace, NamespaceSpec, NamespaceStatus
from knarr.resources.core.references import Condition
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.kind import Kind
from knarr.workloads.conditions import Conditions, find, put

FINALIZER = "kubernetes"
DEFAULT_ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
_ROOT_CA_TEXT = "The CA with which Pods verify the API server at its internal addresses."


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is left in a Namespace, per kind."""

    kind: Kind[Resource]
    objects: Sequence[Resource]


def make_service_account(namespace: str) -> ServiceAccount:
    """The account of Pods that name none."""
    return ServiceAccount(metadata=ObjectMeta(name=DEFAULT_ACCOUNT, namespace=namespace))


def make_root_ca(namespace: str, ca_pem: str) -> ConfigMap:
    """The CA with which Pods verify the API server."""
    return ConfigMap(
        metadata=ObjectMeta(
            name=ROOT_CA,
            namespace=namespace,
            annotations={"kubernetes.io/description": _ROOT_CA_TEXT},
        ),
        data={"ca.crt": ca_pem},
    )


def without_finalizer(namespace: Namespace) -> NamespaceSpec:
    """The spec that lets the Namespace go as far as this controller is concerned."""
    finalizers = namespace.spec.finalizers if namespace.spec else ()
    return NamespaceSpec(finalizers=tuple(name for name in finalizers if name != FINALIZER))


def terminating_status(
    namespace: Namespace, remaining: Sequence[Remaining], now: dt.datetime
) -> NamespaceStatus:
    """The status of a Namespace that is being emptied: what holds it."""
    held = Counter(
        finalizer
        for item in remaining
        for subject in item.objects
        for finalizer in subject.metadata.finalizers or ()
    )
    counts = ", ".join(
        f"{item.kind.qualified_plural} has {len(item.objects)} resource instances"
        for item in remaining
    )
    finalizers = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(held.items())
    )
    conditions: Conditions = namespace.status.conditions if namespace.status else ()
    conditions = _set(
        conditions,
        "NamespaceContentRemaining",
        ("SomeResourcesRemain", f"Some resources are remaining: {counts}") if counts else None,
        ("ContentRemoved", "All content successfully removed"),
        now,
    )
    conditions = _set(
        conditions,
        "NamespaceFinalizersRemaining",
        (
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {finalizers}",
        )
        if finalizers
        else None,
        ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        now,
    )
    return NamespaceStatus(phase="Terminating", conditions=conditions)


def _set(
    conditions: Conditions,
    kind: str,
    problem: tuple[str, str] | None,
    fine: tuple[str, str],
    now: dt.datetime,
) -> Conditions:
    reason, message = problem or fine
    old = find(conditions, kind)
    truth = "True" if problem else "False"
    if old is not None and (old.status, old.message) == (truth, message):
        return conditions
    new = Condition(
        type=kind,
        status=truth,
        reason=reason,
        message=message,
        last_transition_time=format_timestamp(now),
    )
    return put(conditions, new, touch=True)
