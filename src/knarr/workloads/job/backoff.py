"""How long a Job waits after Pods failed; pure.

10 s after the first failure, doubled with each further one up to ten minutes; a success ends the series.
"""

import datetime as dt
from collections.abc import Sequence

from knarr.kits.clock import parse_timestamp
from knarr.resources.batch.jobspec import Job
from knarr.resources.core.pod import Pod
from knarr.workloads.job.tracking import Tally, fate_of
from knarr.workloads.pods import condition_of

INITIAL_S = 10.0
LIMIT_S = 600.0
_DOUBLINGS = 6


def ended_at(pod: Pod) -> dt.datetime | None:
    """When a Pod ended; None when nothing tells."""
    statuses = pod.status.container_statuses if pod.status else ()
    ends = [
        status.state.terminated.finished_at
        for status in statuses
        if status.state is not None
        and status.state.terminated is not None
        and status.state.terminated.finished_at
    ]
    ready = condition_of(pod, "Ready")
    told = (
        max(ends) if ends else None,
        pod.metadata.deletion_timestamp,
        ready.last_transition_time if ready is not None else None,
        pod.metadata.creation_timestamp,
    )
    for text in told:
        if text:
            try:
                return parse_timestamp(text)
            except ValueError:
                continue
    return None


def backoff_s(job: Job, pods: Sequence[Pod], tally: Tally, now: dt.datetime) -> float:
    """Seconds until Pods may be made again; 0 when they may.

    Failures whose Pods are gone count towards the length of the pause as long as nothing succeeded.
    """
    ends = {"succeeded": [], "failed": []}  # type: dict[str, list[dt.datetime]]
    for pod in pods:
        fate = fate_of(pod, job)
        moment = ended_at(pod) if fate else None
        if moment is not None:
            ends[fate].append(min(moment, now))
    last_success = max(ends["succeeded"], default=None)
    failures = [each for each in ends["failed"] if last_success is None or each > last_success]
    if not failures:
        return 0.0
    series = len(failures) if tally.all_succeeded else max(len(failures), tally.all_failed)
    pause_s = min(LIMIT_S, INITIAL_S * 2.0 ** min(series - 1, _DOUBLINGS))
    return max(0.0, pause_s - (now - max(failures)).total_seconds())
