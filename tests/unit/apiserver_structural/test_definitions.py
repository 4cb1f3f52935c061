import copy

import pytest

from knarr.apiserver.structural import (
    BadSchema,
    CrdVersion,
    cel_errors,
    cel_rules,
    definition_errors,
    definition_update_errors,
    parse_schema,
    schema_errors,
    unknown_keywords,
)
from knarr.apiserver.structural.texts import text_of


def root(**properties):
    return {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": properties}},
    }


def problems(schema, **options):
    return [text_of(error) for error in schema_errors(schema, "s", **options)]


N = "s.properties[spec].properties[n]"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, [f"{N}.type: Required value: must not be empty for specified object fields"]),
        ({"type": "array"}, [f"{N}.items: Required value: must be specified"]),
        (
            {"type": "array", "items": {}},
            [f"{N}.items.type: Required value: must not be empty for specified array items"],
        ),
        (
            {"type": "text"},
            [
                f'{N}.type: Unsupported value: "text": supported values: "array", "boolean", "integer", '
                '"number", "object", "string"'
            ],
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            [f"{N}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
        ),
        (
            {"type": "string", "anyOf": [{"type": "string"}]},
            [f"{N}.anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            {"type": "string", "allOf": [{"default": "x", "nullable": True, "description": "d"}]},
            [
                f"{N}.allOf[0].default: Forbidden: must be undefined to be structural",
                f"{N}.allOf[0].description: Forbidden: must be empty to be structural",
                f"{N}.allOf[0].nullable: Forbidden: must be false to be structural",
            ],
        ),
        (
            {"type": "string", "pattern": "("},
            [f'{N}.pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: '],
        ),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, [f"{N}.uniqueItems: Forbidden: uniqueItems cannot be set"]),
        (
            {"type": "string", "x-kubernetes-list-type": "set"},
            [f'{N}.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified'],
        ),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "bag"},
            [f'{N}.x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"'],
        ),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"},
            [f"{N}.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list"],
        ),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            [f"{N}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
        ),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object", "properties": {"a": {"type": "string"}}},
            },
            [
                f"{N}.items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, "
                "so it must have a default or be a required property",
                f'{N}.x-kubernetes-list-map-keys: Invalid value: ["a","b"]: entries must all be names of item properties',
            ],
        ),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-map-keys": ["a"]},
            [f"{N}.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"],
        ),
        (
            {"type": "object", "x-kubernetes-map-type": "odd"},
            [f'{N}.x-kubernetes-map-type: Unsupported value: "odd": supported values: "atomic", "granular"'],
        ),
        (
            {"type": "string", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
            [f'{N}.type: Invalid value: "string": must be object if x-kubernetes-embedded-resource is true'],
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            [f"{N}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true"],
        ),
        (
            {"type": "string", "x-kubernetes-preserve-unknown-fields": False},
            [f"{N}.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
        ),
        ({"type": "string", "$ref": "#/x"}, [f"{N}.$ref: Forbidden: $ref is not supported"]),
        (
            {"type": "integer", "default": "x"},
            [f'{N}.default: Invalid value: "string": {N}.default in body must be of type integer'],
        ),
        (
            {"type": "object", "default": {"a": 1}, "properties": {}},
            [f'{N}.default: Invalid value: {{"a":1}}: must not have unknown fields'],
        ),
        ({"type": 3}, [f"{N}.type: Invalid value: 3: must be of type string"]),
        ({"type": "object", "properties": []}, [f"{N}.properties: Invalid value: []: must be of type named"]),
        ({"type": "string", "minLength": 1.5}, [f"{N}.minLength: Invalid value: 1.5: must be of type integer"]),
        (3, [f"{N}: Invalid value: 3: must be a schema object"]),
    ],
)  # fmt: skip
def test_refused(schema, expected):
    found = problems(root(n=schema))
    if schema == {"type": "integer", "default": "x"}:
        expected = [
            f'{N}.default: Invalid value: "string":  in body must be of type integer: "string"'
        ]
    assert len(found) == len(expected), found
    for text, start in zip(sorted(found), expected, strict=True):
        assert text.startswith(start), text


