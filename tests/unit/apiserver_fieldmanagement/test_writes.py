import datetime as dt
import json

import pytest

from knarr.apiserver.fieldmanagement import (
    SCALAR,
    Actor,
    BuiltinSchemas,
    FieldSet,
    ListRule,
    Managed,
    MapRule,
    MergeSchema,
    Rules,
    apply_configuration,
    conflict_error,
    custom_resource_schema,
    decode_managers,
    encode_managers,
    encode_set,
    field_manager_problems,
    ignored_fields,
    manager_name,
    managers_of_parent,
    managers_of_scale,
    track_update,
    with_old_times,
)
from knarr.apiserver.fieldmanagement.lastapplied import ANNOTATION
from knarr.apiserver.fieldmanagement.managers import capped
from knarr.apiserver.protobuf.wire import WireTables
from knarr.meta.errors import BadRequest

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(minutes=1)
MAP = Rules(
    schema=MergeSchema(
        map=MapRule(
            fields={
                "apiVersion": SCALAR,
                "kind": SCALAR,
                "metadata": custom_resource_schema(None).map.fields["metadata"],
                "data": MergeSchema(map=MapRule(values=SCALAR)),
                "items": MergeSchema(list=ListRule("map", ("name",))),
                "spec": MergeSchema(
                    map=MapRule(fields={"x": SCALAR, "list": MergeSchema(list=ListRule())})
                ),
            }
        )
    )
)


def actor(manager, at=NOW, **more):
    return Actor(manager, "v1", at, **more)


def config(**parts):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, **parts}


def owners(document):
    return {
        f"{each['manager']}/{each['operation']}{each.get('subresource', '')}": each["fieldsV1"]
        for each in document["metadata"].get("managedFields", [])
    }


def times(document):
    return {each["manager"]: each["time"] for each in document["metadata"]["managedFields"]}


# Updates


def test_create_and_update():
    first = track_update(None, config(data={"a": "1", "b": "2"}), actor("m1"), MAP)
    assert first["metadata"]["managedFields"] == [
        {
            "manager": "m1",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
        }
    ]
    second = track_update(first, config(data={"a": "1", "b": "3", "c": "4"}), actor("m2"), MAP)
    assert owners(second) == {
        "m1/Update": {"f:data": {".": {}, "f:a": {}}},
        "m2/Update": {"f:data": {"f:b": {}, "f:c": {}}},
    }
    third = track_update(second, config(data={"b": "3"}), actor("m2", LATER), MAP)
    assert owners(third) == {
        "m1/Update": {"f:data": {}},
        "m2/Update": {"f:data": {"f:b": {}}},
    }
    assert times(third)["m2"] == "2026-01-01T00:00:00Z"


def test_nothing_changes():
    first = track_update(None, config(data={"a": "1"}), actor("m1"), MAP)
    again = track_update(first, config(data={"a": "1"}), actor("m2", LATER), MAP)
    assert again == first


def test_server_fields_have_no_owner():
    metadata = {
        "name": "a", "namespace": "b", "uid": "u", "generation": 1, "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"x": "y"},
    }  # fmt: skip
    document = track_update(None, {**config(), "metadata": metadata}, actor("m"), MAP)
    assert owners(document) == {"m/Update": {"f:metadata": {"f:annotations": {".": {}, "f:x": {}}}}}


@pytest.mark.parametrize("reset", [[], [{}]])
def test_reset(reset):
    first = track_update(None, config(data={"a": "1"}), actor("m1"), MAP)
    sent = config(data={"a": "2"})
    sent["metadata"] = {"name": "a", "managedFields": reset}
    second = track_update(first, sent, actor("m2"), MAP)
    assert "managedFields" not in second["metadata"]
    third = track_update(second, config(data={"a": "3"}), actor("m3"), MAP)
    assert "managedFields" not in third["metadata"]


def test_a_client_may_edit_entries_but_not_break_them():
    first = track_update(None, config(data={"a": "1"}), actor("m1"), MAP)
    edited = json.loads(json.dumps(first))
    edited["metadata"]["managedFields"][0]["manager"] = "renamed"
    assert owners(track_update(first, edited, actor("m"), MAP)) == {
        "renamed/Update": {"f:data": {".": {}, "f:a": {}}}
    }
    edited["metadata"]["managedFields"][0]["fieldsType"] = "odd"
    assert track_update(first, edited, actor("m"), MAP) == first
    edited["metadata"]["managedFields"][0] |= {"fieldsType": "FieldsV1", "manager": "x"}
    through = track_update(first, edited, actor("m", subresource="status"), MAP)
    assert list(owners(through)) == ["m1/Update"]


