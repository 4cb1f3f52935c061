"""Tokens: asked for, kept, renewed; and what of them sandboxes hold."""

import asyncio
import datetime as dt
import json
import random
from types import SimpleNamespace

import msgspec
import pytest

from knarr.kits.clock import ManualClock, format_timestamp
from knarr.kube.cache import Change
from knarr.meta.errors import NotFound, Unavailable
from knarr.node import renewal as module
from knarr.node.bundle import BadContainer
from knarr.node.parking import Parked, ParkingLot
from knarr.node.podfacts import PodFacts, TokenQuestion
from knarr.node.renewal import Renewal
from knarr.node.revisions import RevisionIndex, sandbox_pod
from knarr.node.tokens import TokenRefused, Tokens, questions_of
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.serviceaccount import ServiceAccount

QUESTION = TokenQuestion("ns", "robot", "", 3607)


class Api:
    """Gives tokens named by their number."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, dict]] = []
        self.failure: Exception | None = None
        self.life_s: float | None = None

    async def request(self, method, path, *, query=None, body=None, content_type=""):
        document = json.loads(body)
        self.asked.append((f"{method} {path}", document["spec"]))
        if self.failure is not None:
            raise self.failure
        life_s = self.life_s or document["spec"]["expirationSeconds"]
        end = format_timestamp(self.clock.wall() + dt.timedelta(seconds=life_s))
        status = {"token": f"t{len(self.asked)}", "expirationTimestamp": end}
        return json.dumps({"kind": "TokenRequest", "status": status}).encode()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def api(clock) -> Api:
    return Api(clock)


@pytest.fixture
def tokens(api, clock) -> Tokens:
    return Tokens(api, clock, random.Random(1))


async def test_a_token_is_asked_for_once_and_renewed_in_time(api, clock, tokens):
    assert tokens.due_in([QUESTION]) == 0.0
    with pytest.raises(BadContainer, match="'robot'"):
        tokens.get(QUESTION)
    await tokens.ensure([QUESTION])
    assert api.asked == [
        ("POST /api/v1/namespaces/ns/serviceaccounts/robot/token", {"expirationSeconds": 3607})
    ]
    assert tokens.get(QUESTION) == "t1"
    due_s = tokens.due_in([QUESTION])
    assert 3607 * 0.8 - 10 <= due_s <= 3607 * 0.8
    clock.advance(due_s - 1)
    await tokens.ensure([QUESTION])
    assert tokens.get(QUESTION) == "t1"
    clock.advance(1)
    await tokens.ensure([QUESTION])
    assert tokens.get(QUESTION) == "t2"


async def test_while_the_api_is_away_a_token_is_used_until_its_end(api, clock, tokens):
    api.failure = Unavailable("away")
    with pytest.raises(TokenRefused, match="failed to fetch token: away"):
        await tokens.ensure([QUESTION])
    api.failure = None
    await tokens.ensure([QUESTION])
    api.failure = Unavailable("away")
    clock.advance(3000)
    await tokens.ensure([QUESTION])
    assert tokens.get(QUESTION) == "t2"
    clock.advance(700)
    with pytest.raises(TokenRefused):
        await tokens.ensure([QUESTION])


async def test_what_the_server_grants_counts(api, clock, tokens):
    api.life_s = 600
    await tokens.ensure([QUESTION])
    assert 400 < tokens.due_in([QUESTION]) <= 480
    api.life_s = -5
    with pytest.raises(TokenRefused, match="no token that is good"):
        await tokens.ensure([TokenQuestion("ns", "other", "", 600)])


async def test_a_clock_that_jumps_makes_tokens_due(api, clock, tokens):
    await tokens.ensure([QUESTION])
    clock._wall += dt.timedelta(hours=1)
    assert tokens.due_in([QUESTION]) == 0.0


async def test_tokens_of_pods_are_bound_and_go_with_them(api, tokens):
    bound = TokenQuestion("ns", "robot", "me", 900, "pod-1", "uid-1")
    await tokens.ensure([bound, QUESTION])
    assert api.asked[0][1] == {
        "expirationSeconds": 900, "audiences": ["me"],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "pod-1", "uid": "uid-1"},
    }  # fmt: skip
    tokens.forget("uid-1")
    assert tokens.due_in([bound]) == 0.0
    assert tokens.get(QUESTION) == "t2"


async def test_the_number_of_tokens_is_bounded(api, tokens, monkeypatch):
    monkeypatch.setattr("knarr.node.tokens._MAX_TOKENS", 3)
    for number in range(5):
        await tokens.ensure([TokenQuestion("ns", f"a{number}", "", 600), QUESTION])
    assert len(tokens) == 3
    assert tokens.get(QUESTION) == "t2"


def test_questions_follow_the_volumes():
    sources = [
        {"serviceAccountToken": {"path": "a", "audience": "x", "expirationSeconds": 700}},
        {"serviceAccountToken": {"path": "b"}},
        {"configMap": {"name": "c"}},
    ]
    document = {
        "serviceAccountName": "robot",
        "volumes": [{"name": "v", "projected": {"sources": sources}}, {"name": "e"}],
    }
    spec = msgspec.convert(document, PodSpec)
    facts = PodFacts(namespace="ns", name="p", spec=spec, uid="u")
    assert questions_of(facts) == (
        TokenQuestion("ns", "robot", "x", 700, "p", "u"), TokenQuestion("ns", "robot", "", 3600, "p", "u"),
    )  # fmt: skip
    planned = PodFacts(namespace="ns", name="p", spec=PodSpec(volumes=spec.volumes))
    assert questions_of(planned)[1] == TokenQuestion("ns", "default", "", 3600)


# --- parked sandboxes -----------------------------------------------------------------------------


def replica_set() -> ReplicaSet:
    labels = {"serving.knative.dev/revision": "rev"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    return msgspec.convert(
        {
            "metadata": {"name": "rs", "namespace": "ns", "uid": "rs-uid", "labels": labels},
            "spec": {"replicas": 0, "template": template},
        },
        ReplicaSet,
    )


class World:
    """A revision with a parked sandbox whose volumes lie in a directory."""

    def __init__(self, tokens: Tokens, tmp_path) -> None:
        self.tokens = tokens
        self.owner = replica_set()
        self.index = RevisionIndex(lambda _: None)
        self.index.changed(Change(self.owner.key, None, self.owner))
        self.lot = ParkingLot(1 << 30)
        self.automount: bool | None = None
        self.written: list[str] = []
        sandbox = SimpleNamespace(
            address="10.0.0.2", removing=False, record=SimpleNamespace(index=2),
            paths=SimpleNamespace(volume=lambda name, in_memory: tmp_path / name),
        )  # fmt: skip
        self.services = SimpleNamespace(
            host=SimpleNamespace(sandboxes={"s": sandbox}), tokens=tokens, sources=self, node_name="node",
            rng=random.Random(1), machine=SimpleNamespace(host_ip="192.0.2.1"), machine_capacity={},
        )  # fmt: skip
        self.renewal = Renewal(self.services, self.lot, self.index, self, asyncio.sleep)

    def get(self, key):
        return self.owner

    def account(self, namespace, name):
        return ServiceAccount(automount_service_account_token=self.automount)

    def config_map(self, namespace, name):
        return ConfigMap(data={"ca.crt": "CA"}) if name == "kube-root-ca.crt" else None

    def token(self, question):
        return self.tokens.get(question)


@pytest.fixture
def world(tokens, tmp_path, monkeypatch) -> World:
    made = World(tokens, tmp_path)
    monkeypatch.setattr(
        module, "write_files",
        lambda directory, content, owner: made.written.append(
            f"{directory.name}: {content.files['token'].content.decode()} {sorted(content.files)}"
        ),
    )  # fmt: skip
    return made


async def test_an_account_of_a_revision_at_zero_always_has_a_token(api, clock, world):
    (entry,) = world.index
    await world.renewal.renew(entry)
    assert [path for path, _ in api.asked] == [
        "POST /api/v1/namespaces/ns/serviceaccounts/default/token"
    ]
    assert "boundObjectRef" not in api.asked[0][1]
    await world.renewal.renew(entry)
    assert len(api.asked) == 1
    assert world.written == []


async def test_a_parked_sandbox_gets_the_new_token(api, clock, world):
    (entry,) = world.index
    world.lot.put(Parked("s", "rs-uid", "f"))
    await world.renewal.renew(entry)
    clock.advance(2900)
    await world.renewal.renew(entry)
    assert world.written == [
        f"kube-api-access: t{number} ['ca.crt', 'namespace', 'token']" for number in (1, 2)
    ]
    api.failure = NotFound("no such account")
    clock.advance(5000)
    with pytest.raises(TokenRefused):
        await world.renewal.renew(entry)


async def test_who_mounts_no_token_asks_for_none(api, world):
    world.automount = False
    (entry,) = world.index
    await world.renewal.renew(entry)
    assert api.asked == []
    assert sandbox_pod(world.owner, "node", random.Random(1), world).spec.volumes == ()
