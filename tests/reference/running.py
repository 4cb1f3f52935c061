"""Runs a scenario against one server."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.harness import wait_for
from tests.reference.rawclient import Answer, RawClient
from tests.reference.scenarios import Scenario, Step, changed

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
META = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
META_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
PATCH_TYPES = {
    "MERGE": "application/merge-patch+json",
    "JSON": "application/json-patch+json",
    "SMP": "application/strategic-merge-patch+json",
    "APPLY": "application/apply-patch+yaml",
}
WATCH_WAIT_S = 1.5
_REFERENCE = re.compile(r"\$\(([\w-]+)\.([^)]+)\)")


class Server(Protocol):
    """A running API server."""

    def client(self, token: str | None = None) -> RawClient: ...

    @property
    def token(self) -> str: ...


def _awaited(client: RawClient, path: str) -> Answer:
    """Wait until something is served; the answer itself does not count."""
    wait_for(lambda: client.send("GET", path).status == 200, path, 20)
    return Answer(200, (), b"")


@dataclass
class Runner:
    """Sends steps and remembers the answers that have a name."""

    server: Server
    namespace: str
    named: dict[str, Any] = field(default_factory=dict)

    def run(self, scenario: Scenario) -> list[Answer]:
        """The answers of all steps, in order."""
        with self.server.client() as client:
            if not scenario.shared:
                self.make_namespace(client)
            return [self._step(client, step) for step in scenario.steps]

    def make_namespace(self, client: RawClient) -> None:
        """With the account that Pods need; a controller makes it elsewhere. It mounts no tokens, so that
        only the Pods that ask for another one show what mounting does.
        """
        account = {"metadata": {"name": "default"}, "automountServiceAccountToken": False}
        for path, document in (
            ("/api/v1/namespaces", {"metadata": {"name": self.namespace}}),
            (f"/api/v1/namespaces/{self.namespace}/serviceaccounts", account),
        ):
            answer = client.send(
                "POST", path, json.dumps(document).encode(), {"Content-Type": JSON}
            )
            assert answer.status in (201, 409), answer

    def _step(self, client: RawClient, step: Step) -> Answer:
        if step.user:
            tokens = {"nobody": "", "bob": f"{self.server.token}-bob"}
            with self.server.client(tokens.get(step.user, step.user)) as other:
                answer = self._send(other, step)
        else:
            answer = self._send(client, step)
        if step.name:
            self.named[step.name] = answer.document
        return answer

    def _send(self, client: RawClient, step: Step) -> Answer:
        path = self._filled(step.path)
        body = self._filled_value(step.body)
        headers = dict(step.headers)
        match step.verb:
            case "TABLE":
                return client.send("GET", path, None, {"Accept": TABLE} | headers)
            case "META" | "METAS":
                accept = META if step.verb == "META" else META_LIST
                return client.send("GET", path, None, {"Accept": accept} | headers)
            case "WATCH":
                return self._watch(client, path, step, headers)
            case "AWAIT":
                return _awaited(client, path)
            case "UPDATE":
                bare = path.partition("?")[0]
                body = changed(client.send("GET", bare).document, body)
                return self._body("PUT", client, path, body, step, headers)
            case "MERGE" | "JSON" | "SMP" | "APPLY":
                headers = {"Content-Type": PATCH_TYPES[step.verb]} | headers
                if step.verb == "APPLY" and "fieldManager=" not in path:
                    path += ("&" if "?" in path else "?") + "fieldManager=one"
                return self._body("PATCH", client, path, body, step, headers)
            case _:
                return self._body(step.verb, client, path, body, step, headers)

    def _body(
        self,
        method: str,
        client: RawClient,
        path: str,
        body: Any,
        step: Step,
        headers: Mapping[str, str],
    ) -> Answer:
        data: bytes | None = None
        if step.raw is not None:
            data = self._filled(step.raw).encode()
        elif body is not None:
            data = json.dumps(body).encode()
        sent = ({"Content-Type": JSON} if data is not None else {}) | dict(headers)
        return client.send(method, path, data, sent)

    def _watch(
        self, client: RawClient, path: str, step: Step, headers: Mapping[str, str]
    ) -> Answer:
        if "watch=" not in path:
            path += ("&" if "?" in path else "?") + "watch=true"
        return client.watch(path, headers, events=step.events, wait_s=WATCH_WAIT_S)

    def _filled(self, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            current = self.named[found[1]]
            for part in found[2].split("."):
                current = current[int(part)] if isinstance(current, list) else current[part]
            return str(current)

        return _REFERENCE.sub(value, text.replace("$ns", self.namespace))

    def _filled_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._filled(value) if "$" in value else value
        if isinstance(value, dict):
            return {key: self._filled_value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled_value(item) for item in value]
        return value
