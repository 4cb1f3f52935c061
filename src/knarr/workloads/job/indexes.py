"""Numbers of the Pods of an Indexed Job; pure.

``status.completedIndexes`` lists them as ``1,3-5``: a set, so counting one twice changes nothing.
"""

from collections.abc import Iterable, Sequence

from knarr.resources.batch.jobspec import COMPLETION_INDEX, INDEXED, Job, JobSpec
from knarr.resources.core.pod import Pod
from knarr.workloads import pods as pods_of


def is_indexed(job: Job) -> bool:
    """Whether each Pod of a Job has a number."""
    return job.spec is not None and job.spec.completion_mode == INDEXED


def parse_indexes(text: str) -> set[int]:
    """The numbers of a list such as ``1,3-5``; what is no number is left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """The list of numbers, runs of three and more as ranges, as Kubernetes writes it."""
    runs: list[list[int]] = []
    for number in sorted(set(indexes)):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = []
    for run in runs:
        if len(run) > 2:
            parts.append(f"{run[0]}-{run[-1]}")
        else:
            parts += [str(number) for number in run]
    return ",".join(parts)


def index_of(pod: Pod, job: Job) -> int | None:
    """The number of a Pod; None when it has none below the Job's completions."""
    text = pod.metadata.annotation(COMPLETION_INDEX)
    completions = (job.spec or JobSpec()).completions or 0
    if not text.isdigit() or int(text) >= completions:
        return None
    return int(text)


def pending_indexes(job: Job, done: Iterable[int], busy: Iterable[int], count: int) -> list[int]:
    """The lowest numbers that nobody has and that are not done.

    Args:
        job: Indexed.
        done: numbers that succeeded.
        busy: numbers of Pods that may still succeed.
        count: how many at most.
    """
    taken = {*done, *busy}
    completions = (job.spec or JobSpec()).completions or 0
    found: list[int] = []
    for number in range(completions):
        if len(found) >= count:
            break
        if number not in taken:
            found.append(number)
    return found


def superfluous(job: Job, pods: Sequence[Pod], done: frozenset[int]) -> list[Pod]:
    """Active Pods whose number is done already, belongs to an older Pod, or is none."""
    seen = set(done)
    result = []
    for pod in sorted(pods, key=lambda one: one.metadata.creation_timestamp or ""):
        if not pods_of.is_active(pod):
            continue
        number = index_of(pod, job)
        if number is None or number in seen:
            result.append(pod)
        else:
            seen.add(number)
    return result
