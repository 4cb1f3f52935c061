"""Definitions that are refused, and those that are Knarr's own."""

import pytest
from tests.unit.apiserver.kit import MERGE, SERVICES, TABLE, service
from tests.unit.apiserver_definitions.conftest import DEFINITIONS
from tests.unit.apiserver_definitions.samples import NAME, definition, schema_of, version_of

from knarr.apiserver.structural import definition_errors, parse_columns
from knarr.resources.apiextensions.definitions import own_definitions
from knarr.resources.catalog import KINDS

OWN = "services.serving.knative.dev"


def changed(change):
    document = definition()
    change(document)
    return document


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (lambda d: d["metadata"].update(name="x"), ["metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group"]),
        (lambda d: schema_of(d).pop("type"), ["spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root"]),
        (
            lambda d: schema_of(d)["properties"]["spec"].update({"x-kubernetes-validations": [{"rule": "self.n > 1 +"}]}),
            ["x-kubernetes-validations"],
        ),
        (
            lambda d: (
                d["spec"].update(
                    conversion={
                        "strategy": "Webhook",
                        "webhook": {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"]},
                    }
                ),
                d["spec"]["versions"].append({**version_of(d), "name": "v2", "storage": False}),
            ),
            ["spec.conversion.strategy: Forbidden: conversion webhooks are not supported"],
        ),
        (
            lambda d: (d["metadata"].update(name="crontabs.x.k8s.io"), d["spec"].update(group="x.k8s.io")),
            ["metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have"],
        ),
    ],
)  # fmt: skip
async def test_refused(api, change, texts):
    answer = await api.post(DEFINITIONS, changed(change))
    assert (answer.status, answer.json["reason"]) == (422, "Invalid"), answer.json
    assert answer.json["message"].startswith("CustomResourceDefinition.apiextensions.k8s.io ")
    for text in texts:
        assert text in answer.json["message"]


async def test_types_and_unknown_keywords(api):
    wrong = changed(lambda d: version_of(d).update(served="yes"))
    answer = await api.post(DEFINITIONS, wrong)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    odd = changed(lambda d: schema_of(d)["properties"]["spec"].update(minimun=1))
    answer = await api.post(DEFINITIONS, odd, query={"fieldValidation": "Strict"})
    assert (
        'unknown field "spec.versions[0].schema.openAPIV3Schema.properties.spec.minimun"'
        in (answer.json["message"])
    )
    answer = await api.post(DEFINITIONS, odd)
    assert answer.status == 201
    assert "minimun" not in schema_of(answer.json)["properties"]["spec"]


async def test_updates_that_are_refused(api):
    await api.define(definition())
    path = f"{DEFINITIONS}/{NAME}"
    stored = (await api.get(path)).json
    stored["spec"]["scope"] = "Cluster"
    answer = await api.put(path, stored)
    assert 'spec.scope: Invalid value: "Cluster": field is immutable' in answer.json["message"]


async def test_approved_groups(api):
    document = definition(group="x.k8s.io")
    document["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    await api.define(document)
    found = await api.condition(
        "crontabs.x.k8s.io", "KubernetesAPIApprovalPolicyConformant", "message"
    )
    assert found == 'not approved: "unapproved, a test"'


async def test_a_place_that_is_taken_by_a_kind_of_kubernetes(api):
    taken = next(kind for kind in KINDS if kind.builtin and kind.group.endswith(".k8s.io"))
    document = definition(taken.kind, taken.plural, taken.group)
    document["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved"}
    answer = await api.post(DEFINITIONS, document)
    assert "is served by Knarr itself and cannot be defined" in answer.json["message"]


async def test_a_table_says_when(api):
    table = (await api.get(DEFINITIONS, accept=TABLE)).json
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Created At"]
    assert table["rows"][0]["cells"][1].endswith("Z")


# Knarr's own


def test_own_definitions_are_ones_that_any_server_takes():
    documents = list(own_definitions(KINDS))
    assert OWN in [each["metadata"]["name"] for each in documents]
    for document in documents:
        assert definition_errors(document) == ()
        for version in document["spec"]["versions"]:
            assert parse_columns(version["additionalPrinterColumns"])


async def test_own_kinds_are_there_as_definitions(api):
    found = (await api.get(f"{DEFINITIONS}/{OWN}")).json
    assert found["metadata"]["labels"]["knative.dev/crd-install"] == "true"
    assert found["metadata"]["labels"]["duck.knative.dev/podspecable"] == "true"
    assert await api.condition(OWN, "Established") == "True"
    assert found["status"]["acceptedNames"]["shortNames"] == ["kservice", "ksvc"]
    assert found["status"]["storedVersions"] == ["v1"]
    columns = found["spec"]["versions"][0]["additionalPrinterColumns"]
    assert columns[0] == {"name": "URL", "type": "string", "jsonPath": ".status.url"}


async def test_what_users_make_of_them_changes_nothing_that_is_served(api):
    document = definition("Service", "services", "serving.knative.dev", shortNames=["mine"])
    path = f"{DEFINITIONS}/{OWN}"
    spec = {
        **document["spec"],
        "names": {**document["spec"]["names"], "singular": "service", "listKind": "ServiceList"},
    }
    answer = await api.patch(path, {"metadata": {"labels": {"a": "b"}}, "spec": spec}, MERGE)
    assert answer.status == 200, answer.json
    assert (await api.post(SERVICES, service("s"))).status == 201


async def test_they_cannot_be_deleted(api):
    answer = await api.delete(f"{DEFINITIONS}/{OWN}")
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    assert "this kind is part of Knarr and always served" in answer.json["message"]


async def test_a_restart_leaves_them_alone(servers):
    first = await servers.start()
    before = (await first.get(f"{DEFINITIONS}/{OWN}")).json
    await servers.stop()
    second = await servers.start()
    await second.define(definition())
    assert (await second.get(f"{DEFINITIONS}/{OWN}")).json == before
