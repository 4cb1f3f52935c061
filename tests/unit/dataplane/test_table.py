"""Versions, deltas, references and acknowledgements of the routing table."""

import asyncio

import pytest

from knarr.dataplane import messages
from knarr.dataplane.table import RoutingTable


def revision(name, **fields):
    return messages.Revision(key=f"default/{name}", uid=name, **fields)


def ingress(name, *revisions):
    splits = tuple(
        messages.Split(revision=f"default/{item}", percent=100 // len(revisions))
        for item in revisions
    )
    rule = messages.Rule(
        hosts=(name,), visibility="external", paths=(messages.Path(splits=splits),)
    )
    return messages.Ingress(key=f"default/{name}", rules=(rule,))


@pytest.fixture
def table():
    return RoutingTable("e1", log_size=4)


def test_equal_entries_make_no_version(table):
    assert table.set_revision(revision("a")) == 1
    assert table.set_revision(revision("a")) == 1
    assert table.set_ingress(ingress("h", "a")) == 2
    assert table.set_ingress(ingress("h", "a")) == 2
    assert table.set_revision(revision("a", timeout_ms=1)) == 3
    assert table.version == 3


def test_deltas_hold_what_changed_and_are_bounded(table):
    for name in "abcdef":
        table.set_revision(revision(name))
    assert [item.revisions[0].uid for item in table.deltas_since("e1", 4)] == ["e", "f"]
    assert table.deltas_since("e1", 6) == ()
    assert table.deltas_since("e1", 1) is None
    assert table.deltas_since("e0", 6) is None
    assert table.deltas_since("e1", 7) is None
    assert {item.uid for item in table.snapshot().revisions} == set("abcdef")


def test_a_revision_stays_while_an_ingress_refers_to_it(table):
    replica = messages.Replica(id="r", address="10.0.0.2", port=80)
    table.set_revision(revision("a", replicas=(replica,)))
    table.set_revision(revision("b"))
    table.set_ingress(ingress("h", "a"))
    table.remove_revision("default/a")
    assert table.revision("default/a") is None
    retired = {item.uid: item for item in table.snapshot().revisions}["a"]
    assert retired.replicas == ()
    table.set_ingress(ingress("h", "b"))
    assert {item.uid for item in table.snapshot().revisions} == {"b"}
    last = table.deltas_since("e1", table.version - 1)[0]
    assert last.removed_revisions == ("default/a",)


def test_a_revision_that_comes_back_is_not_retired(table):
    table.set_revision(revision("a"))
    table.set_ingress(ingress("h", "a"))
    table.remove_revision("default/a")
    table.set_revision(revision("a", timeout_ms=1))
    table.remove_ingress("default/h")
    assert table.revision("default/a") is not None


def test_the_ingress_goes_before_its_retired_revision(table):
    table.set_revision(revision("a"))
    table.set_ingress(ingress("h", "a"))
    table.remove_revision("default/a")
    version = table.version
    table.remove_ingress("default/h")
    first, second = table.deltas_since("e1", version)
    assert first.removed_ingresses == ("default/h",)
    assert second.removed_revisions == ("default/a",)


def test_removing_what_is_not_there_changes_nothing(table):
    table.remove_revision("default/x")
    table.remove_ingress("default/x")
    assert table.version == 0


def test_newcomers_are_announced(table):
    seen = []
    table.on_revision(seen.append)
    table.set_revision(revision("a"))
    table.set_revision(revision("a", timeout_ms=1))
    assert seen == ["default/a"]


async def test_acknowledged_means_every_connected_gateway(table):
    version = table.set_revision(revision("a"))
    table.join("g1", 0, lambda _: None)
    table.join("g2", 0, lambda _: None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(table.acknowledged(version, 5))
        await asyncio.sleep(0)
        table.acknowledge("g1", version)
        await asyncio.sleep(0)
        assert not task.done()
        table.leave("g2")
    assert table.acknowledged_version == version
    await table.acknowledged(version)


async def test_without_a_gateway_nothing_is_acknowledged(table):
    version = table.set_revision(revision("a"))
    assert table.acknowledged_version is None
    with pytest.raises(TimeoutError):
        await table.acknowledged(version, 0.001)


def test_acknowledgements_never_go_back_and_are_told(table):
    seen = []
    table.on_acknowledged(seen.append)
    table.set_revision(revision("a"))
    table.set_revision(revision("b"))
    table.join("g1", 0, lambda _: None)
    table.acknowledge("g1", 2)
    table.acknowledge("g1", 1)
    table.acknowledge("stranger", 9)
    assert seen == [0, 2]


def test_a_revision_is_acknowledged_with_its_newest_entry(table):
    assert not table.is_acknowledged("default/a")
    table.set_revision(revision("a"))
    assert not table.is_acknowledged("default/a")
    table.join("g1", 1, lambda _: None)
    assert table.is_acknowledged("default/a")
    table.set_revision(revision("a", timeout_ms=1))
    assert not table.is_acknowledged("default/a")
