import pytest

from knarr.apiserver.fieldmanagement import (
    BuiltinSchemas,
    MergeProblem,
    custom_resource_schema,
    encode_set,
    field_set,
    schema_from_openapi,
)
from knarr.apiserver.protobuf.wire import WireTables


@pytest.fixture(scope="module")
def builtin():
    return BuiltinSchemas(WireTables().get())


def test_pod_template(builtin):
    schema = builtin.schema("apps", "v1", "Deployment")
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "labels": {"a": "b"},
            "finalizers": ["x"],
            "ownerReferences": [{"uid": "1", "name": "o"}],
        },
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "spec": {
                    "nodeSelector": {"a": "b"},
                    "containers": [
                        {
                            "name": "c",
                            "args": ["x"],
                            "resources": {"limits": {"cpu": "1"}},
                            "ports": [{"containerPort": 80}],
                            "env": [
                                {
                                    "name": "E",
                                    "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}},
                                }
                            ],
                            "volumeMounts": [{"mountPath": "/x", "name": "v"}],
                        }
                    ],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                    "imagePullSecrets": [{"name": "p"}],
                    "tolerations": [{"key": "k"}],
                }
            },
        },
    }
    assert encode_set(field_set(document, schema, strict=True)) == {
        "f:apiVersion": {},
        "f:kind": {},
        "f:metadata": {
            "f:finalizers": {'v:"x"': {}},
            "f:labels": {"f:a": {}},
            "f:ownerReferences": {'k:{"uid":"1"}': {}},
        },
        "f:spec": {
            "f:selector": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:args": {},
                            "f:env": {
                                'k:{"name":"E"}': {
                                    ".": {},
                                    "f:name": {},
                                    "f:valueFrom": {"f:secretKeyRef": {}},
                                }
                            },
                            "f:name": {},
                            "f:ports": {
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                }
                            },
                            "f:resources": {"f:limits": {"f:cpu": {}}},
                            "f:volumeMounts": {
                                'k:{"mountPath":"/x"}': {".": {}, "f:mountPath": {}, "f:name": {}}
                            },
                        }
                    },
                    "f:imagePullSecrets": {'k:{"name":"p"}': {}},
                    "f:nodeSelector": {},
                    "f:tolerations": {},
                    "f:volumes": {'k:{"name":"v"}': {".": {}, "f:emptyDir": {}, "f:name": {}}},
                }
            },
        },
    }


def test_unknown_fields_of_builtin_kinds(builtin):
    schema = builtin.schema("", "v1", "Pod")
    with pytest.raises(MergeProblem, match=r"\.spec\.bogus: field not declared"):
        field_set({"spec": {"bogus": 1}}, schema, strict=True)
    env = [{"name": "a", "valueFrom": {"secretKeyRef": {"zz": 1}}}]
    with pytest.raises(MergeProblem, match=r"secretKeyRef\.zz: field not declared"):
        field_set({"spec": {"containers": [{"name": "c", "env": env}]}}, schema, strict=True)


def test_service_ports(builtin):
    schema = builtin.schema("", "v1", "Service")
    ports = [{"port": 80}, {"port": 80, "protocol": "UDP"}]
    fields = encode_set(field_set({"spec": {"ports": ports, "selector": {"a": "b"}}}, schema))
    assert set(fields["f:spec"]["f:ports"]) == {
        'k:{"port":80,"protocol":"TCP"}',
        'k:{"port":80,"protocol":"UDP"}',
    }
    assert fields["f:spec"]["f:selector"] == {}


