import datetime as dt

from tests.unit.workloads.world import START, World, pod

from knarr.kits.clock import format_timestamp
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.event import EVENT, Event
from knarr.resources.core.pod import POD
from knarr.resources.core.references import ObjectReference
from knarr.workloads.events.reconciler import plan_sweep, trace_of


def event(name: str, age_s: float) -> Event:
    moment = format_timestamp(START - dt.timedelta(seconds=age_s))
    return Event(
        metadata=ObjectMeta(name=name, namespace="ns"),
        involved_object=ObjectReference(kind="Pod", namespace="ns", name="p"),
        last_timestamp=moment,
    )


def swept(*events: Event, limit: int = 100) -> list[str]:
    return [each.key.name for each in plan_sweep((trace_of(one, START) for one in events), limit)]


def test_events_older_than_an_hour_go():
    events = (event("old", 3600), event("young", 3599), event("older", 9000))

    assert swept(*events) == ["older", "old"]


def test_an_event_without_any_time_goes():
    assert swept(Event(metadata=ObjectMeta(name="x"))) == ["x"]


def test_beyond_the_limit_the_oldest_go_whatever_their_age():
    assert swept(*(event(f"n{age}", age) for age in (10, 40, 20, 30)), limit=2) == ["n40", "n30"]


def test_the_sweep_comes_back_by_itself(fake_time):
    async def story():
        async with World() as world:
            await world.client.create(POD, pod("p"))
            await world.settle()
            assert (await world.client.list(EVENT, "ns")).items
            await world.client.delete(POD, Key("ns", "p"))
            started = world.clock.monotonic()
            while (await world.client.list(EVENT, "ns")).items:
                for _ in range(60):
                    await world.settle()
            assert 3600 <= world.clock.monotonic() - started <= 3600 + 120 + 60

    fake_time(story())
