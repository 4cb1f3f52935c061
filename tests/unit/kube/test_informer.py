import asyncio
import random

import pytest
from tests.unit.kube.scripted import HANG, Scripted, bookmark, config_map, event, gone

from knarr.kits.clock import ManualClock
from knarr.kube.client import Client
from knarr.kube.factory import InformerFactory
from knarr.kube.informer import Informer
from knarr.meta.errors import Invalid, Unavailable
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap


def informer_of(transport, **arguments) -> Informer[ConfigMap]:
    return Informer(
        CONFIG_MAP, Client(transport), clock=ManualClock(), rng=random.Random(1), **arguments
    )


def recorded(informer: Informer[ConfigMap]) -> list[str]:
    seen: list[str] = []
    informer.add_handler(lambda change: seen.append(f"{change.type} {change.key.name}"))
    return seen


def play(fake_time, transport, *, seconds=60.0, **arguments):
    """Enter an informer, let the transcript run out; the informer and the changes it reported."""
    informer = informer_of(transport, **arguments)
    changes = recorded(informer)

    async def story():
        async with informer:
            await asyncio.sleep(seconds)

    fake_time(story())
    return informer, changes


def names(informer) -> list[str]:
    return [item.metadata.name for item in informer.list()]


def test_entered_means_synced_by_the_streamed_list(fake_time):
    transport = Scripted([[event("ADDED", config_map("a", 3)), bookmark(7, initial=True), HANG]])
    informer, changes = play(fake_time, transport)

    assert names(informer) == ["a"]
    assert changes == ["added a"]
    assert informer.statistics().resource_version == "7"
    query = transport.watches[0]
    assert query["sendInitialEvents"] == "true"
    assert query["resourceVersionMatch"] == "NotOlderThan"
    assert query["allowWatchBookmarks"] == "true"


def test_a_stream_that_ends_is_resumed_where_it_was(fake_time):
    transport = Scripted(
        [
            [bookmark(7, initial=True), event("ADDED", config_map("a", 9))],
            [event("MODIFIED", config_map("a", 12)), bookmark(20)],
            [event("DELETED", config_map("a", 25)), HANG],
        ]
    )
    informer, changes = play(fake_time, transport)

    assert changes == ["added a", "modified a", "deleted a"]
    assert [query.get("resourceVersion") for query in transport.watches] == [None, "9", "20"]
    assert informer.statistics().relists == 1


def test_410_starts_over_and_reports_what_vanished_meanwhile(fake_time):
    transport = Scripted(
        [
            [
                event("ADDED", config_map("a", 3)),
                event("ADDED", config_map("b", 4)),
                bookmark(7, initial=True),
            ],
            [gone()],
            [
                event("ADDED", config_map("b", 90)),
                event("ADDED", config_map("c", 91)),
                bookmark(99, initial=True),
                HANG,
            ],
        ]
    )
    informer, changes = play(fake_time, transport)

    assert changes == ["added a", "added b", "modified b", "added c", "deleted a"]
    assert names(informer) == ["b", "c"]


def test_an_initial_list_that_breaks_off_removes_nothing(fake_time):
    transport = Scripted(
        [
            [event("ADDED", config_map("a", 3)), bookmark(7, initial=True)],
            [gone()],
            [event("ADDED", config_map("b", 9))],
            [
                event("ADDED", config_map("a", 3)),
                event("ADDED", config_map("b", 9)),
                bookmark(10, initial=True),
                HANG,
            ],
        ]
    )
    _, changes = play(fake_time, transport)

    assert changes == ["added a", "added b"]


def test_a_store_that_went_back_in_time_is_followed(fake_time):
    transport = Scripted(
        [
            [
                event("ADDED", config_map("a", 500)),
                event("ADDED", config_map("b", 501)),
                bookmark(600, initial=True),
            ],
            [gone()],
            [event("ADDED", config_map("a", 5)), bookmark(6, initial=True), HANG],
        ]
    )
    informer, changes = play(fake_time, transport)

    assert changes == ["added a", "added b", "modified a", "deleted b"]
    assert informer.get(Key("ns", "a")).data == {"v": "5"}


