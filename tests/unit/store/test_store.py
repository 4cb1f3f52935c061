"""The store's promises, one by one."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from knarr.meta.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    InsufficientStorage,
    NotFound,
    TooManyRequests,
    Unavailable,
)
from knarr.meta.objects import Key
from knarr.store.sqlite import StoreBroken, StoreUnusable
from knarr.store.store import Limits, Store


def document(name, rv, **more):
    return json.dumps({"name": name, "rv": rv, **more}).encode()


async def create(store, name, collection="things", namespace="ns", *, durable=True, **more):
    key = Key(namespace, name)
    return await store.create(
        collection, key, f"uid-{name}", lambda rv: document(name, rv, **more), durable=durable
    )


async def update(store, name, expected, collection="things", *, durable=True, **more):
    return await store.update(
        collection,
        Key("ns", name),
        expected,
        lambda rv: document(name, rv, **more),
        durable=durable,
    )


async def delete(store, name, expected, collection="things"):
    return await store.delete(
        collection, Key("ns", name), expected, lambda rv: document(name, rv, gone=True)
    )


@pytest.fixture(params=["memory", "file"])
async def store(request, tmp_path):
    path = None if request.param == "memory" else tmp_path / "knarr.db"
    async with Store(path) as opened:
        yield opened


async def test_versions_grow_by_one_across_collections(store):
    first = await create(store, "a")
    second = await create(store, "a", "others")
    third = await update(store, "a", first.rv)
    assert (first.rv, second.rv, third.rv) == (1, 2, 3)
    assert store.get("things", Key("ns", "a")) == third
    assert json.loads(third.data)["rv"] == 3


async def test_create_refuses_a_name_that_is_taken(store):
    await create(store, "a")
    with pytest.raises(AlreadyExists, match='things "a" already exists'):
        await create(store, "a")


async def test_a_write_against_another_version_is_a_conflict(store):
    first = await create(store, "a")
    await update(store, "a", first.rv)
    with pytest.raises(Conflict, match="the object has been modified"):
        await update(store, "a", first.rv)
    with pytest.raises(Conflict):
        await delete(store, "a", first.rv)
    with pytest.raises(NotFound):
        await update(store, "b", 1)
    assert store.assigned_rv == 2


async def test_writes_that_arrive_together_are_decided_in_order(store):
    first = await create(store, "a")

    async def once():
        try:
            await update(store, "a", first.rv)
        except Conflict:
            return False
        return True

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(once()) for _ in range(20)]
    assert [task.result() for task in tasks].count(True) == 1


async def test_a_staged_write_is_invisible_until_it_is_durable(store):
    async with asyncio.TaskGroup() as group:
        group.create_task(create(store, "a"))
        await asyncio.sleep(0)
        assert store.newest("things", Key("ns", "a")) is not None
        assert store.get("things", Key("ns", "a")) is None
        assert store.visible_rv("things") == 0
        assert store.visible_rv("others") == 1
    assert store.get("things", Key("ns", "a")) is not None
    assert store.visible_rv("things") == 1


async def test_settle_waits_for_what_is_staged(store):
    async with asyncio.TaskGroup() as group:
        group.create_task(create(store, "a"))
        await asyncio.sleep(0)
        await store.settle()
        assert store.get("things", Key("ns", "a")) is not None


async def test_watch_sees_every_change_after_its_registration(store):
    await create(store, "before")
    watcher = store.watch("things")
    first = await create(store, "a")
    second = await update(store, "a", first.rv, x=1)
    await delete(store, "a", second.rv)
    await create(store, "b", "others")
    events = []
    while len(events) < 3:
        events += await watcher.next_batch(5)
    assert [(event.kind, event.rv) for event in events] == [
        ("ADDED", 2), ("MODIFIED", 3), ("DELETED", 4),
    ]  # fmt: skip
    assert events[2].previous == second.data
    assert json.loads(events[2].data) == {"name": "a", "rv": 4, "gone": True}
    assert json.loads(events[0].line()) == {"type": "ADDED", "object": json.loads(first.data)}
    store.unwatch("things", watcher)
    assert await watcher.next_batch(5) is None


async def test_watch_filters_by_namespace_name_and_interest(store):
    one = store.watch("things", namespace="ns", name="b")
    picky = store.watch("things", interest=lambda event: b'"x"' in event.data)
    await create(store, "a", x=1)
    await create(store, "b")
    await create(store, "b", namespace="elsewhere")
    assert [str(event.key) for event in await one.next_batch(5)] == ["ns/b"]
    assert [str(event.key) for event in await picky.next_batch(5)] == ["ns/a"]


async def test_next_batch_gives_up_after_its_timeout(store):
    watcher = store.watch("things")
    assert await watcher.next_batch(0.01) == []
    assert await watcher.next_batch(0) == []


async def test_a_slow_watcher_is_closed_and_resumes_from_the_history():
    async with Store(None, Limits(watcher_events=2)) as store:
        slow = store.watch("things")
        for name in "abc":
            await create(store, name)
        assert slow.overflowed
        assert await slow.next_batch(5) is None
        assert [event.key.name for event in store.changes_after("things", 1)] == ["b", "c"]
        assert "closed" in repr(slow)


async def test_watchers_are_counted(store):
    async with Store(None, Limits(watchers=2)) as small:
        first = small.watch("things")
        small.watch("things")
        with pytest.raises(TooManyRequests):
            small.watch("others")
        small.unwatch("things", first)
        small.unwatch("things", first)
        small.watch("others")


async def test_all_watches_of_a_collection_can_be_ended(store):
    async with Store(None, Limits(watchers=2)) as small:
        ended = small.watch("things")
        await create(small, "a")
        small.end_watches("things")
        assert [event.key.name for event in await ended.next_batch(1)] == ["a"]
        assert await ended.next_batch(1) is None
        # both places are free again, and giving the ended one back changes nothing
        small.unwatch("things", ended)
        small.watch("things")
        small.watch("things")


async def test_history_forgets_the_oldest_and_says_so():
    async with Store(None, Limits(history_events=3)) as store:
        for name in "abcde":
            await create(store, name)
        assert [event.rv for event in store.changes_after("things", 2)] == [3, 4, 5]
        with pytest.raises(Expired, match=r"too old resource version: 1 \(2\)"):
            store.changes_after("things", 1)
        with pytest.raises(Expired, match="unknown resource version"):
            store.changes_after("things", 99)


async def test_history_is_bounded_in_bytes_and_the_largest_shrinks_first():
    async with Store(None, Limits(history_bytes=2_000)) as store:
        await create(store, "small", "quiet")
        for number in range(50):
            await create(store, f"n{number}", "loud", pad="x" * 100)
        assert len(store.changes_after("quiet", 0)) == 1
        with pytest.raises(Expired):
            store.changes_after("loud", 1)


async def test_page_is_sorted_scoped_limited_and_filtered(store):
    for namespace, name in [("b", "x"), ("a", "z"), ("a", "y"), ("ab", "q")]:
        await create(store, name, namespace=namespace, odd=name in "xz")
    names = [json.loads(item)["name"] for item in store.page("things").items]
    assert names == ["y", "z", "q", "x"]
    assert [json.loads(item)["name"] for item in store.page("things", namespace="a").items] == [
        "y", "z",
    ]  # fmt: skip
    page = store.page("things", limit=3)
    assert (len(page.items), page.next_key, page.remaining) == (3, Key("b", "x"), 1)
    rest = store.page("things", start=page.next_key, at=page.rv)
    assert [json.loads(item)["name"] for item in rest.items] == ["x"]
    odd = store.page("things", limit=1, accept=lambda data: b'"odd": true' in data)
    assert (len(odd.items), odd.next_key, odd.remaining) == (1, Key("b", "x"), None)


async def test_pages_of_one_listing_show_one_version(store):
    entries = {name: await create(store, name) for name in "abcd"}
    page = store.page("things", limit=2)
    await delete(store, "c", entries["c"].rv)
    await update(store, "d", entries["d"].rv, changed=True)
    await create(store, "bb")
    rest = store.page("things", start=page.next_key, at=page.rv)
    assert [json.loads(item) for item in rest.items] == [
        json.loads(entries["c"].data), json.loads(entries["d"].data),
    ]  # fmt: skip
    newest = store.page("things")
    assert [json.loads(item)["name"] for item in newest.items] == ["a", "b", "bb", "d"]


async def test_reopening_brings_everything_back(tmp_path):
    path = tmp_path / "knarr.db"
    async with Store(path) as store:
        first = await create(store, "a")
        await create(store, "b")
        await delete(store, "b", 2)
        lazy = await create(store, "p", "pods", durable=False)
    async with Store(path) as store:
        assert store.get("things", Key("ns", "a")) == first
        assert store.get("things", Key("ns", "b")) is None
        assert store.get("pods", Key("ns", "p")) == lazy
        assert store.size("things") == 1
        assert store.assigned_rv == 4
        assert store.changes_after("things", 4) == []
        with pytest.raises(Expired):
            store.changes_after("things", 3)


async def test_lazy_writes_do_not_wait_and_are_seen_at_once(tmp_path):
    async with Store(tmp_path / "knarr.db", Limits(lazy_delay_s=3600)) as store:
        watcher = store.watch("pods")
        entry = await create(store, "p", "pods", durable=False)
        assert store.get("pods", Key("ns", "p")) == entry
        assert [event.rv for event in await watcher.next_batch(0)] == [1]
        with sqlite3.connect(tmp_path / "knarr.db") as other:
            assert other.execute("SELECT count(*) FROM objects").fetchone() == (0,)
        other.close()
        await create(store, "a")
        with sqlite3.connect(tmp_path / "knarr.db") as other:
            assert other.execute("SELECT count(*) FROM objects").fetchone() == (2,)
        other.close()


async def test_lazy_writes_keep_order_behind_a_durable_one_of_their_collection(store):
    watcher = store.watch("pods")
    async with asyncio.TaskGroup() as group:
        group.create_task(create(store, "a", "pods"))
        await asyncio.sleep(0)
        group.create_task(create(store, "b", "pods", durable=False))
    events = []
    while len(events) < 2:
        events += await watcher.next_batch(5)
    assert [event.rv for event in events] == [1, 2]


async def test_a_block_of_versions_is_reserved_before_it_is_used(tmp_path):
    path = tmp_path / "knarr.db"
    async with Store(path, Limits(lazy_delay_s=3600)) as store:
        for number in range(12_000):
            await create(store, f"p{number}", "pods", durable=False)
            with_sql = store._commits.reserved_rv
            assert store.assigned_rv <= with_sql or number < 2
        with sqlite3.connect(path) as other:
            (reserved,) = other.execute("SELECT value FROM counters").fetchone()
        other.close()
        assert reserved >= store.assigned_rv


async def test_a_second_server_is_refused_by_name(tmp_path):
    async with Store(tmp_path / "knarr.db"):
        with pytest.raises(StoreUnusable, match=rf"process {os.getpid()}\).*knarr down"):
            async with Store(tmp_path / "knarr.db"):
                pass
    async with Store(tmp_path / "knarr.db"):
        pass


async def test_a_damaged_file_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "knarr.db"
    async with Store(path) as store:
        await create(store, "a", pad="y" * 100)
    raw = path.read_bytes()
    at = raw.index(b"y" * 50)
    path.write_bytes(raw[: at + 3] + b"z" + raw[at + 4 :])
    with pytest.raises(StoreUnusable, match=r"checksum of things ns/a is wrong.*recover"):
        async with Store(path):
            pass
    path.write_bytes(raw[:4096] + os.urandom(len(raw) - 4096))
    with pytest.raises(StoreUnusable, match=r"damaged|malformed"):
        async with Store(path):
            pass


async def test_a_foreign_or_newer_file_is_refused(tmp_path):
    path = tmp_path / "knarr.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(StoreUnusable, match="not one of Knarr"):
        async with Store(path):
            pass
    newer = tmp_path / "newer.db"
    async with Store(newer):
        pass
    with sqlite3.connect(newer) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreUnusable, match="format 99"):
        async with Store(newer):
            pass


async def test_a_full_disk_refuses_writes_and_nothing_else(tmp_path):
    async with Store(tmp_path / "knarr.db") as store:
        first = await create(store, "a")
        connection = store._database._db
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        watcher = store.watch("things")
        big = "x" * 100_000
        async with asyncio.TaskGroup() as group:
            failing = group.create_task(_outcome(create(store, "b", pad=big)))
            await asyncio.sleep(0)
            # Decided on top of the write that fails, so it fails with it.
            following = group.create_task(_outcome(update(store, "b", 2, pad=big)))
        assert isinstance(failing.result(), InsufficientStorage)
        assert isinstance(following.result(), InsufficientStorage)
        assert store.get("things", Key("ns", "b")) is None
        assert store.newest("things", Key("ns", "b")) is None
        assert store.visible_rv("things") == store.assigned_rv
        assert await watcher.next_batch(0) == []
        lazy = await create(store, "p", "pods", durable=False)
        connection.execute("PRAGMA max_page_count = 1000000")
        second = await update(store, "a", first.rv, x=1)
        assert second.rv > lazy.rv
    async with Store(tmp_path / "knarr.db") as store:
        assert store.get("things", Key("ns", "a")) == second
        assert store.get("pods", Key("ns", "p")) == lazy


async def _outcome(awaitable):
    try:
        return await awaitable
    except Exception as error:
        return error


async def test_a_failed_disk_stops_writes_for_good(tmp_path, monkeypatch):
    async with Store(tmp_path / "knarr.db") as store:
        await create(store, "a")

        def broken(_rows, _reserve):
            raise StoreBroken("the store's disk failed")

        monkeypatch.setattr(store._database, "commit", broken)
        with pytest.raises(StoreBroken):
            await create(store, "b")
        await asyncio.wait_for(store.wait_broken(), 5)
        with pytest.raises(StoreBroken):
            await create(store, "c")
        assert store.get("things", Key("ns", "a")) is not None


async def test_a_closed_store_refuses_everything(tmp_path):
    store = Store(tmp_path / "knarr.db")
    with pytest.raises(Unavailable):
        store.watch("things")
    async with store:
        watcher = store.watch("things")
    assert await watcher.next_batch(5) is None
    with pytest.raises(Unavailable):
        await create(store, "a")
    store.unwatch("things", watcher)


async def test_a_cancelled_writer_does_not_stop_the_others(store):
    async with asyncio.TaskGroup() as group:
        doomed = group.create_task(create(store, "a"))
        other = group.create_task(create(store, "b"))
        await asyncio.sleep(0)
        doomed.cancel()
    assert other.result().rv == 2
    assert store.get("things", Key("ns", "a")) is not None


_WRITER = """
import asyncio, sys
from pathlib import Path
from knarr.meta.objects import Key
from knarr.store.store import Store

