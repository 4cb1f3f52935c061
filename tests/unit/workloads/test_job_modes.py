"""Indexed Jobs and failure policies."""

import pytest
from tests.unit.workloads.test_job import KEY, active, end, state, submit, types
from tests.unit.workloads.world import World, replace

from knarr.meta.errors import Invalid
from knarr.meta.objects import Key
from knarr.resources.batch.failurepolicy import (
    FailurePolicyRule,
    OnExitCodes,
    OnPodCondition,
    PodFailurePolicy,
)
from knarr.resources.batch.job import JOB
from knarr.resources.core.container import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
)
from knarr.resources.core.pod import POD
from knarr.resources.core.references import Condition
from knarr.workloads.job.indexes import format_indexes, parse_indexes


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((), ""),
        ((0,), "0"),
        ((1, 0), "0,1"),
        ((0, 1, 2), "0-2"),
        ((1, 3, 4, 5, 7, 8), "1,3-5,7,8"),
    ],
)
def test_lists_of_numbers(numbers, text):
    assert format_indexes(numbers) == text
    assert parse_indexes(text) == set(numbers)


def test_nonsense_in_a_list_is_left_out():
    assert parse_indexes("x,1-,-2,3") == {1, 3}


def number(pod):
    return int(pod.metadata.annotations["batch.kubernetes.io/job-completion-index"])


async def fail(world, pod, code=1, conditions=()):
    """The node says that a Pod failed."""
    pod = await world.client.get(POD, pod.key)
    ended = ContainerStatus(
        name="c", state=ContainerState(terminated=ContainerStateTerminated(exit_code=code))
    )
    status = replace(
        pod.status, phase="Failed", container_statuses=(ended,), conditions=tuple(conditions)
    )
    await world.client.update_status(POD, replace(pod, status=status))
    await world.settle()


def test_each_number_succeeds_once(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, completion_mode="Indexed", completions=4, parallelism=2)
            pods = sorted(await active(world), key=number)
            assert [number(pod) for pod in pods] == [0, 1]
            first = pods[0]
            assert first.metadata.name.startswith("job-0-")
            assert first.spec.hostname == "job-0"
            assert first.metadata.labels["batch.kubernetes.io/job-completion-index"] == "0"
            variable = first.spec.containers[0].env[0]
            assert variable.name == "JOB_COMPLETION_INDEX"
            assert "job-completion-index" in variable.value_from.field_ref.field_path
            await end(world, pods[1], "Succeeded")
            status = await state(world)
            assert (status.completed_indexes, status.succeeded) == ("1", 1)
            assert sorted(number(pod) for pod in await active(world)) == [0, 2]
            for _ in range(6):
                for pod in await active(world):
                    await end(world, pod, "Succeeded")
            status = await state(world)
            assert (status.completed_indexes, status.succeeded) == ("0-3", 4)
            assert ("Complete", "CompletionsReached") in types(status)
            assert await world.again() == []

    fake_time(story())


def test_a_number_that_failed_is_tried_again(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, completion_mode="Indexed", completions=2, parallelism=2)
            zero = min(await active(world), key=number)
            await end(world, zero, "Failed")
            for _ in range(12):
                await world.settle()
            assert sorted(number(pod) for pod in await active(world)) == [0, 1]
            status = await state(world)
            assert (status.failed, status.completed_indexes) == (1, "")

    fake_time(story())


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"completion_mode": "Indexed", "parallelism": 2}, "when completion mode is Indexed"),
        ({"completion_mode": "Random"}, 'supported values: "Indexed", "NonIndexed"'),
        (
            {"completion_mode": "Indexed", "completions": 100_001},
            "must be less than or equal to 100000",
        ),
        (
            {
                "pod_failure_policy": PodFailurePolicy(
                    rules=(FailurePolicyRule(action="FailIndex"),)
                )
            },
            'Unsupported value: "FailIndex"',
        ),
        (
            {"pod_failure_policy": PodFailurePolicy(), "policy": "OnFailure"},
            'only "Never" is supported when podFailurePolicy is specified',
        ),
        (
            {
                "pod_failure_policy": PodFailurePolicy(
                    rules=(
                        FailurePolicyRule(
                            action="Ignore",
                            on_exit_codes=OnExitCodes(operator="In", values=(3, 0)),
                        ),
                    )
                )
            },
            "must not be 0 for the In operator",
        ),
    ],
)
def test_what_is_refused(fake_time, spec, text):
    async def story():
        async with World() as world:
            with pytest.raises(Invalid) as caught:
                await submit(world, **spec)
            assert text in caught.value.message

    fake_time(story())


def policy(*rules):
    return PodFailurePolicy(rules=rules)


FATAL = FailurePolicyRule(
    action="FailJob",
    on_exit_codes=OnExitCodes(container_name="c", operator="In", values=(42,)),
)
DISRUPTED = FailurePolicyRule(
    action="Ignore", on_pod_conditions=(OnPodCondition(type="DisruptionTarget"),)
)


def test_an_exit_code_ends_the_job(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, pod_failure_policy=policy(FATAL), completions=2, parallelism=2)
            made = await world.client.get(JOB, KEY)
            assert made.spec.pod_replacement_policy == "Failed"
            await world.run_pods()
            pods = await active(world)
            await fail(world, pods[0], 42)
            await world.run_pods()
            status = await state(world)
            failed = next(item for item in status.conditions if item.type == "Failed")
            assert failed.reason == "PodFailurePolicy"
            name = pods[0].metadata.name
            assert failed.message == (
                f"Container c for pod ns/{name} failed with exit code 42 matching FailJob rule at index 0"
            )
            assert not await active(world)
            assert await world.again() == []

    fake_time(story())


def test_other_codes_count(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, pod_failure_policy=policy(FATAL), backoff_limit=0)
            await fail(world, (await active(world))[0], 1)
            status = await state(world)
            failed = next(item for item in status.conditions if item.type == "Failed")
            assert failed.reason == "BackoffLimitExceeded"

    fake_time(story())


def test_disruptions_do_not_count(fake_time):
    async def story():
        async with World() as world:
            await world.add_node()
            await submit(world, pod_failure_policy=policy(DISRUPTED, FATAL), backoff_limit=0)
            first = (await active(world))[0]
            condition = Condition(type="DisruptionTarget", status="True")
            await fail(world, first, 42, (condition,))
            for _ in range(15):
                await world.settle()
            status = await state(world)
            assert status.failed == 0
            assert not types(status)
            assert (await active(world))[0].metadata.name != first.metadata.name
            old = await world.client.get(POD, Key("ns", first.metadata.name))
            assert not old.metadata.finalizers

    fake_time(story())
