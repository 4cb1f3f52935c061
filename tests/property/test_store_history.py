"""A watcher that starts anywhere and misses nothing: its events applied to a list give the list."""

import asyncio
import json
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from knarr.meta.errors import AlreadyExists, Conflict, Expired, InsufficientStorage, NotFound
from knarr.meta.objects import Key
from knarr.store.store import Limits, Store

COLLECTIONS = ("durable", "lazy", "mixed")
NAMES = st.sampled_from("abcdef")
NAMESPACES = st.sampled_from(["x", "y"])


def listed(page):
    return {
        Key(document["ns"], document["name"]): document["rv"]
        for document in map(json.loads, page.items)
    }


class Follower:
    """A client that lists once and then only applies events."""

    def __init__(self, collection, watcher, state, rv):
        self.collection = collection
        self.watcher = watcher
        self.state = state
        self.rv = rv

    def apply(self, events):
        for event in events:
            assert event.rv > self.rv, "versions must grow"
            self.rv = event.rv
            document = json.loads(event.data)
            assert document["rv"] == event.rv
            if event.kind == "DELETED":
                assert event.key in self.state
                del self.state[event.key]
            else:
                assert (event.kind == "MODIFIED") == (event.key in self.state)
                self.state[event.key] = event.rv


class StoreMachine(RuleBasedStateMachine):
    """Writes of both kinds, in concert and alone, watches from now and from then, restarts."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="knarr-store-"))
        self.store = None
        self.model = {name: {} for name in COLLECTIONS}
        self.past = {name: [] for name in COLLECTIONS}
        self.followers = []
        self.highest = 0
        self.rng = random.Random(5)

    def run(self, awaitable):
        return self.runner.run(awaitable)

    async def _open(self):
        limits = Limits(history_events=12, watcher_events=1000, lazy_delay_s=3600)
        self.store = await Store(self.directory / "k.db", limits).__aenter__()
        assert self.store.assigned_rv >= self.highest

    @initialize()
    def open(self):
        self.run(self._open())

    # Writes

    async def _write(self, collection, key, number):
        """One write against the model; the model follows the store's own order of versions."""
        durable = collection == "durable" or (collection == "mixed" and number % 2 == 0)
        current = self.store.newest(collection, key)

        def make(rv):
            self.highest = max(self.highest, rv)
            return json.dumps({"ns": key.namespace, "name": key.name, "rv": rv}).encode()

        if current is None:
            entry = await self.store.create(collection, key, "u", make, durable=durable)
            return (entry.rv, key, False)
        if number % 3 == 0:
            entry = await self.store.delete(collection, key, current.rv, make, durable=durable)
            return (entry.rv, key, True)
        entry = await self.store.update(collection, key, current.rv, make, durable=durable)
        return (entry.rv, key, False)

    async def _together(self, collection, writes):
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._write(collection, Key(namespace, name), number))
                for namespace, name, number in writes
            ]
            await asyncio.sleep(0)
            # Staged, not yet durable: who comes now must neither miss nor repeat them.
            self.follow_from_now(collection)
        return sorted(task.result() for task in tasks)

    @rule(
        collection=st.sampled_from(COLLECTIONS),
        writes=st.lists(st.tuples(NAMESPACES, NAMES, st.integers(0, 5)), min_size=1, max_size=6),
    )
    def write(self, collection, writes):
        for rv, key, gone in self.run(self._together(collection, writes)):
            if gone:
                del self.model[collection][key]
            else:
                self.model[collection][key] = rv
        self._remember(collection)

    def _remember(self, collection):
        rv = self.store.visible_rv(collection)
        self.past[collection].append((rv, dict(self.model[collection])))

    @rule(collection=st.sampled_from(COLLECTIONS), name=NAMES)
    def stale_writes_are_refused(self, collection, name):
        key = Key("x", name)
        current = self.store.newest(collection, key)

        async def attempt():
            if current is None:
                await self.store.update(collection, key, 1, lambda _rv: b"{}")
            else:
                await self.store.update(collection, key, current.rv - 1, lambda _rv: b"{}")

        before = self.store.assigned_rv
        try:
            self.run(attempt())
        except (Conflict, NotFound):
            assert self.store.assigned_rv == before
        else:
            raise AssertionError("a stale write went through")

    @rule(collection=st.sampled_from(COLLECTIONS), name=NAMES)
    def taken_names_are_refused(self, collection, name):
        key = Key("x", name)
        if self.store.newest(collection, key) is None:
            return
        try:
            self.run(self.store.create(collection, key, "u", lambda _rv: b"{}"))
        except AlreadyExists:
            return
        raise AssertionError("a name was taken twice")

    @rule(name=NAMES)
    def a_full_disk_changes_nothing(self, name):
        connection = self.store._database._db
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        key = Key("x", name)
        current = self.store.newest("durable", key)
        big = b'"' + b"z" * 400_000 + b'"'

        async def attempt():
            if current is None:
                await self.store.create("durable", key, "u", lambda _rv: big)
            else:
                await self.store.update("durable", key, current.rv, lambda _rv: big)

        try:
            self.run(attempt())
        except InsufficientStorage:
            pass
        else:
            raise AssertionError("the disk was not full")
        finally:
            connection.execute("PRAGMA max_page_count = 1000000000")
        assert self.store.newest("durable", key) == current

    # Watches

    def follow_from_now(self, collection):
        watcher = self.store.watch(collection)
        page = self.store.page(collection)
        self.followers.append(Follower(collection, watcher, listed(page), page.rv))

    @precondition(lambda self: any(self.past.values()))
    @rule(data=st.data())
    def follow_from_then(self, data):
        collection = data.draw(st.sampled_from([name for name in COLLECTIONS if self.past[name]]))
        rv, state = data.draw(st.sampled_from(self.past[collection]))
        watcher = self.store.watch(collection)
        try:
            changes = self.store.changes_after(collection, rv)
        except Expired:
            assert rv < self.store._collection(collection).floor
            self.store.unwatch(collection, watcher)
            return
        follower = Follower(collection, watcher, dict(state), rv)
        follower.apply(changes)
        self.followers.append(follower)

    @rule(limit=st.integers(1, 4), collection=st.sampled_from(COLLECTIONS))
    def pages_together_are_the_list(self, limit, collection):
        seen = {}
        page = self.store.page(collection, limit=limit)
        seen.update(listed(page))
        while page.next_key is not None:
            page = self.store.page(collection, limit=limit, start=page.next_key, at=page.rv)
            assert not seen.keys() & listed(page).keys()
            seen.update(listed(page))
        assert seen == self.model[collection]

    # Ends

    @rule(clean=st.booleans())
    def restart(self, clean):
        if clean:
            self.run(self.store.__aexit__(None, None, None))
        else:
            self._crash()
        self.followers.clear()
        self.past = {name: [] for name in COLLECTIONS}
        self.run(self._open())
        durable = listed(self.store.page("durable"))
        assert durable == self.model["durable"]
        for name in ("lazy", "mixed"):
            found = listed(self.store.page(name))
            if clean:
                assert found == self.model[name]
            self.model[name] = found
        for name in COLLECTIONS:
            self._remember(name)

    def _crash(self):
        """What a kill leaves: the files as they are, no last words."""
        saved = Path(tempfile.mkdtemp(prefix="knarr-store-"))
        for file in self.directory.iterdir():
            shutil.copy(file, saved / file.name)
        commits = self.store._commits
        commits._lazy.clear()
        self.run(self.store.__aexit__(None, None, None))
        shutil.rmtree(self.directory)
        self.directory = saved

    def teardown(self):
        if self.store is not None:
            self.run(self.store.__aexit__(None, None, None))
        self.runner.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @invariant()
    def lists_and_watches_agree(self):
        if self.store is None:
            return
        for collection in COLLECTIONS:
            page = self.store.page(collection)
            assert listed(page) == self.model[collection]
            assert page.rv == self.store.assigned_rv
            for rv, state in self.past[collection][-8:]:
                self._check_past(collection, rv, state)
        for follower in self.followers:
            follower.apply(self.run(follower.watcher.next_batch(0)) or [])
            assert follower.state == self.model[follower.collection]

    def _check_past(self, collection, rv, state):
        """What was seen then can be seen again, and leads to what is seen now."""
        try:
            page = self.store.page(collection, at=rv)
            changes = self.store.changes_after(collection, rv)
        except Expired:
            assert rv < self.store._collection(collection).floor
            return
        assert listed(page) == state
        follower = Follower(collection, None, dict(state), rv)
        follower.apply(changes)
        assert follower.state == self.model[collection]


StoreMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestStore = StoreMachine.TestCase