def test_a_subresource_has_an_entry_of_its_own():
    rules = Rules(schema=MAP.schema, ignored=ignored_fields("status", has_status=True))
    first = track_update(None, config(data={"a": "1"}), actor("m1"), MAP)
    changed = {**first, "spec": {"x": 1}, "items": [{"name": "a"}]}
    second = track_update(first, changed, actor("m1", subresource="status"), rules)
    assert owners(second) == {
        "m1/Update": {"f:data": {".": {}, "f:a": {}}},
        "m1/Updatestatus": {"f:items": {".": {}, 'k:{"name":"a"}': {".": {}, "f:name": {}}}},
    }


def test_an_object_that_does_not_fit_stays_writable():
    first = track_update(None, config(data={"a": "1"}), actor("m1"), MAP)
    second = track_update(first, config(items=["no object"]), actor("m2"), MAP)
    assert owners(second) == owners(first)
    assert second["items"] == ["no object"]


def test_old_updates_are_merged():
    document = None
    for number in range(14):
        data = {f"k{index}": "1" for index in range(number + 1)}
        at = NOW + dt.timedelta(seconds=number)
        document = track_update(document, config(data=data), actor(f"m{number:02}", at), MAP)
    entries = document["metadata"]["managedFields"]
    assert len(entries) == 10
    assert entries[0]["manager"] == "ancient-changes"
    assert set(entries[0]["fieldsV1"]["f:data"]) == {".", "f:k0", "f:k1", "f:k2", "f:k3", "f:k4"}
    assert entries[0]["time"] == "2026-01-01T00:00:04Z"
    assert [entry["manager"] for entry in entries[1:]] == [
        f"m{number:02}" for number in range(5, 14)
    ]


def test_versions_are_merged_apart_and_applies_never():
    fields = FieldSet.of_fields("a")
    managers = tuple(
        Managed(f"m{number}", "Apply" if number == 0 else "Update", f"v{number % 2}", fields)
        for number in range(6)
    )
    names = [(each.manager, each.api_version) for each in capped(managers, 3)]
    assert ("m0", "v0") in names
    assert ("ancient-changes", "v1") in names
    assert len(names) == 4


# Applies


def test_create_by_apply_and_again():
    first = apply_configuration(None, config(data={"a": "1"}), actor("m1"), MAP)
    assert first.document["data"] == {"a": "1"}
    assert owners(first.document) == {"m1/Apply": {"f:data": {"f:a": {}}}}
    again = apply_configuration(first.document, config(data={"a": "1"}), actor("m1", LATER), MAP)
    assert again.document == first.document
    assert not again.changed


def test_what_is_not_applied_any_more_is_removed():
    first = apply_configuration(None, config(data={"a": "1", "b": "2"}), actor("m1"), MAP)
    second = apply_configuration(first.document, config(data={"b": "2"}), actor("m2"), MAP)
    third = apply_configuration(second.document, config(), actor("m1", LATER), MAP)
    assert third.document["data"] == {"b": "2"}
    assert owners(third.document) == {"m2/Apply": {"f:data": {"f:b": {}}}}
    last = apply_configuration(third.document, config(), actor("m2"), MAP)
    assert "data" not in last.document
    assert owners(last.document) == {}


def test_what_others_or_nobody_wrote_stays():
    first = apply_configuration(None, config(data={"a": "1"}), actor("m1"), MAP)
    changed = {**first.document, "data": {"a": "1", "z": "9"}}
    second = track_update(first.document, changed, actor("m2"), MAP)
    third = apply_configuration(second, config(), actor("m1"), MAP)
    assert third.document["data"] == {"z": "9"}