def test_config_map_and_crd(builtin):
    schema = builtin.schema("", "v1", "ConfigMap")
    assert encode_set(field_set({"data": {"a": "b"}}, schema)) == {"f:data": {"f:a": {}}}
    schema = builtin.schema("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    fields = field_set({"spec": {"versions": [{"name": "v1"}], "group": "g"}}, schema, strict=True)
    assert encode_set(fields) == {"f:spec": {"f:group": {}, "f:versions": {}}}


def test_empty_objects(builtin):
    assert builtin.empty("apps", "v1", "Deployment") == {
        "metadata": {},
        "spec": {
            "selector": None,
            "strategy": {},
            "template": {"metadata": {}, "spec": {"containers": None}},
        },
        "status": {},
    }
    assert builtin.empty("", "v1", "ConfigMap") == {"metadata": {}}
    assert builtin.empty("x", "v1", "Nope") == {}
    assert builtin.schema("x", "v1", "Nope") is None


CRD = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "plain": {"type": "array", "items": {"type": "string"}},
                "set": {
                    "type": "array",
                    "items": {"type": "string"},
                    "x-kubernetes-list-type": "set",
                },
                "map": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name", "proto"],
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": {"type": "string"},
                            "proto": {"type": "string", "default": "TCP"},
                        },
                    },
                },
                "atomic": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "properties": {"a": {"type": "string"}},
                },
                "values": {"type": "object", "additionalProperties": {"type": "integer"}},
                "port": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "raw": {"x-kubernetes-preserve-unknown-fields": True},
                "embedded": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "x-kubernetes-preserve-unknown-fields": True,
                },
            },
        }
    },
}


def test_custom_resource():
    document = {
        "metadata": {"labels": {"a": "b"}, "finalizers": ["f"]},
        "spec": {
            "plain": ["a"],
            "set": ["a"],
            "map": [{"name": "n"}],
            "atomic": {"a": "x"},
            "values": {"k": 1},
            "port": "http",
            "free": {"a": {"b": 1}},
            "raw": [1],
            "embedded": {"kind": "X", "metadata": {"labels": {"l": "1"}}, "spec": {"q": 1}},
        },
    }
    assert encode_set(field_set(document, custom_resource_schema(CRD), strict=True)) == {
        "f:metadata": {"f:finalizers": {'v:"f"': {}}, "f:labels": {"f:a": {}}},
        "f:spec": {
            "f:atomic": {},
            "f:embedded": {
                "f:kind": {},
                "f:metadata": {"f:labels": {"f:l": {}}},
                "f:spec": {".": {}, "f:q": {}},
            },
            "f:free": {"f:a": {".": {}, "f:b": {}}},
            "f:map": {'k:{"name":"n","proto":"TCP"}': {".": {}, "f:name": {}}},
            "f:plain": {},
            "f:port": {},
            "f:raw": {},
            "f:set": {'v:"a"': {}},
            "f:values": {"f:k": {}},
        },
    }


def test_custom_resource_without_a_schema():
    schema = custom_resource_schema(None)
    fields = field_set({"spec": {"a": 1}, "metadata": {"labels": {"x": "y"}}}, schema, strict=True)
    assert encode_set(fields) == {
        "f:metadata": {"f:labels": {"f:x": {}}},
        "f:spec": {".": {}, "f:a": {}},
    }


def test_references_may_be_recursive():
    components = {
        "io.Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"allOf": [{"$ref": "#/components/schemas/io.Node"}]},
                },
            },
        }
    }
    schema = schema_from_openapi({"$ref": "#/components/schemas/io.Node"}, components)
    document = {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}
    assert encode_set(field_set(document, schema, strict=True)) == {
        "f:children": {
            'k:{"name":"b"}': {
                ".": {},
                "f:children": {'k:{"name":"c"}': {".": {}, "f:name": {}}},
                "f:name": {},
            }
        },
        "f:name": {},
    }


def test_strategic_merge_tells_list_types_too():
    schema = schema_from_openapi(
        {
            "type": "object",
            "properties": {
                "env": {
                    "type": "array",
                    "items": {"type": "object"},
                    "x-kubernetes-patch-strategy": "merge",
                    "x-kubernetes-patch-merge-key": "name",
                },
                "finalizers": {
                    "type": "array",
                    "items": {"type": "string"},
                    "x-kubernetes-patch-strategy": "merge",
                },
            },
        }
    )
    assert encode_set(field_set({"env": [{"name": "a"}], "finalizers": ["b"]}, schema)) == {
        "f:env": {'k:{"name":"a"}': {".": {}, "f:name": {}}},
        "f:finalizers": {'v:"b"': {}},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {}, "x-kubernetes-list-type": "bag"},
        {"type": "array", "items": {}, "x-kubernetes-list-type": "map"},
        {"type": "object", "x-kubernetes-map-type": "odd"},
        {"$ref": "#/nowhere"},
    ],
)
def test_malformed_schemas(schema):
    with pytest.raises(MergeProblem):
        schema_from_openapi(schema)
