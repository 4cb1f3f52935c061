"""Watches through the API: whoever lists once and then applies events knows what a list would say.

Whatever is written, in whatever order; with selectors, from now, from then, from the beginning with
``sendInitialEvents``; through restarts, and until the history that is held no longer reaches back.
"""

import asyncio
import json
import random
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.handler import Handler
from knarr.apiserver.request import ApiRequest
from knarr.kits.clock import ManualClock
from knarr.resources.catalog import KINDS
from knarr.store.store import Limits, Store

NAMES = st.sampled_from("abcde")
NAMESPACES = st.sampled_from(["default", "kube-system"])
LABELS = st.sampled_from([None, "x", "y"])
SERVED = [kind for kind in KINDS if kind.qualified_plural in ("namespaces", "configmaps", "pods")]
PLURALS = ("configmaps", "pods")
SELECTORS = {
    "configmaps": (
        {}, {"labelSelector": "l=x"}, {"labelSelector": "l!=x"}, {"labelSelector": "!l"}, {"labelSelector": "l in (x,y),kind=ours"},
        {"fieldSelector": "metadata.name=a"}, {"fieldSelector": "metadata.name!=a", "labelSelector": "l"},
        {"fieldSelector": "metadata.namespace=default"},
    ),
    "pods": (
        {}, {"fieldSelector": "spec.nodeName=n1"}, {"fieldSelector": "spec.nodeName!=n1"}, {"fieldSelector": "status.phase=Running"},
        {"fieldSelector": "status.phase!=Running,spec.nodeName=n1"}, {"labelSelector": "l=x", "fieldSelector": "status.phase=Running"},
    ),
}  # fmt: skip
CHOICES = [(plural, index) for plural in PLURALS for index in range(len(SELECTORS[plural]))]


def listed(document):
    return {key(item): bare(item) for item in document["items"]}


def bare(item):
    """Items of lists of Kubernetes' own kinds do not say what they are."""
    return {name: value for name, value in item.items() if name not in ("apiVersion", "kind")}


def key(item):
    return item["metadata"]["namespace"], item["metadata"]["name"]


class Follower:
    """A client with a state of its own, fed by one watch."""

    def __init__(self, plural, query, stream, state, rv):
        self.plural, self.query, self.stream = plural, query, stream
        self.state, self.rv = state, rv
        self.ended = False

    async def drain(self):
        """Everything that is there now."""
        while not self.ended:
            task = asyncio.ensure_future(self.stream.next_chunks())
            await asyncio.sleep(0)
            for _ in range(4):
                if task.done():
                    break
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return
            chunks = task.result()
            if chunks is None:
                self.ended = True
                return
            for chunk in chunks:
                for line in chunk.splitlines():
                    self.apply(json.loads(line))

    def apply(self, event):
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            assert item["code"] == 410, item
            self.ended = True
            return
        rv = int(item["metadata"]["resourceVersion"])
        if kind == "BOOKMARK":
            self.rv = max(self.rv, rv)
            return
        where = key(item)
        if where not in self.state or kind == "DELETED":
            assert (kind == "DELETED") == (where in self.state), (kind, where, self.query)
        else:
            assert kind == "MODIFIED", (kind, where, self.query)
        if kind == "DELETED":
            del self.state[where]
        else:
            self.state[where] = bare(item)


