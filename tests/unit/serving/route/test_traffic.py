"""Targets that cannot be served, in Knative's words."""

import datetime as dt

import msgspec
import pytest

from knarr.meta.conditions import find_condition
from knarr.meta.objects import Key
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route, RouteStatus
from knarr.serving.route.traffic import RevisionTarget, Traffic, TrafficProblem, resolve_traffic

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def route(*traffic, service="app"):
    labels = {"serving.knative.dev/service": service} if service else {}
    return msgspec.convert(
        {
            "metadata": {"namespace": "ns", "name": "app", "labels": labels},
            "spec": {"traffic": list(traffic)},
        },
        Route,
    )


def configuration(name, latest="", ready="Unknown"):
    conditions = [{"type": "Ready", "status": ready}]
    status = {"latestReadyRevisionName": latest, "conditions": conditions}
    return msgspec.convert(
        {"metadata": {"namespace": "ns", "name": name}, "status": status}, Configuration
    )


def revision(name, ready="True", service="app", owner="app"):
    labels = {
        "serving.knative.dev/service": service,
        "serving.knative.dev/configuration": owner,
    }
    return msgspec.convert(
        {
            "metadata": {
                "namespace": "ns",
                "name": name,
                "generation": 1,
                "labels": {key: value for key, value in labels.items() if value},
            },
            "status": {
                "observedGeneration": 1,
                "conditions": [{"type": "Ready", "status": ready}],
            },
        },
        Revision,
    )


CONFIGURATIONS = {
    Key("ns", item.metadata.name): item
    for item in (
        configuration("app", "app-00002"),
        configuration("new"),
        configuration("broken", ready="False"),
        configuration("dangling", "gone"),
        configuration("lost", "lost-00001"),
    )
}
REVISIONS = {
    Key("ns", item.metadata.name): item
    for item in (
        revision("app-00001"),
        revision("app-00002"),
        revision("starting", "Unknown"),
        revision("failed", "False"),
        revision("other-00001", service="other"),
        revision("solo-00001", service=""),
        revision("orphan", owner="vanished"),
        revision("lost-00001", "Unknown"),
    )
}


def resolve(subject):
    return resolve_traffic(subject, CONFIGURATIONS.get, REVISIONS.get)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(
            {"configurationName": "new"},
            (
                "Unknown",
                "RevisionMissing",
                'Configuration "new" is waiting for a Revision to become ready.',
            ),
            id="a configuration without a ready revision",
        ),
        pytest.param(
            {"configurationName": "broken"},
            (
                "False",
                "RevisionMissing",
                'Configuration "broken" does not have any ready Revision.',
            ),
            id="a configuration that failed",
        ),
        pytest.param(
            {"configurationName": "nowhere"},
            (
                "False",
                "ConfigurationMissing",
                'Configuration "nowhere" referenced in traffic not found.',
            ),
            id="a configuration that does not exist",
        ),
        pytest.param(
            {"configurationName": "dangling"},
            ("False", "RevisionMissing", 'Revision "gone" referenced in traffic not found.'),
            id="a latest revision that was deleted",
        ),
        pytest.param(
            {"configurationName": "lost"},
            ("Unknown", "RevisionMissing", 'Revision "lost-00001" is not yet ready.'),
            id="a latest revision that is ready no more",
        ),
        pytest.param(
            {"revisionName": "nowhere"},
            ("False", "RevisionMissing", 'Revision "nowhere" referenced in traffic not found.'),
            id="a revision that does not exist",
        ),
        pytest.param(
            {"revisionName": "starting"},
            ("Unknown", "RevisionMissing", 'Revision "starting" is not yet ready.'),
            id="a revision that starts",
        ),
        pytest.param(
            {"revisionName": "failed"},
            ("False", "RevisionMissing", 'Revision "failed" failed to become ready.'),
            id="a revision that failed",
        ),
        pytest.param(
            {"revisionName": "other-00001"},
            (
                "False",
                "RevisionNotOwned",
                'Revision "other-00001" belongs to Service "other", not Service "app".',
            ),
            id="another service's revision",
        ),
        pytest.param(
            {"revisionName": "solo-00001"},
            (
                "False",
                "RevisionNotOwned",
                'Revision "solo-00001" does not belong to Service "app".',
            ),
            id="nobody's revision",
        ),
        pytest.param(
            {"revisionName": "orphan"},
            (
                "False",
                "ConfigurationMissing",
                'Configuration "vanished" referenced in traffic not found.',
            ),
            id="a revision whose configuration is gone",
        ),
    ],
)
def test_what_cannot_be_served(target, expected):
    problem = resolve(route({**target, "percent": 100}))
    assert isinstance(problem, TrafficProblem)
    status = problem.mark(RouteStatus(), NOW)
    found = find_condition(status.conditions, "AllTrafficAssigned")
    assert (found.status, found.reason, found.message) == expected
    assert problem.failure == (expected[0] == "False")


def test_a_failure_beats_what_only_waits():
    problem = resolve(
        route(
            {"revisionName": "failed", "percent": 50},
            {"configurationName": "new", "percent": 50},
        )
    )
    assert problem.failure


def test_a_route_of_its_own_may_name_any_revision():
    subject = route({"revisionName": "other-00001", "percent": 100}, service="")
    assert isinstance(resolve(subject), Traffic)


def test_shares_of_one_revision_are_added():
    found = resolve(
        route(
            {"configurationName": "app", "latestRevision": True, "percent": 40},
            {"revisionName": "app-00002", "latestRevision": False, "percent": 20, "tag": "blue"},
            {"revisionName": "app-00001", "latestRevision": False, "percent": 40},
        )
    )
    assert [(item.revision, item.percent) for item in found.targets[""]] == [
        ("app-00002", 60),
        ("app-00001", 40),
    ]
    assert found.targets["blue"] == (
        RevisionTarget(
            tag="blue", revision="app-00002", configuration="app", latest=False, percent=100
        ),
    )
    assert [item.percent for item in found.listed] == [40, 20, 40]
