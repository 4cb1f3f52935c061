"""Pods in, one delta out."""

import msgspec

from knarr.dataplane.endpoints import Endpoints
from knarr.dataplane.table import RoutingTable
from knarr.meta.objects import Key
from knarr.resources.core.pod import Pod
from knarr.resources.serving.revision import Revision

KEY = Key("default", "hello-00001")


def pod(name, ready="True", **metadata):
    return msgspec.convert(
        {
            "metadata": {
                "namespace": "default",
                "name": name,
                "uid": f"uid-{name}",
                "labels": {"serving.knative.dev/revision": "hello-00001"},
                **metadata,
            },
            "status": {
                "phase": "Running",
                "podIP": "10.0.0.2",
                "conditions": [{"type": "Ready", "status": ready}],
            },
        },
        Pod,
    )


class World:
    def __init__(self):
        self.table = RoutingTable("e")
        self.revisions = {}
        self.changes = []
        self.endpoints = Endpoints(self.table, self.revisions.get, lambda _: None)
        self.endpoints.on_replicas(self.changes.append)

    def add_revision(self):
        self.revisions[KEY] = msgspec.convert(
            {
                "metadata": {"namespace": "default", "name": "hello-00001"},
                "spec": {"containers": [{}]},
            },
            Revision,
        )
        self.endpoints.refresh(KEY)

    def ids(self):
        return [item.id for item in self.table.revision("default/hello-00001").replicas]


def test_replicas_follow_the_pods():
    world = World()
    world.add_revision()
    world.endpoints.pod_changed(pod("a"))
    world.endpoints.pod_changed(pod("b", ready="False"))
    assert world.ids() == ["uid-a"]
    version = world.table.version
    world.endpoints.pod_changed(pod("a"))
    assert world.table.version == version
    world.endpoints.pod_changed(pod("b"))
    world.endpoints.pod_changed(pod("a", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert world.ids() == ["uid-b"]
    assert world.endpoints.ready("default/hello-00001") == 1
    world.endpoints.pod_deleted(pod("b"))
    assert world.ids() == []
    assert world.changes == [KEY] * 4


def test_pods_may_come_before_their_revision():
    world = World()
    world.endpoints.pod_changed(pod("a"))
    assert world.table.revision("default/hello-00001") is None
    world.add_revision()
    assert world.ids() == ["uid-a"]


def test_a_revision_that_goes_leaves_the_table():
    world = World()
    world.add_revision()
    world.revisions.clear()
    world.endpoints.refresh(KEY)
    assert world.table.snapshot().revisions == ()


def test_pods_of_others_are_not_looked_at():
    world = World()
    world.endpoints.pod_changed(pod("a", labels={}))
    assert world.changes == []
