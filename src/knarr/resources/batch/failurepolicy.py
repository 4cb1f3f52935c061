"""``podFailurePolicy`` of a Job (``batch/v1``)."""

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.objects import Struct
from knarr.resources.fielderrors import duplicate, invalid, not_supported, required

_ACTIONS = ("Count", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATES = ("False", "True", "Unknown")
_MAX_RULES = 20
_MAX_VALUES = 255


class OnExitCodes(Struct, frozen=True, kw_only=True):
    """Matches the exit codes of one container, or of any; 0 never matches."""

    container_name: str | None = None
    operator: str = ""
    values: tuple[int, ...] = ()


class OnPodCondition(Struct, frozen=True, kw_only=True):
    """Matches a condition of the Pod."""

    type: str = ""
    status: str = ""


class FailurePolicyRule(Struct, frozen=True, kw_only=True):
    """What to do with a failed Pod: FailJob, Ignore or Count."""

    action: str = ""
    on_exit_codes: OnExitCodes | None = None
    on_pod_conditions: tuple[OnPodCondition, ...] = ()


class PodFailurePolicy(Struct, frozen=True, kw_only=True):
    """Rules of which the first that matches decides."""

    rules: tuple[FailurePolicyRule, ...] = ()


def failure_policy_errors(policy: PodFailurePolicy, containers: frozenset[str]) -> list[FieldError]:
    """Kubernetes' rules; paths are relative to the policy.

    Args:
        policy: to check.
        containers: names of the template's containers.
    """
    if len(policy.rules) > _MAX_RULES:
        text = f"must have at most {_MAX_RULES} items"
        return [invalid("rules", len(policy.rules), text)]
    errors: list[FieldError] = []
    for index, rule in enumerate(policy.rules):
        errors += at(f"rules[{index}]", _rule_errors(rule, containers))
    return errors


def _rule_errors(rule: FailurePolicyRule, containers: frozenset[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    if not rule.action:
        errors.append(required("action", "valid values: Count, FailIndex, FailJob, Ignore"))
    elif rule.action not in _ACTIONS:
        errors.append(not_supported("action", rule.action, _ACTIONS))
    if rule.on_exit_codes is not None and rule.on_pod_conditions:
        text = "specifying both OnExitCodes and OnPodConditions is not supported"
        errors.append(invalid("", rule.action, text))
    elif rule.on_exit_codes is None and not rule.on_pod_conditions:
        text = "specifying one of OnExitCodes and OnPodConditions is required"
        errors.append(invalid("", rule.action, text))
    if rule.on_exit_codes is not None:
        errors += at("onExitCodes", _exit_errors(rule.on_exit_codes, containers))
    for index, pattern in enumerate(rule.on_pod_conditions):
        path = f"onPodConditions[{index}]"
        if not pattern.type:
            errors.append(required(f"{path}.type"))
        if pattern.status not in ("", *_STATES):
            errors.append(not_supported(f"{path}.status", pattern.status, _STATES))
    return errors


def _exit_errors(codes: OnExitCodes, containers: frozenset[str]) -> list[FieldError]:
    errors = []
    if codes.operator not in _OPERATORS:
        errors.append(not_supported("operator", codes.operator, _OPERATORS))
    if codes.container_name is not None and codes.container_name not in containers:
        text = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid("containerName", codes.container_name, text))
    if not codes.values:
        errors.append(invalid("values", [], "at least one value is required"))
    elif len(codes.values) > _MAX_VALUES:
        errors.append(
            invalid("values", len(codes.values), f"must have at most {_MAX_VALUES} items")
        )
    seen: set[int] = set()
    for index, value in enumerate(codes.values):
        if codes.operator == "In" and value == 0:
            errors.append(invalid(f"values[{index}]", value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(duplicate(f"values[{index}]", value))
        seen.add(value)
    if list(codes.values) != sorted(codes.values):
        errors.append(invalid("values", list(codes.values), "must be ordered"))
    return errors
