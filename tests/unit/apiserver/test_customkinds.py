"""Kinds that a CustomResourceDefinition makes, served by the same handler."""

import pytest
from tests.unit.apiserver.kit import MERGE, STRATEGIC, TABLE

from knarr.apiserver.customkinds import serve_definition

TABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"


def definition(**version):
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cron"],
                "properties": {
                    "cron": {"type": "string", "pattern": "^[0-9* ]+$"},
                    "replicas": {"type": "integer", "minimum": 0, "default": 1},
                    "color": {"type": "string"},
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "replicas": {"type": "integer"}, "selector": {"type": "string"},
                },
            },
        },
    }  # fmt: skip
    first = {
        "name": "v1", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "additionalPrinterColumns": [
            {"name": "Cron", "type": "string", "jsonPath": ".spec.cron"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        **version,
    }  # fmt: skip
    second = {"name": "v2", "served": True, "storage": False, "schema": first["schema"]}
    names = {
        "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList",
        "shortNames": ["ct"], "categories": ["all"],
    }  # fmt: skip
    return {
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced", "names": names,
            "versions": [first, second],
        }
    }  # fmt: skip


def tab(name="a", version="v1", **spec):
    return {
        "apiVersion": f"stable.example.com/{version}",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cron": "* *", **spec},
    }


@pytest.fixture
def tabs(api):
    serve(api, definition())
    return api


def serve(api, document):
    since = api.store.assigned_rv + 1
    api.handler.registry.put_custom("crontabs", serve_definition(document, since))


async def test_defaults_pruning_and_strictness(tabs):
    made = await tabs.post(TABS, tab(bogus=1))
    assert made.status == 201, made.response.body
    assert made.json["spec"] == {"cron": "* *", "replicas": 1}
    assert made.warnings == ['unknown field "spec.bogus"']
    strict = await tabs.post(TABS, tab("b", bogus=1), query={"fieldValidation": "Strict"})
    assert (strict.status, strict.json["reason"]) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.bogus"' in strict.json["message"]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"cron": "x"}, "spec.cron"),
        ({"replicas": -1}, "spec.replicas"),
        ({"replicas": "1"}, "spec.replicas"),
        ({"cron": None}, "spec.cron: Required value"),
    ],
)
async def test_the_schema_is_enforced(tabs, spec, text):
    refused = await tabs.post(TABS, tab(**spec))
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert text in refused.json["message"]
    assert 'CronTab.stable.example.com "a" is invalid' in refused.json["message"]


async def test_status_and_generation(tabs):
    made = await tabs.post(TABS, tab() | {"status": {"replicas": 9}})
    assert "status" not in made.json
    assert made.json["metadata"]["generation"] == 1
    status = await tabs.patch(
        f"{TABS}/a/status", {"status": {"replicas": 2}, "spec": {"cron": "1"}}
    )
    assert (status.json["status"], status.json["spec"]["cron"]) == ({"replicas": 2}, "* *")
    assert status.json["metadata"]["generation"] == 1
    bad = await tabs.patch(f"{TABS}/a/status", {"status": {"replicas": "x"}})
    assert bad.status == 422
    spec = await tabs.patch(f"{TABS}/a", {"spec": {"cron": "1"}, "status": {"replicas": 7}})
    assert spec.json["metadata"]["generation"] == 2
    assert spec.json["status"] == {"replicas": 2}
    label = await tabs.patch(f"{TABS}/a", {"metadata": {"labels": {"x": "y"}}})
    assert label.json["metadata"]["generation"] == 2


async def test_a_write_that_changes_nothing_changes_nothing(tabs):
    made = await tabs.post(TABS, tab())
    same = await tabs.patch(f"{TABS}/a", {"spec": {"cron": "* *"}})
    assert same.json == made.json
    null = await tabs.patch(f"{TABS}/a", {"spec": {"replicas": None}})
    assert null.json == made.json


async def test_put_needs_the_version(tabs):
    made = await tabs.post(TABS, tab())
    refused = await tabs.put(f"{TABS}/a", tab(cron="1"))
    assert refused.status == 422
    again = await tabs.put(f"{TABS}/a", made.json | {"spec": {"cron": "1"}})
    assert again.status == 200
    stale = await tabs.put(f"{TABS}/a", made.json)
    assert stale.status == 409


