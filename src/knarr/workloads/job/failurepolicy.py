"""What a Job's ``podFailurePolicy`` says of a Pod that failed; pure.

Texts: Kubernetes ``pkg/controller/job/pod_failure_policy.go``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from knarr.resources.batch.failurepolicy import FailurePolicyRule, OnExitCodes
from knarr.resources.batch.jobspec import Job
from knarr.resources.core.pod import Pod

Action = Literal["FailJob", "Ignore", "Count"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What to do about a failed Pod; ``message`` says why the Job fails."""

    action: Action = "Count"
    message: str = ""


COUNT = Judgement()


def judge_failure(job: Job, pod: Pod) -> Judgement:
    """The first rule that matches decides; without any a failure counts.

    Args:
        job: with its policy.
        pod: of phase Failed.
    """
    policy = job.spec.pod_failure_policy if job.spec else None
    for number, rule in enumerate(policy.rules if policy else ()):
        why = _match(rule, pod)
        if why is None:
            continue
        if rule.action == "FailJob":
            return Judgement("FailJob", f"{why} matching FailJob rule at index {number}")
        return Judgement("Ignore") if rule.action == "Ignore" else COUNT
    return COUNT


def _match(rule: FailurePolicyRule, pod: Pod) -> str | None:
    if rule.on_exit_codes is not None:
        return _match_exit(rule.on_exit_codes, pod)
    for pattern in rule.on_pod_conditions:
        for condition in pod.status.conditions if pod.status else ():
            if (condition.type, condition.status) == (pattern.type, pattern.status or "True"):
                return f"Pod {pod.key} has condition {condition.type}"
    return None


def _match_exit(requirement: OnExitCodes, pod: Pod) -> str | None:
    for name, code in _exits(pod):
        if code == 0 or requirement.container_name not in (None, "", name):
            continue
        listed = code in requirement.values
        if listed == (requirement.operator == "In"):
            return f"Container {name} for pod {pod.key} failed with exit code {code}"
    return None


def _exits(pod: Pod) -> Iterator[tuple[str, int]]:
    status = pod.status
    if status is None:
        return
    for one in (*status.container_statuses, *status.init_container_statuses):
        if one.state is not None and one.state.terminated is not None:
            yield one.name, one.state.terminated.exit_code or 0
