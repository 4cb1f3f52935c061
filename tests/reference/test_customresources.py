"""Definitions and what they define: the same requests to Knarr and to kube-apiserver, and Knarr's own definitions there."""

import copy
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from tests.reference.comparing import Normaliser, answer_differences
from tests.reference.running import Runner
from tests.reference.scenarios import parse_step
from tests.unit.apiserver_definitions.samples import definition, schema_of, tab, version_of

from knarr.resources.apiextensions.definitions import own_definitions
from knarr.resources.catalog import KINDS

pytestmark = [pytest.mark.reference, pytest.mark.timeout(180)]

PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABS = "/apis/stable.example.com/v1/namespaces/$ns/crontabs"
MEANT = (
    # what is written down in docs/compatibility.md
    r".*managedFields.*",
    r".*columnDefinitions\[\d+\]\.description",
    r"body\.status\.conditions",
    r".*storageVersionHash",
)


@dataclass(frozen=True)
class Wait:
    """Wait until a definition is served, or gone; or a moment for what happens on its own."""

    served: str = ""
    gone: str = ""
    moment_s: float = 0

    def on(self, client) -> None:
        deadline = time.monotonic() + 60
        while not self._holds(client):
            assert time.monotonic() < deadline, self
            time.sleep(0.05)
        time.sleep(self.moment_s)

    def _holds(self, client) -> bool:
        if not self.served and not self.gone:
            return True
        answer = client.send("GET", f"{PATH}/{self.served or self.gone}")
        if self.gone:
            return answer.status == 404
        spec, status = answer.document["spec"], answer.document["status"]
        found = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        place = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        # its schema for clients follows a little later, and nothing tells when
        return found.get("Established") == "True" and client.send("GET", place).status == 200


def changed(change) -> dict:
    document = definition()
    change(document)
    return document


def properties(document) -> dict:
    return schema_of(document)["properties"]["spec"]["properties"]