@pytest.mark.parametrize(
    "schema",
    [
        {"x-kubernetes-int-or-string": True},
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        {
            "x-kubernetes-int-or-string": True,
            "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}],
        },
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "object", "additionalProperties": True},
        {"type": "object", "properties": {"a": {"type": "string"}}, "oneOf": [{"required": ["a"]}]},
        {"type": "string", "default": "x", "enum": ["x"]},
        {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "x-kubernetes-preserve-unknown-fields": True,
        },
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["a"],
            "items": {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
            },
        },
        {"type": "string", "format": "anything"},
        {"type": "object", "x-unheard": 1},
    ],
)
def test_accepted(schema):
    assert problems(root(n=schema), has_status=True) == []
    assert parse_schema(root(n=schema)) is not None


def test_the_root():
    assert problems({"type": "string"})[-1].startswith("s.type: Invalid value")
    assert problems({}) == ["s.type: Required value: must not be empty at the root"]
    assert problems({"type": "object", "additionalProperties": True}) == [
        "s.additionalProperties: Forbidden: must not be used at the root"
    ]
    assert problems({"type": "object", "nullable": True}) == [
        "s.nullable: Forbidden: nullable cannot be true at the root"
    ]
    metadata = {"type": "object", "properties": {"labels": {"type": "object"}}}
    assert problems({"type": "object", "properties": {"metadata": metadata}}) == [
        "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, "
        "but metadata is implicitly specified"
    ]
    name = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}
    assert problems({"type": "object", "properties": {"metadata": name}}) == []
    kind = {"type": "object", "properties": {"kind": {"type": "integer"}}}
    assert problems(kind) == ['s.properties[kind].type: Invalid value: "integer": must be string']
    default = {"type": "object", "properties": {"kind": {"type": "string", "default": "X"}}}
    assert problems(default) == [
        "s.properties[kind].default: Forbidden: must not be set in top-level kind"
    ]
    assert (
        "status subresource is enabled"
        in problems({"type": "object", "oneOf": [{"required": ["a"]}]}, has_status=True)[0]
    )


def test_what_alternatives_judge_must_be_described():
    schema = root(l={"type": "array", "items": {"type": "string"}})
    schema["anyOf"] = [{"properties": {"spec": {"properties": {"a": {"minimum": 1}}}}}]
    schema["not"] = {"properties": {"spec": {"properties": {"l": {"items": {"pattern": "x"}}}}}}
    schema["oneOf"] = [{"properties": {"spec": {"items": {"minimum": 1}}}}]
    assert problems(schema) == [
        "s.properties[spec].items: Required value: because it is defined in "
        "s.oneOf[0].properties[spec].items",
        "s.properties[spec].properties[a]: Required value: because it is defined in "
        "s.anyOf[0].properties[spec].properties[a]",
    ]


def test_cel():
    schema = root(
        n={"type": "string", "x-kubernetes-validations": [{"rule": "self != ''"}, {"rule": "x"}]}
    )
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "true"}]
    assert problems(schema) == []
    assert cel_rules(schema, "s") == (
        "s.properties[spec].x-kubernetes-validations[0]",
        f"{N}.x-kubernetes-validations[0]",
        f"{N}.x-kubernetes-validations[1]",
    )
    (error,) = cel_errors(schema, "s")
    assert error.paths == (f"{N}.x-kubernetes-validations[1].rule",)
    assert "undeclared reference to 'x'" in error.details
    assert cel_errors(root(), "s") == ()


def test_unknown_keywords():
    schema = root(n={"type": "array", "items": {"type": "string", "b": 1}, "anyOf": [{"c": 1}]})
    schema["a"] = 1
    assert unknown_keywords(schema, "s") == [
        "s.a",
        "s.properties.spec.properties.n.anyOf[0].c",
        "s.properties.spec.properties.n.items.b",
    ]


@pytest.mark.parametrize("schema", [{"properties": 3}, {"pattern": "("}, {"items": [1]}])
def test_unusable_schemas(schema):
    with pytest.raises(BadSchema):
        parse_schema(schema)


# Definitions

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": root(color={"type": "string"}, n={"type": "number"})},
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"},
                },
                "additionalPrinterColumns": [
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color"}
                ],
                "selectableFields": [{"jsonPath": ".spec.color"}],
            }
        ],
    },
}


