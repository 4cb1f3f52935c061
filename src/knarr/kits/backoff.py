"""How long to wait before another attempt: exponential growth with a cap and jitter, as a pure function."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A retry schedule.

    Attributes:
        initial_s: delay before the first retry, seconds.
        max_s: no delay is longer, jitter included.
        factor: growth per attempt.
        jitter: 0 to 1; the delay is drawn from ``[delay * (1 - jitter), delay]``, so that clients that
            failed together do not come back together.
    """

    initial_s: float
    max_s: float
    factor: float = 2.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.max_s:
            raise ValueError(f"back-off needs 0 < initial <= max: {self}")
        if self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(f"back-off needs factor >= 1 and jitter in 0..1: {self}")

    def ceiling_s(self, attempt: int) -> float:
        """The delay of an attempt without jitter; attempts count from 0."""
        delay = self.initial_s
        for _ in range(attempt):
            delay *= self.factor
            if delay >= self.max_s:
                return self.max_s
        return min(delay, self.max_s)

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait before retry number ``attempt`` (the first is 0)."""
        ceiling = self.ceiling_s(attempt)
        return ceiling * (1.0 - self.jitter * rng.random()) if self.jitter else ceiling