# "$ref" is left out: kube-apiserver 1.34.3 drops the connection
REFUSED = [
    lambda d: d["metadata"].update(name="x"),
    lambda d: d["spec"].pop("group"),
    lambda d: d["spec"].pop("versions"),
    lambda d: d["spec"].update(scope="Everywhere"),
    lambda d: d["spec"]["names"].update(kind="crontabs"),
    lambda d: d["spec"]["names"].update(shortNames=["A_"]),
    lambda d: version_of(d).pop("schema"),
    lambda d: version_of(d).update(storage=False),
    lambda d: version_of(d).pop("served"),
    lambda d: properties(d).update(x={"type": "array"}),
    lambda d: properties(d).update(x={"type": "object", "properties": {"y": {}}}),
    lambda d: properties(d).update(x={"type": "string", "default": 1}),
    lambda d: properties(d).update(x={"type": "string", "pattern": "("}),
    lambda d: properties(d).update(x={"type": "string", "pattern": "(?=a)"}),
    lambda d: properties(d).update(x={"type": "strin"}),
    lambda d: properties(d).update(x={"type": "string", "bogus": 1}),
    lambda d: properties(d).update(x={"type": "string", "format": "odd"}),
    lambda d: version_of(d)["additionalPrinterColumns"].append({"name": "a", "type": "text", "jsonPath": "x"}),
    lambda d: version_of(d).update(selectableFields=[{"jsonPath": ".spec.nope"}]),
    lambda d: d["spec"].update(conversion={"strategy": "Magic"}),
    lambda d: d["spec"].update(conversion={"strategy": "Webhook"}),
    lambda d: d["spec"].update(preserveUnknownFields=True),
    lambda d: d["spec"].update(bogus=True),
    lambda d: version_of(d).update(name="V1"),
    lambda d: version_of(d).update(deprecationWarning="x"),
    lambda d: (d["spec"].update(group="x.k8s.io"), d["metadata"].update(name="crontabs.x.k8s.io")),
]  # fmt: skip
OBJECTS = [
    {"cron": "daily"}, {"cron": None}, {"replicas": -1}, {"replicas": "1"}, {"replicas": 1.5}, {"color": "blue"},
    {"port": [1]}, {"port": 80, "bogus": 1}, {"replicas": 1 << 63},
]  # fmt: skip
STORED = definition(shortNames=["ct"])
NAME = STORED["metadata"]["name"]
FLOWS = {
    "refused": [["POST crd?dryRun=All&fieldValidation=Strict", changed(change)] for change in REFUSED],
    "life": [
        ["POST crd", STORED],
        Wait(served=NAME),
        [f"GET crd/{NAME}"],
        *[[f"POST {TABS}?dryRun=All&fieldValidation=Strict", tab(**spec)] for spec in OBJECTS],
        [f"POST {TABS}", tab(color="red")],
        [f"GET {TABS}"],
        [f"TABLE {TABS}"],
        [f"MERGE {TABS}/a/scale", {"spec": {"replicas": 3}}],
        [f"MERGE {TABS}/a/scale", {"spec": {"replicas": -3}}],
        [f"MERGE {TABS}/a/status", {"status": {"replicas": "x"}}],
        [f"UPDATE {TABS}/a", {"spec": {"color": "green"}}],
        [f"PUT {TABS}/a", tab()],
        [f"SMP {TABS}/a", {"spec": {"color": "red"}}],
        [f"APPLY {TABS}/a?force=true", tab(cron="1")],
        [f"GET {TABS}?fieldSelector=spec.color%3Dgreen"],
        [f"GET {TABS}?fieldSelector=spec.cron%3Dgreen"],
        [f"GET {TABS}/nope"],
        [f"GET {TABS}/a/nope"],
        ["GET /apis/stable.example.com/v1"],
        [f"MERGE crd/{NAME}", {"spec": {"scope": "Cluster"}}],
        [f"MERGE crd/{NAME}", {"spec": {"names": {"plural": "others"}}}],
        [f"MERGE crd/{NAME}/status", {"status": {"storedVersions": ["v7"]}}],
        [f"MERGE {TABS}/a", {"metadata": {"finalizers": ["example.com/x"]}}],
        [f"DELETE crd/{NAME}"],
        Wait(moment_s=1.5),
        [f"POST {TABS}", tab("late")],
        [f"JSON {TABS}/a", [{"op": "remove", "path": "/metadata/finalizers"}]],
        Wait(gone=NAME),
        [f"GET {TABS}"],
    ],
    "names": [
        ["POST crd", definition("A", "as")],
        Wait(served="as.stable.example.com"),
        ["POST crd", definition("A", "bs")],
        Wait(moment_s=1.5),
        ["GET crd/bs.stable.example.com"],
        ["DELETE crd/as.stable.example.com"],
        Wait(served="bs.stable.example.com"),
        ["GET crd/bs.stable.example.com"],
        ["DELETE crd/bs.stable.example.com"],
        Wait(gone="bs.stable.example.com"),
    ],
}  # fmt: skip


def run(server, namespace, flow):
    runner, answers = Runner(server, namespace), []
    with server.client() as client:
        runner.make_namespace(client)
        for item in flow:
            if isinstance(item, Wait):
                item.on(client)
                continue
            step = parse_step(copy.deepcopy(item))
            answers.append((step, runner._step(client, step)))
    return answers


@pytest.mark.parametrize("name", FLOWS)
def test_equal_answers(name, ours, reference) -> None:
    with ThreadPoolExecutor(2) as pool:
        mine, theirs = pool.map(
            lambda server: run(server, f"cr-{name}", FLOWS[name]), (ours, reference)
        )
    left, right, lines = Normaliser(), Normaliser(), []
    for (step, one), (_, other) in zip(mine, theirs, strict=True):
        found = answer_differences(left.answer(one), right.answer(other))
        unmeant = [
            each for each in found if not any(re.fullmatch(path, each.path) for path in MEANT)
        ]
        lines += [f"  {step} {json.dumps(step.body)[:200]}", *map(str, unmeant)] if unmeant else []
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_own_definitions_are_taken_and_established(reference) -> None:
    documents = list(own_definitions(KINDS))
    with reference.client() as client:
        for document in documents:
            body = json.dumps(document).encode()
            headers = {"Content-Type": "application/json"}
            answer = client.send("POST", f"{PATH}?fieldValidation=Strict", body, headers)
            assert answer.status == 201, answer.document
            assert not answer.header("warning")
        for document in documents:
            Wait(served=document["metadata"]["name"]).on(client)
