"""Whatever slices there are: after one plan every endpoint is in exactly one of them, and all is done."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from knarr.meta.objects import ObjectMeta
from knarr.resources.core.references import ObjectReference
from knarr.resources.core.service import Service, ServiceSpec
from knarr.workloads.endpoints.candidates import Candidate, Port
from knarr.workloads.endpoints.slices import MAX_ENDPOINTS, plan_slices

SERVICE = Service(
    api_version="v1",
    kind="Service",
    metadata=ObjectMeta(name="app", namespace="ns", uid="s"),
    spec=ServiceSpec(selector={"app": "x"}),
)


def candidate(number: int, port: int, *, ready: bool) -> Candidate:
    return Candidate(
        address=f"10.0.{number // 200}.{number % 200}",
        node="node",
        reference=ObjectReference(kind="Pod", namespace="ns", name=f"p{number}", uid=f"u{number}"),
        ports=(Port("", "TCP", port),),
        ready=ready,
        serving=ready,
        terminating=False,
    )


WORLDS = st.builds(
    lambda members, odd, sick: tuple(
        candidate(number, 81 if number % 7 < odd else 80, ready=number % 5 >= sick)
        for number in members
    ),
    st.one_of(
        st.builds(
            lambda low, high: range(low, low + high), st.integers(0, 300), st.integers(0, 300)
        ),
        st.sets(st.integers(0, 20)).map(sorted),
    ),
    st.integers(0, 2),
    st.integers(0, 2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORLDS, min_size=1, max_size=5))
def test_slices_are_right_after_one_plan(worlds):
    held = {}
    made = 0
    for candidates in worlds:
        plan = plan_slices(SERVICE, candidates, tuple(held.values()))
        for item in plan.create:
            made += 1
            name = f"app-{made:03}"
            held[name] = replace(item, metadata=replace(item.metadata, name=name))
        for item in plan.update:
            assert item != held[item.metadata.name]
            held[item.metadata.name] = item
        for item in plan.delete:
            del held[item.metadata.name]
        found = {
            (endpoint.target_ref.uid, endpoint.conditions.ready, item.ports[0].port)
            for item in held.values()
            for endpoint in item.endpoints
        }
        assert found == {
            (item.reference.uid, item.ready, item.ports[0].number) for item in candidates
        }
        assert sum(len(item.endpoints) for item in held.values()) == len(candidates)
        assert all(len(item.endpoints) <= MAX_ENDPOINTS for item in held.values())
        assert len(held) == 1 or all(item.endpoints for item in held.values())
        again = plan_slices(SERVICE, candidates, tuple(held.values()))
        assert (again.create, again.update, again.delete) == ((), (), ())
