import asyncio
import random

from tests.unit.kube.scripted import Scripted

from knarr.kits.clock import ManualClock
from knarr.kube.client import Client
from knarr.kube.events import EventRecorder
from knarr.meta.errors import Forbidden, NotFound
from knarr.meta.objects import ObjectMeta
from knarr.resources.core.configmap import ConfigMap

STORED = {"metadata": {"name": "a.x", "namespace": "ns"}}


def subject(name="a", namespace="ns") -> ConfigMap:
    metadata = ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}")
    return ConfigMap(api_version="v1", kind="ConfigMap", metadata=metadata)


async def settle() -> None:
    await asyncio.sleep(1)


def recorder_of(transport, clock=None) -> EventRecorder:
    return EventRecorder(
        Client(transport), "test", clock=clock or ManualClock(), rng=random.Random(1)
    )


def test_an_event_names_its_object_reason_and_component(fake_time):
    async def story():
        transport = Scripted(answers=[STORED])
        async with recorder_of(transport) as recorder:
            recorder.record(subject(), "Warning", "Broken", "it broke")
            await settle()

        method, path, body = transport.requests[0]
        assert (method, path) == ("POST", "/api/v1/namespaces/ns/events")
        assert body["involvedObject"] == {
            "kind": "ConfigMap",
            "namespace": "ns",
            "name": "a",
            "uid": "uid-a",
            "apiVersion": "v1",
        }
        assert (body["type"], body["reason"], body["message"], body["count"]) == (
            "Warning",
            "Broken",
            "it broke",
            1,
        )
        assert body["source"] == {"component": "test"}
        assert body["firstTimestamp"] == body["lastTimestamp"] == "2026-01-01T00:00:00Z"

    fake_time(story())


def test_repetitions_are_counted_in_the_queue_and_afterwards_by_patches(fake_time):
    async def story():
        clock = ManualClock()
        transport = Scripted(answers=[STORED, STORED])
        async with recorder_of(transport, clock) as recorder:
            for _ in range(3):
                recorder.record(subject(), "Normal", "Again", "and again")
            await settle()
            clock.advance(60)
            recorder.record(subject(), "Normal", "Again", "and again")
            await settle()

        created, patched = transport.requests
        assert created[2]["count"] == 3
        assert patched == (
            "PATCH",
            "/api/v1/namespaces/ns/events/a.x",
            {"count": 4, "lastTimestamp": "2026-01-01T00:01:00Z"},
        )

    fake_time(story())


def test_an_event_that_was_swept_is_made_anew(fake_time):
    async def story():
        transport = Scripted(answers=[STORED, NotFound("gone"), STORED])
        async with recorder_of(transport) as recorder:
            for _ in range(2):
                recorder.record(subject(), "Normal", "Again", "and again")
                await settle()

        assert [request[0] for request in transport.requests] == ["POST", "PATCH", "POST"]
        assert transport.requests[2][2]["count"] == 1

    fake_time(story())


def test_a_refusal_is_dropped_and_the_next_event_is_sent(fake_time):
    async def story():
        transport = Scripted(answers=[Forbidden("terminating"), STORED])
        async with recorder_of(transport) as recorder:
            recorder.record(subject("a"), "Normal", "One", "1")
            recorder.record(subject("b"), "Normal", "Two", "2")
            await settle()

            assert recorder.dropped == 1
        assert len(transport.requests) == 2

    fake_time(story())


def test_a_full_queue_drops_the_oldest():
    recorder = recorder_of(Scripted())
    for number in range(300):
        recorder.record(subject(f"n{number}"), "Normal", "Many", "too many")

    assert recorder.dropped == 44
    assert next(iter(recorder._pending)).reference.name == "n44"


def test_events_about_cluster_scoped_objects_live_in_default(fake_time):
    async def story():
        transport = Scripted(answers=[STORED])
        async with recorder_of(transport) as recorder:
            recorder.record(subject("node", ""), "Normal", "Up", "up")
            await settle()

        assert transport.requests[0][1] == "/api/v1/namespaces/default/events"

    fake_time(story())
