"""One decision of the autoscaler, as a pure function (Knative ``pkg/autoscaler/scaling``).

``decide`` takes the parameters, what it remembers from the decision before, what was observed and the
time, and returns how many replicas it wants together with the next memory. The decision keeps all its
inputs, so that ``explain`` can show why a replica exists.
"""

import math
from dataclasses import dataclass
from typing import Literal

TICK_S = 2

Metric = Literal["concurrency", "rps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeciderSpec:
    """The parameters of one revision's decisions.

    Attributes:
        metric: what the targets and observations count: requests in flight, or per second.
        target: of the metric per replica that the autoscaler aims for.
        total: of the metric that one replica can take; ``target`` is a fraction of it.
        burst_capacity: spare capacity that should exist; -1 is unlimited, 0 none.
        max_up_rate: greatest factor between the ready and the desired replicas, above 1.
        max_down_rate: greatest divisor of the ready replicas in one decision, above 1.
        panic_threshold: panic begins when the panic window asks for this many times the ready ones.
        stable_window_s: seconds without cause after which panic ends.
        scale_down_delay_s: seconds over which the greatest decision counts; 0 is none.
        activation_scale: least number of replicas when any are needed; below 2 is none.
        reachable: whether a route points at the revision.
    """

    metric: Metric = "concurrency"
    target: float = 70.0
    total: float = 100.0
    burst_capacity: float = 211.0
    max_up_rate: float = 1000.0
    max_down_rate: float = 2.0
    panic_threshold: float = 2.0
    stable_window_s: int = 60
    scale_down_delay_s: int = 0
    activation_scale: int = 0
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class Observation:
    """What the collector saw.

    Attributes:
        stable, panic: the metric's average over the stable and the panic window.
        ready: replicas that are Ready.
        observed_s: seconds for which the revision has been watched without a gap in our own life.
    """

    stable: float
    panic: float
    ready: int
    observed_s: float = math.inf


@dataclass(frozen=True, slots=True)
class DelayedMaximum:
    """One candidate of the trailing maximum: ``step`` is the tick it was wanted in."""

    step: int
    value: int


@dataclass(frozen=True, slots=True)
class DeciderState:
    """What a decision passes on to the next.

    Attributes:
        panic_since_s: when the threshold was last exceeded, or None outside panic.
        panic_max: most replicas wanted in this panic.
        delayed: candidates of the scale-down delay, in descending order of value, ascending of step.
    """

    panic_since_s: float | None = None
    panic_max: int = 0
    delayed: tuple[DelayedMaximum, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision and everything it was made from.

    Attributes:
        desired: replicas wanted.
        excess_burst_capacity: spare capacity beyond the burst capacity; negative is too little.
        why: in words, for ``explain``.
    """

    at_s: float
    desired: int
    excess_burst_capacity: int
    why: str
    spec: DeciderSpec
    observation: Observation
    before: DeciderState
    after: DeciderState


def initial_state(ready: int, now_s: float) -> DeciderState:
    """The memory of a new autoscaler: with several replicas it begins in panic.

    A restart lost the history; panic keeps what runs until a stable window has been seen.
    """
    if ready > 1:
        return DeciderState(panic_since_s=now_s, panic_max=ready)
    return DeciderState(panic_max=ready)


def decide(spec: DeciderSpec, state: DeciderState, seen: Observation, now_s: float) -> Decision:
    """How many replicas a revision should have now."""
    ready = max(1, seen.ready)
    stable_raw = math.ceil(seen.stable / spec.target)
    panic_raw = math.ceil(seen.panic / spec.target)
    stable = _limited(spec, stable_raw, ready)
    panic = _limited(spec, panic_raw, ready)

    panic_since = _panic_since(spec, state, panic_raw / ready, now_s)
    if panic_since is None:
        desired, panic_max = stable, 0
        why = f"stable average {seen.stable:g} at a target of {spec.target:g} per replica"
    else:
        desired = panic_max = max(stable, panic, state.panic_max)
        why = f"panic: average {seen.panic:g} at a target of {spec.target:g} per replica"
    if state.panic_since_s is None and panic_since is None:
        panic_max = state.panic_max

    delayed = state.delayed
    if spec.scale_down_delay_s > 0 and spec.reachable:
        delayed = _trailing(delayed, desired, spec.scale_down_delay_s, now_s)
        if delayed[0].value != desired:
            why = f"{why}; held at {delayed[0].value} by the scale-down delay"
            desired = delayed[0].value
    kept = _kept(spec, seen)
    if desired < kept:
        desired = kept
        why = f"{why}; watched for {seen.observed_s:.0f} s of the stable window only"

    return Decision(
        at_s=now_s,
        desired=desired,
        excess_burst_capacity=_excess_burst_capacity(spec, seen),
        why=why,
        spec=spec,
        observation=seen,
        before=state,
        after=DeciderState(panic_since_s=panic_since, panic_max=panic_max, delayed=delayed),
    )


def _kept(spec: DeciderSpec, seen: Observation) -> int:
    """What must not end yet: without a stable window of data nobody knows that it is not needed.

    Knative protects only several replicas after a restart, by panic; one that runs alone, and what an
    initial scale has just started, deserve the same.
    """
    if seen.observed_s >= spec.stable_window_s:
        return 0
    return seen.ready if spec.reachable else min(seen.ready, 1)


def _limited(spec: DeciderSpec, wanted: int, ready: int) -> int:
    most = math.ceil(spec.max_up_rate * ready)
    least = math.floor(ready / spec.max_down_rate) if spec.reachable else 0
    limited = min(max(wanted, least), most)
    if spec.activation_scale > 1 and wanted > 0:
        return max(limited, spec.activation_scale)
    return limited


def _panic_since(
    spec: DeciderSpec, state: DeciderState, load_ratio: float, now_s: float
) -> float | None:
    if load_ratio >= spec.panic_threshold:
        return now_s
    since = state.panic_since_s
    if since is not None and since + spec.stable_window_s < now_s:
        return None
    return since


def _trailing(
    candidates: tuple[DelayedMaximum, ...], value: int, delay_s: int, now_s: float
) -> tuple[DelayedMaximum, ...]:
    """Candidates for the maximum over the trailing delay; the first one is it."""
    step = math.floor(now_s) // TICK_S
    length = math.ceil(delay_s / TICK_S)
    kept = tuple(item for item in candidates if item.value > value and step - item.step < length)
    if kept and kept[-1].step == step:
        return kept
    return (*kept, DelayedMaximum(step, value))


def _excess_burst_capacity(spec: DeciderSpec, seen: Observation) -> int:
    if spec.burst_capacity == 0:
        return 0
    if spec.burst_capacity < 0:
        return -1
    return math.floor(seen.ready * spec.total - spec.burst_capacity - seen.panic)


def initial_excess_burst_capacity(spec: DeciderSpec, initial_scale: int) -> int:
    """What stands before the first decision."""
    if spec.burst_capacity in {0, -1}:
        return int(spec.burst_capacity)
    return int(initial_scale * spec.total - spec.burst_capacity)
