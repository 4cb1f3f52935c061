"""client-go v0.35: what Go programs do, and what their protobuf bodies mean."""

import base64
import json
import re
import subprocess

import pytest
from tests.contract.gotools import go_client

from knarr.apiserver.protobuf.decode import decode_body
from knarr.apiserver.protobuf.wire import WireTables

pytestmark = [pytest.mark.contract, pytest.mark.timeout(1800)]

STEPS = (
    "typed objects", "patches", "apply", "conflicts and preconditions", "informers", "custom informers", "until with sync",
    "leader election", "discovery", "dynamic client", "metadata client", "events", "pager", "reviews and tokens",
    "delete collection", "expired watch",
)  # fmt: skip


@pytest.fixture(scope="module")
def program():
    return go_client()


def test_a_tour_of_client_go(program, cluster, namespace):
    done = cluster.run(str(program), "tour", str(cluster.kubeconfig), namespace, timeout_s=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{cluster.log()[-3000:]}"
    assert done.stdout.splitlines() == [f"ok {step}" for step in STEPS]
    assert "panic" not in done.stderr


# Fields of 1.35 that the server, which is a 1.34, does not know yet.
NEWER = re.compile(
    r"\.(workloadRef|declaredFeatures|serviceAccountTokenInSecrets|podCertificate\.userAnnotations)$"
    r"|^\.status\.(allocatedResources|resources)$|^\.status(\.conditions\[\d+\])?\.observedGeneration$"
)
# What Go writes for nothing in places where it cannot leave it out, and means the same as nothing.
NOTHING = re.compile(r"^\.(binaryData|data)(\.k\d+)?$|\.targetPort$")


def plain(value):
    """Without what Go writes for nothing: null, and empty objects and lists."""
    if isinstance(value, dict):
        kept = {name: plain(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def differences(expected, found, path=""):
    """Where two documents differ: path, and both values."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted({*expected, *found}):
            yield from differences(expected.get(name), found.get(name), f"{path}.{name}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (left, right) in enumerate(zip(expected, found, strict=True)):
            yield from differences(left, right, f"{path}[{index}]")
    elif expected != found:
        newer = found is None and NEWER.search(path)
        nothing = NOTHING.search(path) and not any(
            item
            for value in (expected, found)
            for item in (value.values() if isinstance(value, dict) else [value])
        )
        if not newer and not nothing:
            yield path, expected, found


def test_protobuf_means_what_json_means(program):
    """Every kind of the table: filled from end to end, and in parts with zeros between."""
    table = WireTables().get()
    done = subprocess.run(
        [str(program), "encode", "8"], capture_output=True, text=True, timeout=120, check=True
    )
    kinds, wrong = set(), []
    for line in done.stdout.splitlines():
        sample = json.loads(line)
        group, _, version = sample["apiVersion"].rpartition("/")
        known = table.message_of(group, version, sample["kind"]) is not None
        if not known and sample["kind"] != "DeleteOptions":
            continue
        kinds.add((sample["apiVersion"], sample["kind"]))
        decoded = decode_body(table, base64.b64decode(sample["protobuf"]))
        assert (decoded.api_version, decoded.kind) == (sample["apiVersion"], sample["kind"])
        expected = {k: v for k, v in sample["json"].items() if k not in ("apiVersion", "kind")}
        for found in differences(plain(expected), plain(decoded.document)):
            wrong.append((sample["apiVersion"], sample["kind"], sample["seed"], found))
    assert not wrong, "\n".join(map(str, wrong[:20]))
    assert len({kind for _, kind in kinds}) >= 65, kinds
