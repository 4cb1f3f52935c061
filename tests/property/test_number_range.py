"""Numbers are given out once each, from the bottom last, until all are gone."""

import random

from hypothesis import given
from hypothesis import strategies as st

from knarr.apiserver.allocation.ranges import NumberRange

RANGES = st.builds(
    lambda first, size, static: NumberRange(first, first + size - 1, static),
    st.integers(0, 1000),
    st.integers(0, 40),
    st.integers(0, 50),
)


@given(RANGES, st.integers())
def test_each_number_once(numbers, seed):
    rng = random.Random(seed)
    taken: list[int] = []
    while (number := numbers.pick(taken.__contains__, rng)) is not None:
        assert number in numbers
        assert number not in taken
        taken.append(number)
    assert sorted(taken) == list(range(numbers.first, numbers.last + 1))
    dynamic = max(0, len(numbers) - numbers.static)
    assert all(number >= numbers.first + numbers.static for number in taken[:dynamic])


@given(RANGES, st.integers(), st.lists(st.booleans(), max_size=120))
def test_giving_back_makes_room(numbers, seed, steps):
    rng = random.Random(seed)
    taken: set[int] = set()
    for take in steps:
        if take:
            number = numbers.pick(taken.__contains__, rng)
            assert (number is None) == (len(taken) == len(numbers))
            if number is not None:
                assert number not in taken
                taken.add(number)
        elif taken:
            taken.discard(rng.choice(sorted(taken)))
