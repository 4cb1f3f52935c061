"""``pods/eviction`` and ``pods/binding``: what drains nodes, and what other schedulers speak.

Rules and texts: Kubernetes ``pkg/registry/core/pod/storage``.
"""

from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.deleting import DeleteOptions, parse_options
from knarr.apiserver.request import ApiRequest, ApiResponse, json_response
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Registry, Served
from knarr.apiserver.writing import Writer
from knarr.kits.clock import Clock, format_timestamp
from knarr.meta.errors import BadRequest, Cause, Invalid, StatusError, TooManyRequests
from knarr.meta.objects import Key, ObjectMeta, Struct
from knarr.resources.core.pod import Pod
from knarr.resources.core.references import ObjectReference
from knarr.resources.core.references_validation import compile_selector
from knarr.resources.policy.poddisruptionbudget import (
    EMPTY_STATUS,
    PodDisruptionBudget,
    PodDisruptionBudgetStatus,
)
from knarr.store.store import Store

_RETRY_S = 10
_MAX_GRANTED = 2000
_VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."
_SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class _Eviction(Struct, frozen=True, kw_only=True):
    """``policy/v1`` Eviction."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    delete_options: Any = None


class _Binding(Struct, frozen=True, kw_only=True):
    """``v1`` Binding."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    target: ObjectReference = ObjectReference()


class Remover(Protocol):
    """Deletes one object as DELETE does."""

    async def delete_one(self, route: Route, options: DeleteOptions, request: ApiRequest) -> object:
        """The document that results, and whether it is gone."""
        ...


def _refused(budget: PodDisruptionBudget, text: str, retry_s: int | None = None) -> StatusError:
    cause = Cause(reason="DisruptionBudget", message=text)
    name = budget.metadata.name
    return TooManyRequests(_VIOLATION, causes=[cause], name=name, retry_after_s=retry_s)


def grant(budget: PodDisruptionBudget, pod: str, now: str) -> PodDisruptionBudgetStatus:
    """The status of a budget after one more eviction.

    Args:
        budget: of the Pod.
        pod: the Pod's name.
        now: RFC 3339.

    Raises:
        TooManyRequests: the budget does not allow it now.
    """
    name, status = budget.metadata.name, budget.status or EMPTY_STATUS
    if status.observed_generation < budget.metadata.generation:
        text = f"The disruption budget {name} is still being processed by the server."
        raise _refused(budget, text, _RETRY_S)
    granted = status.disrupted_pods or {}
    if len(granted) > _MAX_GRANTED:
        raise _refused(
            budget, "DisruptedPods map too big - too many evictions not confirmed by PDB"
        )
    allowed = status.disruptions_allowed or 0
    if allowed <= 0:
        text = (
            f"The disruption budget {name} needs {status.desired_healthy or 0} healthy pods and has "
            f"{status.current_healthy or 0} currently"
        )
        raise _refused(budget, text)
    return replace(status, disruptions_allowed=allowed - 1, disrupted_pods={**granted, pod: now})


def needs_no_grant(pod: Pod, budget: PodDisruptionBudget) -> bool:
    """Whether a Pod that is not healthy may go without counting against its budget."""
    conditions = pod.status.conditions if pod.status else ()
    if any(item.type == "Ready" and item.status == "True" for item in conditions):
        return False
    status = budget.status or EMPTY_STATUS
    if budget.spec is not None and budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    desired = status.desired_healthy or 0
    return desired > 0 and (status.current_healthy or 0) >= desired


