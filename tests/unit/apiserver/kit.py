"""What tests of the API server share: requests in short, and objects to send."""

import json
from dataclasses import dataclass, field
from typing import Any

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.handler import Handler
from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.kits.clock import ManualClock
from knarr.store.store import Store

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@dataclass
class Answer:
    """A response, decoded where it can be."""

    response: ApiResponse

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def json(self) -> Any:
        return json.loads(self.response.body)

    @property
    def warnings(self) -> list[str]:
        return [
            value.removeprefix('299 - "').removesuffix('"').replace('\\"', '"')
            for name, value in self.response.headers
            if name == "Warning"
        ]


@dataclass
class Watch:
    """An open watch, read event by event."""

    response: ApiResponse
    lines: list[bytes] = field(default_factory=list)

    async def next(self) -> dict[str, Any] | None:
        if not self.lines:
            self.lines = await self.response.stream.next_chunks() or []
        return json.loads(self.lines.pop(0)) if self.lines else None

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [await self.next() for _ in range(count)]

    async def brief(self, count: int) -> list[tuple[str, str]]:
        return [
            (event["type"], event["object"]["metadata"].get("name", ""))
            for event in await self.take(count)
        ]

    async def close(self) -> None:
        await self.response.stream.close()


class Api:
    """Requests in short."""

    def __init__(self, handler: Handler, store: Store, clock: ManualClock) -> None:
        self.handler = handler
        self.store = store
        self.clock = clock
        self._watches: list[Watch] = []

    async def call(
        self, method, path, body=None, *, query=None, accept="", content_type="application/json",
        user=ADMIN,
    ):  # fmt: skip
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        request = ApiRequest(
            method, path, user, query=query or {}, body=raw, accept=accept,
            content_type=content_type if raw else "",
        )  # fmt: skip
        return Answer(await self.handler.handle(request))

    async def get(self, path, **more):
        return await self.call("GET", path, **more)

    async def post(self, path, body, **more):
        return await self.call("POST", path, body, **more)

    async def put(self, path, body, **more):
        return await self.call("PUT", path, body, **more)

    async def patch(self, path, body, content_type=MERGE, **more):
        return await self.call("PATCH", path, body, content_type=content_type, **more)

    async def delete(self, path, body=None, **more):
        return await self.call("DELETE", path, body, **more)

    async def watch(self, path, **query):
        accept = query.pop("accept", "")
        answer = await self.get(path, query={"watch": "true", **query}, accept=accept)
        assert answer.status == 200, answer.response.body
        opened = Watch(answer.response)
        self._watches.append(opened)
        return opened

    async def close(self):
        for opened in self._watches:
            await opened.close()


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SERVICES = "/apis/serving.knative.dev/v1/namespaces/default/services"


def config_map(name, data=None, **metadata):
    return {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, **metadata}, "data": data or {"a": "b"},
    }  # fmt: skip


def pod(name, **spec):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }  # fmt: skip


def deployment(name, replicas=1, image="nginx"):
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    }  # fmt: skip


def service(name, image="nginx", **metadata):
    return {
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": name, **metadata},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    }  # fmt: skip
