"""Eviction, binding, and Events in both of their versions."""

from tests.unit.apiserver.kit import PODS, TABLE, pod

BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
CORE = "/api/v1/namespaces/default/events"
NEWER = "/apis/events.k8s.io/v1/namespaces/default/events"


def labelled(name, **labels):
    document = pod(name)
    document["metadata"]["labels"] = labels
    return document


def budget(name, **spec):
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"a": "b"}}, **spec}}


async def running(api, name):
    await api.post(PODS, labelled(name, a="b"))
    ready = [{"type": "Ready", "status": "True"}]
    status = {"status": {"phase": "Running", "conditions": ready}}
    assert (await api.patch(f"{PODS}/{name}/status", status)).status == 200


async def evict(api, name, **body):
    document = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **body}
    return await api.post(f"{PODS}/{name}/eviction", document)


async def counted(api, name, allowed, **more):
    status = {
        "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1,
        "desiredHealthy": 1, "expectedPods": 1, **more,
    }  # fmt: skip
    assert (await api.patch(f"{BUDGETS}/{name}/status", {"status": status})).status == 200


async def test_an_eviction_takes_from_the_budget(api):
    await running(api, "p")
    await api.post(BUDGETS, budget("b", minAvailable=1))
    early = await evict(api, "p")
    assert early.status == 429
    assert early.json["details"]["retryAfterSeconds"] == 10
    assert "still being processed" in early.json["details"]["causes"][0]["message"]
    await counted(api, "b", 1)
    dry = await evict(api, "p", deleteOptions={"dryRun": ["All"]})
    assert dry.status == 201
    assert (await api.get(f"{BUDGETS}/b")).json["status"]["disruptionsAllowed"] == 1
    done = await evict(api, "p")
    assert done.status == 201
    assert done.json["status"] == "Success"
    after = (await api.get(f"{BUDGETS}/b")).json["status"]
    assert after["disruptionsAllowed"] == 0
    assert list(after["disruptedPods"]) == ["p"]
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_what_an_eviction_refuses(api):
    await running(api, "p")
    assert (await evict(api, "absent")).status == 404
    wrong = await api.post(f"{PODS}/p/eviction", {"kind": "Eviction", "metadata": {"name": "q"}})
    assert wrong.status == 400
    assert wrong.json["message"] == "name in URL does not match name in Eviction object"
    assert (await api.post(f"{PODS}/p/eviction", {"kind": "Pod"})).status == 400
    await api.post(BUDGETS, budget("one", minAvailable=1))
    await api.post(BUDGETS, budget("two", minAvailable=1))
    both = await evict(api, "p")
    assert both.status == 500
    assert "more than one PodDisruptionBudget" in both.json["message"]
    assert (await api.get(f"{PODS}/p/eviction")).status == 405


async def test_a_pod_that_is_not_healthy_may_go(api):
    await api.post(PODS, labelled("p", a="b"))
    await api.patch(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    await api.post(BUDGETS, budget("b", minAvailable=1))
    await counted(api, "b", 0)
    assert (await evict(api, "p")).status == 201
    await api.post(PODS, labelled("q", a="b"))
    await api.patch(f"{PODS}/q/status", {"status": {"phase": "Running"}})
    await counted(api, "b", 0, currentHealthy=0)
    assert (await evict(api, "q")).status == 429


async def test_a_pod_is_bound_once(api):
    await api.post(PODS, pod("p"))
    binding = {"kind": "Binding", "target": {"kind": "Node", "name": "n"}}
    assert (await api.post(f"{PODS}/p/binding", binding)).status == 201
    assert (await api.get(f"{PODS}/p")).json["spec"]["nodeName"] == "n"
    again = await api.post(f"{PODS}/p/binding", binding)
    assert again.status == 409
    assert 'pod p is already assigned to node "n"' in again.json["message"]
    nowhere = await api.post(f"{PODS}/p/binding", {"kind": "Binding", "target": {}})
    assert nowhere.status == 422


async def test_budgets_are_validated(api):
    both = await api.post(BUDGETS, budget("b", minAvailable=1, maxUnavailable=1))
    assert "minAvailable and maxUnavailable cannot be both set" in both.json["message"]
    assert (await api.post(BUDGETS, budget("b", minAvailable="x"))).status == 422
    assert (await api.post(BUDGETS, budget("b", maxUnavailable="101%"))).status == 422
    made = await api.post(BUDGETS, budget("b", maxUnavailable="10%"))
    assert made.json["status"]["disruptionsAllowed"] == 0


# --- events ---------------------------------------------------------------------------------------------


def old_event(name, **fields):
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "text", "reason": "Because", "type": "Normal", "count": 2,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:10Z",
        "source": {"component": "c", "host": "h"}, "reportingComponent": "c", **fields,
    }  # fmt: skip


