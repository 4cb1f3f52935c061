"""PriorityClass (``scheduling.k8s.io/v1``)."""

from msgspec.structs import replace

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource
from knarr.resources.columns import AGE, get, number
from knarr.resources.fielderrors import forbidden, not_supported
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors

HIGHEST_USER_VALUE = 1_000_000_000
SYSTEM_CLASSES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
_POLICIES = ("Never", "PreemptLowerPriority")


class PriorityClass(Resource, frozen=True, kw_only=True):
    """How important Pods are: of those that wait for room, the highest value goes first."""

    value: int | None = None
    global_default: bool = False
    description: str = ""
    preemption_policy: str | None = None


def default_priority_class(subject: PriorityClass, _: Admission) -> PriorityClass:
    """The value is always written; the policy is Kubernetes' default."""
    return replace(
        subject,
        value=subject.value or 0,
        preemption_policy=subject.preemption_policy or "PreemptLowerPriority",
    )


def validate_priority_class(subject: PriorityClass, admission: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: user values up to a billion, the value never changes."""
    errors = metadata_errors(subject.metadata)
    name, value = subject.metadata.name, subject.value or 0
    if name.startswith("system-"):
        if SYSTEM_CLASSES.get(name) != value:
            text = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
            )
            errors.append(forbidden("metadata.name", text))
    elif value > HIGHEST_USER_VALUE:
        text = f"maximum allowed value of a user defined priority is {HIGHEST_USER_VALUE}"
        errors.append(forbidden("value", text))
    if subject.preemption_policy not in _POLICIES:
        errors.append(not_supported("preemptionPolicy", subject.preemption_policy, _POLICIES))
    old = admission.old
    if isinstance(old, PriorityClass):
        if (old.value or 0) != value:
            errors.append(forbidden("value", "may not be changed in an update."))
        if old.preemption_policy != subject.preemption_policy:
            errors.append(forbidden("preemptionPolicy", "may not be changed in an update."))
    return tuple(errors)


PRIORITY_CLASS: Kind[PriorityClass] = Kind(
    group="scheduling.k8s.io",
    version="v1",
    kind="PriorityClass",
    plural="priorityclasses",
    singular="priorityclass",
    short_names=("pc",),
    namespaced=False,
    builtin=True,
    has_status=False,
    model=PriorityClass,
    age=False,
    columns=(
        Column("Value", "integer", number("value")),
        Column(
            "Global-Default",
            "boolean",
            lambda doc, _: bool(get(doc, "globalDefault")),
        ),
        AGE,
        Column(
            "PreemptionPolicy",
            "string",
            lambda doc, _: get(doc, "preemptionPolicy") or "",
        ),
    ),
    default=default_priority_class,
    validate=validate_priority_class,
)
