"""Clients and watchers of one life of a server, from its start to ``kill -9``, and what they saw.

Every request notes when it was sent and when its answer came. One whose answer never came was *lost*: it may or may not
have been carried out, but not after the process was gone.
"""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEYS = 5
CLIENTS = 6
WATCHERS = 3
PATH = "/api/v1/namespaces/default/configmaps"
SELECT = "labelSelector=linear"
TIMEOUT_S = 20.0


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, without retries."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))

    def ask(self, method: str, path: str, body: dict | None = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        self.request(method, path, data, {"Content-Type": "application/json"})
        response = self.getresponse()
        return response.status, json.loads(response.read())


LOST = (OSError, http.client.HTTPException, ValueError)


@dataclass
class Operation:
    """One request; see ``linearizability/main.go`` for the meaning of the fields."""

    client: int
    kind: str
    key: int = 0
    value: str = ""
    expect: int = 0
    call: int = 0
    end: int = 0
    outcome: str = "lost"
    rv: int = 0
    items: list[dict[str, Any]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        fields = dict(vars(self))
        fields["return"] = fields.pop("end")
        return fields


@dataclass(frozen=True)
class Seen:
    """One event of a watch."""

    type: str
    key: int
    value: str
    rv: int


@dataclass
class Snapshot:
    """A list and its version."""

    rv: int
    items: list[dict[str, Any]]

    def state(self) -> dict[int, tuple[str, int]]:
        return {item["key"]: (item["value"], item["rv"]) for item in self.items}


@dataclass
class Watched:
    """What one watcher saw after a version, resuming now and then from the last one it saw."""

    since: int
    events: list[Seen] = field(default_factory=list)
    resumes: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Life:
    """Everything about one life of the server."""

    number: int
    initial: Snapshot
    operations: list[Operation] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    died: int = 0

    def line(self) -> bytes:
        document = {
            "number": self.number,
            "initial": {"rv": self.initial.rv, "items": self.initial.items},
            "operations": [operation.document() for operation in self.operations],
        }
        return json.dumps(document).encode() + b"\n"


def item_of(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document["metadata"]
    return {
        "key": int(metadata["name"].removeprefix("k")),
        "value": document["data"]["v"],
        "rv": int(metadata["resourceVersion"]),
    }


def take_list(connection: Connection) -> Snapshot:
    status, document = connection.ask("GET", f"{PATH}?{SELECT}")
    assert status == 200, document
    return Snapshot(
        int(document["metadata"]["resourceVersion"]), [item_of(item) for item in document["items"]]
    )


class Client:
    """Sends requests until the server is gone."""

    def __init__(self, life: int, number: int, socket_path: Path, seed: int) -> None:
        self._name = f"{life}-{number}"
        self._number = number
        self._rng = random.Random(seed)
        self._connection = Connection(socket_path)
        self._versions: dict[int, int] = {}
        self._values = 0
        self.done: list[Operation] = []

    def run(self) -> None:
        try:
            self._connection.connect()
        except OSError:
            return
        while True:
            operation = self._draw()
            operation.call = time.monotonic_ns()
            try:
                self._perform(operation)
            except LOST:
                self._connection.close()
                if operation.kind not in ("get", "list"):
                    self.done.append(operation)
                return
            operation.end = time.monotonic_ns()
            self.done.append(operation)

    def _draw(self) -> Operation:
        kinds, weights = ("create", "update", "delete", "get", "list"), (20, 35, 15, 20, 10)
        kind = self._rng.choices(kinds, weights)[0]
        operation = Operation(self._number, kind, self._rng.randrange(KEYS))
        if kind in ("create", "update"):
            self._values += 1
            operation.value = f"{self._name}-{self._values}"
        known = self._versions.get(operation.key, 0)
        if kind == "update" or (kind == "delete" and self._rng.random() < 0.5):
            operation.expect = known
        return operation

    def _perform(self, operation: Operation) -> None:
        name = f"k{operation.key}"
        metadata: dict[str, Any] = {"name": name, "labels": {"linear": ""}}
        if operation.expect:
            metadata["resourceVersion"] = str(operation.expect)
        body = {"metadata": metadata, "data": {"v": operation.value}}
        ask = self._connection.ask
        match operation.kind:
            case "create":
                self._note(operation, *ask("POST", PATH, body))
            case "update":
                self._note(operation, *ask("PUT", f"{PATH}/{name}", body))
            case "delete":
                wanted = str(operation.expect) if operation.expect else None
                options = {"preconditions": {"resourceVersion": wanted}} if wanted else {}
                self._note(operation, *ask("DELETE", f"{PATH}/{name}", options))
            case "get":
                self._note(operation, *ask("GET", f"{PATH}/{name}"))
            case "list":
                listed = take_list(self._connection)
                operation.outcome, operation.rv = "ok", listed.rv
                operation.items = listed.items
                for item in listed.items:
                    self._versions[item["key"]] = item["rv"]

    def _note(self, operation: Operation, status: int, document: dict[str, Any]) -> None:
        match status, document.get("reason"):
            case ((200 | 201), _):
                operation.outcome = "ok"
                if operation.kind != "delete":
                    item = item_of(document)
                    operation.value, operation.rv = item["value"], item["rv"]
                    self._versions[operation.key] = operation.rv
            case 404, _:
                operation.outcome = "absent"
            case 409, "AlreadyExists":
                operation.outcome = "exists"
            case 409, _:
                operation.outcome = "conflict"
                self._versions.pop(operation.key, None)
            case _:
                raise AssertionError(f"{operation}: {status} {document}")


class WatchingClient:
    """Watches until the server is gone; closes and resumes at random."""

    def __init__(self, since: int, socket_path: Path, seed: int) -> None:
        self._path = socket_path
        self._rng = random.Random(seed)
        self.seen = Watched(since)

    def run(self) -> None:
        last = self.seen.since
        while True:
            connection = Connection(self._path)
            try:
                connection.request("GET", f"{PATH}?{SELECT}&watch=true&resourceVersion={last}")
                response = connection.getresponse()
                for _ in range(self._rng.randrange(5, 200)):
                    line = response.readline()
                    if not line.endswith(b"\n"):
                        return
                    event = json.loads(line)
                    if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                        self.seen.problems.append(f"resumed from {last}: {event}")
                        return
                    item = item_of(event["object"])
                    last = item["rv"]
                    self.seen.events.append(Seen(event["type"], **item))
            except LOST:
                return
            finally:
                connection.close()
            self.seen.resumes += 1


def live(
    number: int, socket_path: Path, rng: random.Random, kill: Callable[[], None], span_s: float
) -> Life:
    """Run clients and watchers, end the server after a while, and gather what they saw."""
    connection = Connection(socket_path)
    life = Life(number, take_list(connection))
    connection.close()
    clients = [Client(number, each, socket_path, rng.getrandbits(64)) for each in range(CLIENTS)]
    watchers = [
        WatchingClient(life.initial.rv, socket_path, rng.getrandbits(64)) for _ in range(WATCHERS)
    ]
    threads = [threading.Thread(target=each.run) for each in (*clients, *watchers)]
    for thread in threads:
        thread.start()
    time.sleep(span_s)
    kill()
    life.died = time.monotonic_ns()
    for thread in threads:
        thread.join()
    for client in clients:
        for operation in client.done:
            if operation.outcome == "lost" and operation.call > life.died:
                continue  # nobody was there to hear it
            operation.end = operation.end or life.died
            life.operations.append(operation)
    life.watched = [watcher.seen for watcher in watchers]
    return life


# What watches must show


def watch_problems(life: Life) -> list[str]:
    """What is wrong with the events of a life, in words; also completes lost writes that an event shows."""
    problems: list[str] = []
    for number, watched in enumerate(life.watched):
        problems += [f"watcher {number}: {text}" for text in watched.problems]
        problems += [f"watcher {number}: {text}" for text in _order(life, watched)]
        problems += [f"watcher {number}: {text}" for text in _writes(life, watched)]
        problems += [f"watcher {number}: {text}" for text in _lists(life, watched)]
    return problems


def _order(life: Life, watched: Watched) -> Iterable[str]:
    """Versions only grow, and each object is added, changed and removed in this order."""
    last, present = watched.since, set(life.initial.state())
    for event in watched.events:
        if event.rv <= last:
            yield f"{event} after version {last}"
        if (event.type == "ADDED") == (event.key in present):
            yield f"{event} of an object that is {'' if event.key in present else 'not '}there"
        (present.discard if event.type == "DELETED" else present.add)(event.key)
        last = event.rv


def _writes(life: Life, watched: Watched) -> Iterable[str]:
    """Every acknowledged write is there, and nothing that nobody wrote."""
    last = watched.events[-1].rv if watched.events else watched.since
    changes = [each for each in life.operations if each.kind in ("create", "update")]
    by_value = {each.value: each for each in changes}
    shown = {event.rv: event for event in watched.events if event.type != "DELETED"}
    for event in shown.values():
        write = by_value.get(event.value)
        if write is None or write.key != event.key or write.outcome not in ("ok", "lost"):
            yield f"{event} that nobody wrote ({write})"
        elif write.outcome == "lost":
            write.outcome, write.rv = "ok", event.rv
        elif write.rv != event.rv:
            yield f"{event} of a write with version {write.rv}"
    for write in changes:
        if write.outcome == "ok" and watched.since < write.rv <= last and write.rv not in shown:
            yield f"{write} is missing"
    deletes = [each for each in life.operations if each.kind == "delete"]
    possible = sum(each.outcome in ("ok", "lost") for each in deletes)
    if sum(event.type == "DELETED" for event in watched.events) > possible:
        yield "more removals than anybody asked for"


def _lists(life: Life, watched: Watched) -> Iterable[str]:
    """A list at a version is what the events up to that version make of the first one."""
    last = watched.events[-1].rv if watched.events else watched.since
    lists = [each for each in life.operations if each.kind == "list" and each.rv <= last]
    state, position = life.initial.state(), 0
    for listed in sorted(lists, key=lambda each: each.rv):
        while position < len(watched.events) and watched.events[position].rv <= listed.rv:
            event = watched.events[position]
            if event.type == "DELETED":
                state.pop(event.key, None)
            else:
                state[event.key] = (event.value, event.rv)
            position += 1
        if Snapshot(listed.rv, listed.items).state() != state:
            yield f"the list at version {listed.rv} is {listed.items}, the events make {state}"
