"""Definitions come, change and go, and what they define with them."""

import asyncio

from tests.unit.apiserver.kit import JSON_PATCH, MERGE, TABLE
from tests.unit.apiserver_definitions.conftest import DEFINITIONS
from tests.unit.apiserver_definitions.samples import (
    GROUP,
    NAME,
    TABS,
    definition,
    schema_of,
    tab,
    version_of,
)


async def test_the_answer_to_a_creation_is_completed_and_without_conditions(api):
    made = (await api.post(DEFINITIONS, definition())).json
    assert made["spec"]["names"] == {
        "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList",
    }  # fmt: skip
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert made["status"] == {
        "conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"],
    }  # fmt: skip
    assert made["metadata"]["generation"] == 1
    assert "finalizers" not in made["metadata"]


async def test_it_is_established_and_then_served(api):
    assert (await api.get(TABS)).response.body == b"404 page not found\n"
    await api.define(definition(shortNames=["ct"], categories=["all"]))
    found = (await api.get(f"{DEFINITIONS}/{NAME}")).json["status"]
    assert [(each["type"], each["status"], each["reason"]) for each in found["conditions"]] == [
        ("NamesAccepted", "True", "NoConflicts"),
        ("Established", "True", "InitialNamesAccepted"),
    ]
    assert all(each["lastTransitionTime"] for each in found["conditions"])
    assert found["acceptedNames"]["shortNames"] == ["ct"]
    made = await api.post(TABS, tab())
    assert (made.status, made.json["spec"]["replicas"]) == (201, 1)
    resources = (await api.get(f"/apis/{GROUP}/v1")).json["resources"]
    assert [each["name"] for each in resources] == ["crontabs", "crontabs/status", "crontabs/scale"]
    assert resources[0]["shortNames"] == ["ct"]


async def test_a_client_that_sees_established_can_create_at_once(api):
    watch = await api.watch(DEFINITIONS, fieldSelector=f"metadata.name={NAME}")
    await api.post(DEFINITIONS, definition())
    while True:
        event = await watch.next()
        conditions = event["object"]["status"]["conditions"]
        if any(each["type"] == "Established" for each in conditions):
            break
    assert (await api.post(TABS, tab())).status == 201


async def test_a_changed_schema_rules_at_once_and_ends_open_watches(api):
    await api.define(definition())
    await api.post(TABS, tab("old"))
    watch = await api.watch(TABS)
    await watch.next()
    changed = (await api.get(f"{DEFINITIONS}/{NAME}")).json
    spec = schema_of(changed)["properties"]["spec"]
    spec["properties"]["added"] = {"type": "string", "default": "x"}
    version_of(changed)["additionalPrinterColumns"][0]["name"] = "When"
    stored = await api.put(f"{DEFINITIONS}/{NAME}", changed)
    assert stored.json["metadata"]["generation"] == 2
    assert await watch.next() is None
    assert (await api.get(f"{TABS}/old")).json["spec"]["added"] == "x"
    assert (await api.post(TABS, tab("new", added="y"))).json["spec"]["added"] == "y"
    table = (await api.get(TABS, accept=TABLE)).json
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "When"]


