"""The same requests to Knarr and to kube-apiserver: what comes back must be the same.

``KNARR_DIFFERENTIAL_REPORT=file`` also writes every unlisted difference down, gaps included.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.reference.comparing import Difference, Normaliser, answer_differences
from tests.reference.differences import ACCEPTED, gap_of, read_gaps, write_gaps
from tests.reference.running import Runner
from tests.reference.scenarios import Scenario, load_scenarios

pytestmark = [pytest.mark.reference, pytest.mark.timeout(120)]

SCENARIOS = load_scenarios()
NUMBERS = {scenario.name: number for number, scenario in enumerate(SCENARIOS)}
KNOWN = frozenset(read_gaps())
WRITE = os.environ.get("KNARR_DIFFERENTIAL_GAPS") == "write"
REPORT = os.environ.get("KNARR_DIFFERENTIAL_REPORT")

SEEN: set[int] = set()
GAPS: set[str] = set()
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
    new: list[str] = []
    every: list[str] = []
    for step, found in differing(scenario, mine, theirs):
        gaps = [gap_of(scenario.name, each) for each in found]
        GAPS.update(gaps)
        every += [f"  {step}", *(f"    {each}" for each in found)]
        fresh = [each for gap, each in zip(gaps, found, strict=True) if gap not in KNOWN]
        if fresh:
            new += [f"  {step}", *(f"    {each}" for each in fresh)]
    if every and REPORT:
        with Path(REPORT).open("a") as file:
            file.write("\n".join([scenario.name, *every]) + "\n")
    if new and not WRITE:
        pytest.fail("\n".join([scenario.name, *new]), pytrace=False)


def differing(scenario: Scenario, mine: list, theirs: list):
    """Steps with the differences that are not meant; each is told once per scenario."""
    left, right = Normaliser(), Normaliser()
    told: set[tuple[str, str, str]] = set()
    for step, one, other in zip(scenario.steps, mine, theirs, strict=True):
        ours, reference = left.answer(one), right.answer(other)
        says, they_say = message_of(ours), message_of(reference)
        found = []
        for each in answer_differences(ours, reference):
            mark = (each.path, str(each.ours), str(each.theirs))
            if mark in told or listed(scenario.name, each, says, they_say):
                continue
            told.add(mark)
            found.append(each)
        if found:
            yield step, found


def message_of(answer: dict[str, Any]) -> str:
    body = answer["body"]
    return str(body.get("message") or "") if isinstance(body, dict) else ""


def listed(scenario: str, difference: Difference, says: str, they_say: str) -> bool:
    for number, accepted in enumerate(ACCEPTED):
        if accepted.covers(scenario, difference, says, they_say):
            SEEN.add(number)
            return True
    return False


def test_every_listed_difference_is_still_there() -> None:
    if len(RUN) != len(SCENARIOS):
        pytest.skip("only a part of the scenarios ran")
    print(
        f"{REQUESTS[0]} requests in {len(RUN)} scenarios: {len(ACCEPTED)} accepted differences, "
        f"{len(GAPS)} gaps in {len({gap.partition(' | ')[0] for gap in GAPS})} scenarios"
    )
    if WRITE:
        write_gaps(GAPS)
        return
    assert [entry for number, entry in enumerate(ACCEPTED) if number not in SEEN] == []
    assert sorted(KNOWN - GAPS) == []
