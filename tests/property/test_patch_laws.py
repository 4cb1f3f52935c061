"""What must hold of every patch: effects compose, failures change nothing, and no change is no write."""

import asyncio
import copy
import json
import random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.handler import Handler
from knarr.apiserver.patches.jsonpatch import json_patch, same_json
from knarr.apiserver.patches.merge import merge_patch
from knarr.apiserver.patches.strategic import strategic_merge
from knarr.apiserver.protobuf.wire import WireTables
from knarr.apiserver.request import ApiRequest
from knarr.kits.clock import ManualClock
from knarr.meta.errors import StatusError
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

TABLE = WireTables().get()
POD_SPEC = "core/v1.PodSpec"
keys = st.sampled_from(["a", "b", "c/d", "e~f", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "y", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(keys, values, max_size=4)


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return value


def difference(old, new):
    """The merge patch that leads from one document to another that has no nulls in its objects."""
    patch = {name: None for name in old if name not in new}
    for name, value in new.items():
        if name not in old:
            patch[name] = value
        elif isinstance(old[name], dict) and isinstance(value, dict):
            inner = difference(old[name], value)
            if inner:
                patch[name] = inner
        elif not same_json(old[name], value):
            patch[name] = value
    return patch


# --- merge patches ------------------------------------------------------------------------------------


@given(objects, objects.map(without_nulls))
def test_a_difference_leads_to_its_target(old, new):
    assume(not any(isinstance(value, dict) and not value for value in old.values()))
    merged = merge_patch(old, difference(old, new))
    assert same_json(merged, merge_patch(new, {}))


@given(objects, objects)
def test_merging_twice_is_merging_once(document, patch):
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@given(objects, objects, objects)
def test_later_patches_win(document, first, second):
    """Where the second speaks, what the first said does not matter."""
    both = merge_patch(merge_patch(document, first), second)
    for name, value in second.items():
        if not isinstance(value, dict):
            assert both.get(name) == value or value is None
            assert (name in both) == (value is not None)


@given(objects, objects)
def test_arguments_are_left_alone(document, patch):
    before = copy.deepcopy((document, patch))
    merge_patch(document, patch)
    strategic_merge(
        document, {k: v for k, v in patch.items() if not k.startswith("$")}, TABLE, None
    )
    assert (document, patch) == before


# --- JSON patches -------------------------------------------------------------------------------------


def pointers(value, path=""):
    """Every place in a document."""
    yield path
    if isinstance(value, dict):
        for name, item in value.items():
            escaped = name.replace("~", "~0").replace("/", "~1")
            yield from pointers(item, f"{path}/{escaped}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from pointers(item, f"{path}/{index}")


@st.composite
def patched(draw):
    """A document and operations of which each applies to what the ones before left."""
    document = draw(objects)
    now, operations = copy.deepcopy(document), []
    for _ in range(draw(st.integers(0, 5))):
        places = list(pointers(now))
        place = draw(st.sampled_from(places))
        operation = draw(
            st.sampled_from(
                [
                    {"op": "test", "path": place},
                    {"op": "replace", "path": place},
                    {"op": "remove", "path": place},
                    {"op": "add", "path": f"{place}/a"},
                    {"op": "add", "path": f"{place}/-"},
                    {"op": "copy", "from": place, "path": "/copied"},
                    {"op": "move", "from": place, "path": "/moved"},
                ]
            )
        )
        if operation["op"] == "test":
            operation["value"] = look(now, place)
        elif operation["op"] in ("add", "replace"):
            operation["value"] = draw(values)
        try:
            now = json_patch(now, [operation])
        except StatusError:
            continue
        operations.append(operation)
    return document, operations, now


def look(document, place):
    for part in place.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


@given(patched(), st.integers(0, 5))
def test_operations_compose(case, at):
    document, operations, result = case
    assert same_json(json_patch(document, operations), result)
    halfway = json_patch(document, operations[:at])
    assert same_json(json_patch(halfway, operations[at:]), result)


@given(patched())
def test_a_failing_operation_undoes_all(case):
    document, operations, _ = case
    before = copy.deepcopy(document)
    with pytest.raises(StatusError):
        json_patch(document, [*operations, {"op": "test", "path": "", "value": "something else"}])
    assert document == before


@given(objects, keys, values)
def test_adding_and_removing_is_nothing(document, name, value):
    assume(name not in document)
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    operations = [{"op": "add", "path": path, "value": value}, {"op": "remove", "path": path}]
    assert json_patch(document, operations) == document


@given(patched())
def test_a_move_is_a_copy_and_a_removal(case):
    document, _, _ = case
    for place in list(pointers(document))[1:]:
        moved = json_patch(document, [{"op": "move", "from": place, "path": "/moved-here"}])
        copied = json_patch(
            document,
            [{"op": "copy", "from": place, "path": "/moved-here"}, {"op": "remove", "path": place}],
        )
        assert same_json(moved, copied)


# --- strategic merge patches ----------------------------------------------------------------------------

names = st.sampled_from("abcd")
env = st.lists(
    st.fixed_dictionaries({"name": names, "value": st.sampled_from(["1", "2"])}),
    min_size=1,
    max_size=3,
    unique_by=lambda item: item["name"],
)
containers = st.lists(
    st.fixed_dictionaries({"name": names, "image": st.sampled_from(["i", "j"])}, optional={"env": env}),
    max_size=3, unique_by=lambda item: item["name"],
)  # fmt: skip
specs = st.fixed_dictionaries(
    {}, optional={"containers": containers, "nodeName": names, "priority": st.integers(0, 2)}
)


def keyed(spec):
    """A spec with its lists as maps: the order of merged lists is another matter."""
    result = dict(spec)
    for field in ("containers", "env"):
        # No items and no list are the same to a patch.
        listed = {item["name"]: keyed(item) for item in result.pop(field, ())}
        if listed:
            result[field] = listed
    return result


def strategic_difference(old, new):
    """The patch that kubectl would send: items by name, deletions by directive."""
    patch = {name: None for name in old if name not in new}
    for field, value in new.items():
        if isinstance(value, list):
            before = {item["name"]: item for item in old.get(field, [])}
            after = {item["name"]: item for item in value}
            items: list[dict[str, object]] = [
                {"$patch": "delete", "name": name} for name in before if name not in after
            ]
            for name, item in after.items():
                inner = strategic_difference(before[name], item) if name in before else item
                if inner:
                    items.append(inner | {"name": name})
            if items:
                patch[field] = items
        elif old.get(field) != value:
            patch[field] = value
    return patch


@given(specs, specs)
def test_a_strategic_difference_leads_to_its_target(old, new):
    patch = strategic_difference(old, new)
    result = strategic_merge(old, patch, TABLE, POD_SPEC)
    assert keyed(result) == keyed(new)
    again = strategic_merge(result, patch, TABLE, POD_SPEC)
    assert keyed(again) == keyed(result)


@given(specs, containers)
def test_an_order_is_kept_or_given(spec, wanted):
    order = [{"name": item["name"]} for item in wanted]
    patch = {"containers": wanted, "$setElementOrder/containers": order}
    result = strategic_merge(spec, patch, TABLE, POD_SPEC)
    listed = [item["name"] for item in result["containers"]]
    assert [name for name in listed if name in {item["name"] for item in wanted}] == [
        item["name"] for item in wanted
    ]
    assert set(listed) == {item["name"] for item in [*wanted, *spec.get("containers", [])]}


@given(specs, specs)
def test_disjoint_patches_commute(spec, other):
    left = {"containers": [{"name": "a", "image": "left"}]}
    right = {"containers": [{"name": "b", "image": "right"}], "priority": 9}
    one = strategic_merge(strategic_merge(spec, left, TABLE, POD_SPEC), right, TABLE, POD_SPEC)
    two = strategic_merge(strategic_merge(spec, right, TABLE, POD_SPEC), left, TABLE, POD_SPEC)
    assert keyed(one) == keyed(two)


# --- through the API ------------------------------------------------------------------------------------

SERVED = [kind for kind in KINDS if kind.qualified_plural in ("namespaces", "pods")]
POD = "/api/v1/namespaces/default/pods/p"
TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
changes = st.fixed_dictionaries(
    {}, optional={"labels": st.dictionaries(names, st.sampled_from(["1", "2", None]), max_size=2),
                  "annotations": st.dictionaries(names, st.sampled_from(["1", None]), max_size=2)}
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(["merge", "strategic"]), changes), min_size=1, max_size=4)
)
def test_patches_of_an_object(steps):
    async def tell():
        async with Store(None) as store:
            handler = Handler(store, SERVED, ManualClock(), random.Random(1))

            async def call(method, path, body=None, kind="application/json", **query):
                data = b"" if body is None else json.dumps(body).encode()
                answer = await handler.handle(
                    ApiRequest(
                        method,
                        path,
                        ADMIN,
                        query=query,
                        body=data,
                        content_type=kind if data else "",
                    )
                )
                assert answer.status < 300, answer.body
                return json.loads(answer.body)

            await call("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
            spec = {"containers": [{"name": "c", "image": "i"}]}
            pod = await call(
                "POST", POD.removesuffix("/p"), {"metadata": {"name": "p"}, "spec": spec}
            )
            for kind, metadata in steps:
                await step(call, pod, TYPES[kind], metadata)
                pod = await call("GET", POD)

    async def step(call, pod, kind, metadata):
        dry = await call("PATCH", POD, {"metadata": metadata}, kind, dryRun="All")
        assert await call("GET", POD) == pod
        done = await call("PATCH", POD, {"metadata": metadata}, kind)
        for document in (dry, done):
            document["metadata"].pop("managedFields", None)
        versions = [document["metadata"].pop("resourceVersion") for document in (dry, done)]
        assert dry == done
        again = await call("PATCH", POD, {"metadata": metadata}, kind)
        assert again["metadata"]["resourceVersion"] == versions[1], "no change is no write"
        same = {
            **pod,
            "metadata": {k: v for k, v in pod["metadata"].items() if k != "managedFields"},
        }
        unchanged = {k: v for k, v in same["metadata"].items() if k != "resourceVersion"} == done[
            "metadata"
        ]
        assert unchanged == (pod["metadata"]["resourceVersion"] == versions[1])
        test = [{"op": "test", "path": "/metadata/resourceVersion", "value": versions[1]}]
        tested = await call("PATCH", POD, test, TYPES["json"])
        assert tested["metadata"]["resourceVersion"] == versions[1]

    asyncio.run(tell())
