"""Protobuf decode equals JSON decode: documents of every built-in kind, made from the table of the wire format."""

import base64
import datetime as dt
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.wire import encode_body

from knarr.apiserver.protobuf.decode import decode_body
from knarr.apiserver.protobuf.wire import WireTables

TABLE = WireTables().get()
GROUPS = {
    "core": "", "rbac": "rbac.authorization.k8s.io", "apiextensions": "apiextensions.k8s.io",
    "admissionregistration": "admissionregistration.k8s.io", "authentication": "authentication.k8s.io",
    "authorization": "authorization.k8s.io", "coordination": "coordination.k8s.io", "discovery": "discovery.k8s.io",
    "events": "events.k8s.io", "networking": "networking.k8s.io", "node": "node.k8s.io", "scheduling": "scheduling.k8s.io",
    "storage": "storage.k8s.io",
}  # fmt: skip
KINDS = sorted(
    name
    for name in TABLE._raw
    if not name.startswith("meta.")
    and any(
        field.name == "metadata" and field.type == "meta.ObjectMeta"
        for field in TABLE.fields(name).values()
    )
)
MOST_DEEP = 7

texts = st.text(string.ascii_letters + "-./ü\u2028\0", max_size=6)
moments = st.datetimes(
    dt.datetime(1970, 1, 2),  # noqa: DTZ001 - bounds are naive, the values are not
    dt.datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
SCALARS = {
    "string": texts,
    "bool": st.booleans(),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "float64": st.integers(-1000, 1000) | st.sampled_from([0.5, -2.25]),
    "[]byte": st.binary(max_size=5).map(lambda data: base64.b64encode(data).decode()),
    "Time": moments.map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "MicroTime": moments.map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
    "Quantity": st.sampled_from(["1", "100m", "2Gi", "0", "1e3"]),
    "IntOrString": st.integers(0, 65535) | st.sampled_from(["http", "25%"]),
    "Raw": json_values.filter(lambda value: value not in (None, {}, [], "", 0, False)),
    "StrItems": st.lists(texts, min_size=1, max_size=2),
    "JSONSchemaPropsOrStringArray": st.lists(texts, min_size=1, max_size=2),
}


@st.composite
def documents(draw, message, depth=0):
    """A document of a message, some of its fields left out."""
    result = {}
    for field in TABLE.fields(message).values():
        if field.inline and not field.name:
            result |= draw(documents(field.type, depth))
        elif field.name and draw(st.integers(0, depth)) == 0 and depth < MOST_DEEP:
            value = draw(_values(field, depth))
            if value not in (None, [], {}):
                result[field.name] = value
    return result


def _values(field, depth):
    if field.shape == "rep":
        return st.lists(_one(field.type, depth), max_size=2)
    if field.shape == "map":
        return st.dictionaries(texts, _one(field.type, depth), max_size=2)
    return _one(field.type, depth)


def _one(kind, depth):
    if kind in SCALARS:
        return SCALARS[kind]
    schema = documents("apiextensions/v1.JSONSchemaProps", depth + 2)
    if kind == "JSONSchemaPropsOrBool":
        return st.booleans() | schema
    if kind == "JSONSchemaPropsOrArray":
        return schema | st.lists(schema, min_size=1, max_size=2)
    return documents(kind, depth + 1)


def without_nothing(message, document):
    """The document without zeros where Go leaves them out and without what is empty."""
    result = {}
    for field in TABLE.by_name(message):
        if field.name not in document:
            continue
        value = _kept(field.type, field.shape, document[field.name])
        zero = (
            field.shape == "one" and value in ("", 0, False) and not isinstance(value, dict | list)
        )
        if value in (None, {}, []) or (zero and field.optional and not field.pointer):
            continue
        result[field.name] = value
    return result


def _kept(kind, shape, value):
    if shape == "rep":
        return [_kept(kind, "one", item) for item in value]
    if shape == "map":
        return {name: _kept(kind, "one", item) for name, item in value.items()}
    if isinstance(value, dict) and kind in TABLE:
        return without_nothing(kind, value)
    if isinstance(value, dict) and kind.startswith("JSONSchemaPropsOr"):
        return without_nothing("apiextensions/v1.JSONSchemaProps", value)
    if isinstance(value, list) and kind == "JSONSchemaPropsOrArray":
        return [without_nothing("apiextensions/v1.JSONSchemaProps", item) for item in value]
    return value


def test_the_table_has_every_kind():
    assert len(KINDS) > 60


@pytest.mark.parametrize("name", KINDS)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
@given(data=st.data())
def test_decoding_undoes_encoding(name, data):
    group, _, rest = name.partition("/")
    version, _, kind = rest.partition(".")
    prefix = GROUPS.get(group, group)
    api_version = f"{prefix}/{version}" if prefix else version
    document = data.draw(documents(name))
    decoded = decode_body(
        TABLE, encode_body(TABLE, document | {"apiVersion": api_version, "kind": kind})
    )
    assert (decoded.api_version, decoded.kind) == (api_version, kind)
    assert without_nothing(name, decoded.document) == without_nothing(name, document)
