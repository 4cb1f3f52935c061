"""Texts that once made the server fail, or that it once read in another way than Kubernetes."""

import base64
import json

import pytest
from tests.unit.apiserver.kit import CONFIG_MAPS, DEPLOYMENTS, STRATEGIC, config_map, deployment
from tests.wire import delimited, envelope, number_field

from knarr.apiserver.jsontext import parse_json, parse_yaml
from knarr.meta.errors import BadRequest

PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize("text", ["9" * 350, "-" + "9" * 399, "9" * 5_000])
def test_numbers_beyond_a_double_are_refused(text):
    with pytest.raises(BadRequest):
        parse_json(text.encode())
    with pytest.raises(BadRequest):
        parse_yaml(f"a: {text}".encode())


def test_numbers_beyond_64_bits_become_doubles():
    assert parse_json(b"18446744073709551616") == 2.0**64
    assert parse_yaml(b"0x10000000000000000") == 2.0**64
    with pytest.raises(BadRequest):
        parse_yaml(b"a: 0x" + b"f" * 400)


def test_merge_keys_of_yaml():
    text = b"""
base: &base {a: 1, b: 1}
more: &more {b: 2, c: 2}
one: {<<: *base, b: 3}
many:
  c: 9
  <<: [*base, *more]
"""
    read = parse_yaml(text)
    assert read["one"] == {"a": 1, "b": 3}
    assert read["many"] == {"a": 1, "b": 1, "c": 9}
    with pytest.raises(BadRequest, match="only maps can be merged"):
        parse_yaml(b"<<: 5")


@pytest.mark.parametrize("items", [[{"$patch": "replace"}, 5], [5], [None], [[]], ["x"]])
async def test_items_of_merged_lists_must_be_objects(api, items):
    await api.post(DEPLOYMENTS, deployment("a"))
    patch = {"spec": {"template": {"spec": {"containers": items}}}}
    answer = await api.patch(f"{DEPLOYMENTS}/a", patch, STRATEGIC)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"NaN", b'"\\ud800"', b'{"a":1,"a":2}', b"{"])
async def test_json_inside_protobuf_is_as_strict(api, raw):
    managed = delimited(17, delimited(7, delimited(1, raw)))
    body = envelope("v1", "ConfigMap", delimited(1, delimited(1, b"a") + managed))
    answer = await api.post(CONFIG_MAPS, body, content_type=PROTOBUF)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")


async def test_wire_types_must_fit(api):
    immutable = envelope("v1", "ConfigMap", delimited(1, delimited(1, b"a")) + delimited(4, b"x"))
    assert (await api.post(CONFIG_MAPS, immutable, content_type=PROTOBUF)).status == 400
    named = envelope("v1", "ConfigMap", delimited(1, number_field(1, 5)))
    assert (await api.post(CONFIG_MAPS, named, content_type=PROTOBUF)).status == 400


@pytest.mark.parametrize(
    ("position", "status"),
    [
        ({"v": "x", "rv": 1, "start": "default/a\0"}, 400),
        ({"v": "meta.k8s.io/v1", "rv": 1 << 127, "start": "default/a\0"}, 400),
        ({"v": "meta.k8s.io/v1", "rv": "x", "start": "default/a\0"}, 400),
        ({"v": "meta.k8s.io/v1", "rv": 0, "start": "default/a\0"}, 400),
        ({"v": "meta.k8s.io/v1", "rv": 1, "start": 5}, 400),
        ({"v": "meta.k8s.io/v1", "rv": 99_999_999, "start": "default/a\0"}, 410),
    ],
)
async def test_continue_tokens_that_nobody_made(api, position, status):
    await api.post(CONFIG_MAPS, config_map("a"))
    token = base64.urlsafe_b64encode(json.dumps(position).encode()).decode()
    answer = await api.get(CONFIG_MAPS, query={"continue": token, "limit": "1"})
    assert answer.status == status, answer.json
    if status == 410:
        assert answer.json["metadata"]["continue"]