def test_conflicts():
    first = apply_configuration(None, config(data={"a": "1"}, spec={"x": 1}), actor("m1"), MAP)
    live = track_update(first.document, {**first.document, "spec": {"x": 2}}, actor("m3"), MAP)
    sent = config(data={"a": "2"}, spec={"x": 3})
    result = apply_configuration(live, sent, actor("m2"), MAP)
    assert result.document == live
    error = conflict_error(result.conflicts)
    assert error.code == 409
    assert error.message == (
        'Apply failed with 2 conflicts: conflicts with "m1":\n- .data.a\n'
        'conflicts with "m3" using v1:\n- .spec.x'
    )
    assert [(cause.reason, cause.message, cause.field) for cause in error.causes] == [
        ("FieldManagerConflict", 'conflict with "m1"', ".data.a"),
        ("FieldManagerConflict", 'conflict with "m3" using v1', ".spec.x"),
    ]
    one = apply_configuration(first.document, config(data={"a": "2"}), actor("m2"), MAP)
    assert conflict_error(one.conflicts).message == (
        'Apply failed with 1 conflict: conflict with "m1": .data.a'
    )
    forced = apply_configuration(live, sent, actor("m2"), MAP, force=True)
    assert forced.document["data"] == {"a": "2"}
    assert owners(forced.document) == {"m2/Apply": {"f:data": {"f:a": {}}, "f:spec": {"f:x": {}}}}


def test_a_subresource_is_named_in_a_conflict():
    live = track_update(None, config(), actor("m0"), MAP)
    live = with_entries(
        live, Managed("kubelet", "Update", "v1", FieldSet.of_fields("spec.x"), "", "status")
    )
    live["spec"] = {"x": 1}
    result = apply_configuration(live, config(spec={"x": 2}), actor("m2"), MAP)
    assert conflict_error(result.conflicts).message == (
        'Apply failed with 1 conflict: conflict with "kubelet" with subresource "status" using v1: .spec.x'
    )


def with_entries(document, *managed):
    metadata = {**document["metadata"], "managedFields": encode_managers(managed)}
    return {**document, "metadata": metadata}


def test_equal_values_are_shared():
    first = apply_configuration(None, config(data={"a": "1"}), actor("m1"), MAP)
    second = apply_configuration(first.document, config(data={"a": "1"}), actor("m2", LATER), MAP)
    assert not second.conflicts
    assert not second.changed
    assert set(owners(second.document)) == {"m1/Apply", "m2/Apply"}
    assert times(second.document) == {"m1": "2026-01-01T00:00:00Z", "m2": "2026-01-01T00:01:00Z"}


def test_an_untracked_object_belongs_to_before_first_apply():
    live = config(data={"a": "1", "b": "2"})
    live["metadata"]["uid"] = "u"
    result = apply_configuration(live, config(data={"a": "1"}), actor("m1"), MAP)
    assert owners(result.document) == {
        "before-first-apply/Update": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
        "m1/Apply": {"f:data": {"f:a": {}}},
    }
    result = apply_configuration(live, config(data={"a": "2"}), actor("m1"), MAP)
    assert [each.field for each in result.conflicts] == [".data.a"]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({**config(), "apiVersion": "v2"}, "invalid object type: v2, Kind=ConfigMap"),
        ({**config(), "kind": "Pod"}, "invalid object type: v1, Kind=Pod"),
        (
            {**config(), "metadata": {"managedFields": []}},
            "metadata.managedFields must be nil",
        ),
        (
            config(data=[]),
            "failed to create typed patch object (/a; v1, Kind=ConfigMap): .data: "
            "expected map, got list",
        ),
        (
            config(bogus=1),
            "failed to create typed patch object (/a; v1, Kind=ConfigMap): .bogus: "
            "field not declared in schema",
        ),
    ],
)
def test_refused_configurations(sent, message):
    rules = Rules(schema=MAP.schema, kind="ConfigMap")
    with pytest.raises(BadRequest) as caught:
        apply_configuration(None, sent, actor("m"), rules)
    assert caught.value.message == message


def test_status_of_an_applied_main_document_is_not_owned():
    rules = Rules(schema=custom_resource_schema(None), ignored=ignored_fields("", has_status=True))
    result = apply_configuration(None, config(spec={"x": 1}, status={"y": 1}), actor("m"), rules)
    assert owners(result.document) == {"m/Apply": {"f:spec": {".": {}, "f:x": {}}}}


# kubectl's two kinds of apply


