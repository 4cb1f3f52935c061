"""Laws of quota arithmetic."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from knarr.resources.core.pod import Pod
from knarr.resources.core.resourcequota import ResourceQuota
from knarr.resources.quantity import parse_quantity
from knarr.resources.quota.amounts import total
from knarr.resources.quota.usage import refusal, usage_of, used_by

CPU = st.sampled_from(["1m", "100m", "0.25", "1", "1.5", "2"])
MEMORY = st.sampled_from(["1Mi", "64Mi", "1Gi", "100M", "1e6"])
RESOURCES = st.fixed_dictionaries({"cpu": CPU, "memory": MEMORY})


@st.composite
def pods(draw):
    containers = [
        {
            "name": f"c{number}",
            "image": "i",
            "resources": {"requests": draw(RESOURCES), "limits": draw(RESOURCES)},
        }
        for number in range(draw(st.integers(1, 3)))
    ]
    spec = {"containers": containers}
    if draw(st.booleans()):
        spec["initContainers"] = [
            {"name": "init", "image": "i", "resources": {"requests": draw(RESOURCES), "limits": {}}}
        ]
    phase = draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]))
    return msgspec.convert({"spec": spec, "status": {"phase": phase}}, Pod)


def quota(hard):
    return msgspec.convert({"metadata": {"name": "q"}, "spec": {"hard": hard}}, ResourceQuota)


HARD = {"pods": "1000", "requests.cpu": "1000", "limits.memory": "1Ti", "count/pods": "1000"}


@given(st.lists(pods(), max_size=8))
def test_usage_is_the_sum_of_what_each_takes(found):
    used = used_by(quota(HARD).spec, [("pods", pod) for pod in found])
    summed = total(usage_of("pods", pod) for pod in found)
    for name in HARD:
        assert used[name].value == (summed[name].value if name in summed else 0)
    assert used["count/pods"].value == len(found)


@given(st.lists(pods(), max_size=6), st.randoms())
def test_the_order_does_not_matter(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    first = used_by(quota(HARD).spec, [("pods", pod) for pod in found])
    second = used_by(quota(HARD).spec, [("pods", pod) for pod in shuffled])
    assert {name: each.value for name, each in first.items()} == {
        name: each.value for name, each in second.items()
    }


@given(st.lists(pods(), max_size=10), CPU, st.integers(0, 4))
def test_what_is_admitted_one_by_one_never_exceeds_the_quota(arriving, cpu, count):
    limited = quota({"requests.cpu": cpu, "pods": str(count)})
    admitted: list[Pod] = []

    def used(_):
        return used_by(limited.spec, [("pods", pod) for pod in admitted])

    for pod in arriving:
        if refusal([limited], "pods", pod, None, used) is None:
            admitted.append(pod)
    final = used(limited)
    assert final["requests.cpu"].value <= parse_quantity(cpu).value
    assert final["pods"].value <= count


@given(pods(), pods())
def test_shrinking_is_always_allowed(before, after):
    limited = quota({"requests.cpu": "0", "pods": "0"})
    text = refusal([limited], "pods", after, before, lambda _: {})
    grows = any(
        usage_of("pods", after).get(name, ZERO).value
        > usage_of("pods", before).get(name, ZERO).value
        for name in ("requests.cpu", "pods")
    )
    assert (text is not None) == grows


ZERO = parse_quantity("0")


@given(st.lists(MEMORY, min_size=1, max_size=6))
def test_sums_are_exact(texts):
    parts = [{"memory": parse_quantity(text)} for text in texts]
    expected = sum((parse_quantity(text).value for text in texts), Decimal(0))
    assert total(parts)["memory"].value == expected
