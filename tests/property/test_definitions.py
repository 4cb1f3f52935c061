"""Names of definitions belong to one of them at a time, whatever is defined, changed and deleted."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from knarr.apiserver.definitions.naming import Claims, claims_of, plan_names
from knarr.apiserver.definitions.native import native_definition, new_native, renewed_native
from knarr.meta.objects import ObjectMeta
from knarr.resources.apiextensions.customresourcedefinition import (
    CustomResourceDefinition,
    CustomResourceDefinitionSpec,
    Names,
    is_established,
)
from knarr.resources.apiextensions.definitions import own_definitions
from knarr.resources.catalog import KINDS

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
WORDS = st.sampled_from(["a", "b", "c", "d", "e"])
NAMES = st.builds(
    lambda plural, singular, short, kind: Names(
        plural=plural,
        singular=singular,
        short_names=tuple(sorted(short)) or None,
        kind=kind.upper(),
        list_kind=f"{kind.upper()}List",
    ),
    WORDS,
    WORDS,
    st.frozensets(WORDS, max_size=2),
    WORDS,
)
STEPS = st.lists(st.tuples(st.integers(0, 4), st.none() | NAMES), max_size=30)


def made(names: Names) -> CustomResourceDefinition:
    return CustomResourceDefinition(spec=CustomResourceDefinitionSpec(names=names))


def has(definition: CustomResourceDefinition) -> Claims:
    return claims_of(definition.status.accepted_names if definition.status else None)


def settle(world: dict[int, CustomResourceDefinition]) -> None:
    """Every definition is looked at until nothing changes, as the controller does."""
    for _ in range(len(world) + 2):
        before = dict(world)
        for number, definition in tuple(world.items()):
            others = [has(each) for other, each in world.items() if other != number]
            world[number] = replace(definition, status=plan_names(definition, others, NOW))
        if world == before:
            return
    raise AssertionError("the names never settle")


@given(STEPS)
def test_no_name_has_two_owners_and_what_is_served_stays_served(steps):
    world: dict[int, CustomResourceDefinition] = {}
    for number, names in steps:
        served = {key for key, each in world.items() if is_established(each)}
        if names is None:
            world.pop(number, None)
            served.discard(number)
        elif number in world:
            world[number] = replace(world[number], spec=CustomResourceDefinitionSpec(names=names))
        else:
            world[number] = made(names)
        settle(world)
        assert served <= {key for key, each in world.items() if is_established(each)}
        for kind in ("resources", "kinds"):
            owned = [name for each in world.values() for name in set(getattr(has(each), kind))]
            assert len(owned) == len(set(owned))


@given(NAMES)
def test_a_plan_made_twice_is_the_same(names):
    first = plan_names(made(names), (), NOW)
    assert plan_names(replace(made(names), status=first), (), LATER) == first


@given(st.sampled_from(list(own_definitions(KINDS))), st.dictionaries(WORDS, WORDS, min_size=1))
def test_own_definitions_are_renewed_unless_a_user_changed_them(document, labels):
    definition = native_definition(document)
    stored = new_native(definition, "uid", NOW)
    assert renewed_native(definition, stored, LATER) is None
    newer = native_definition({**document, "spec": {**document["spec"], "scope": "Other"}})
    renewed = renewed_native(newer, stored, LATER)
    assert renewed is not None
    assert (renewed.spec, renewed.metadata.uid, renewed.metadata.generation) == (
        newer.spec,
        "uid",
        2,
    )
    assert renewed_native(newer, renewed, LATER) is None
    changed = replace(
        stored,
        metadata=ObjectMeta(labels=labels, annotations=stored.metadata.annotations, generation=1),
    )
    assert renewed_native(newer, changed, LATER) is None
