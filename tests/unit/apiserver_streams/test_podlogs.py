"""Which log is asked for, and with which options."""

import json
import random

import pytest

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.bootstrap import ensure_builtin_objects
from knarr.apiserver.handler import Handler
from knarr.apiserver.inprocess import InProcessTransport
from knarr.apiserver.podlogs import choose_container
from knarr.apiserver.request import ApiRequest
from knarr.kits.clock import ManualClock
from knarr.kube.client import Client
from knarr.meta.errors import BadRequest
from knarr.meta.objects import ObjectMeta
from knarr.resources.catalog import KINDS
from knarr.resources.core.container import Container
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.podspec import PodSpec
from knarr.store.store import Store


class Empty:
    """A log without lines that remembers what was asked."""

    def __init__(self) -> None:
        self.asked = None

    async def open(self, namespace, name, options):
        self.asked = options
        return self


def pod(containers, initial=()):
    return Pod(
        metadata=ObjectMeta(name="p", namespace="default"),
        spec=PodSpec(
            containers=tuple(Container(name=one, image="i") for one in containers),
            init_containers=tuple(Container(name=one, image="i") for one in initial),
            node_name="n",
        ),
    )


@pytest.mark.parametrize(
    ("containers", "initial", "wanted", "answer"),
    [
        (["a"], [], "", "a"),
        (["a"], ["i"], "i", "i"),
        (["a", "b"], [], "b", "b"),
        (["a"], [], "x", BadRequest("container x is not valid for pod p")),
        (
            ["a", "b"], ["i", "j"], "",
            BadRequest(
                "a container name must be specified for pod p, choose one of: [a b] or one of the "
                "init containers: [i j]"
            ),
        ),
        ([], [], "", BadRequest("a container name must be specified for pod p")),
    ],
)  # fmt: skip
def test_the_container(containers, initial, wanted, answer):
    one = pod(containers, initial)
    if isinstance(answer, str):
        assert choose_container(one, wanted) == answer
        return
    with pytest.raises(BadRequest) as caught:
        choose_container(one, wanted)
    assert caught.value.message == answer.message


@pytest.fixture
async def ask():
    logs = Empty()
    async with Store(None) as store:
        handler = Handler(store, KINDS, ManualClock(), random.Random(1), logs=logs)
        transport = InProcessTransport(handler, ADMIN)
        await ensure_builtin_objects(transport)
        await Client(transport).create(POD, pod(["a"]))

        async def asking(**query: str):
            path = "/api/v1/namespaces/default/pods/p/log"
            answer = await handler.handle(ApiRequest("GET", path, ADMIN, query))
            if answer.status == 200:
                return 200, logs.asked
            return answer.status, json.loads(answer.body)["message"]

        yield asking


@pytest.mark.parametrize(
    ("value", "stream"), [("All", ""), ("Stdout", "stdout"), ("Stderr", "stderr"), ("", "")]
)
async def test_one_stream_may_be_asked_for(ask, value, stream):
    status, options = await ask(stream=value, insecureSkipTLSVerifyBackend="true")
    assert (status, options.stream) == (200, stream)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limitBytes": "0"}, "limitBytes: Invalid value: 0: must be greater than 0"),
        ({"sinceSeconds": "0"}, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            {"stream": "x"},
            'stream: Unsupported value: "x": supported values: "All", "Stderr", "Stdout"',
        ),
        (
            {"sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"},
            ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ],
)
async def test_options_that_are_wrong(ask, query, message):
    assert await ask(**query) == (422, f'PodLogOptions "" is invalid: {message}')
