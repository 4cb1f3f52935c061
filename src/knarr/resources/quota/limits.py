"""What LimitRanges do to Pods and claims: defaults and bounds. Pure.

Rules and texts: Kubernetes ``plugin/pkg/admission/limitranger``.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from knarr.resources.core.container import Container, ResourceRequirements
from knarr.resources.core.limitrange import CLAIM, CONTAINER, POD, LimitRange, LimitRangeItem
from knarr.resources.core.persistentvolumeclaim import PersistentVolumeClaim
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec
from knarr.resources.quantity import Quantity
from knarr.resources.quota.amounts import Amounts, amounts_of, requests_and_limits

ANNOTATION = "kubernetes.io/limit-ranger"


def _items(ranges: Iterable[LimitRange], kind: str) -> list[LimitRangeItem]:
    return [
        item
        for each in ranges
        for item in (each.spec.limits if each.spec else ())
        if item.type == kind
    ]


# --- defaults -------------------------------------------------------------------------------------------


def with_defaults(pod: Pod, ranges: Sequence[LimitRange]) -> Pod:
    """The Pod with the requests and limits that its containers left open, and an annotation about them."""
    spec = pod.spec
    items = _items(ranges, CONTAINER)
    if spec is None or not items:
        return pod
    notes: list[str] = []
    for item in items:
        containers = tuple(_complete(one, item, "container", notes) for one in spec.containers)
        inits = tuple(_complete(one, item, "init container", notes) for one in spec.init_containers)
        spec = replace(spec, containers=containers, init_containers=inits)
    if not notes:
        return pod
    text = f"LimitRanger plugin set: {'; '.join(notes)}"
    metadata = pod.metadata
    metadata = replace(metadata, annotations={**(metadata.annotations or {}), ANNOTATION: text})
    return replace(pod, metadata=metadata, spec=spec)


def _complete(container: Container, item: LimitRangeItem, what: str, notes: list[str]) -> Container:
    resources = container.resources or ResourceRequirements()
    requests, limits = dict(resources.requests or {}), dict(resources.limits or {})
    new_requests = {
        name: value for name, value in (item.default_request or {}).items() if name not in requests
    }
    new_limits = {name: value for name, value in (item.default or {}).items() if name not in limits}
    for kind, added in (("request", new_requests), ("limit", new_limits)):
        if added:
            notes.append(f"{', '.join(sorted(added))} {kind} for {what} {container.name}")
    if not new_requests and not new_limits:
        return container
    return replace(
        container,
        resources=ResourceRequirements(
            limits=(limits | new_limits) or None, requests=(requests | new_requests) or None
        ),
    )


# --- bounds ---------------------------------------------------------------------------------------------


def pod_problems(pod: Pod, ranges: Sequence[LimitRange]) -> list[str]:
    """Why a Pod is out of bounds; empty when it is not."""
    spec = pod.spec or PodSpec()
    problems = []
    for container in (*spec.containers, *spec.init_containers):
        resources = container.resources or ResourceRequirements()
        requests, limits = amounts_of(resources.requests), amounts_of(resources.limits)
        for item in _items(ranges, CONTAINER):
            problems += _item_problems(item, requests, limits)
    requests, limits = requests_and_limits(spec)
    for item in _items(ranges, POD):
        problems += _item_problems(item, requests, limits)
    return problems


def claim_problems(claim: PersistentVolumeClaim, ranges: Sequence[LimitRange]) -> list[str]:
    """Why a claim is out of bounds; empty when it is not."""
    resources = claim.spec.resources if claim.spec else None
    requests = amounts_of(resources.requests if resources else None)
    problems = []
    for item in _items(ranges, CLAIM):
        for name, bound in amounts_of(item.min).items():
            problems += _min_problem(CLAIM, name, bound, requests.get(name), None)
        for name, bound in amounts_of(item.max).items():
            problems += _max_request_problem(name, bound, requests.get(name))
    return problems


def _item_problems(item: LimitRangeItem, requests: Amounts, limits: Amounts) -> list[str]:
    problems = []
    for name, bound in amounts_of(item.min).items():
        problems += _min_problem(item.type, name, bound, requests.get(name), limits.get(name))
    for name, bound in amounts_of(item.max).items():
        problems += _max_problem(item.type, name, bound, requests.get(name), limits.get(name))
    for name, bound in amounts_of(item.max_limit_request_ratio).items():
        problems += _ratio_problem(item.type, name, bound, requests.get(name), limits.get(name))
    return problems


def _min_problem(
    kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None
) -> list[str]:
    text = f"minimum {name} usage per {kind} is {bound}"
    if request is None:
        return [f"{text}.  No request is specified"]
    if request.value < bound.value:
        return [f"{text}, but request is {request}"]
    if limit is not None and limit.value < bound.value:
        return [f"{text}, but limit is {limit}"]
    return []


def _max_problem(
    kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None
) -> list[str]:
    text = f"maximum {name} usage per {kind} is {bound}"
    if limit is None:
        return [f"{text}.  No limit is specified"]
    if limit.value > bound.value:
        return [f"{text}, but limit is {limit}"]
    if request is not None and request.value > bound.value:
        return [f"{text}, but request is {request}"]
    return []


def _max_request_problem(name: str, bound: Quantity, request: Quantity | None) -> list[str]:
    text = f"maximum {name} usage per {CLAIM} is {bound}"
    if request is None:
        return [f"{text}.  No request is specified"]
    return [f"{text}, but request is {request}"] if request.value > bound.value else []


def _ratio_problem(
    kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None
) -> list[str]:
    text = f"{name} max limit to request ratio per {kind} is {bound}"
    if request is None or request.value == 0:
        return [f"{text}, but no request is specified or request is 0"]
    if limit is None or limit.value == 0:
        return [f"{text}, but no limit is specified or limit is 0"]
    ratio = limit.value / request.value
    return [f"{text}, but provided ratio is {ratio:.6f}"] if ratio > bound.value else []
