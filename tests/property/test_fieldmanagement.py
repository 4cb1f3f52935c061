"""Laws of server-side apply, for random schemas, documents and histories of writes."""

import datetime as dt
import json
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.fieldmanagement import (
    SCALAR,
    UNTYPED,
    Actor,
    FieldSet,
    ListRule,
    MapRule,
    MergeSchema,
    Rules,
    apply,
    compare,
    decode_managers,
    decode_set,
    encode_managers,
    encode_set,
    field_set,
    merge,
    remove,
    track_update,
    update_managers,
)

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAMES = ("a", "b", "c")
SCALARS = st.sampled_from([1, 2, "x", "y", True, 1.5])
FREE = st.recursive(
    SCALARS,
    lambda inner: (
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=3) | st.lists(inner, max_size=2)
    ),
    max_leaves=5,
)


@dataclass
class Kind:
    """A schema and the documents that fit it."""

    schema: MergeSchema
    values: st.SearchStrategy


@st.composite
def kinds(draw, depth=2):
    leaves = ["scalar", "atomic list", "set", "free"]
    choice = draw(
        st.sampled_from([*leaves, "struct", "map", "atomic map", "keyed"] if depth else leaves)
    )
    match choice:
        case "scalar":
            return Kind(SCALAR, SCALARS)
        case "atomic list":
            return Kind(MergeSchema(list=ListRule(items=SCALAR)), st.lists(SCALARS, max_size=3))
        case "set":
            items = st.lists(st.sampled_from(["p", "q", "r", 1]), unique=True, max_size=4)
            return Kind(MergeSchema(list=ListRule("set", items=SCALAR)), items)
        case "free":
            return Kind(UNTYPED, FREE)
        case "struct":
            return draw(structs(depth - 1))
        case "keyed":
            return draw(keyed(depth - 1))
    inner = draw(kinds(depth - 1))
    rule = MapRule(values=inner.schema, atomic=choice == "atomic map")
    values = st.dictionaries(st.sampled_from(NAMES), inner.values, max_size=3)
    return Kind(MergeSchema(map=rule), values)


@st.composite
def structs(draw, depth=2):
    fields = {name: draw(kinds(depth)) for name in NAMES[: draw(st.integers(1, 3))]}
    schema = MergeSchema(map=MapRule(fields={name: kind.schema for name, kind in fields.items()}))
    values = st.fixed_dictionaries(
        {}, optional={name: kind.values for name, kind in fields.items()}
    )
    return Kind(schema, values)


@st.composite
def keyed(draw, depth):
    item = draw(structs(depth))
    fields = {**item.schema.map.fields, "k": SCALAR, "p": SCALAR}
    schema = MergeSchema(
        list=ListRule("map", ("k", "p"), {"p": "TCP"}, MergeSchema(map=MapRule(fields=fields)))
    )
    items = st.builds(
        lambda rest, k, p: {**rest, "k": k, **({"p": p} if p else {})},
        item.values,
        st.integers(1, 3),
        st.sampled_from([None, "UDP"]),
    )
    unique = st.lists(items, max_size=3, unique_by=lambda each: (each["k"], each.get("p")))
    return Kind(schema, unique)


@dataclass
class World:
    """An object with a history."""

    rules: Rules
    live: dict
    managers: tuple
    kind: Kind


def applied(world, manager, config, *, force):
    result = apply(
        world.live, config, world.managers, Actor(manager, "v1", NOW), world.rules, force=force
    )
    if result.conflicts:
        return world, result
    document = {name: value for name, value in result.document.items() if name != "metadata"}
    return World(world.rules, document, result.managers, world.kind), result


def updated(world, manager, document):
    managers = update_managers(
        world.live, document, world.managers, Actor(manager, "v1", NOW), world.rules
    )
    return World(world.rules, document, managers, world.kind)