def new_event(name, **fields):
    return {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "note": "text", "reason": "Because", "type": "Normal", "action": "Acting",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "x.dev/c",
        "reportingInstance": "c-1", **fields,
    }  # fmt: skip


async def test_an_old_event_in_its_newer_form(api):
    assert (await api.post(CORE, old_event("e"))).status == 201
    shown = (await api.get(f"{NEWER}/e")).json
    assert (shown["apiVersion"], shown["kind"]) == ("events.k8s.io/v1", "Event")
    assert shown["note"] == "text"
    assert shown["regarding"]["name"] == "p"
    assert shown["deprecatedCount"] == 2
    assert shown["deprecatedSource"] == {"component": "c", "host": "h"}
    assert shown["deprecatedLastTimestamp"] == "2026-01-01T00:00:10Z"
    assert shown["reportingController"] == "c"
    assert not {"message", "involvedObject", "count", "source"} & set(shown)


async def test_a_newer_event_in_its_old_form(api):
    series = {"count": 3, "lastObservedTime": "2026-01-01T00:00:20.000000Z"}
    made = await api.post(NEWER, new_event("e", series=series))
    assert made.status == 201, made.json
    assert made.json["note"] == "text"
    shown = (await api.get(f"{CORE}/e")).json
    assert (shown["apiVersion"], shown["message"]) == ("v1", "text")
    assert shown["involvedObject"]["name"] == "p"
    assert shown["reportingComponent"] == "x.dev/c"
    assert shown["series"] == series
    assert shown["metadata"]["uid"] == made.json["metadata"]["uid"]


async def test_both_watches_see_both(api):
    core, newer = await api.watch(CORE), await api.watch(NEWER)
    await api.post(NEWER, new_event("n"))
    await api.post(CORE, old_event("o"))
    assert await core.brief(2) == [("ADDED", "n"), ("ADDED", "o")]
    events = await newer.take(2)
    assert [event["object"]["apiVersion"] for event in events] == ["events.k8s.io/v1"] * 2
    assert [event["object"]["note"] for event in events] == ["text"] * 2


async def test_fields_select_in_both(api):
    await api.post(CORE, old_event("a"))
    await api.post(CORE, old_event("b", reason="Other"))
    for path, field in ((CORE, "involvedObject.name"), (NEWER, "regarding.name")):
        query = {"fieldSelector": f"{field}=p,reason=Other"}
        found = (await api.get(path, query=query)).json["items"]
        assert [item["metadata"]["name"] for item in found] == ["b"]


async def test_changes_through_one_are_seen_through_the_other(api):
    await api.post(CORE, old_event("e"))
    assert (await api.patch(f"{NEWER}/e", {"deprecatedCount": 7, "note": "more"})).status == 200
    shown = (await api.get(f"{CORE}/e")).json
    assert (shown["count"], shown["message"]) == (7, "more")
    assert (await api.delete(f"{NEWER}/e")).status == 200
    assert (await api.get(f"{CORE}/e")).status == 404


async def test_the_newer_version_is_stricter(api):
    refused = await api.post(
        NEWER,
        new_event(
            "e", eventTime=None, reportingController="", reportingInstance="", action="",
            type="Loud", deprecatedCount=1, regarding={"namespace": "other"},
            series={"count": 1},
        ),
    )  # fmt: skip
    assert refused.status == 422
    fields = {cause["field"] for cause in refused.json["details"]["causes"]}
    assert fields == {
        "eventTime", "reportingController", "reportingInstance", "action", "type",
        "deprecatedCount", "involvedObject.namespace", "series.count", "series.lastObservedTime",
    }  # fmt: skip


async def test_both_show_the_same_table(api):
    await api.post(CORE, old_event("e"))
    tables = [(await api.get(path, accept=TABLE)).json for path in (CORE, NEWER)]
    assert tables[0]["columnDefinitions"] == tables[1]["columnDefinitions"]
    assert tables[0]["rows"][0]["cells"][1:5] == tables[1]["rows"][0]["cells"][1:5]
    assert tables[0]["columnDefinitions"][0]["name"] == "Last Seen"
