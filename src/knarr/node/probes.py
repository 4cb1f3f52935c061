"""When a container is probed and what the results mean. Pure. Source: Kubernetes ``pkg/kubelet/prober``.

``periodSeconds: 0`` is Knative's aggressive readiness probing: every 25 ms until it succeeds, then every ten
seconds.
"""

from dataclasses import dataclass
from typing import Literal

from knarr.resources.core.container import Probe

ProbeKind = Literal["startup", "readiness", "liveness"]
Verdict = Literal["success", "failure", "pending"]

AGGRESSIVE_PERIOD_S = 0.025
_AGGRESSIVE_TIMEOUT_S = 0.3
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


def schedule_of(probe: Probe) -> Schedule:
    """The numbers of a probe."""
    aggressive = probe.period_seconds == 0
    period_s = float(probe.period_seconds or _DEFAULT_PERIOD_S)
    timeout_s = _AGGRESSIVE_TIMEOUT_S if aggressive else _DEFAULT_TIMEOUT_S
    return Schedule(
        initial_delay_s=float(probe.initial_delay_seconds or 0),
        period_s=AGGRESSIVE_PERIOD_S if aggressive else period_s,
        settled_period_s=period_s,
        timeout_s=float(probe.timeout_seconds or timeout_s),
        success_threshold=probe.success_threshold or 1,
        failure_threshold=probe.failure_threshold or _DEFAULT_FAILURES,
    )


@dataclass(slots=True)
class Judge:
    """Turns single results into a verdict by the thresholds.

    Attributes:
        verdict: pending until a threshold is reached for the first time.
    """

    schedule: Schedule
    verdict: Verdict = "pending"
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
        return True

    @property
    def pause_s(self) -> float:
        """Seconds until the next probe."""
        if self.verdict == "success":
            return self.schedule.settled_period_s
        return self.schedule.period_s