async def main():
    async with Store(Path(sys.argv[1])) as store:
        print("open", store.assigned_rv, flush=True)
        async def work(who):
            number = 0
            while True:
                key = Key("ns", f"w{who}-{number}")
                durable = who != 0
                entry = await store.create(
                    "things" if durable else "pods", key, "u",
                    lambda rv: b'{"rv":%d}' % rv, durable=durable)
                sys.stdout.write(f"{int(durable)} {key.name} {entry.rv}\\n")
                sys.stdout.flush()
                number += 1
                await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            for who in range(4):
                group.create_task(work(who))
asyncio.run(main())
"""


async def test_kill_9_loses_no_acknowledged_write_and_reuses_no_version(tmp_path):
    path = tmp_path / "knarr.db"
    acknowledged: dict[str, int] = {}
    highest = 0
    for _ in range(3):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, str(path), stdout=asyncio.subprocess.PIPE
        )
        first = (await writer.stdout.readline()).split()
        assert int(first[1]) >= highest
        for _ in range(200):
            durable, name, rv = (await writer.stdout.readline()).decode().split()
            highest = max(highest, int(rv))
            if durable == "1":
                acknowledged[name] = int(rv)
        writer.send_signal(signal.SIGKILL)
        rest = await writer.stdout.read()
        await writer.wait()
        for line in rest.decode().splitlines():
            if line.count(" ") == 2 and rest.endswith(b"\n"):
                durable, name, rv = line.split()
                highest = max(highest, int(rv))
                if durable == "1":
                    acknowledged[name] = int(rv)
        async with Store(path) as store:
            assert store.assigned_rv >= highest
            for name, rv in acknowledged.items():
                entry = store.get("things", Key("ns", name))
                assert entry is not None, name
                assert entry.rv == rv
        # Names repeat in the next round; clear them with the store itself.
        async with Store(path) as store:
            for collection in ("things", "pods"):
                for key, entry in list(store._collection(collection).entries()):
                    await store.delete(collection, key, entry.rv, lambda rv: b"{}")
            highest = max(highest, store.assigned_rv)
        acknowledged.clear()


def test_the_file_is_private(tmp_path):
    async def scenario():
        async with Store(tmp_path / "deep" / "knarr.db"):
            pass

    asyncio.run(scenario())
    assert (tmp_path / "deep" / "knarr.db").stat().st_mode & 0o777 == 0o600
    assert Path(tmp_path / "deep").stat().st_mode & 0o777 == 0o700
