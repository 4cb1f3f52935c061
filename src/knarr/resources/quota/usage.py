"""What one object takes of a quota, which quotas count it, and whether they allow it. Pure.

Rules and texts: Kubernetes ``pkg/quota/v1`` and ``plugin/pkg/admission/resourcequota``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from knarr.resources.core.pod_defaults import qos_class
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.resourcequota import ResourceQuota, ResourceQuotaSpec, ScopeExpression
from knarr.resources.core.storage_values import STORAGE
from knarr.resources.quantity import Quantity
from knarr.resources.quota.amounts import (
    ONE,
    ZERO,
    Amounts,
    amounts_of,
    listed,
    minus,
    plus,
    requests_and_limits,
)

PODS, CLAIMS, SERVICES = "pods", "persistentvolumeclaims", "services"
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
_PLAIN_COUNTS = frozenset(
    {"configmaps", "secrets", SERVICES, CLAIMS, "resourcequotas", "replicationcontrollers", PODS}
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_MUST_BE_SET = frozenset(
    {f"{prefix}{name}" for name in _COMPUTE for prefix in ("", "requests.", "limits.")}
)


def usage_of(collection: str, subject: Any) -> dict[str, Quantity]:
    """What an object takes.

    Args:
        collection: qualified plural of its kind.
        subject: typed.
    """
    usage = {f"count/{collection}": ONE}
    if collection == PODS:
        return usage | _pod_usage(subject)
    if collection in _PLAIN_COUNTS:
        usage[collection] = ONE
    if collection == SERVICES:
        usage |= _service_usage(subject)
    elif collection == CLAIMS:
        usage |= _claim_usage(subject)
    return usage


def _finished(pod: Any) -> bool:
    return pod.status is not None and pod.status.phase in ("Succeeded", "Failed")


def _pod_usage(pod: Any) -> dict[str, Quantity]:
    if _finished(pod):
        return {}
    requests, limits = requests_and_limits(pod.spec)
    usage = {PODS: ONE}
    for name, amount in requests.items():
        usage[f"requests.{name}"] = amount
        if name in _COMPUTE:
            usage[name] = amount
    return usage | {f"limits.{name}": amount for name, amount in limits.items()}


def _service_usage(service: Any) -> dict[str, Quantity]:
    kind = service.spec.type if service.spec is not None else ""
    usage: dict[str, Quantity] = {}
    if kind in ("NodePort", "LoadBalancer"):
        usage["services.nodeports"] = Quantity(ONE.value * len(service.spec.ports))
    if kind == "LoadBalancer":
        usage["services.loadbalancers"] = ONE
    return usage


def _claim_usage(claim: Any) -> dict[str, Quantity]:
    resources = claim.spec.resources if claim.spec is not None else None
    requested = amounts_of(resources.requests if resources is not None else None)
    usage: dict[str, Quantity] = {}
    name = claim.spec.storage_class_name if claim.spec is not None else None
    if name:
        usage[f"{name}{_CLASS_SUFFIX}{CLAIMS}"] = ONE
    if STORAGE in requested:
        usage["requests.storage"] = requested[STORAGE]
        if name:
            usage[f"{name}{_CLASS_SUFFIX}requests.storage"] = requested[STORAGE]
    return usage


def collections_of(hard: Mapping[str, Any]) -> frozenset[str]:
    """The collections whose objects a quota with these limits counts."""
    found = set()
    for name in hard:
        if name.startswith("count/"):
            found.add(name.removeprefix("count/"))
        elif name == PODS or name in _MUST_BE_SET or name.startswith(("requests.", "limits.")):
            found.add(CLAIMS if name == "requests.storage" else PODS)
        elif _CLASS_SUFFIX in name:
            found.add(CLAIMS)
        else:
            found.add(name.partition(".")[0])
    return frozenset(found)


# --- scopes ---------------------------------------------------------------------------------------------


def in_scope(spec: ResourceQuotaSpec, collection: str, subject: Any) -> bool:
    """Whether a quota counts an object; scopes speak of Pods alone."""
    terms = [ScopeExpression(scope_name=name, operator="Exists") for name in spec.scopes]
    terms += spec.scope_selector.match_expressions if spec.scope_selector is not None else ()
    if not terms:
        return True
    return collection == PODS and all(_holds(term, subject.spec or PodSpec()) for term in terms)


def _holds(term: ScopeExpression, spec: PodSpec) -> bool:
    match term.scope_name:
        case "BestEffort":
            return qos_class(spec) == "BestEffort"
        case "NotBestEffort":
            return qos_class(spec) != "BestEffort"
        case "Terminating":
            return False  # Pods with a deadline of their own are refused
        case "NotTerminating":
            return True
        case _:
            return _priority_holds(term, spec.priority_class_name)


def _priority_holds(term: ScopeExpression, name: str) -> bool:
    match term.operator:
        case "In":
            return name in term.values
        case "NotIn":
            return name not in term.values
        case "DoesNotExist":
            return not name
        case _:
            return bool(name)


# --- usage of a namespace -------------------------------------------------------------------------------


def used_by(spec: ResourceQuotaSpec, objects: Iterable[tuple[str, Any]]) -> dict[str, Quantity]:
    """What the objects of a namespace take of a quota, every resource that it limits included.

    Args:
        spec: of the quota.
        objects: (collection, typed object) of at least the collections of ``collections_of``.
    """
    hard = spec.hard or {}
    result = dict.fromkeys(hard, ZERO)
    for collection, subject in objects:
        if not in_scope(spec, collection, subject):
            continue
        for name, amount in usage_of(collection, subject).items():
            if name in result:
                result[name] = plus(result[name], amount)
    return result


# --- admission ------------------------------------------------------------------------------------------

Used = Callable[[ResourceQuota], Amounts]


def refusal(
    quotas: Iterable[ResourceQuota], collection: str, subject: Any, old: Any | None, used: Used
) -> str | None:
    """Why an object must not be written; None when every quota allows it.

    Args:
        quotas: of the object's namespace, in the order in which they are asked.
        collection: qualified plural of the object's kind.
        subject: as it would be stored.
        old: as it is stored now, None on create.
        used: what all objects that are stored take of a quota.
    """
    for quota in quotas:
        spec = quota.spec or ResourceQuotaSpec()
        hard = amounts_of(spec.hard)
        if collection not in collections_of(hard) or not in_scope(spec, collection, subject):
            continue
        text = _unset_text(hard, collection, subject) if old is None else ""
        if text:
            return f"failed quota: {quota.metadata.name}: must specify {text}"
        delta = _delta(spec, collection, subject, old)
        wanted = {
            name: amount for name, amount in delta.items() if name in hard and amount.value > 0
        }
        if not wanted:
            continue
        present = used(quota)
        over = sorted(
            name
            for name, amount in wanted.items()
            if present.get(name, ZERO).value + amount.value > hard[name].value
        )
        if over:
            return (
                f"exceeded quota: {quota.metadata.name}, "
                f"requested: {listed({name: wanted[name] for name in over})}, "
                f"used: {listed({name: present.get(name, ZERO) for name in over})}, "
                f"limited: {listed({name: hard[name] for name in over})}"
            )
    return None


def _delta(
    spec: ResourceQuotaSpec, collection: str, subject: Any, old: Any | None
) -> dict[str, Quantity]:
    usage = usage_of(collection, subject)
    if old is None or not in_scope(spec, collection, old):
        return usage
    before = usage_of(collection, old)
    return {name: minus(amount, before.get(name, ZERO)) for name, amount in usage.items()}


def _unset_text(hard: Amounts, collection: str, subject: Any) -> str:
    """``cpu for: a,b; memory for: a``: what containers must say when a quota counts it."""
    if collection != PODS or subject.spec is None:
        return ""
    missing: dict[str, list[str]] = {}
    for container in (*subject.spec.containers, *subject.spec.init_containers):
        resources = container.resources
        requests = (resources.requests if resources else None) or {}
        limits = (resources.limits if resources else None) or {}
        for name in sorted(_MUST_BE_SET & set(hard)):
            bare = name.removeprefix("requests.").removeprefix("limits.")
            given = limits if name.startswith("limits.") else requests
            if bare not in given:
                missing.setdefault(name, []).append(container.name)
    return "; ".join(f"{name} for: {','.join(sorted(names))}" for name, names in missing.items())