def test_a_server_without_streamed_lists_is_listed_first(fake_time):
    listed = {"metadata": {"resourceVersion": "8"}, "items": [config_map("a", 3)]}
    del listed["items"][0]["kind"], listed["items"][0]["apiVersion"]
    transport = Scripted(
        [Invalid("sendInitialEvents is forbidden"), [event("ADDED", config_map("b", 9)), HANG]],
        [listed],
    )
    informer, changes = play(fake_time, transport)

    assert changes == ["added a", "added b"]
    assert transport.watches[1]["resourceVersion"] == "8"
    assert "sendInitialEvents" not in transport.watches[1]
    assert informer.get(Key("ns", "a")).kind == "ConfigMap", "list items carry no kind, objects do"


def test_an_api_that_is_away_is_tried_again_with_back_off(fake_time):
    transport = Scripted([Unavailable("refused")] * 6 + [[bookmark(1, initial=True), HANG]])
    informer = informer_of(transport)

    async def story():
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with informer:
            return loop.time() - started

    waited_s = fake_time(story())
    assert 1.0 < waited_s < 10.0
    assert informer.statistics().streams == 7


def test_a_silent_stream_is_given_up_after_its_lifetime(fake_time):
    transport = Scripted([[bookmark(1, initial=True), HANG], [HANG]])
    informer, _ = play(fake_time, transport, seconds=1500)

    assert len(transport.watches) >= 3
    assert informer.statistics().last_error == "the watch went silent"


def test_an_object_that_does_not_fit_the_model_is_left_out_and_counted(fake_time):
    broken = {**config_map("bad", 4), "data": 17}
    transport = Scripted(
        [
            [
                event("ADDED", broken),
                event("ADDED", config_map("good", 5)),
                bookmark(7, initial=True),
                HANG,
            ]
        ]
    )
    informer, _ = play(fake_time, transport)

    assert names(informer) == ["good"]
    assert informer.statistics().undecodable == 1


def test_events_that_were_seen_already_change_nothing(fake_time):
    transport = Scripted(
        [
            [event("ADDED", config_map("a", 3)), bookmark(7, initial=True)],
            [event("MODIFIED", config_map("a", 3)), event("MODIFIED", config_map("a", 2)), HANG],
        ]
    )
    _, changes = play(fake_time, transport)

    assert changes == ["added a"]


def test_a_handler_that_comes_late_hears_of_what_is_there(fake_time):
    transport = Scripted([[event("ADDED", config_map("a", 3)), bookmark(7, initial=True), HANG]])
    informer = informer_of(transport)

    async def story():
        async with informer:
            return recorded(informer)

    assert fake_time(story()) == ["added a"]


def own(name: str, version: int, labels=None, namespace="ns") -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            resource_version=str(version),
            labels=labels,
        ),
        data={"v": str(version)},
    )


def test_own_writes_are_in_the_cache_before_the_watch_brings_them(fake_time):
    more = asyncio.Event()
    transport = Scripted(
        [
            [
                bookmark(7, initial=True),
                more,
                event("ADDED", config_map("a", 9)),
                event("DELETED", config_map("a", 11)),
                HANG,
            ]
        ]
    )
    informer = informer_of(transport)
    changes = recorded(informer)

    async def story():
        async with informer:
            informer.observe(own("a", 9))
            assert names(informer) == ["a"]
            more.set()
            await asyncio.sleep(1)
            assert names(informer) == []
            informer.observe(own("a", 9))
            assert names(informer) == [], "the watch is further: this is the past"

    fake_time(story())
    assert changes == ["added a", "deleted a"]