def test_kubectl_takes_over_from_client_side_apply():
    last = config(data={"a": "1"})
    live = config(data={"a": "1"})
    live["metadata"]["annotations"] = {ANNOTATION: json.dumps(last)}
    live = track_update(None, live, actor("kubectl-client-side-apply"), MAP)
    other = apply_configuration(live, config(data={"a": "2"}), actor("helm"), MAP)
    assert [each.field for each in other.conflicts] == [".data.a"]
    sent = config(data={"a": "2"})
    result = apply_configuration(live, sent, actor("kubectl"), MAP)
    assert not result.conflicts
    assert result.document["data"] == {"a": "2"}
    assert owners(result.document)["kubectl/Apply"] == {"f:data": {"f:a": {}}}
    annotation = result.document["metadata"]["annotations"][ANNOTATION]
    assert json.loads(annotation) == sent
    assert annotation.endswith("\n")


def test_kubectl_does_not_take_what_somebody_changed_since():
    live = config(data={"a": "1"})
    live["metadata"]["annotations"] = {ANNOTATION: json.dumps(config(data={"a": "1"}))}
    live = track_update(None, live, actor("kubectl-client-side-apply"), MAP)
    live = track_update(live, {**live, "data": {"a": "5"}}, actor("hpa"), MAP)
    result = apply_configuration(live, config(data={"a": "2"}), actor("kubectl"), MAP)
    assert [each.owner.manager for each in result.conflicts] == ["hpa"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"apiVersion":"v9"}'])
def test_an_odd_annotation_allows_nothing(text):
    live = config(data={"a": "1"})
    live["metadata"]["annotations"] = {ANNOTATION: text}
    live = track_update(None, live, actor("old"), MAP)
    assert apply_configuration(live, config(data={"a": "2"}), actor("kubectl"), MAP).conflicts


# Versions


class TwoVersions:
    """v1 calls the field ``x``, v2 ``y``."""

    def schema(self, api_version):
        name = {"v1": "x", "v2": "y"}.get(api_version)
        return None if name is None else versioned(name)

    def convert(self, document, api_version):
        old, new = ("y", "x") if api_version == "v1" else ("x", "y")
        spec = {
            new if key == old else key: value for key, value in document.get("spec", {}).items()
        }
        converted = {**document, "spec": spec} if "spec" in document else dict(document)
        if "apiVersion" in converted:
            converted["apiVersion"] = api_version
        return converted


def versioned(name):
    return MergeSchema(
        map=MapRule(
            fields={
                "apiVersion": SCALAR,
                "kind": SCALAR,
                "metadata": custom_resource_schema(None).map.fields["metadata"],
                "spec": MergeSchema(map=MapRule(fields={name: SCALAR, "z": SCALAR})),
            }
        )
    )


def test_ownership_is_judged_in_the_version_of_each_entry():
    first_rules = Rules(schema=versioned("x"), versions=TwoVersions())
    second_rules = Rules(schema=versioned("y"), versions=TwoVersions())
    first = apply_configuration(None, config(spec={"x": 1, "z": 1}), actor("m1"), first_rules)
    live = TwoVersions().convert(first.document, "v2")
    sent = {**config(spec={"y": 2}), "apiVersion": "v2"}
    two = Actor("m2", "v2", NOW)
    result = apply_configuration(live, sent, two, second_rules)
    assert [each.field for each in result.conflicts] == [".spec.x"]
    forced = apply_configuration(live, sent, two, second_rules, force=True)
    assert owners(forced.document) == {
        "m1/Apply": {"f:spec": {"f:z": {}}},
        "m2/Apply": {"f:spec": {"f:y": {}}},
    }
    moved = apply_configuration(
        live, {**config(spec={"z": 1}), "apiVersion": "v2"}, Actor("m1", "v2", NOW), second_rules
    )
    assert moved.document["spec"] == {"z": 1}
    assert [each.api_version for each in moved.managers] == ["v2"]


def test_entries_of_versions_that_are_gone_are_dropped():
    rules = Rules(schema=versioned("x"), versions=TwoVersions())
    live = with_entries(
        config(spec={"x": 1}), Managed("m", "Update", "v0", FieldSet.of_fields("spec.x"))
    )
    result = track_update(live, config(spec={"x": 2}), actor("n"), rules)
    assert owners(result) == {"n/Update": {"f:spec": {"f:x": {}}}}


# Builtin kinds