class ApiMachine(RuleBasedStateMachine):
    """The handler over a store on disk."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="knarr-watch-"))
        self.followers = []
        self.past = []
        self.store = None
        self.seed = 0

    def run(self, awaitable):
        return self.runner.run(awaitable)

    async def _open(self):
        self.seed += 1
        limits = Limits(history_events=30, watcher_events=1000)
        self.store = await Store(self.directory / "k.db", limits).__aenter__()
        self.handler = Handler(self.store, SERVED, ManualClock(), random.Random(self.seed))
        for name in ("default", "kube-system"):
            await self._call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})

    @initialize()
    def open(self):
        self.run(self._open())

    async def _call(self, method, path, body=None, query=None, kind="application/json"):
        data = b"" if body is None else json.dumps(body).encode()
        return await self.handler.handle(
            ApiRequest(
                method, path, ADMIN, query=query or {}, body=data, content_type=kind if data else ""
            )
        )

    def call(self, *arguments, **more):
        response = self.run(self._call(*arguments, **more))
        assert response.status < 500, response.body
        return response

    @staticmethod
    def path(plural, namespace=None, name=None):
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"/api/v1{scope}/{plural}" + (f"/{name}" if name else "")

    # Writes

    @rule(namespace=NAMESPACES, name=NAMES, label=LABELS, value=st.integers(0, 2))
    def write_map(self, namespace, name, label, value):
        labels = {"kind": "ours"} | ({"l": label} if label else {})
        body = {"metadata": {"name": name, "labels": labels}, "data": {"v": str(value)}}
        if self.call("POST", self.path("configmaps", namespace), body).status == 409:
            assert self.call("PUT", self.path("configmaps", namespace, name), body).status == 200

    @rule(namespace=NAMESPACES, name=NAMES, label=LABELS)
    def relabel(self, namespace, name, label):
        patch = {"metadata": {"labels": {"l": label}}}
        for plural in PLURALS:
            self.call(
                "PATCH",
                self.path(plural, namespace, name),
                patch,
                kind="application/merge-patch+json",
            )

    @rule(namespace=NAMESPACES, name=NAMES, node=st.sampled_from(["", "n1", "n2"]))
    def write_pod(self, namespace, name, node):
        spec = {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 0}
        body = {
            "metadata": {"name": name},
            "spec": {**spec, **({"nodeName": node} if node else {})},
        }
        self.call("POST", self.path("pods", namespace), body)

    @rule(namespace=NAMESPACES, name=NAMES, phase=st.sampled_from(["Pending", "Running", "Failed"]))
    def report(self, namespace, name, phase):
        path = self.path("pods", namespace, name) + "/status"
        self.call("PATCH", path, {"status": {"phase": phase}}, kind="application/merge-patch+json")

    @rule(namespace=NAMESPACES, name=NAMES, plural=st.sampled_from(PLURALS))
    def delete(self, namespace, name, plural):
        self.call("DELETE", self.path(plural, namespace, name))

    @rule(namespace=NAMESPACES, name=NAMES, held=st.booleans())
    def finalize(self, namespace, name, held):
        patch = {"metadata": {"finalizers": ["ex.dev/x"] if held else None}}
        self.call(
            "PATCH",
            self.path("configmaps", namespace, name),
            patch,
            kind="application/merge-patch+json",
        )

    @rule(plural=st.sampled_from(PLURALS), label=LABELS)
    def delete_collection(self, plural, label):
        query = {"labelSelector": f"l={label}"} if label else {"labelSelector": "!l,kind=ours"}
        self.call("DELETE", self.path(plural, "default"), query=query)

    @rule(namespace=NAMESPACES, name=NAMES)
    def write_nothing(self, namespace, name):
        path = self.path("configmaps", namespace, name)
        before = self.call("GET", path)
        if before.status == 200:
            after = self.call("PUT", path, json.loads(before.body))
            assert after.body == before.body
            self.call(
                "PATCH",
                path,
                {"data": {"x": "y"}},
                {"dryRun": "All"},
                "application/merge-patch+json",
            )
            assert self.call("GET", path).body == before.body

    @rule(
        namespace=NAMESPACES,
        writes=st.lists(st.tuples(NAMES, LABELS), min_size=2, max_size=5),
        choice=st.sampled_from(CHOICES),
    )
    def write_together(self, namespace, writes, choice):
        """Who comes while writes are under way neither misses nor repeats them."""

        async def together():
            async with asyncio.TaskGroup() as group:
                for name, label in writes:
                    patch = {
                        "metadata": {"name": name, "labels": {"kind": "ours", "l": label or "x"}}
                    }
                    group.create_task(self._call("POST", self.path("configmaps", namespace), patch))
                    change = {"data": {"v": str(label)}}
                    group.create_task(
                        self._call(
                            "PATCH",
                            self.path("configmaps", namespace, name),
                            change,
                            kind="application/merge-patch+json",
                        )
                    )
                await asyncio.sleep(0)
                self.followers.append(await self._follow(choice))

        self.run(together())

    # Watches

    async def _list(self, plural, query, **more):
        response = await self._call("GET", self.path(plural), query={**query, **more})
        return response.status, json.loads(response.body)

    async def _watch(self, plural, query, state, rv, **more):
        response = await self._call("GET", self.path(plural), query={"watch": "1", **query, **more})
        assert response.status == 200, response.body
        return Follower(plural, query, response.stream, state, rv)

    async def _follow(self, choice):
        plural, index = choice
        query = SELECTORS[plural][index]
        _, document = await self._list(plural, query)
        rv = document["metadata"]["resourceVersion"]
        self.past.append((choice, rv, listed(document)))
        return await self._watch(plural, query, listed(document), int(rv), resourceVersion=rv)

    @rule(choice=st.sampled_from(CHOICES))
    def follow_from_now(self, choice):
        self.followers.append(self.run(self._follow(choice)))

    @rule(choice=st.sampled_from(CHOICES), how=st.sampled_from(["unset", "zero", "list"]))
    def follow_from_the_beginning(self, choice, how):
        plural, index = choice
        more = {
            "unset": {}, "zero": {"resourceVersion": "0"},
            "list": {
                "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true",
            },
        }[how]  # fmt: skip
        self.followers.append(
            self.run(self._watch(plural, SELECTORS[plural][index], {}, 0, **more))
        )

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def follow_from_then(self, data):
        """What was listed once is still where a watch can begin, or the watch says that it is too late."""
        (plural, index), rv, state = data.draw(st.sampled_from(self.past[-12:]))
        follower = self.run(
            self._watch(plural, SELECTORS[plural][index], dict(state), int(rv), resourceVersion=rv)
        )
        self.followers.append(follower)

    @rule(choice=st.sampled_from(CHOICES), limit=st.integers(1, 3))
    def pages_are_one_list(self, choice, limit):
        plural, index = choice
        query = SELECTORS[plural][index]

        async def pages():
            seen, token, versions = {}, "", set()
            while True:
                more = {"limit": str(limit), **({"continue": token} if token else {})}
                status, page = await self._list(plural, query, **more)
                if status == 410:
                    return None, versions
                seen |= listed(page)
                versions.add(page["metadata"]["resourceVersion"])
                token = page["metadata"].get("continue", "")
                if not token:
                    return seen, versions

        seen, versions = self.run(pages())
        if seen is not None:
            assert len(versions) == 1
            _, whole = self.run(self._list(plural, query))
            assert seen == listed(whole)

    # Ends

    @rule()
    def restart(self):
        before = {
            choice: self.run(self._list(choice[0], SELECTORS[choice[0]][choice[1]]))[1]
            for choice in CHOICES
        }
        for follower in self.followers:
            self.run(follower.stream.close())
        self.followers.clear()
        self.run(self.store.__aexit__(None, None, None))
        self.run(self._open())
        for choice, document in before.items():
            _, now = self.run(self._list(choice[0], SELECTORS[choice[0]][choice[1]]))
            assert listed(now) == listed(document)
            assert int(now["metadata"]["resourceVersion"]) >= int(
                document["metadata"]["resourceVersion"]
            )

    def teardown(self):
        for follower in self.followers:
            self.run(follower.stream.close())
        if self.store is not None:
            self.run(self.store.__aexit__(None, None, None))
        self.runner.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @invariant()
    def everybody_knows_what_a_list_says(self):
        if self.store is None:
            return
        for follower in self.followers:
            self.run(follower.drain())
            if not follower.ended:
                _, document = self.run(self._list(follower.plural, follower.query))
                assert follower.state == listed(document), follower.query
        gone = [follower for follower in self.followers if follower.ended]
        for follower in gone:
            self.run(follower.stream.close())
            self.followers.remove(follower)
        while len(self.followers) > 12:
            self.run(self.followers.pop(0).stream.close())


ApiMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestWatchHistory = ApiMachine.TestCase
