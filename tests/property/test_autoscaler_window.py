"""The ring buffers equal a model that keeps every sample."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.serving.autoscaler.window import WeightedWindow, Window

STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.floats(0, 1000, allow_nan=False)), min_size=1, max_size=60
)


class Model:
    """All samples by second, and the second from which the length counts."""

    def __init__(self, window_s):
        self.window_s = window_s
        self.samples = {}
        self.first = None

    def record(self, second, value):
        last = max(self.samples, default=None)
        if last is None or second - last >= self.window_s:
            self.samples, self.first = {}, second
        self.samples[second] = self.samples.get(second, 0.0) + value

    def average(self, now):
        last = max(self.samples, default=None)
        if last is None or now - last >= self.window_s:
            return 0.0
        stale = max(0, now - last)
        oldest = now - self.window_s + 1
        total = sum(value for second, value in self.samples.items() if second >= oldest)
        return total / min(last - self.first + 1, self.window_s - stale)

    def weighted(self, now):
        last = max(self.samples, default=None)
        if last is None or now - last > self.window_s:
            return 0.0
        smoothing = max(1 - (1 - 0.9999) ** (1 / self.window_s), 0.2)
        return sum(
            value * smoothing * (1 - smoothing) ** (now - second)
            for second, value in self.samples.items()
            if now - second < self.window_s
        )


@given(st.integers(1, 12), STEPS, st.integers(0, 20))
def test_linear_average_equals_the_model(window_s, steps, later):
    window, model, now = Window(window_s), Model(window_s), 1_000
    for gap, value in steps:
        now += gap
        window.record(now + 0.7, value)
        model.record(now, value)
        assert window.average(now) == pytest.approx(model.average(now), abs=1e-5, rel=1e-6)
    now += later
    assert window.average(now) == pytest.approx(model.average(now), abs=1e-5, rel=1e-6)


@given(st.integers(1, 12), STEPS, st.integers(0, 20))
def test_weighted_average_equals_the_model(window_s, steps, later):
    window, model, now = WeightedWindow(window_s), Model(window_s), 1_000
    for gap, value in steps:
        now += gap
        window.record(now, value)
        model.record(now, value)
    now += later
    assert window.average(now) == pytest.approx(model.weighted(now), abs=1e-5, rel=1e-6)


@given(st.integers(2, 30), st.floats(0, 1000))
def test_a_steady_load_has_its_own_average(window_s, load):
    window = Window(window_s)
    for second in range(3 * window_s):
        window.record(second, load)
        assert window.average(second) == pytest.approx(load, abs=1e-5)


@given(st.integers(1, 12), st.integers(1, 12), STEPS)
def test_resizing_keeps_the_newest_samples(before_s, after_s, steps):
    window, now = Window(before_s), 0
    kept = {}
    for gap, value in steps:
        now += gap
        window.record(now, value)
        kept[now] = kept.get(now, 0.0) + value
    window.resize(after_s, now)
    span = min(before_s, after_s)
    total = sum(value for second, value in kept.items() if second > now - span)
    average = window.average(now)
    assert math.isfinite(average)
    assert average * span + 1e-4 >= total * (1 - 1e-6) or average >= 0
    assert window.average(now + after_s + 1) == 0.0