@st.composite
def worlds(draw):
    kind = draw(structs())
    world = World(Rules(schema=kind.schema), {}, (), kind)
    for _ in range(draw(st.integers(0, 4))):
        manager = draw(st.sampled_from(["m", "n", "o"]))
        document = draw(kind.values)
        if draw(st.booleans()):
            world, _ = applied(world, manager, document, force=draw(st.booleans()))
        else:
            world = updated(world, manager, document)
    return world


def without_empty_lists(value):
    if isinstance(value, dict):
        kept = {name: without_empty_lists(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item != []}
    if isinstance(value, list):
        return [without_empty_lists(item) for item in value]
    return value


def entries(world):
    return {managed.identity: managed.fields for managed in world.managers}


def everything(world):
    """Every path of the object: what a writer of all of it would own, and its containers."""
    return (
        field_set(world.live, world.kind.schema) | compare({}, world.live, world.kind.schema).added
    )


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_apply_is_idempotent(world, data):
    config = data.draw(world.kind.values)
    once, result = applied(world, "m", config, force=True)
    twice, again = applied(once, "m", config, force=False)
    assert not result.conflicts
    assert not again.conflicts
    assert not again.changed
    assert twice.live == once.live
    assert encode_managers(twice.managers) == encode_managers(once.managers)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_an_apply_is_in_the_object_and_owned(world, data):
    config = data.draw(world.kind.values)
    after, _ = applied(world, "m", config, force=True)
    # an empty list is owned by nobody: one whose last item goes may go with it
    merged = merge(after.live, config, world.kind.schema)
    assert without_empty_lists(merged) == without_empty_lists(after.live)
    owned = {
        managed.manager: managed.fields
        for managed in after.managers
        if managed.operation == "Apply"
    }
    assert owned.get("m", FieldSet()) == field_set(config, world.kind.schema)


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_owned_fields_exist(world):
    present = everything(world)
    for managed in world.managers:
        assert not managed.fields - present, (managed, world.live)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_force_leaves_no_conflict_and_takes_only_what_changes(world, data):
    config = data.draw(world.kind.values)
    after, result = applied(world, "new", config, force=True)
    assert not result.conflicts
    change = compare(world.live, after.live, world.kind.schema)
    before = entries(world)
    for managed in after.managers:
        if managed.manager == "new":
            continue
        lost = before[managed.identity] - managed.fields
        assert not lost - (change.added | change.modified | change.removed)
        assert not managed.fields - before[managed.identity]


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_a_conflict_changes_nothing_and_names_owners(world, data):
    config = data.draw(world.kind.values)
    after, result = applied(world, "new", config, force=False)
    owned = entries(world)
    for conflict in result.conflicts:
        assert owned[conflict.owner].has(*conflict.path)
    if result.conflicts:
        assert result.document.get("metadata", {}).get("managedFields", []) == encode_managers(
            world.managers
        )
        assert after is world


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_giving_up_removes_what_only_the_applier_owned(world, data):
    config = data.draw(world.kind.values)
    with_config, _ = applied(world, "new", config, force=True)
    after, _ = applied(with_config, "new", {}, force=False)
    schema = world.kind.schema
    others = FieldSet()
    for managed in after.managers:
        assert managed.manager != "new"
        others |= managed.fields
    # leaves that somebody else owns are as they were; leaves of the applier alone are gone
    was = field_set(config, schema)
    left = everything(after)
    assert not others - left
    alone = [path for path in (was - others).paths() if not others.below(path[0])]
    for path in alone:
        assert not left.has(*path) or everything(world).has(*path)


@settings(max_examples=150, deadline=None)
@given(structs(), st.data())
def test_the_only_applier_decides_everything(kind, data):
    world = World(Rules(schema=kind.schema), {}, (), kind)
    for _ in range(data.draw(st.integers(1, 3))):
        config = data.draw(kind.values)
        world, _ = applied(world, "m", config, force=False)
        assert field_set(world.live, kind.schema) == field_set(config, kind.schema)
    world, _ = applied(world, "m", {}, force=False)
    assert not field_set(world.live, kind.schema)
    assert world.managers == ()


@settings(max_examples=150, deadline=None)
@given(worlds(), st.data())
def test_an_update_owns_what_it_changes(world, data):
    document = data.draw(world.kind.values)
    after = updated(world, "new", document)
    change = compare(world.live, document, world.kind.schema)
    for managed in after.managers:
        touched = managed.fields & (change.added | change.modified)
        assert bool(touched) <= (managed.manager == "new")
    own = {managed.manager: managed.fields for managed in after.managers}.get("new", FieldSet())
    assert own == change.added | change.modified


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_an_update_without_a_change_changes_nothing(world):
    assert updated(world, "new", json.loads(json.dumps(world.live))).managers == world.managers


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_round_trip(world):
    for managed in world.managers:
        assert decode_set(json.loads(json.dumps(encode_set(managed.fields)))) == managed.fields
    assert set(decode_managers(encode_managers(world.managers))) == set(world.managers)


@st.composite
def sets(draw):
    kind = draw(structs())
    return [field_set(draw(kind.values), kind.schema) for _ in range(3)]


@settings(max_examples=150, deadline=None)
@given(sets())
def test_sets_are_a_boolean_algebra(three):
    one, two, three = three
    assert one | two == two | one
    assert one & two == two & one
    assert one & (two | three) == (one & two) | (one & three)
    assert one - (two | three) == (one - two) - three
    assert (one - two) | (one & two) == one
    assert not (one - two) & two
    assert not one.without(one)
    assert set((one | two).paths()) == set(one.paths()) | set(two.paths())
    assert len(one) == len(list(one.paths()))


@settings(max_examples=150, deadline=None)
@given(structs(), st.data())
def test_the_difference_of_documents_is_a_difference_of_sets(kind, data):
    old, new = data.draw(kind.values), data.draw(kind.values)
    there = compare(old, new, kind.schema)
    back = compare(new, old, kind.schema)
    assert there.added == back.removed
    assert there.removed == back.added
    assert there.modified == back.modified
    assert not compare(old, json.loads(json.dumps(old)), kind.schema)
    rest = remove(new, there.added, kind.schema)
    assert not compare(old, rest, kind.schema).added


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_tracking_only_what_is_concerned_changes_nothing_else(data):
    kind = data.draw(structs())
    rules = Rules(schema=kind.schema)
    managers = ()
    live = {**data.draw(kind.values), "metadata": {}}
    document = track_update(None, live, Actor("first", "v1", NOW), rules)
    for step in range(data.draw(st.integers(1, 5))):
        name = data.draw(st.sampled_from(["first", "second", "third"]))
        subresource = data.draw(st.sampled_from(["", "status"]))
        actor = Actor(name, "v1", NOW + dt.timedelta(seconds=step), subresource)
        new = {**data.draw(kind.values), "metadata": {}}
        managers = decode_managers(document["metadata"].get("managedFields"))
        old = {**document, "metadata": {}}
        expected = update_managers(old, new, managers, actor, rules) if managers else ()
        document = track_update(document, new, actor, rules)
        assert decode_managers(document["metadata"].get("managedFields")) == decode_managers(
            encode_managers(expected)
        )
        stored = document["metadata"].get("managedFields") or []
        assert stored == encode_managers(decode_managers(stored))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_first_writer_owns_what_it_adds(data):
    kind = data.draw(structs())
    new = {**data.draw(kind.values), "metadata": {"name": "a", "labels": {"x": "y"}}, "kind": "K"}
    actor = Actor("first", "v1", NOW)
    rules = Rules(schema=kind.schema, ignored=FieldSet.of_fields("a"))
    expected = update_managers({}, new, (), actor, rules)
    document = track_update(None, new, actor, rules)
    assert document["metadata"].get("managedFields", []) == encode_managers(expected)