class PodVerbs:
    """Answers POST on the two subresources.

    Args:
        store: with Pods and budgets.
        registry: to write budgets as they are served.
        writer: writes bindings.
        remover: deletes evicted Pods.
        bodies: decodes.
        clock: for the time of a grant.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        writer: Writer,
        remover: Remover,
        bodies: BodyReader,
        clock: Clock,
    ) -> None:
        self._store = store
        self._registry = registry
        self._writer = writer
        self._remover = remover
        self._bodies = bodies
        self._clock = clock
        self._budgets = msgspec.json.Decoder(PodDisruptionBudget)

    # --- eviction -----------------------------------------------------------------------------------

    async def evict(self, route: Route, request: ApiRequest) -> ApiResponse:
        """POST on ``eviction``: delete the Pod if its budget allows it."""
        document = self._bodies.document(request)
        eviction = _parse(document, _Eviction, "Eviction", ("policy/v1", "policy/v1beta1"))
        _check_name(eviction.metadata, route, "Eviction")
        options = parse_options(_options_document(eviction.delete_options), request)
        _, pod = self._writer.stored(route)
        if not _may_go(pod):
            await self._take_from_budget(pod, dry_run=options.dry_run)
        if not options.uid:
            options = _with_uid(options, pod.metadata.uid)
        await self._remover.delete_one(route, options, request)
        return json_response(_SUCCESS, 201)

    async def _take_from_budget(self, pod: Pod, *, dry_run: bool) -> None:
        budgets = self._budgets_of(pod)
        if len(budgets) > 1:
            raise StatusError(_SEVERAL)
        if not budgets or needs_no_grant(pod, budgets[0]):
            return
        budget = budgets[0]
        moment = format_timestamp(self._clock.wall())
        granted = replace(budget, status=grant(budget, pod.metadata.name, moment))
        served = self._served()
        if dry_run or served is None:
            return
        await self._store.update(
            served.collection,
            budget.key,
            int(budget.metadata.resource_version),
            served.maker(granted),
            durable=served.kind.durable,
        )

    def _served(self) -> Served | None:
        return self._registry.find("policy", "v1", "poddisruptionbudgets")

    def _budgets_of(self, pod: Pod) -> list[PodDisruptionBudget]:
        served = self._served()
        if served is None:
            return []
        namespace = pod.metadata.namespace
        documents = self._store.newest_within(served.collection, namespace)
        budgets = [self._budgets.decode(document) for document in documents]
        labels = pod.metadata.labels or {}
        return [
            budget
            for budget in budgets
            if budget.spec is not None
            and budget.spec.selector is not None
            and compile_selector(budget.spec.selector).matches(labels)
        ]

    # --- binding ------------------------------------------------------------------------------------

    async def bind(self, route: Route, request: ApiRequest) -> ApiResponse:
        """POST on ``binding``: put the Pod on a node."""
        binding = _parse(self._bodies.document(request), _Binding, "Binding", ("v1",))
        _check_name(binding.metadata, route, "Binding")
        target = binding.target
        if target.kind not in ("", "Node") or not target.name:
            cause = Cause(
                reason="FieldValueInvalid",
                message=f'Invalid value: "{target.kind}": must be a Node with a name',
                field="target",
            )
            raise Invalid(
                f'Binding "{route.name}" is invalid: target: {cause.message}',
                kind="Binding",
                name=route.name,
                causes=[cause],
            )
        entry, pod = self._writer.stored(route)
        refusal = _binding_refusal(pod)
        if refusal:
            raise route.served.conflict(route.name, refusal)
        metadata = replace(
            pod.metadata,
            uid=binding.metadata.uid or pod.metadata.uid,
            resource_version=binding.metadata.resource_version,
            annotations={
                **(pod.metadata.annotations or {}),
                **(binding.metadata.annotations or {}),
            }
            or None,
        )
        bound = replace(pod, metadata=metadata, spec=replace(pod.spec, node_name=target.name))
        main = Route(route.served, route.namespace, route.name, "")
        await self._writer.replace_subject(main, request, entry, pod, bound, [])
        return json_response(_SUCCESS, 201)


def _binding_refusal(pod: Pod) -> str:
    name = pod.metadata.name
    if pod.deleting:
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if pod.spec is not None and pod.spec.node_name:
        return f'pod {name} is already assigned to node "{pod.spec.node_name}"'
    return ""


def _may_go(pod: Pod) -> bool:
    """Whether a Pod's end disrupts nothing: it has ended, is ending, or has never begun."""
    phase = pod.status.phase if pod.status else ""
    return pod.deleting or phase in ("Succeeded", "Failed", "Pending")


def _parse(document: dict[str, Any], model: type[Any], kind: str, versions: tuple[str, ...]) -> Any:
    sent = (document.get("apiVersion") or versions[0], document.get("kind") or kind)
    if sent[0] not in versions or sent[1] != kind:
        raise BadRequest(f"{sent[0]} {sent[1]} cannot be handled as a {kind}")
    try:
        return msgspec.convert(document, model)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{kind} cannot be handled as a {kind}: {error}") from None


def _check_name(metadata: ObjectMeta, route: Route, kind: str) -> None:
    if metadata.name and metadata.name != route.name:
        raise BadRequest(f"name in URL does not match name in {kind} object")
    if metadata.namespace and Key(metadata.namespace, route.name) != route.key:
        raise BadRequest(f"namespace in URL does not match namespace in {kind} object")


def _options_document(options: object) -> dict[str, Any]:
    return {**options, "kind": "DeleteOptions"} if isinstance(options, dict) else {}


def _with_uid(options: DeleteOptions, uid: str) -> DeleteOptions:
    return DeleteOptions(
        grace_s=options.grace_s,
        propagation=options.propagation,
        uid=uid,
        resource_version=options.resource_version,
        dry_run=options.dry_run,
    )
