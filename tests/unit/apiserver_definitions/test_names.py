"""Who gets which name."""

from tests.unit.apiserver_definitions.conftest import DEFINITIONS
from tests.unit.apiserver_definitions.samples import GROUP, NAME, TABS, definition, tab

from knarr.apiserver.definitions.naming import Claims, plan_names
from knarr.resources.apiextensions.customresourcedefinition import (
    CustomResourceDefinition,
    CustomResourceDefinitionSpec,
    Names,
)

NOW = "2026-01-01T00:00:00Z"


def planned(*others, **names):
    wanted = Names(**{"plural": "as", "singular": "a", "kind": "A", "list_kind": "AList", **names})
    subject = CustomResourceDefinition(spec=CustomResourceDefinitionSpec(names=wanted))
    return plan_names(subject, others, NOW)


def conditions(status):
    return {each.type: (each.status, each.reason, each.message) for each in status.conditions}


def test_free_names_are_given():
    found = planned(Claims(resources=("b",), kinds=("B",)))
    assert found.accepted_names.plural == "as"
    assert conditions(found)["NamesAccepted"] == ("True", "NoConflicts", "no conflicts found")
    assert conditions(found)["Established"][0] == "True"


def test_taken_names_are_not():
    taken = Claims(resources=("as",))
    assert conditions(planned(taken)) == {
        "NamesAccepted": ("False", "PluralConflict", '"as" is already in use'),
        "Established": ("False", "NotAccepted", "not all names are accepted"),
    }
    found = planned(Claims(resources=("x", "y")), short_names=("x", "z", "y"))
    assert conditions(found)["NamesAccepted"] == (
        "False", "ShortNamesConflict", '["x" is already in use, "y" is already in use]',
    )  # fmt: skip
    assert found.accepted_names.short_names is None
    reasons = [
        conditions(planned(Claims(kinds=(name,))))["NamesAccepted"][1] for name in ("A", "AList")
    ]
    assert reasons == ["KindConflict", "ListKindConflict"]


def test_a_plan_is_stable():
    first = planned(short_names=("x",))
    subject = CustomResourceDefinition(
        spec=CustomResourceDefinitionSpec(names=first.accepted_names), status=first
    )
    assert plan_names(subject, (), "2027-01-01T00:00:00Z") == first


async def test_who_comes_second_waits_for_the_name(api):
    await api.define(definition())
    rival = definition("CronTab", "rivals")
    await api.post(DEFINITIONS, rival)

    async def refused():
        return (
            await api.condition(f"rivals.{GROUP}", "NamesAccepted", "reason") == "ListKindConflict"
        )

    await api.until(refused, "the conflict is told")
    assert await api.condition(f"rivals.{GROUP}", "Established") == "False"
    path = f"/apis/{GROUP}/v1/namespaces/default/rivals"
    assert (await api.get(path)).response.body == b"404 page not found\n"
    await api.delete(f"{DEFINITIONS}/{NAME}")
    await api.established(f"rivals.{GROUP}")
    assert (await api.post(path, tab())).status == 201


async def test_a_later_conflict_leaves_the_old_names_served(api):
    await api.define(definition(shortNames=["ct"]))
    await api.define(definition("Other", "others", shortNames=["o"]))
    changed = (await api.get(f"{DEFINITIONS}/{NAME}")).json
    changed["spec"]["names"]["shortNames"] = ["o"]
    assert (await api.put(f"{DEFINITIONS}/{NAME}", changed)).status == 200

    async def told():
        return await api.condition(NAME, "NamesAccepted", "message") == '"o" is already in use'

    await api.until(told, "the conflict is told")
    assert await api.condition(NAME, "Established") == "True"
    assert (await api.post(TABS, tab())).status == 201
    resources = (await api.get(f"/apis/{GROUP}/v1")).json["resources"]
    found = {each["name"]: each.get("shortNames") for each in resources}
    assert found["crontabs"] == ["ct"]