async def test_a_change_of_labels_leaves_watches_open(api):
    await api.define(definition())
    watch = await api.watch(TABS)
    version = api.handler.registry.version
    await api.patch(f"{DEFINITIONS}/{NAME}", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    await api.post(TABS, tab())
    assert (await watch.next())["type"] == "ADDED"
    assert api.handler.registry.version == version


async def test_a_deletion_takes_the_objects_along(api):
    await api.define(definition())
    for name in "abc":
        await api.post(TABS, tab(name))
    watch = await api.watch(TABS, resourceVersion=str(api.store.assigned_rv))
    answer = await api.delete(f"{DEFINITIONS}/{NAME}")
    assert answer.json["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert answer.json["status"]["conditions"][-1]["reason"] == "InstanceDeletionPending"
    assert answer.json["metadata"]["generation"] == 1
    assert "deletionGracePeriodSeconds" not in answer.json["metadata"]
    await api.gone(f"{DEFINITIONS}/{NAME}")
    assert await watch.brief(3) == [("DELETED", "a"), ("DELETED", "b"), ("DELETED", "c")]
    assert await watch.next() is None
    assert (await api.get(TABS)).response.body == b"404 page not found\n"
    groups = (await api.get("/apis")).json["groups"]
    assert GROUP not in [each["name"] for each in groups]


async def test_objects_with_finalizers_hold_the_definition_and_say_so(api):
    await api.define(definition())
    held = tab("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await api.post(TABS, held)
    await api.post(TABS, tab("free"))
    await api.delete(f"{DEFINITIONS}/{NAME}")
    await api.gone(f"{TABS}/free")

    async def told():
        text = await api.condition(NAME, "Terminating", "message")
        return text == (
            "CustomResource deletion is in progress: 1 instance remaining; finalizers remaining: "
            "example.com/hold in 1"
        )

    await api.until(told, "the progress is told")
    assert (await api.get(f"{TABS}/held")).json["metadata"]["deletionTimestamp"]
    refused = await api.post(TABS, tab("late"))
    assert refused.status == 403
    assert refused.json["message"] == (
        f'{NAME} "late" is forbidden: create not allowed while custom resource definition is terminating'
    )
    await api.patch(f"{TABS}/held", {"metadata": {"finalizers": None}}, MERGE)
    await api.gone(f"{DEFINITIONS}/{NAME}")


async def test_a_finalizer_of_others_keeps_the_emptied_definition(api):
    document = definition()
    document["metadata"]["finalizers"] = ["example.com/mine"]
    await api.define(document)
    await api.post(TABS, tab())
    await api.delete(f"{DEFINITIONS}/{NAME}")

    async def emptied():
        return await api.condition(NAME, "Terminating", "reason") == "InstanceDeletionCompleted"

    await api.until(emptied, "the instances are gone")

    async def only_mine():
        found = (await api.get(f"{DEFINITIONS}/{NAME}")).json["metadata"]["finalizers"]
        return found == ["example.com/mine"]

    await api.until(only_mine, "the own finalizer is gone")
    await api.patch(
        f"{DEFINITIONS}/{NAME}", [{"op": "remove", "path": "/metadata/finalizers"}], JSON_PATCH
    )
    await api.gone(f"{DEFINITIONS}/{NAME}")


async def test_a_definition_that_is_served_nowhere_still_takes_its_objects_along(api):
    await api.define(definition())
    await api.post(TABS, tab())
    document = (await api.get(f"{DEFINITIONS}/{NAME}")).json
    version_of(document)["served"] = False
    assert (await api.put(f"{DEFINITIONS}/{NAME}", document)).status == 200
    assert (await api.get(TABS)).response.body == b"404 page not found\n"
    await api.delete(f"{DEFINITIONS}/{NAME}")
    await api.gone(f"{DEFINITIONS}/{NAME}")
    assert api.store.size(NAME) == 0


async def test_a_new_definition_under_an_old_name(api):
    for _ in range(2):
        await api.define(definition())
        assert (await api.post(TABS, tab())).status == 201
        await api.delete(f"{DEFINITIONS}/{NAME}")
        await api.gone(f"{DEFINITIONS}/{NAME}")


async def test_a_restart_serves_what_was_served(servers):
    first = await servers.start()
    await first.define(definition())
    await first.post(TABS, tab())
    await servers.stop()
    second = await servers.start()
    # at once, without waiting for anything
    assert (await second.get(f"{TABS}/a")).json["spec"]["replicas"] == 1
    assert (await second.post(TABS, tab("b"))).status == 201


async def test_a_restart_ends_what_was_begun(servers):
    first = await servers.start()
    await first.define(definition())
    await first.post(TABS, tab())
    await first.post(DEFINITIONS, definition("Other", "others"))
    await first.delete(f"{DEFINITIONS}/{NAME}")
    await servers.stop()
    second = await servers.start()
    await second.established(f"others.{GROUP}")
    await second.gone(f"{DEFINITIONS}/{NAME}")


async def test_many_at_once(api):
    documents = [definition(f"Kind{number}", f"kind{number}s") for number in range(40)]
    await asyncio.gather(*(api.define(document) for document in documents))
    names = [document["metadata"]["name"] for document in documents]
    await asyncio.gather(*(api.delete(f"{DEFINITIONS}/{name}") for name in names))
    await asyncio.gather(*(api.gone(f"{DEFINITIONS}/{name}") for name in names))


async def test_versions_without_conversion(api):
    document = definition()
    second = {**version_of(document), "name": "v2beta1", "storage": False, "deprecated": True}
    document["spec"]["versions"].append(second)
    await api.define(document)
    await api.post(TABS, tab())
    path = f"/apis/{GROUP}/v2beta1/namespaces/default/crontabs"
    read = await api.get(f"{path}/a")
    assert read.json["apiVersion"] == f"{GROUP}/v2beta1"
    assert read.warnings == [f"{GROUP}/v2beta1 CronTab is deprecated"]
    assert (await api.get("/apis")).json["groups"][-1]["preferredVersion"]["version"] == "v1"
    # storing in another version is remembered
    document = (await api.get(f"{DEFINITIONS}/{NAME}")).json
    for version in document["spec"]["versions"]:
        version["storage"] = version["name"] == "v2beta1"
    stored = await api.put(f"{DEFINITIONS}/{NAME}", document)
    assert stored.json["status"]["storedVersions"] == ["v1", "v2beta1"]
    assert (await api.get(f"{TABS}/a")).json["apiVersion"] == f"{GROUP}/v1"
