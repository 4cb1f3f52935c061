"""When a container is probed and what the results mean. Pure. Source: Kubernetes ``pkg/kubelet/prober``.

Readiness of a Knative revision is probed aggressively, as its queue-proxy does for ``periodSeconds: 0``:
every 25 ms until the first success. Kubernetes' defaulting turns 0 into 10, so the caller has to say it.
"""

from dataclasses import dataclass
from typing import Literal

from knarr.resources.core.container import Probe

ProbeKind = Literal["startup", "readiness", "liveness"]
Verdict = Literal["success", "failure", "pending"]

AGGRESSIVE_PERIOD_S = 0.025
_EAGER_FAILURES, _PATIENT_PERIOD_S = 400, 0.25
_DEFAULT_PERIOD_S = 10.0
_DEFAULT_TIMEOUT_S = 1.0
_DEFAULT_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Schedule:
    """A probe's numbers with Kubernetes' defaults filled in; times in seconds."""

    initial_delay_s: float
    period_s: float
    settled_period_s: float
    timeout_s: float
    success_threshold: int
    failure_threshold: int


def schedule_of(probe: Probe, *, eager: bool = False) -> Schedule:
    """The numbers of a probe.

    Args:
        probe: with or without its defaults.
        eager: probe every 25 ms until the first success; commands are too dear for that.
    """
    aggressive = probe.exec is None and (eager or probe.period_seconds == 0)
    period_s = float(probe.period_seconds or _DEFAULT_PERIOD_S)
    return Schedule(
        initial_delay_s=float(probe.initial_delay_seconds or 0),
        period_s=AGGRESSIVE_PERIOD_S if aggressive else period_s,
        settled_period_s=period_s,
        timeout_s=float(probe.timeout_seconds or _DEFAULT_TIMEOUT_S),
        success_threshold=probe.success_threshold or 1,
        failure_threshold=probe.failure_threshold or _DEFAULT_FAILURES,
    )


@dataclass(slots=True)
class Judge:
    """Turns single results into a verdict by the thresholds.

    Attributes:
        verdict: pending until a threshold is reached for the first time.
        succeeded: the success threshold was reached once.
    """

    schedule: Schedule
    verdict: Verdict = "pending"
    succeeded: bool = False
    _successes: int = 0
    _failures: int = 0

    def add(self, *, success: bool) -> bool:
        """One result; whether the verdict changed."""
        if success:
            self._successes, self._failures = self._successes + 1, 0
            reached = self._successes >= self.schedule.success_threshold
        else:
            self._successes, self._failures = 0, self._failures + 1
            reached = self._failures >= self.schedule.failure_threshold
        new: Verdict = "success" if success else "failure"
        if not reached or self.verdict == new:
            return False
        self.verdict = new
        self.succeeded = self.succeeded or success
        return True

    @property
    def pause_s(self) -> float:
        """Seconds until the next probe; an eager one that fails for long becomes patient."""
        schedule = self.schedule
        if self.succeeded:
            return schedule.settled_period_s
        if self._failures > _EAGER_FAILURES:
            return max(schedule.period_s, min(_PATIENT_PERIOD_S, schedule.settled_period_s))
        return schedule.period_s
