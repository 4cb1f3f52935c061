import typing

import msgspec
import pytest

from knarr.resources.catalog import KINDS, find_kind, kind_of
from knarr.resources.kind import Kind
from knarr.resources.schema import openapi_schema
from knarr.resources.serving.podspec import pod_spec_of
from knarr.resources.serving.service import SERVICE

BY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.kind}.{kind.group}")


@BY_KIND
def test_kinds_are_found(kind: Kind[typing.Any]) -> None:
    assert find_kind(kind.group, kind.version, kind.plural) is kind
    assert kind_of(kind.api_version, kind.kind) is kind
    assert kind.singular == kind.kind.lower()
    assert kind.validate is not None


def test_unknown_kinds_are_not_found() -> None:
    assert find_kind("autoscaling", "v2", "horizontalpodautoscalers") is None
    assert kind_of("v1", "Gadget") is None


@BY_KIND
def test_every_struct_is_documented(kind: Kind[typing.Any]) -> None:
    schema = openapi_schema(kind)
    identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    assert schema["x-kubernetes-group-version-kind"] == [identity]
    assert set(schema["properties"]) >= {"apiVersion", "kind", "metadata"}

    def check(node: dict[str, typing.Any]) -> None:
        if "properties" in node:
            assert node["description"]
            for inner in node["properties"].values():
                check(inner)
        elif node.get("type") == "array":
            check(node["items"])
        elif "additionalProperties" in node:
            check(node["additionalProperties"])
        else:
            assert node.keys() & {
                "type",
                "x-kubernetes-int-or-string",
                "x-kubernetes-preserve-unknown-fields",
            }

    check(schema)
    msgspec.json.encode(schema)


def test_schema_of_services() -> None:
    properties = openapi_schema(SERVICE)["properties"]
    spec = properties["spec"]["properties"]["template"]["properties"]["spec"]["properties"]
    assert spec["timeoutSeconds"]["type"] == "integer"
    assert "504" in spec["timeoutSeconds"]["description"]
    assert spec["affinity"] == {"x-kubernetes-preserve-unknown-fields": True}
    container = spec["containers"]["items"]["properties"]
    limits = container["resources"]["properties"]["limits"]
    assert limits["additionalProperties"] == {"x-kubernetes-int-or-string": True}
    probe = container["readinessProbe"]["properties"]["httpGet"]["properties"]
    assert probe["port"] == {"x-kubernetes-int-or-string": True}


def test_the_part_of_a_revision_that_is_a_pod() -> None:
    service = msgspec.convert(
        {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [{"image": "app"}],
                        "timeoutSeconds": 3,
                        "affinity": {},
                    }
                }
            }
        },
        type=SERVICE.model,
    )
    assert service.spec is not None
    assert service.spec.template is not None
    assert service.spec.template.spec is not None
    pod = pod_spec_of(service.spec.template.spec)
    assert msgspec.to_builtins(pod) == {"containers": ({"image": "app"},)}