def test_a_deployment_looks_like_kubernetes_own():
    schemas = BuiltinSchemas(WireTables().get())
    rules = Rules(
        schema=schemas.schema("apps", "v1", "Deployment"),
        empty=schemas.empty("apps", "v1", "Deployment"),
        ignored=ignored_fields("", has_status=True),
    )
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"app": "n"}},
        "spec": {
            "selector": {"matchLabels": {"app": "n"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
        "status": {"replicas": 1},
    }
    tracked = track_update(None, document, Actor("kubectl-create", "apps/v1", NOW), rules)
    assert owners(tracked) == {
        "kubectl-create/Update": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
                "f:template": {
                    "f:spec": {
                        "f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}}}
                    }
                },
            },
        }
    }


# Entries


def test_entries_round_trip_in_order():
    managers = (
        Managed("u", "Update", "v1", FieldSet.of_fields("a"), "2026-01-01T00:00:02Z"),
        Managed("late", "Apply", "v1", FieldSet.of_fields("b"), "2026-01-01T00:00:09Z"),
        Managed("early", "Apply", "v1", FieldSet.of_fields("c"), "2026-01-01T00:00:01Z", "status"),
    )
    entries = encode_managers(managers)
    assert [entry["manager"] for entry in entries] == ["early", "late", "u"]
    assert entries[0]["subresource"] == "status"
    assert set(decode_managers(entries)) == set(managers)
    assert decode_managers(None) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operation": "Patch"}, "operation must be `Apply` or `Update`"),
        ({"apiVersion": ""}, "apiVersion must not be empty"),
        ({"fieldsType": ""}, "missing fieldsType in managed fields entry 0"),
        ({"fieldsType": "V2"}, 'invalid fieldsType "V2" in managed fields entry 0'),
        ({"manager": 3}, "must be a string"),
        ({"time": "yesterday"}, "yesterday"),
        ({"fieldsV1": {"a": {}}}, "not a path element"),
        ({"fieldsV1": [1]}, "must consist of objects"),
    ],
)
def test_malformed_entries(change, message):
    entry = {"manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    with pytest.raises(ValueError, match=message):
        decode_managers([{**entry, **change}])
    with pytest.raises(ValueError, match="must be"):
        decode_managers("text")
    with pytest.raises(ValueError, match="must be an object"):
        decode_managers([1])


def test_names_of_managers():
    assert manager_name("m", "kubectl/v1") == "m"
    assert manager_name("", "kubectl/v1.32 (linux)") == "kubectl"
    assert manager_name("", "x" * 200) == "x" * 128
    assert field_manager_problems("", required=True) == ["is required for apply patch"]
    assert field_manager_problems("", required=False) == []
    assert field_manager_problems("a" * 129, required=True) == [
        "must not be longer than 128 characters"
    ]
    assert field_manager_problems("a\tb", required=True) == [
        "invalid character U+0009 in field manager"
    ]


def test_scale():
    replicas = FieldSet.of_fields("spec.replicas")
    parent = (
        Managed("a", "Apply", "apps/v1", replicas | FieldSet.of_fields("spec.paused")),
        Managed("b", "Update", "apps/v1", FieldSet.of_fields("spec.template")),
        Managed("c", "Update", "old/v1", replicas),
    )
    paths = {"apps/v1": "spec.replicas"}
    scale = managers_of_scale(parent, paths)
    assert [(each.manager, each.api_version) for each in scale] == [("a", "autoscaling/v1")]
    assert managers_of_parent(parent, scale, paths, "apps/v1") == parent[:2]
    taken = (Managed("hpa", "Update", "autoscaling/v1", replicas, "", "scale"),)
    after = managers_of_parent(parent, taken, paths, "apps/v1")
    assert {each.manager: encode_set(each.fields) for each in after} == {
        "a": {"f:spec": {"f:paused": {}}},
        "b": {"f:spec": {"f:template": {}}},
        "hpa": {"f:spec": {"f:replicas": {}}},
    }
    assert after[-1].subresource == "scale"
    assert after[-1].api_version == "apps/v1"


def test_times_alone_are_no_change():
    first = track_update(None, config(data={"a": "1"}), actor("m1"), MAP)
    later = json.loads(json.dumps(first))
    later["metadata"]["managedFields"][0]["time"] = "2027-01-01T00:00:00Z"
    assert with_old_times(first, later) is first
    other = {**later, "data": {}}
    assert with_old_times(first, other) is other
    plain = config()
    assert with_old_times(plain, config()) is plain
    assert with_old_times(plain, {**config(), **later}) != plain
