"""Watches: snapshot, replay, selectors, bookmarks, ends."""

import asyncio
import json

import pytest
from tests.unit.apiserver.kit import CONFIG_MAPS, PODS, TABLE, config_map, pod

BOOKMARKS = {"allowWatchBookmarks": "true"}
INITIAL = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
END = "k8s.io/initial-events-end"


async def test_without_a_version_everything_is_added_first(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    await api.post(CONFIG_MAPS, config_map("b"))
    watch = await api.watch(CONFIG_MAPS)
    await api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
    await api.delete(f"{CONFIG_MAPS}/b")
    await api.post(CONFIG_MAPS, config_map("c"))
    assert await watch.brief(5) == [
        ("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c"),
    ]  # fmt: skip


async def test_from_a_version_everything_after_it_comes_deletions_included(api):
    first = (await api.post(CONFIG_MAPS, config_map("a"))).json
    await api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
    await api.delete(f"{CONFIG_MAPS}/a")
    watch = await api.watch(CONFIG_MAPS, resourceVersion=first["metadata"]["resourceVersion"])
    modified, deleted = await watch.take(2)
    assert (modified["type"], deleted["type"]) == ("MODIFIED", "DELETED")
    assert int(deleted["object"]["metadata"]["resourceVersion"]) == api.store.assigned_rv
    assert deleted["object"]["data"] == {"a": "b", "x": "1"}


async def test_writes_without_effect_make_no_event(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    watch = await api.watch(CONFIG_MAPS, resourceVersion=str(api.store.assigned_rv))
    await api.patch(f"{CONFIG_MAPS}/a", {})
    await api.post(CONFIG_MAPS, config_map("b"))
    assert await watch.brief(1) == [("ADDED", "b")]


async def test_selectors_turn_changes_into_arrivals_and_departures(api):
    await api.post(CONFIG_MAPS, config_map("a", labels={"x": "1"}))
    await api.post(CONFIG_MAPS, config_map("b"))
    watch = await api.watch(CONFIG_MAPS, labelSelector="x=1")
    path = f"{CONFIG_MAPS}/a"
    await api.patch(path, {"data": {"n": "1"}})
    left = await api.patch(path, {"metadata": {"labels": {"x": "2"}}, "data": {"n": "2"}})
    await api.patch(path, {"data": {"n": "3"}})
    await api.patch(path, {"metadata": {"labels": {"x": "1"}}})
    await api.delete(path)
    events = await watch.take(5)
    assert [event["type"] for event in events] == [
        "ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED",
    ]  # fmt: skip
    gone = events[2]["object"]
    assert gone["metadata"]["resourceVersion"] == left.json["metadata"]["resourceVersion"]
    assert gone["metadata"]["labels"] == {"x": "1"}
    assert gone["data"]["n"] == "1"


async def test_field_selectors(api):
    by_name = await api.watch(CONFIG_MAPS, fieldSelector="metadata.name=b")
    by_node = await api.watch("/api/v1/pods", fieldSelector="spec.nodeName=n")
    by_phase = await api.watch(PODS, fieldSelector="status.phase=Running")
    everywhere = await api.watch("/api/v1/configmaps", fieldSelector="metadata.name=b")
    nothing = await api.watch(
        CONFIG_MAPS, fieldSelector="metadata.name=a,metadata.name=b", timeoutSeconds="1"
    )
    await api.post(CONFIG_MAPS, config_map("a"))
    await api.post(CONFIG_MAPS, config_map("b"))
    await api.post(PODS, pod("p"))
    await api.post(PODS, pod("q", nodeName="n"))
    await api.patch(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    assert await by_name.brief(1) == [("ADDED", "b")]
    assert await everywhere.brief(1) == [("ADDED", "b")]
    assert await by_node.brief(1) == [("ADDED", "q")]
    assert await by_phase.brief(1) == [("ADDED", "p")]
    assert await nothing.next() is None


async def test_names_are_matched_in_snapshots_of_all_namespaces(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    await api.post(CONFIG_MAPS, config_map("b"))
    watch = await api.watch("/api/v1/configmaps", fieldSelector="metadata.name=b")
    single = await api.watch(CONFIG_MAPS, fieldSelector="metadata.name=a")
    assert await watch.brief(1) == [("ADDED", "b")]
    assert await single.brief(1) == [("ADDED", "a")]


async def test_send_initial_events_ends_with_the_annotated_bookmark(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    rv = api.store.assigned_rv
    watch = await api.watch(CONFIG_MAPS, **INITIAL, **BOOKMARKS)
    added, bookmark = await watch.take(2)
    assert added["type"] == "ADDED"
    assert bookmark == {
        "type": "BOOKMARK",
        "object": {
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"resourceVersion": str(rv), "annotations": {END: "true"}},
        },
    }  # fmt: skip
    await api.post(CONFIG_MAPS, config_map("b"))
    assert await watch.brief(1) == [("ADDED", "b")]


async def test_bookmarks_come_only_when_allowed(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    without = await api.watch(CONFIG_MAPS, **INITIAL)
    await api.post(CONFIG_MAPS, config_map("b"))
    assert await without.brief(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_legacy_watch_at_zero_gets_the_bookmark_too(api):
    watch = await api.watch(CONFIG_MAPS, resourceVersion="0", **BOOKMARKS)
    (event,) = await watch.take(1)
    assert event["object"]["metadata"]["annotations"] == {END: "true"}


async def test_send_initial_events_needs_its_match(api):
    for query in (
        {"sendInitialEvents": "true"},
        {"sendInitialEvents": "true", "resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "NotOlderThan"},
    ):
        answer = await api.get(CONFIG_MAPS, query={"watch": "1", **query})
        assert (answer.status, answer.json["reason"]) == (422, "Invalid")
        assert answer.json["details"]["causes"][0]["field"] == "resourceVersionMatch"


async def test_no_initial_events_on_request(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    watch = await api.watch(
        CONFIG_MAPS, sendInitialEvents="false", resourceVersionMatch="NotOlderThan"
    )
    await api.post(CONFIG_MAPS, config_map("b"))
    assert await watch.brief(1) == [("ADDED", "b")]


@pytest.mark.parametrize("version", ["old", "unknown"])
async def test_versions_out_of_reach_are_one_error_event(api, version):
    await api.post(CONFIG_MAPS, config_map("a"))
    await api.post(CONFIG_MAPS, config_map("b"))
    holder = api.store._collection("configmaps")
    holder.forget_oldest()
    wanted = "1" if version == "old" else "99999"
    watch = await api.watch(CONFIG_MAPS, resourceVersion=wanted)
    event = await watch.next()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert await watch.next() is None
    assert not holder.watchers


async def test_a_version_that_is_no_number_is_refused(api):
    assert (await api.get(CONFIG_MAPS, query={"watch": "1", "resourceVersion": "x"})).status == 400
    assert (await api.get(CONFIG_MAPS, query={"watch": "1", "continue": "x"})).status == 400


async def test_table_watch_defines_its_columns_once(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    watch = await api.watch(CONFIG_MAPS, accept=TABLE, resourceVersion="0", **BOOKMARKS)
    await api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
    added, bookmark, modified = await watch.take(3)
    assert added["object"]["kind"] == "Table"
    assert added["object"]["columnDefinitions"][0]["name"] == "Name"
    assert added["object"]["rows"][0]["cells"][0] == "a"
    assert bookmark["object"]["kind"] == "Table"
    assert modified["object"]["columnDefinitions"] is None
    assert modified["type"] == "MODIFIED"


async def test_metadata_watch(api):
    watch = await api.watch(
        CONFIG_MAPS,
        accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
        resourceVersion="0", **BOOKMARKS,
    )  # fmt: skip
    await api.post(CONFIG_MAPS, config_map("a"))
    bookmark, added = await watch.take(2)
    assert bookmark["object"]["kind"] == "PartialObjectMetadata"
    assert added["object"]["kind"] == "PartialObjectMetadata"
    assert "data" not in added["object"]


async def test_the_stream_ends_at_its_timeout(api):
    watch = await api.watch(CONFIG_MAPS, timeoutSeconds="1")
    started = asyncio.get_running_loop().time()
    assert await watch.next() is None
    assert asyncio.get_running_loop().time() - started < 1.5


async def test_large_snapshots_come_in_pieces_and_in_order(api):
    for number in range(300):
        await api.post(CONFIG_MAPS, config_map(f"n{number:03}"))
    watch = await api.watch(CONFIG_MAPS, resourceVersion="0", **BOOKMARKS)
    events = await watch.take(301)
    assert [event["object"]["metadata"].get("name") for event in events[:-1]] == [
        f"n{number:03}" for number in range(300)
    ]
    assert events[-1]["type"] == "BOOKMARK"


async def test_a_slow_client_loses_its_stream_and_resumes(api):
    watch = await api.watch(CONFIG_MAPS)
    (watcher,) = api.store._collection("configmaps").watchers
    watcher._max_events = 1
    for name in "abc":
        await api.post(CONFIG_MAPS, config_map(name))
    assert await watch.next() is None
    again = await api.watch(CONFIG_MAPS, resourceVersion=str(api.store.assigned_rv - 2))
    assert await again.brief(2) == [("ADDED", "b"), ("ADDED", "c")]


async def test_closing_gives_the_watcher_back(api):
    watch = await api.watch(CONFIG_MAPS)
    assert len(api.store._collection("configmaps").watchers) == 1
    await watch.close()
    await watch.close()
    assert not api.store._collection("configmaps").watchers


async def test_end_lets_the_reader_finish(api):
    watch = await api.watch(CONFIG_MAPS)
    await api.post(CONFIG_MAPS, config_map("a"))
    watch.response.stream.end()
    assert await watch.brief(1) == [("ADDED", "a")]
    assert await watch.next() is None


async def test_watch_of_an_item_is_a_get(api):
    await api.post(CONFIG_MAPS, config_map("a"))
    answer = await api.get(f"{CONFIG_MAPS}/a", query={"watch": "true"})
    assert json.loads(answer.response.body)["kind"] == "ConfigMap"


async def test_a_thousand_watchers_share_one_encoding(api):
    await api.post(CONFIG_MAPS, config_map("before"))
    version = (await api.get(CONFIG_MAPS)).json["metadata"]["resourceVersion"]
    watches = [await api.watch(CONFIG_MAPS, resourceVersion=version) for _ in range(1_000)]
    await api.post(CONFIG_MAPS, config_map("after"))
    lines = [line for watch in watches for line in await watch.response.stream.next_chunks()]
    assert len(lines) == 1_000
    assert len({id(line) for line in lines}) == 1
    assert b'"name":"after"' in lines[0]