# what an error shows of the version above: all versions have the rest in common
SHOWN = (
    '{"Name":"v1","Served":true,"Storage":true,"Deprecated":false,"DeprecationWarning":null,"Schema":null,'
    '"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}'
)
UNSTORED = SHOWN.replace('"Storage":true', '"Storage":false')


def completed(definition):
    """With what defaulting adds."""
    spec = definition["spec"]
    if not isinstance(spec["names"], dict):
        return {**definition, "spec": {"conversion": {"strategy": "None"}, **spec}}
    kind = str(spec["names"].get("kind") or "")
    names = {"singular": kind.lower(), "listKind": f"{kind}List" if kind else "", **spec["names"]}
    return {**definition, "spec": {"conversion": {"strategy": "None"}, **spec, "names": names}}


def changed(change):
    definition = copy.deepcopy(DEFINITION)
    change(definition["spec"])
    return completed(definition)


def test_a_good_definition():
    assert definition_errors(completed(DEFINITION)) == ()
    version = CrdVersion(DEFINITION["spec"]["versions"][0])
    assert version.columns[0].cell({"spec": {"color": "red"}}, 0.0, str) == "red"


def version(change):
    return changed(lambda spec: change(spec["versions"][0]))


V = "spec.versions[0]"


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (changed(lambda s: s.pop("group")), ["metadata.name: ", "spec.group: Required value"]),
        (
            changed(lambda s: s.update(group="example")),
            ["metadata.name: ", 'spec.group: Invalid value: "example": should be a domain with at least one dot'],
        ),
        (
            changed(lambda s: s.update(scope="World")),
            ['spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"'],
        ),
        (changed(lambda s: s.pop("scope")), ["spec.scope: Required value"]),
        (
            changed(lambda s: s["names"].update(kind="Thing", listKind="Thing")),
            ['spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same'],
        ),
        (changed(lambda s: s["names"].update(shortNames=["A"])), ['spec.names.shortNames[0]: Invalid value: "A"']),
        (changed(lambda s: s["names"].pop("kind")), ["spec.names.kind: Required value", "spec.names.listKind", "spec.names.singular"]),
        (changed(lambda s: s.update(preserveUnknownFields=True)), ["spec.preserveUnknownFields: Invalid value: true: cannot set to true"]),
        (
            changed(lambda s: s["versions"][0].update(storage=False)),
            [f"spec.versions: Invalid value: [{UNSTORED}]: must have exactly one version marked as storage version"],
        ),
        (
            changed(lambda s: s["versions"].append({**s["versions"][0], "storage": False})),
            [f"spec.versions: Invalid value: [{SHOWN},{UNSTORED}]: must contain unique version names"],
        ),
        (version(lambda v: v.pop("schema")), ["spec.selectableFields: Invalid value", f"{V}.schema.openAPIV3Schema: Required value"]),
        (version(lambda v: v.update(name="V1")), ['spec.version: Invalid value: "V1"', f'{V}.name: Invalid value: "V1"']),
        (
            version(lambda v: v.update(deprecationWarning="x")),
            [f'{V}.deprecationWarning: Invalid value: "x": can only be set for deprecated versions'],
        ),
        (
            version(lambda v: v["subresources"]["scale"].update(specReplicasPath=".status.n", statusReplicasPath="n")),
            [
                'spec.subresources.scale.specReplicasPath: Invalid value: ".status.n": should be a json path under .spec',
                'spec.subresources.scale.statusReplicasPath: Invalid value: "n": must be a simple json path starting with .',
            ],
        ),
        (
            version(lambda v: v["subresources"]["scale"].update(specReplicasPath="", labelSelectorPath=".x")),
            [
                'spec.subresources.scale.labelSelectorPath: Invalid value: ".x": should be a json path under either',
                "spec.subresources.scale.specReplicasPath: Required value",
            ],
        ),
        (
            version(lambda v: v.update(additionalPrinterColumns=[{"name": "", "type": "text", "jsonPath": "spec", "format": "odd"}])),
            [
                'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting with .',
                'spec.additionalPrinterColumns[0].format: Invalid value: "odd": must be one of byte,date',
                "spec.additionalPrinterColumns[0].name: Required value",
                'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string',
            ],
        ),
        (
            version(lambda v: v.update(additionalPrinterColumns=[{"name": "A", "jsonPath": ".a[x]"}])),
            [
                'spec.additionalPrinterColumns[0].JSONPath: Invalid value: ".a[x]": invalid array index x',
                "spec.additionalPrinterColumns[0].type: Required value: must be one of",
            ],
        ),
        (
            version(lambda v: v.update(selectableFields=[{"jsonPath": ".spec.n"}, {"jsonPath": ".spec.x"}, {}, {"jsonPath": "spec"}, {"jsonPath": ".a['b']"}])),
            [
                'spec.selectableFields[0].jsonPath: Invalid value: ".spec.n": must point to a field of type string',
                'spec.selectableFields[1].jsonPath: Invalid value: ".spec.x": is an invalid path: does not refer to a valid field',
                "spec.selectableFields[2].jsonPath: Required value",
                'spec.selectableFields[3].jsonPath: Invalid value: "spec": is an invalid path: expected [ or .',
                'spec.selectableFields[4].jsonPath: Invalid value: ".a[\'b\']": is an invalid path: array notation',
            ],
        ),
        (
            version(lambda v: v.update(selectableFields=[{"jsonPath": ".spec.color"}] * 2)),
            ['spec.selectableFields[1].jsonPath: Duplicate value: ".spec.color"'],
        ),
        (
            changed(lambda s: s.update(conversion={"strategy": "Webhook"})),
            ["spec.conversion.conversionReviewVersions: Required value", "spec.conversion.webhookClientConfig: Required value"],
        ),
        (
            changed(lambda s: s.update(conversion={"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v2"]}})),
            ['spec.conversion.conversionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1'],
        ),
        (changed(lambda s: s.update(conversion={"strategy": "Odd"})), ["spec.conversion.strategy: Unsupported value"]),
        (changed(lambda s: s.update(names=3)), ["spec.names: Invalid value: Expected `object | null`, got `int`"]),
        (changed(lambda s: s.update(versions=["v1"])), ["spec.versions[0]: Invalid value: Expected `object`, got `str`"]),
        ({"spec": None}, ["spec: Required value"]),
        ({"spec": 3}, ["spec: Invalid value: Expected `object | null`, got `int`"]),
    ],
)  # fmt: skip
def test_refused_definitions(definition, expected):
    found = sorted(text_of(error) for error in definition_errors(definition))
    assert len(found) == len(expected), found
    for text, start in zip(found, expected, strict=True):
        assert text.startswith(start), text


