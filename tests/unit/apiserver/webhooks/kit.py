"""A caller that answers by functions, and configurations in short."""

import base64
import json
from collections.abc import Callable
from typing import Any

from knarr.apiserver.webhooks import CallFailed
from knarr.apiserver.webhooks.targets import Target

Reply = Callable[[dict[str, Any]], dict[str, Any]]
RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


class FakeCaller:
    """Answers by the path of the webhook's URL; remembers every request."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.targets: list[tuple[Target, float]] = []

    async def call(self, target: Target, body: bytes, timeout_s: float) -> bytes:
        review = json.loads(body)
        name = target.url.rpartition("/")[2]
        self.calls.append((name, review["request"]))
        self.targets.append((target, timeout_s))
        reply = self.replies.get(name)
        if reply is None:
            raise CallFailed(
                f'Post "{target.url}?timeout={timeout_s}s": dial tcp: connection refused'
            )
        response = {"uid": review["request"]["uid"], "allowed": True} | reply(review["request"])
        return json.dumps({**review, "request": None, "response": response}).encode()

    @property
    def asked(self) -> list[str]:
        return [name for name, _ in self.calls]


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"patch": encoded, "patchType": "JSONPatch"}


def hook(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": f"{name}.example.com",
        "clientConfig": {"url": f"https://hooks.example.com/{name}"},
        "rules": [RULE],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
