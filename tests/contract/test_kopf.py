"""A kopf operator over kinds of its own: every essential change is handled once, and nothing else is.

The churn lasts for half a minute, or for ``KNARR_SOAK_SECONDS``.
"""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.contract.cluster import Cluster
from tests.harness import REPOSITORY, wait_for

pytestmark = [pytest.mark.contract]

SOAK_S = float(os.environ.get("KNARR_SOAK_SECONDS", "20"))
OPERATOR = Path(__file__).parent / "tours" / "operator.py"
WIDGETS = "/apis/ex.dev/v1/namespaces/default/widgets"
MERGE = {"Content-Type": "application/merge-patch+json"}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.ex.dev"},
    "spec": {
        "group": "ex.dev",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["n"],
                                "properties": {
                                    "n": {"type": "integer"},
                                    "color": {"type": "string", "default": "grey"},
                                },
                            },
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            },
                        },
                    }
                },
            }
        ],
    },
}


class Operator:
    """The operator's process, and what it wrote down."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.log = directory / "calls.jsonl"
        self.output = directory / "operator.log"
        self.log.touch()
        self._offset = 0
        self._rest = b""
        self.calls: list[dict] = []

    @contextmanager
    def running(self):
        starts = self.count("startup", "")
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [
                    sys.executable, "-W", "ignore", "-m", "kopf", "run", "--standalone", "--namespace",
                    "default", "--log-format=plain", str(OPERATOR),
                ],
                cwd=REPOSITORY, stdout=output, stderr=output,
                env={
                    **os.environ, "KUBECONFIG": str(self.cluster.kubeconfig),
                    "HOME": str(self.cluster.home), "OPERATOR_LOG": str(self.log),
                },
            )  # fmt: skip
            try:
                wait_for(lambda: self.count("startup", "") > starts, "the operator starts", 60)
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def read(self) -> list[dict]:
        with self.log.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.calls += [json.loads(line) for line in lines]
        return self.calls

    def of(self, name: str) -> list[dict]:
        return [call for call in self.read() if call["name"] == name]

    def count(self, what: str, name: str) -> int:
        return sum(call["what"] == what for call in self.of(name))

    def tail(self) -> str:
        return self.output.read_text(errors="replace")[-4000:]


@pytest.fixture(scope="module")
def own() -> Cluster:
    with Cluster(nodes=False) as running:
        answer = running.request(
            "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD
        )
        assert answer.status == 201, answer.body
        wait_for(lambda: running.request("GET", WIDGETS).status == 200, "widgets are served")
        yield running


@pytest.fixture
def operator(own, tmp_path):
    yield Operator(own, tmp_path)
    for item in own.request("GET", WIDGETS).json["items"]:
        own.request(
            "PATCH",
            f"{WIDGETS}/{item['metadata']['name']}",
            {"metadata": {"finalizers": None}},
            headers=MERGE,
        )
        own.request("DELETE", f"{WIDGETS}/{item['metadata']['name']}")


def make(own, name, n=0, **metadata):
    answer = own.request(
        "POST", WIDGETS, {"metadata": {"name": name, **metadata}, "spec": {"n": n}}
    )
    assert answer.status == 201, answer.body
    return answer.json


def change(own, name, patch, where=""):
    answer = own.request("PATCH", f"{WIDGETS}/{name}{where}", patch, headers=MERGE)
    assert answer.status == 200, answer.body
    return answer.json


def kinds(calls):
    return [call["what"] for call in calls if call["what"] != "tick"]


def test_an_operators_life(own, operator):
    make(own, "old")
    with operator.running():
        wait_for(lambda: operator.count("create", "old") == 1, operator.tail())
        make(own, "a")
        wait_for(lambda: operator.count("create", "a") == 1, operator.tail())
        wait_for(
            lambda: own.request("GET", f"{WIDGETS}/a").json.get("status", {}).get("seen") == 0,
            "a status",
        )
        stored = own.request("GET", f"{WIDGETS}/a").json
        assert stored["metadata"]["finalizers"] == ["ex.dev/operator"]
        assert stored["status"]["created"] == {"n": 0}
        change(own, "a", {"spec": {"n": 1}})
        wait_for(lambda: operator.count("update", "a") == 1, operator.tail())
        change(own, "a", {"spec": {"color": "red"}})
        wait_for(lambda: operator.count("field", "a") == 2, operator.tail())
        change(own, "a", {"status": {"note": "not essential"}}, "/status")
        assert own.request("DELETE", f"{WIDGETS}/a").status == 200
        wait_for(lambda: own.request("GET", f"{WIDGETS}/a").status == 404, operator.tail())
        make(own, "t", labels={"timed": "yes"})
        wait_for(lambda: operator.count("tick", "t") >= 3, operator.tail())
        watched = "/api/v1/namespaces/default/configmaps"
        own.request("POST", watched, {"metadata": {"name": "w", "labels": {"watched": "yes"}}})
        wait_for(lambda: operator.count("event", "w") == 1, operator.tail())
        change_map = {"metadata": {"labels": {"watched": None}}}
        own.request("PATCH", f"{watched}/w", change_map, headers=MERGE)
        posted = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=a"
        wait_for(lambda: own.request("GET", posted).json["items"], "kopf posts events")
    assert kinds(operator.of("a")) == [
        "create",
        "field",
        "update",
        "field",
        "update",
        "delete",
    ] or kinds(operator.of("a")) == ["create", "field", "update", "update", "field", "delete"], (
        operator.of("a")
    )
    before = len(operator.read())
    change(own, "old", {"spec": {"n": 7}})
    with operator.running():
        wait_for(lambda: operator.count("resume", "t") == 1, operator.tail())
        wait_for(lambda: operator.count("update", "old") == 1, operator.tail())
    later = [call for call in operator.read()[before:] if call["what"] not in ("tick", "startup")]
    counted = collections.Counter((call["what"], call["name"]) for call in later)
    # Whether an object that changed meanwhile is resumed as well is kopf's affair.
    counted.pop(("resume", "old"), None)
    assert counted == {("resume", "t"): 1, ("update", "old"): 1}, later


class Churn:
    """Objects that come, change and go; each waits for its handler before it changes again."""

    def __init__(self, own: Cluster, operator: Operator, rng: random.Random) -> None:
        self.own, self.operator, self.rng = own, operator, rng
        self.expected: dict[str, list[tuple[str, int | None]]] = {}
        self.waiting: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.made = 0

    def handled(self, name: str) -> int:
        return sum(
            call["what"] in ("create", "update", "delete") for call in self.operator.of(name)
        )

    def settled(self) -> list[str]:
        """Objects of which kopf has written down that it is done; a change before would join the one before."""
        names = []
        for item in self.own.request("GET", WIDGETS).json["items"]:
            name, notes = item["metadata"]["name"], item["metadata"].get("annotations", {})
            known = json.loads(notes.get("kopf.zalando.org/last-handled-configuration", "{}"))
            done = known.get("spec", {}).get("n") == self.numbers.get(name)
            if done and self.handled(name) >= self.waiting.get(name, 1):
                names.append(name)
        return names

    def step(self) -> None:
        alive = [name for name in self.settled() if self.expected[name][-1][0] != "delete"]
        if len(self.waiting) - self.gone() < 12:
            self.create()
        elif alive:
            name = self.rng.choice(alive)
            act = self.rng.choices((self.update, self.noise, self.delete), (6, 3, 1))[0]
            act(name)
        else:
            time.sleep(0.02)

    def gone(self) -> int:
        return sum(items[-1][0] == "delete" for items in self.expected.values())

    def create(self) -> None:
        self.made += 1
        name = f"c{self.made}"
        make(self.own, name, n=0)
        self.numbers[name] = 0
        self.expect(name, "create", 0)

    def expect(self, name: str, what: str, number: int | None) -> None:
        self.expected.setdefault(name, []).append((what, number))
        self.waiting[name] = len(self.expected[name])

    def update(self, name: str) -> None:
        self.numbers[name] += 1
        change(self.own, name, {"spec": {"n": self.numbers[name]}})
        self.expect(name, "update", self.numbers[name])

    def noise(self, name: str) -> None:
        """Writes that change nothing that matters: the same again, and status."""
        change(self.own, name, {"spec": {"n": self.numbers[name]}})
        change(self.own, name, {"status": {"noise": self.rng.random()}}, "/status")

    def delete(self, name: str) -> None:
        assert self.own.request("DELETE", f"{WIDGETS}/{name}").status == 200
        self.expect(name, "delete", None)

    def check(self) -> None:
        for name, expected in self.expected.items():
            calls = [
                (call["what"], call.get("n"))
                for call in self.operator.of(name)
                if call["what"] in ("create", "update", "delete")
            ]
            assert calls == expected, (name, self.operator.tail())
            allowed = {"create", "update", "delete", "field", "resume"}
            assert {call["what"] for call in self.operator.of(name)} <= allowed
            # The default of the schema is the one colour there ever was.
            assert sum(call["what"] == "field" for call in self.operator.of(name)) == 1


@pytest.mark.timeout(SOAK_S + 180)
def test_churn_without_a_spurious_event(own, operator):
    """Neither what is written without effect, nor a restart of the server, nor the ends of watches make calls."""
    with operator.running():
        churn = Churn(own, operator, random.Random(4))
        until = time.monotonic() + SOAK_S
        restart = time.monotonic() + SOAK_S / 2
        while time.monotonic() < until:
            churn.step()
            if restart and time.monotonic() > restart:
                restart = 0.0
                own.stop(signal.SIGKILL)
                own.start()
        for name, count in churn.waiting.items():
            wait_for(
                lambda name=name, count=count: churn.handled(name) >= count,
                f"{name}: {operator.tail()}",
            )
        # What were spurious would come now: kopf consults what it has not yet read.
        marker = f"end{churn.made}"
        make(own, marker)
        wait_for(lambda: operator.count("create", marker) == 1, operator.tail())
        churn.check()
    print(f"{churn.made} objects, {sum(map(len, churn.expected.values()))} essential changes")
    assert churn.made >= 12