def test_versions_that_differ_are_named():
    def change(spec):
        other = copy.deepcopy(spec["versions"][0])
        other |= {"name": "v2", "storage": False}
        other["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] = "text"
        other["subresources"]["scale"]["specReplicasPath"] = "x"
        other["additionalPrinterColumns"][0]["name"] = ""
        other["selectableFields"] = [{"jsonPath": ".spec.n"}]
        spec["versions"].append(other)

    assert [text_of(error).partition(": ")[0] for error in definition_errors(changed(change))] == [
        "spec.versions[1].schema.openAPIV3Schema.properties[spec].type",
        "spec.versions[1].subresources.scale.specReplicasPath",
        "spec.versions[1].additionalPrinterColumns[0].name",
        "spec.versions[1].selectableFields[0].jsonPath",
    ]


def test_updates():
    old = completed(copy.deepcopy(DEFINITION))
    new = copy.deepcopy(old)
    new["spec"]["scope"] = "Cluster"
    assert definition_update_errors(new, old) == ()
    old["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
    new["spec"]["group"] = "other.org"
    new["status"] = {"storedVersions": ["v1", "v0"]}
    found = [text_of(error) for error in definition_update_errors(new, old)]
    assert found[:2] == [
        'spec.group: Invalid value: "other.org": field is immutable',
        'spec.scope: Invalid value: "Cluster": field is immutable',
    ]
    assert found[2].startswith(
        'status.storedVersions[1]: Invalid value: "v0": missing from spec.versions'
    )
    assert definition_update_errors({"spec": 1}, old) != ()