async def test_strategic_patches_are_not_offered(tabs):
    await tabs.post(TABS, tab())
    assert (await tabs.patch(f"{TABS}/a", {}, STRATEGIC)).status == 415


async def test_scale(tabs):
    await tabs.post(TABS, tab())
    await tabs.patch(f"{TABS}/a/status", {"status": {"replicas": 1, "selector": "a=b"}})
    scale = (await tabs.get(f"{TABS}/a/scale")).json
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 1, "selector": "a=b"})
    more = await tabs.patch(f"{TABS}/a/scale", {"spec": {"replicas": 5}}, MERGE)
    assert more.json["spec"] == {"replicas": 5}
    parent = (await tabs.get(f"{TABS}/a")).json
    assert (parent["spec"]["replicas"], parent["metadata"]["generation"]) == (5, 2)


async def test_tables_selectors_and_lists(tabs):
    await tabs.post(TABS, tab("a", color="red"))
    await tabs.post(TABS, tab("b", color="blue"))
    shown = (await tabs.get(TABS, accept=TABLE)).json
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Cron", "Age"]
    assert [row["cells"] for row in shown["rows"]] == [["a", "* *", "0s"], ["b", "* *", "0s"]]
    red = (await tabs.get(TABS, query={"fieldSelector": "spec.color=red"})).json
    assert [item["metadata"]["name"] for item in red["items"]] == ["a"]
    assert (red["kind"], red["items"][0]["kind"]) == ("CronTabList", "CronTab")
    refused = await tabs.get(TABS, query={"fieldSelector": "spec.cron=x"})
    assert refused.status == 400


async def test_versions_show_the_same_objects(tabs):
    await tabs.post(TABS.replace("v1", "v2"), tab(version="v2"))
    one, two = await tabs.get(f"{TABS}/a"), await tabs.get(f"{TABS.replace('v1', 'v2')}/a")
    assert one.json["apiVersion"] == "stable.example.com/v1"
    assert two.json["apiVersion"] == "stable.example.com/v2"
    assert one.json["metadata"]["uid"] == two.json["metadata"]["uid"]


async def test_defaults_that_came_later_are_read(tabs):
    watch = await tabs.watch(TABS)
    await tabs.post(TABS, tab())
    assert (await watch.next())["object"]["spec"] == {"cron": "* *", "replicas": 1}
    newer = definition()
    spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["color"]["default"] = "green"
    serve(tabs, newer)
    assert (await tabs.get(f"{TABS}/a")).json["spec"]["color"] == "green"
    listed = (await tabs.get(TABS)).json["items"][0]
    assert listed["spec"]["color"] == "green"
    found = (await tabs.get(TABS, query={"fieldSelector": "spec.color=green"})).json
    assert len(found["items"]) == 1


async def test_discovery_follows(tabs):
    rows = (await tabs.get("/apis/stable.example.com/v1")).json["resources"]
    assert [row["name"] for row in rows] == ["crontabs", "crontabs/status", "crontabs/scale"]
    assert rows[0]["shortNames"] == ["ct"]
    groups = (await tabs.get("/openapi/v3")).json["paths"]
    assert "apis/stable.example.com/v2" in groups
    tabs.handler.registry.put_custom("crontabs", ())
    gone = await tabs.get(TABS)
    assert (gone.status, gone.response.body) == (404, b"404 page not found\n")
    assert (await tabs.get("/apis/stable.example.com")).status == 404


async def test_apply_merges_maps_and_replaces_lists(tabs):
    apply = "application/apply-patch+yaml"
    one = await tabs.patch(f"{TABS}/a", tab(color="red"), apply, query={"fieldManager": "one"})
    assert one.status == 201, one.response.body
    other = {**tab(), "spec": {"cron": "* *", "replicas": 3}}
    two = await tabs.patch(f"{TABS}/a", other, apply, query={"fieldManager": "two"})
    assert two.json["spec"] == {"cron": "* *", "replicas": 3, "color": "red"}
