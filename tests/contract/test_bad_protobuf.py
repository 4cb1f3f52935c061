"""Protobuf that is broken, or too much of it.

Whatever is sent: a Status with a message, never a 500, never growth without bound.
"""

import struct

import pytest
from tests.contract.attacker import (
    DEPLOYMENT,
    DEPLOYMENTS,
    GROWTH_BYTES,
    JSON_PATCH,
    MAPS,
    PROTOBUF,
)
from tests.wire import delimited, encode_body, envelope, number_field, varint

from knarr.apiserver.protobuf.wire import WireTables

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def tables():
    return WireTables().get()


def test_malformed_protobuf(attack, tables):
    whole = encode_body(tables, {"apiVersion": "apps/v1", "kind": "Deployment", **DEPLOYMENT})
    target = f"{DEPLOYMENTS}?dryRun=All"
    assert attack("POST", target, whole.replace(b"victim", b"wictim"), PROTOBUF).status == 201
    # What follows the object in the envelope is empty.
    for length in range(len(whole) - 4):
        attack.refused("POST", target, whole[:length], PROTOBUF, codes=(400, 415, 422))
    for position in range(4, len(whole)):
        for value in (0x00, 0x7F, 0x80, 0xFF, whole[position] ^ 1, whole[position] ^ 7):
            changed = whole[:position] + bytes([value]) + whole[position + 1 :]
            attack.survived("POST", target, changed, PROTOBUF)


def test_protobuf_of_wrong_shapes(attack):
    endless = b"\x80" * 100_000
    deep = b""
    for _ in range(2_000):
        deep = delimited(1, deep)
    schema = b""
    for _ in range(2_000):
        schema = delimited(28, schema)
    for raw in (
        endless, b"\xff" * 50, varint(1 << 3 | 2) + varint(1 << 62), varint(1 << 3 | 2) + varint(1 << 63), varint(1 << 3 | 3),
        varint(1 << 3 | 4), varint(1 << 3 | 6), varint(0 << 3 | 2) + b"\x00", deep, number_field(1, 5), delimited(2, number_field(1, 1)),
        varint(2 << 3 | 1) + struct.pack("<d", float("nan")), varint(2 << 3 | 5) + struct.pack("<f", float("inf")),
        delimited(1, delimited(8, number_field(1, 1 << 62))), delimited(1, delimited(8, number_field(1, (1 << 64) - (1 << 50)))),
        delimited(1, delimited(8, number_field(2, 1 << 40))), delimited(1, delimited(17, delimited(7, delimited(1, b"[" * 100_000)))),
        delimited(1, delimited(17, delimited(7, delimited(1, b"NaN")))), delimited(1, delimited(17, delimited(7, delimited(1, b'"\\ud800"')))),
        delimited(1, delimited(17, delimited(7, delimited(1, b"{" * 5 + b'"')))), delimited(1, b"\x0a\x02\xc3\x28"),
    ):  # fmt: skip
        for version, kind, target in (
            ("v1", "ConfigMap", MAPS),
            ("v1", "DeleteOptions", f"{MAPS}/nobody"),
            ("apps/v1", "Deployment", DEPLOYMENTS),
            (
                "authorization.k8s.io/v1",
                "SelfSubjectAccessReview",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ),
        ):
            method = "DELETE" if kind == "DeleteOptions" else "POST"
            attack.survived(method, f"{target}?dryRun=All", envelope(version, kind, raw), PROTOBUF)
    crd = envelope(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", delimited(2, delimited(7, schema))
    )
    attack.survived(
        "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", crd, PROTOBUF
    )


def test_unknown_kinds_in_protobuf(attack):
    for version, kind in (
        ("ex.dev/v1", "Thing"),
        ("v1", ""),
        ("", "Pod"),
        ("v1", "Pod"),
        ("v1", "Status"),
        ("a/b/c", "d"),
        ("v1", "\u2028"),
    ):
        attack.refused("POST", MAPS, envelope(version, kind, b""), PROTOBUF, codes=(400, 415, 422))
    for body in (
        b"k8s",
        b"k8s\0",
        b"K8S\0",
        b"\0" * 100,
        b"{}",
        b"k8s\0\x0a\x00",
        b"k8s\0\x12\x00",
    ):
        attack.refused("POST", MAPS, body, PROTOBUF, codes=(400, 415, 422))


def test_many_small_things_stay_small(attack, server):
    """Three megabytes of the smallest elements there are do not become hundreds for good."""
    before = server.resident_bytes()
    count = 1_000_000
    bodies = (
        (envelope("apps/v1", "Deployment", delimited(2, delimited(3, delimited(2, b"\x12\x00" * count)))), PROTOBUF, DEPLOYMENTS),
        (envelope("v1", "ConfigMap", b"\x12\x00" * count), PROTOBUF, MAPS),
        (b'{"metadata":{"name":"m","finalizers":[' + b"{}," * (count // 2) + b"{}]}}", "application/json", MAPS),
        (b'{"unknown":[' + b"{}," * count + b"{}]}", "application/json", MAPS),
        (b"[" + b"0," * count + b"0]", JSON_PATCH, f"{MAPS}/victim"),
        (b"- a\n" * (count // 2), "application/yaml", MAPS),
    )  # fmt: skip
    for _ in range(3):
        for body, kind, target in bodies:
            method = "PATCH" if "victim" in target else "POST"
            attack.refused(method, target, body, kind, codes=(400, 413, 422))
    grown = server.resident_bytes() - before
    assert grown < GROWTH_BYTES, f"grown by {grown >> 20} MiB"
