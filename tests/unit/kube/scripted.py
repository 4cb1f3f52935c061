"""A transport that plays a transcript: it answers nothing that the test did not write down.

The behaviour of real API servers is the business of the contract suite; here are only the turns that a real
server takes rarely.
"""

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

from knarr.meta.errors import StatusError

HANG = object()


def event(kind: str, document: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode()


def config_map(name: str, version: int, **extra: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**metadata, **extra},
        "data": {"v": str(version)},
    }


def bookmark(version: int, *, initial: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return event("BOOKMARK", {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata})


def gone(version: int = 0) -> bytes:
    return event(
        "ERROR",
        {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old ({version})"},
    )


class Scripted:
    """Streams and answers in the order in which they are asked for; afterwards streams hang."""

    def __init__(self, streams=(), answers=()):
        self.streams = list(streams)
        self.answers = list(answers)
        self.watches: list[dict[str, str]] = []
        self.requests: list[tuple[str, str, Any]] = []

    async def request(
        self, method, path, *, query=None, body=None, content_type="application/json"
    ):
        await asyncio.sleep(0)
        sent = json.loads(body) if body else dict(query or {})
        self.requests.append((method, path, sent))
        answer = self.answers.pop(0)
        if isinstance(answer, StatusError):
            raise answer
        return json.dumps(answer).encode()

    @asynccontextmanager
    async def watch(self, path, *, query):
        self.watches.append(dict(query))
        stream = self.streams.pop(0) if self.streams else [HANG]
        if isinstance(stream, Exception):
            raise stream

        async def lines():
            for line in stream:
                if line is HANG:
                    await asyncio.Event().wait()
                if isinstance(line, Exception):
                    raise line
                if isinstance(line, asyncio.Event):
                    await line.wait()
                else:
                    yield line

        yield lines()
