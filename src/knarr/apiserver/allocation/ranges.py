"""Picks a free number out of a range; pure but for the randomness that comes in.

As in Kubernetes a part at the bottom is left to those who ask for a number by name, and is touched only
when the rest is used up: then a number that somebody wrote down is rarely gone already.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Whole numbers from ``first`` to ``last``, both included.

    Attributes:
        first, last: the bounds.
        static: how many at the bottom are given out last.
    """

    first: int
    last: int
    static: int = 0

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self.first <= number <= self.last

    def __len__(self) -> int:
        return max(0, self.last - self.first + 1)

    def pick(self, taken: Callable[[int], bool], rng: random.Random) -> int | None:
        """A number that is not taken, or None when all are.

        Args:
            taken: asked about one number after the other, from a random one on.
            rng: where to begin.
        """
        border = min(self.first + self.static, self.last + 1)
        for low, high in ((border, self.last), (self.first, border - 1)):
            size = high - low + 1
            if size <= 0:
                continue
            start = rng.randrange(size)
            for offset in range(size):
                number = low + (start + offset) % size
                if not taken(number):
                    return number
        return None
