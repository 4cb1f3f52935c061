"""Where the gateways' statistics become averages: one set of windows per revision.

A gateway reports a revision only while it has traffic, so silence of a connected gateway means zero:
``observe`` fills it in. Without any gateway there is no data, and without data no decision.
"""

from knarr.serving.autoscaler.decider import Observation
from knarr.serving.autoscaler.policy import Policy
from knarr.serving.autoscaler.window import SampleWindow, make_window


class Collection:
    """The stable and the panic window of the metric that one revision is scaled by."""

    __slots__ = ("_panic", "_rps", "_since_s", "_stable")

    def __init__(self, policy: Policy, now_s: float) -> None:
        self._since_s = now_s
        self._rps = policy.decider.metric == "rps"
        self._stable: SampleWindow = make_window(policy.algorithm, policy.decider.stable_window_s)
        self._panic: SampleWindow = make_window(policy.algorithm, policy.panic_window_s)

    def update(self, policy: Policy, now_s: float) -> None:
        """Follow changed window lengths; metric and algorithm of a revision never change."""
        self._stable.resize(policy.decider.stable_window_s, now_s)
        self._panic.resize(policy.panic_window_s, now_s)

    def watched_s(self, now_s: float) -> float:
        """Seconds since the revision came under watch."""
        return now_s - self._since_s

    def record(self, now_s: float, concurrency: float, requests: float) -> None:
        """One interval's traffic: average requests in flight (times seconds) and requests begun."""
        value = requests if self._rps else concurrency
        self._stable.record(now_s, value)
        self._panic.record(now_s, value)

    def observe(self, now_s: float, ready: int) -> Observation:
        """The averages now, with silence counted as no traffic."""
        self.record(now_s, 0.0, 0.0)
        return Observation(
            stable=self._stable.average(now_s),
            panic=self._panic.average(now_s),
            ready=ready,
            observed_s=self.watched_s(now_s),
        )
