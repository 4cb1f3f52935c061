"""What kubectl, kn and Python clients really send, sent again; the answer must be what those clients need.

Bodies that the recording cut are put together again from the document that it shows, or from the manifest that the
command was given. Versions and uids are the ones of this server.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from tests.contract.cluster import Answer, Cluster, is_status
from tests.wire import encode_body

from knarr.apiserver.protobuf.wire import WireTables

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "kube-api" / "transcripts"
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="the recorded requests are not on this machine"),
]

TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,"
    "application/json"
)
AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
APPLY = "application/apply-patch+yaml"
_SHORT = {"AGG": AGGREGATED, "TABLE": TABLE}
_REQUEST = re.compile(r"^\s*(GET|POST|PUT|PATCH|DELETE) (/\S*)$")
_ANSWER = re.compile(r"^\s*-> (\d+) (.*)$")
_HEADER = re.compile(r"(?<!\S)([A-Za-z][A-Za-z-]*)= ?(.*?)(?= [A-Za-z][A-Za-z-]*=|$)")
_HOP = {"connection", "upgrade", "origin", "sec-websocket-key", "sec-websocket-version"}


@dataclass
class Recorded:
    """One request as it was recorded."""

    command: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None = b""
    shown: dict[str, Any] | None = None
    status: int | None = None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


def recorded(name: str) -> Iterator[Recorded]:
    command, current = "", None
    for line in (FOLDER / name).read_text().splitlines():
        if line.startswith(("### ", "=====")):
            if current is not None:
                yield current
            command, current = line.strip("# ="), None
        elif match := _REQUEST.match(line):
            if current is not None:
                yield current
            current = Recorded(command, match[1], match[2], {})
        elif current is None:
            continue
        elif match := _ANSWER.match(line):
            current.status = int(match[1])
        elif line.strip().startswith("B["):
            current.body = _whole_body(line)
        elif line.strip().startswith("PB "):
            current.shown = _json_or_none(line.strip()[3:])
        else:
            _headers(line.strip(), current.headers)
    if current is not None:
        yield current


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _whole_body(line: str) -> bytes | None:
    size, _, literal = line.strip()[2:].partition("] ")
    try:
        body = ast.literal_eval(literal)
    except (SyntaxError, ValueError):
        return None
    return body if len(body) == int(size) else None


def _headers(line: str, into: dict[str, str]) -> None:
    names = {"A": "Accept", "CT": "Content-Type"}
    for name, value in _HEADER.findall(line):
        if name.lower() not in _HOP | {"authorization"}:
            into[names.get(name, name)] = _SHORT.get(value.strip(), value.strip())


# Bodies that are cut and of which nothing else tells the end: what the command had been given.
_CONTAINER = {"image": "docker.io/example/app", "env": [{"name": "A", "value": "b"}]}
_KSVC = {"template": {"spec": {"containers": [_CONTAINER]}}}
_DEPLOYMENT = {
    "replicas": 1,
    "selector": {"matchLabels": {"app": "d1"}},
    "template": {
        "metadata": {"labels": {"app": "d1"}},
        "spec": {"containers": [{"image": "nginx", "name": "c"}]},
    },
}


def manifest(request: Recorded, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if "serving.knative.dev" in request.path:
        document = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "spec": _KSVC}
    else:
        document = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": _DEPLOYMENT}
        metadata["labels"] = {"app": "d1"}
    if "last-applied" in request.target or request.method == "POST":
        note = "kubectl.kubernetes.io/last-applied-configuration"
        metadata["annotations"] = {note: json.dumps(document) + "\n"}
    return document | {"metadata": metadata}


class Replay:
    """One transcript on one server, in a Namespace of its own."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.tables = WireTables().get()
        groups = cluster.request("GET", "/apis").json["groups"]
        self.served = {"v1": self.resources("/api/v1")}
        for group in groups:
            for version in group["versions"]:
                name = version["groupVersion"]
                self.served[name] = self.resources(f"/apis/{name}")
        self.checked = 0
        self.missing: set[str] = set()

    def resources(self, path: str) -> dict[str, dict[str, Any]]:
        listed = self.cluster.request("GET", path).json["resources"]
        return {item["name"]: item for item in listed}

    def target(self, request: Recorded) -> str:
        path = request.path.replace("/namespaces/default/", f"/namespaces/{self.namespace}/")
        query = request.query
        # Field selectors and versions of the recording name objects of the recording's server.
        if "resourceVersion" in query and query["resourceVersion"] not in ("", "0"):
            query["resourceVersion"] = self.version(path)
        if "timeoutSeconds" in query:
            query["timeoutSeconds"] = "1"
        if path.startswith("/openapi/v3/") and "hash" in query:
            index = self.cluster.request("GET", "/openapi/v3").json["paths"]
            return str(index[path.removeprefix("/openapi/v3/")]["serverRelativeURL"])
        return path + (f"?{urlencode(query)}" if query else "")

    def version(self, path: str) -> str:
        listed = self.cluster.request("GET", path)
        return listed.json["metadata"]["resourceVersion"] if listed.status == 200 else "1"

    def body(self, request: Recorded) -> bytes:
        body = self.assembled(request) if request.body is None else request.body
        if body.startswith(b"k8s\0"):
            return body
        body = body.replace(b'"namespace":"default"', f'"namespace":"{self.namespace}"'.encode())
        body = body.replace(b'"namespace": "default"', f'"namespace": "{self.namespace}"'.encode())
        # The recording server knew no grammar of images and asked for no container.
        body = body.replace(b'"image":"x"', b'"image":"xx"').replace(
            b'"image":"y"', b'"image":"yy"'
        )
        if request.method in ("POST", "PUT") or request.headers.get("Content-Type") == APPLY:
            body = self.completed(request, body)
        return body

    def assembled(self, request: Recorded) -> bytes:
        if request.shown is not None:
            return encode_body(self.tables, request.shown)
        name = request.path.rsplit("/", 1)[-1]
        if name in ("services", "deployments"):
            name = {"services": "k1", "deployments": "d1"}[name]
            if words := re.match(r"kn service \w+ (\S+)", request.command):
                name = words[1]
        return json.dumps(manifest(request, name)).encode()

    def completed(self, request: Recorded, body: bytes) -> bytes:
        document = json.loads(body)
        if "serving.knative.dev/v1/" in request.path and not (document.get("spec") or {}).get(
            "template"
        ):
            document["spec"] = _KSVC
        if request.method == "PUT":
            current = self.cluster.request("GET", self.target(request)).json
            # Clients send back what they got, changed.
            document["metadata"] = current["metadata"] | {
                name: value for name, value in document["metadata"].items()
                if name not in ("uid", "resourceVersion", "annotations")
            }  # fmt: skip
        return json.dumps(document).encode()

    # --- what must come back --------------------------------------------------------------------

    def place(self, path: str) -> tuple[str, list[str]]:
        """Group version, and what follows it without the Namespace."""
        parts = path.strip("/").split("/")
        group_version, rest = (
            (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        )
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            rest = rest[2:]
        return group_version, rest

    def replay(self, request: Recorded) -> None:
        target = self.target(request)
        path = target.partition("?")[0]
        headers = {"User-Agent": "kubectl/v1.32.4", **request.headers}
        where = f"{request.command}: {request.method} {target}"
        if "watch" in request.query:
            self.watch(target, headers, where)
            return
        body = self.body(request) if request.body != b"" else None
        if request.path.endswith("/exec"):
            return  # streams have tests of their own
        answer = self.cluster.request(request.method, target, body, headers=headers)
        while request.method == "PUT" and answer.status == 409:
            # A controller was faster; clients read again and repeat.
            body = self.body(request)
            answer = self.cluster.request(request.method, target, body, headers=headers)
        self.checked += 1
        assert answer.status < 500, (where, answer.body)
        assert not answer.headers.get("content-encoding") or "gzip" in headers.get(
            "Accept-Encoding", ""
        )
        if not re.match(r"/api/v1/[^/]|/apis/[^/]+/[^/]+/[^/]", path):
            self.document_about_the_server(request, path, answer, where)
            return
        group_version, rest = self.place(path)
        if rest[0] not in self.served.get(group_version, {}):
            self.not_served(group_version, answer, where)
            return
        self.about_objects(request, group_version, rest, answer, where)

    def not_served(self, group_version: str, answer: Answer, where: str) -> None:
        """Item 6: text for groups and what is in them; a Status under the core group."""
        self.missing.add(group_version)
        assert answer.status == 404, (where, answer.body)
        if group_version == "v1":
            assert is_status(answer), (where, answer.body)
            assert answer.json["message"] == "the server could not find the requested resource"
        else:
            assert answer.type.startswith("text/plain"), (where, answer.type)
            assert answer.body == b"404 page not found\n", (where, answer.body)

    def document_about_the_server(
        self, request: Recorded, path: str, answer: Answer, where: str
    ) -> None:
        accept = request.headers.get("Accept", "")
        match path.strip("/").split("/"):
            case ["openapi", "v2"]:
                assert answer.status in (200, 404), where
            case ["openapi", "v3"]:
                assert answer.status == 200
                for name, entry in answer.json["paths"].items():
                    assert entry["serverRelativeURL"].startswith(f"/openapi/v3/{name}?hash="), name
                stored = {
                    name
                    for name, rows in self.served.items()
                    if any("get" in row["verbs"] for row in rows.values())
                }
                missing = stored - {
                    name.removeprefix("apis/").removeprefix("api/") for name in answer.json["paths"]
                }
                assert not missing, "kubectl refuses manifests of groups that have no document"
            case ["openapi", "v3", *_]:
                assert answer.status == 200, where
                assert "immutable" in answer.headers["cache-control"]
                assert answer.headers["etag"]
                paths = answer.json["paths"]
                patches = [item["patch"] for item in paths.values() if "patch" in item]
                assert any(
                    parameter.get("name") == "fieldValidation"
                    for patch in patches
                    for parameter in patch["parameters"]
                )
            case ["api" | "apis"] if "APIGroupDiscoveryList" in accept:
                assert set(answer.type.replace(" ", "").split(";")) == {
                    "application/json", "g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList",
                }  # fmt: skip
                assert answer.json["kind"] == "APIGroupDiscoveryList"
                assert (answer.headers["cache-control"], answer.headers["vary"]) == (
                    "public",
                    "Accept",
                )
                assert answer.headers["etag"]
            case ["api"]:
                assert (answer.json["kind"], answer.json["versions"]) == ("APIVersions", ["v1"])
            case ["apis"]:
                assert answer.json["kind"] == "APIGroupList"
                for group in answer.json["groups"]:
                    assert group["preferredVersion"] in group["versions"]
            case ["api", "v1"]:
                self.resource_list("v1", answer)
            case ["apis", group, version]:
                if f"{group}/{version}" in self.served:
                    self.resource_list(f"{group}/{version}", answer)
                else:
                    self.not_served(f"{group}/{version}", answer, where)
            case ["version"]:
                assert {"major", "minor", "gitVersion", "platform"} <= set(answer.json)
            case ["healthz" | "livez" | "readyz"]:
                assert (answer.body, answer.type.partition(";")[0]) == (b"ok", "text/plain")
            case _:
                raise AssertionError(f"nobody says what the answer to {where} must be")

    def resource_list(self, group_version: str, answer: Answer) -> None:
        assert answer.status == 200
        document = answer.json
        assert (document["kind"], document["groupVersion"]) == ("APIResourceList", group_version)
        for row in document["resources"]:
            assert row["name"]
            assert row["kind"]
            assert row["verbs"]
            assert isinstance(row["namespaced"], bool)
            assert "singularName" in row

    def about_objects(
        self, request: Recorded, group_version: str, rest: list[str], answer: Answer, where: str
    ) -> None:
        row = self.served[group_version][rest[0]]
        name = rest[1] if len(rest) > 1 else ""
        refused = answer.status >= 400
        if refused:
            self.refusal(request, row, name, answer, where)
            return
        if request.path.endswith("/log"):
            assert answer.body.endswith(b" line\n"), where
            assert answer.type.startswith("text/plain")
            return
        assert answer.type.startswith("application/json"), (where, answer.type)
        document = answer.json
        table = "as=Table" in request.headers.get("Accept", "")
        match request.method:
            case "GET" if not name and table:
                self.table(document, where)
            case "GET" if not name:
                self.listed(document, row, group_version, where)
            case "GET" if table:
                self.table(document, where)
            case "DELETE" if name:
                self.deleted(document, row, name, where)
            case "POST" if rest[0].endswith("reviews"):
                assert answer.status == 201
                assert "status" in document, where
            case _:
                expected = 201 if request.method == "POST" else 200
                created = expected == 201 or APPLY in request.headers.get("Content-Type", "")
                assert answer.status in ((200, 201) if created else (200,)), (where, answer.status)
                kind = (
                    row["kind"]
                    if len(rest) < 3
                    else self.served[group_version]["/".join((rest[0], rest[2]))]["kind"]
                )
                self.single(document, kind, group_version, name, where)

    def refusal(
        self, request: Recorded, row: dict[str, Any], name: str, answer: Answer, where: str
    ) -> None:
        assert is_status(answer), (where, answer.body)
        details = answer.json.get("details", {})
        if answer.status == 404 and name:
            group = self.group_of(request.path)
            qualified = f"{row['name']}.{group}" if group else row["name"]
            assert answer.json["message"] == f'{qualified} "{name}" not found', where
            assert (details["name"], details["kind"]) == (name, row["name"])
            # A 404 is right where the recording had one, or where deleting leaves nothing.
            assert request.status in (404, None) or request.method in ("GET", "DELETE"), (
                where,
                answer.body,
            )
        elif answer.status == 422:
            assert details["causes"], where
            assert (request.status or 200) < 300, where
            # Fields that the recording server let pass and our schemas do not.
            assert "/spec/y" in str(request.body) or '"x":4' in str(request.body), (
                where,
                answer.body,
            )
        elif answer.status == 400:
            # kubectl asks for strictness about fields that no Service has.
            assert '"x":4' in str(request.body) or "/spec/y" in str(request.body), (
                where,
                answer.body,
            )
        elif answer.status == 409:
            assert answer.json["reason"] in ("AlreadyExists", "Conflict"), where
            assert "--force" in request.command or request.headers.get("Content-Type") == APPLY, (
                where
            )
        elif answer.status == 415 and request.headers.get("Content-Type") == APPLY:
            self.missing.add("server-side apply")
        else:
            raise AssertionError((where, answer.status, answer.body))

    @staticmethod
    def group_of(path: str) -> str:
        parts = path.strip("/").split("/")
        return "" if parts[0] == "api" else parts[1]

    @staticmethod
    def single(document: Any, kind: str, group_version: str, name: str, where: str) -> None:
        if kind != "Scale":
            assert (document["apiVersion"], document["kind"]) == (group_version, kind), where
        metadata = document["metadata"]
        assert name in ("", metadata["name"]), where
        for field in ("uid", "creationTimestamp", "resourceVersion"):
            assert isinstance(metadata[field], str), (where, field)
            assert metadata[field]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"]), (
            where
        )
        assert metadata["resourceVersion"].isdigit()
        assert "stringData" not in document

    @staticmethod
    def listed(document: Any, row: dict[str, Any], group_version: str, where: str) -> None:
        assert (document["kind"], document["apiVersion"]) == (
            f"{row['kind']}List",
            group_version,
        ), where
        assert isinstance(document["items"], list), where
        metadata = document["metadata"]
        assert isinstance(metadata["resourceVersion"], str)
        assert isinstance(metadata.get("continue", ""), str)
        if "knative" in group_version:
            assert all(item["kind"] == row["kind"] for item in document["items"]), where

    @staticmethod
    def table(document: Any, where: str) -> None:
        assert document["kind"] == "Table", where
        assert document["apiVersion"].startswith("meta.k8s.io/"), where
        columns = document["columnDefinitions"]
        assert columns[0]["name"].lower() == "name", where
        assert document["metadata"]["resourceVersion"].isdigit()
        for item in document["rows"]:
            assert len(item["cells"]) == len(columns), where
            assert item["object"]["metadata"]["name"] == item["cells"][0]

    @staticmethod
    def deleted(document: Any, row: dict[str, Any], name: str, where: str) -> None:
        if document["kind"] == "Status":
            assert document["status"] == "Success", where
            details = document["details"]
            assert (details["name"], details["kind"]) == (name, row["name"]), where
            assert details["uid"], "kubectl waits for this uid to be gone"
        else:
            assert document["metadata"]["deletionTimestamp"], where

    def watch(self, target: str, headers: dict[str, str], where: str) -> None:
        """The events that are there already; the rest is for the tests of watches."""
        path, _, query = target.partition("?")
        parameters = dict(parse_qsl(query)) | {"timeoutSeconds": "1"}
        target = f"{path}?{urlencode(parameters)}"
        answer = self.cluster.request("GET", target, headers=headers)
        self.checked += 1
        assert answer.status == 200, (where, answer.body)
        assert answer.type == "application/json", where
        events = [json.loads(line) for line in answer.body.splitlines()]
        group_version, rest = self.place(path)
        kind = self.served[group_version][rest[0]]["kind"]
        for event in events:
            assert event["type"] in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"), (where, event)
            expected = "Table" if "as=Table" in headers["Accept"] else kind
            assert event["object"]["kind"] == expected, where
        if "resourceVersion" not in parameters:
            first = {}
            for event in events:
                first.setdefault(event["object"]["metadata"].get("name"), event["type"])
            assert set(first.values()) <= {"ADDED"}, where


@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("kubectl-1.32.4-requests.txt", 110),
        ("kn-requests.txt", 45),
        ("python-clients-requests.txt", 60),
    ],
)
def test_every_recorded_request(cluster, namespace, name, at_least):
    replay = Replay(cluster, namespace)
    for request in recorded(name):
        replay.replay(request)
    print(f"not served: {sorted(replay.missing)}")
    assert replay.checked >= at_least, replay.checked