def test_own_deletions_are_forgotten_at_once_but_never_a_successor(fake_time):
    transport = Scripted([[event("ADDED", config_map("a", 3)), bookmark(7, initial=True), HANG]])
    informer = informer_of(transport)

    async def story():
        async with informer:
            informer.forget(Key("ns", "a"), "uid-other")
            assert names(informer) == ["a"]
            informer.forget(Key("ns", "a"), "uid-a")
            assert names(informer) == []

    fake_time(story())


@pytest.mark.parametrize(
    ("selection", "subject", "taken"),
    [
        ({"namespace": "ns"}, own("a", 9), True),
        ({"namespace": "other"}, own("a", 9), False),
        ({"label_selector": "app=x"}, own("a", 9, {"app": "x"}), True),
        ({"label_selector": "app=x"}, own("a", 9), False),
        ({"field_selector": "metadata.name=a"}, own("a", 9), True),
        ({"field_selector": "metadata.name=b"}, own("a", 9), False),
    ],
)
def test_own_writes_count_only_when_the_informer_would_see_them(
    fake_time, selection, subject, taken
):
    informer = informer_of(Scripted([[bookmark(7, initial=True), HANG]]), **selection)

    async def story():
        async with informer:
            informer.observe(subject)
            return bool(informer)

    assert fake_time(story()) is taken


def test_a_factory_shares_informers_and_starts_late_ones(fake_time):
    transport = Scripted(
        [
            [bookmark(7, initial=True), HANG],
            [event("ADDED", config_map("a", 8)), bookmark(9, initial=True), HANG],
        ]
    )
    factory = InformerFactory(Client(transport), clock=ManualClock(), rng=random.Random(1))

    async def story():
        first = factory.informer(CONFIG_MAP)
        assert factory.informer(CONFIG_MAP) is first
        async with factory:
            assert first.synced
            late = factory.informer(CONFIG_MAP, namespace="ns")
            assert late is not first
            await factory.wait_synced()
            return names(late)

    assert fake_time(story()) == ["a"]


def test_leaving_while_it_never_synced_ends_the_task(fake_time):
    informer = informer_of(Scripted([[HANG]]))

    async def story():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5), informer:
                pass
        return len(asyncio.all_tasks())

    assert fake_time(story()) == 1


def test_what_is_kept_is_what_keep_makes_of_it(fake_time):
    def bare(subject: ConfigMap) -> ConfigMap:
        return ConfigMap(metadata=subject.metadata)

    full = config_map("a", 3)
    transport = Scripted([[event("ADDED", full), bookmark(7, initial=True), HANG]])
    informer, changes = play(fake_time, transport, keep=bare)
    assert changes == ["added a"]
    assert informer.list()[0].data is None
    informer.observe(
        ConfigMap(metadata=ObjectMeta(name="b", resource_version="9"), data={"a": "b"})
    )
    assert [item.data for item in informer.list()] == [None, None]


def test_cleared_means_everything_was_deleted(fake_time):
    transport = Scripted(
        [[event("ADDED", config_map(name, 3)) for name in "ab"] + [bookmark(7, initial=True), HANG]]
    )
    informer, changes = play(fake_time, transport)
    informer.clear()
    assert changes == ["added a", "added b", "deleted a", "deleted b"]
    assert len(informer) == 0


def test_a_dropped_informer_stops_and_is_made_anew(fake_time):
    transport = Scripted([[bookmark(7, initial=True), HANG], [bookmark(8, initial=True), HANG]])

    async def story():
        async with InformerFactory(
            Client(transport), clock=ManualClock(), rng=random.Random(1)
        ) as factory:
            first = factory.informer(CONFIG_MAP)
            await first.wait_synced()
            factory.drop(first)
            assert factory.informers == ()
            second = factory.informer(CONFIG_MAP)
            assert second is not first
            await second.wait_synced()
            assert len(transport.watches) == 2
            factory.drop(second)

    fake_time(story())
