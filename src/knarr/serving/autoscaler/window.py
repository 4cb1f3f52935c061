"""Ring buffers of one-second samples and their averages (Knative ``pkg/autoscaler/aggregation``).

Times are seconds on a monotonic scale; a sample belongs to the bucket of its whole second. A window
that has data for a part of its length only is averaged over that part: after the first write, and after
a silence of a whole window, the length counts from the first sample again. Buckets in a shorter gap
count as zero. Nothing here reads a clock.
"""

import math
from typing import Literal, Protocol

Algorithm = Literal["linear", "weighted-exponential"]

_PRECISION_DIGITS = 6
_MIN_SMOOTHING = 0.2
_WEIGHT_SUM = 0.9999


class SampleWindow(Protocol):
    """What the collector asks of a window, whatever its average."""

    def record(self, now_s: float, value: float) -> None:
        """Add ``value`` to the bucket of ``now_s``; older than the window is ignored."""
        ...

    def average(self, now_s: float) -> float:
        """The average over the window that ends now."""
        ...

    def empty(self, now_s: float) -> bool:
        """Whether nothing was recorded for longer than the window."""
        ...

    def resize(self, window_s: int, now_s: float) -> None:
        """Change the length; O(buckets)."""
        ...


class Window:
    """Linear average: every second of the window weighs the same.

    Args:
        window_s: length in whole seconds, at least 1; also the number of buckets.
    """

    __slots__ = ("_buckets", "_first", "_last", "_total", "_window_s")

    def __init__(self, window_s: int) -> None:
        if window_s < 1:
            raise ValueError(f"a window lasts at least one second, not {window_s}")
        self._window_s = window_s
        self._buckets = [0.0] * window_s
        self._total = 0.0
        self._first: int | None = None
        self._last: int | None = None

    @property
    def window_s(self) -> int:
        """The length in seconds."""
        return self._window_s

    def record(self, now_s: float, value: float) -> None:
        """Add ``value`` to the bucket of ``now_s``; older than the window is ignored."""
        second = math.floor(now_s)
        if self._last is not None and second + self._window_s <= self._last:
            return
        if self._first is None or second < self._first:
            self._first = second
        if self._last is None or second > self._last:
            self._advance(second)
        self._buckets[second % self._window_s] += value
        self._total += value

    def _advance(self, second: int) -> None:
        if self._last is None or second - self._last >= self._window_s:
            self._first = second
            self._buckets = [0.0] * self._window_s
            self._total = 0.0
        else:
            for skipped in range(self._last + 1, second + 1):
                index = skipped % self._window_s
                self._total -= self._buckets[index]
                self._buckets[index] = 0.0
        self._last = second

    def average(self, now_s: float) -> float:
        """The sum of the valid buckets by their number, rounded to six digits; 0 without data."""
        if self._last is None or self._first is None:
            return 0.0
        second = math.floor(now_s)
        stale = max(0, second - self._last)
        if stale >= self._window_s:
            return 0.0
        total = self._total
        for outdated in range(self._last + 1, self._last + 1 + stale):
            total -= self._buckets[outdated % self._window_s]
        valid = min(self._last - self._first + 1, self._window_s - stale)
        return round(total / valid, _PRECISION_DIGITS)

    def empty(self, now_s: float) -> bool:
        """Whether nothing was recorded for longer than the window."""
        return self._last is None or math.floor(now_s) - self._last > self._window_s

    def resize(self, window_s: int, now_s: float) -> None:
        """Change the length and keep the newest samples that fit."""
        if window_s == self._window_s:
            return
        buckets = [0.0] * window_s
        total = 0.0
        if self._last is not None and not self.empty(now_s):
            for second in range(self._last, self._last - min(window_s, self._window_s), -1):
                value = self._buckets[second % self._window_s]
                buckets[second % window_s] = value
                total += value
            self._first = max(self._first or 0, self._last - self._window_s + 1)
        else:
            self._first = self._last = None
        self._window_s, self._buckets, self._total = window_s, buckets, total


class WeightedWindow(Window):
    """Exponentially weighted average: the newest second weighs most.

    The decay is chosen so that the weights of a full window sum to at least 0.9999, but is never less
    than 0.2, where a long window would become a plain average.
    """

    __slots__ = ("_smoothing",)

    def __init__(self, window_s: int) -> None:
        super().__init__(window_s)
        self._smoothing = _smoothing(window_s)

    def average(self, now_s: float) -> float:
        """The weighted sum of the buckets, newest first; 0 without data."""
        if self._last is None or self.empty(now_s):
            return 0.0
        stale = max(0, math.floor(now_s) - self._last)
        weight = self._smoothing * (1 - self._smoothing) ** stale
        result = 0.0
        for second in range(self._last, self._last - (self._window_s - stale), -1):
            result += self._buckets[second % self._window_s] * weight
            weight *= 1 - self._smoothing
        return result

    def resize(self, window_s: int, now_s: float) -> None:
        """Change the length, keep the newest samples that fit, and derive the decay again."""
        super().resize(window_s, now_s)
        self._smoothing = _smoothing(window_s)


def _smoothing(buckets: int) -> float:
    return max(1 - math.pow(1 - _WEIGHT_SUM, 1 / buckets), _MIN_SMOOTHING)


def make_window(algorithm: Algorithm, window_s: int) -> SampleWindow:
    """The window that an aggregation algorithm asks for."""
    return WeightedWindow(window_s) if algorithm == "weighted-exponential" else Window(window_s)
