"""Which objects list a Route."""

import datetime as dt

import msgspec

from knarr.meta.objects import Key
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route
from knarr.serving.labeler.plan import find_used, is_resolved, plan_labels

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
STATE = "serving.knative.dev/routingState"
ROUTES = "serving.knative.dev/routes"
MODIFIED = "serving.knative.dev/routingStateModified"


def revision(name, state="pending", routes=""):
    annotations = {ROUTES: routes} if routes else {}
    owner = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Configuration",
        "name": "app",
        "uid": "c",
        "controller": True,
    }
    meta = {
        "namespace": "ns",
        "name": name,
        "labels": {STATE: state},
        "annotations": annotations,
        "ownerReferences": [owner],
    }
    return msgspec.convert({"metadata": meta}, Revision)


def patches(*arguments, **keywords):
    return {
        item.subject.metadata.name: item.patch["metadata"]
        for item in plan_labels("way", *arguments, NOW, **keywords)
    }


def test_used_and_no_longer_used():
    used = [revision("new"), revision("known", "active", "way"), revision("shared", "active", "a")]
    marked = [revision("known", "active", "way"), revision("old", "active", "b,way")]
    last = revision("last", "active", "way")
    assert patches(used, [*marked, last], clear=True) == {
        "new": {
            "labels": {STATE: "active"},
            "annotations": {ROUTES: "way", MODIFIED: "2026-01-01T00:00:00Z"},
        },
        "shared": {"annotations": {ROUTES: "a,way"}},
        "old": {"annotations": {ROUTES: "b"}},
        "last": {
            "labels": {STATE: "reserve"},
            "annotations": {ROUTES: None, MODIFIED: "2026-01-01T00:00:00Z"},
        },
    }


def test_nothing_is_let_go_before_the_route_is_resolved():
    assert patches([], [revision("old", "active", "way")], clear=False) == {}


def test_configurations_have_no_state():
    subject = msgspec.convert({"metadata": {"namespace": "ns", "name": "app"}}, Configuration)
    assert patches([subject], [], clear=True) == {"app": {"annotations": {ROUTES: "way"}}}


def route(spec, status=(), ready="True", observed=1):
    return msgspec.convert(
        {
            "metadata": {"namespace": "ns", "name": "way", "generation": 1},
            "spec": {"traffic": list(spec)},
            "status": {
                "traffic": list(status),
                "observedGeneration": observed,
                "conditions": [{"type": "Ready", "status": ready}],
            },
        },
        Route,
    )


def test_what_a_route_uses():
    configuration = msgspec.convert(
        {
            "metadata": {"namespace": "ns", "name": "app"},
            "status": {"latestCreatedRevisionName": "app-2"},
        },
        Configuration,
    )
    revisions = {Key("ns", "app-1"): revision("app-1")}
    used = find_used(
        route(
            [{"configurationName": "app", "latestRevision": True}, {"revisionName": "gone"}],
            [{"revisionName": "app-1", "latestRevision": True}],
        ),
        {Key("ns", "app"): configuration}.get,
        revisions.get,
    )
    assert (used.revisions, used.configurations) == ({"app-1", "app-2"}, {"app"})


def test_resolved_means_decided_about_the_newest_spec():
    assert is_resolved(route([]))
    assert is_resolved(route([], ready="False"))
    assert not is_resolved(route([], ready="Unknown"))
    assert not is_resolved(route([], observed=0))
