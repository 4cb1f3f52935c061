import random

import pytest

from knarr.kits.backoff import Backoff


def test_doubles_up_to_the_maximum():
    backoff = Backoff(initial_s=0.005, max_s=960.0)

    delays = [backoff.delay_s(attempt, random.Random(1)) for attempt in range(25)]

    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays[-1] == 960.0
    assert delays == sorted(delays)


def test_jitter_only_shortens():
    backoff = Backoff(initial_s=1.0, max_s=8.0, jitter=0.5)
    rng = random.Random(7)

    delays = [backoff.delay_s(3, rng) for _ in range(200)]

    assert all(4.0 <= delay <= 8.0 for delay in delays)
    assert max(delays) - min(delays) > 2


def test_a_late_attempt_costs_no_time_to_compute():
    assert Backoff(initial_s=1.0, max_s=60.0).ceiling_s(10**9) == 60.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"initial_s": 0.0, "max_s": 1.0},
        {"initial_s": 2.0, "max_s": 1.0},
        {"initial_s": 1.0, "max_s": 1.0, "factor": 0.5},
        {"initial_s": 1.0, "max_s": 1.0, "jitter": 1.5},
    ],
)
def test_refuses_schedules_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match="back-off needs"):
        Backoff(**arguments)
