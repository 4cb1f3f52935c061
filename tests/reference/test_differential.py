"""The same requests to Knarr and to kube-apiserver: what comes back must be the same.

``KNARR_DIFFERENTIAL_REPORT=file`` writes every difference down instead of stopping at the first scenario's.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.reference.comparing import Difference, Normaliser, answer_differences
from tests.reference.differences import ACCEPTED
from tests.reference.running import Runner
from tests.reference.scenarios import Scenario, load_scenarios

pytestmark = [pytest.mark.reference, pytest.mark.timeout(120)]

SCENARIOS = load_scenarios()
NUMBERS = {scenario.name: number for number, scenario in enumerate(SCENARIOS)}
SEEN: set[int] = set()
RUN: set[str] = set()
REQUESTS = [0]


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def shared_namespace(ours, reference):
    for server in (ours, reference):
        with server.client() as client:
            Runner(server, "shared").make_namespace(client)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_equal_answers(scenario: Scenario, ours, reference, pool) -> None:
    namespace = "shared" if scenario.shared else f"t{NUMBERS[scenario.name]}"
    runs = [pool.submit(Runner(server, namespace).run, scenario) for server in (ours, reference)]
    mine, theirs = (run.result() for run in runs)
    RUN.add(scenario.name)
    REQUESTS[0] += len(mine)
    left, right = Normaliser(), Normaliser()
    lines: list[str] = []
    for step, one, other in zip(scenario.steps, mine, theirs, strict=True):
        found = list(answer_differences(left.answer(one), right.answer(other)))
        unlisted = [each for each in found if not _listed(scenario.name, each)]
        if unlisted:
            lines.append(f"  {step}")
            lines.extend(f"    {each}" for each in unlisted)
    text = "\n".join([scenario.name, *lines])
    report = os.environ.get("KNARR_DIFFERENTIAL_REPORT")
    if lines and report:
        with Path(report).open("a") as file:
            file.write(text + "\n")
    if lines:
        pytest.fail(text, pytrace=False)


def _listed(scenario: str, difference: Difference) -> bool:
    for number, accepted in enumerate(ACCEPTED):
        if accepted.covers(scenario, difference):
            SEEN.add(number)
            return True
    return False


def test_every_listed_difference_is_still_there() -> None:
    if len(RUN) != len(SCENARIOS):
        pytest.skip("only a part of the scenarios ran")
    print(f"{REQUESTS[0]} requests, {len(RUN)} scenarios, {len(ACCEPTED)} accepted differences")
    gone = [entry for number, entry in enumerate(ACCEPTED) if number not in SEEN]
    assert gone == []
