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


SMALL = 60_000


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"x":[' + b"{}," * SMALL + b"{}]}", "application/json"),
        (b'{"x":[' + b"0," * 2 * SMALL + b"0]}", "application/json"),
        (
            b'{"x":{' + b",".join(b'"%d":0' % n for n in range(2 * SMALL)) + b"}}",
            "application/json",
        ),
        (
            b'{"x":[' + b"{}," * SMALL + b'{"a":1.50,"b":123456789012345678901}]}',
            "application/json",
        ),
        (b"- a\n" * 2 * SMALL, "application/yaml"),
        (envelope("v1", "ConfigMap", delimited(1, b"\x7a\x00" * 2 * SMALL)), PROTOBUF),
        (envelope("v1", "Pod", delimited(2, b"\x12\x00" * SMALL)), PROTOBUF),
    ],
)
async def test_bodies_of_too_many_parts(api, body, content_type):
    answer = await api.post(CONFIG_MAPS, body, content_type=content_type)
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")


async def test_answers_do_not_repeat_everything(api):
    name = "x" * 1_000_000
    answer = await api.post(CONFIG_MAPS, config_map(name + "!"))
    assert answer.status == 422
    assert len(answer.response.body) < 100_000
    many = config_map("a", finalizers=[f"?{n}" for n in range(5_000)])
    answer = await api.post(CONFIG_MAPS, many)
    assert answer.status == 422
    assert len(answer.json["details"]["causes"]) == 100
    assert len(answer.response.body) < 100_000
    unknown = config_map("b") | {f"unknown{n}": n for n in range(5_000)}
    answer = await api.post(CONFIG_MAPS, unknown)
    assert answer.status == 201
    assert 50 < len(answer.warnings) <= 100
    assert sum(map(len, answer.warnings)) < 5_000


async def test_long_lists_are_merged_in_linear_time(api):
    many = [{"name": f"c{n}", "image": "i"} for n in range(3_000)]
    body = deployment("a")
    body["spec"]["template"]["spec"]["containers"] = many
    assert (await api.post(DEPLOYMENTS, body)).status == 201
    patch = {
        "spec": {
            "template": {
                "spec": {"containers": [{"name": item["name"], "image": "j"} for item in many]}
            }
        }
    }
    answer = await api.patch(f"{DEPLOYMENTS}/a", patch, STRATEGIC)
    assert answer.status == 200
    assert {item["image"] for item in answer.json["spec"]["template"]["spec"]["containers"]} == {
        "j"
    }


async def test_long_texts_in_places_of_short_ones(api):
    jobs = "/apis/batch/v1/namespaces/default/cronjobs"
    spec = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}
    body = {
        "metadata": {"name": "a"},
        "spec": {"schedule": "1," * 500_000 + "1 * * * *", "jobTemplate": {"spec": {"template": {"spec": spec}}}},
    }  # fmt: skip
    answer = await api.post(jobs, body)
    assert (answer.status, answer.json["reason"]) == (422, "Invalid")
    limited = deployment("a")
    (container,) = limited["spec"]["template"]["spec"]["containers"]
    container["resources"] = {"limits": {"cpu": "1" * 1_000_000, "memory": "1e999999"}}
    answer = await api.post(DEPLOYMENTS, limited)
    assert answer.status in (201, 422)


async def test_the_first_namespaces_stay(api):
    for name in ("default", "kube-system", "kube-public"):
        answer = await api.delete(f"/api/v1/namespaces/{name}")
        assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
        assert (
            answer.json["message"]
            == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        )
