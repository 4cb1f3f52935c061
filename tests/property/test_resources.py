"""Whatever decodes can be defaulted, validated, tabulated and written again."""

import types
import typing
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knarr.meta.fielderrors import causes_of, format_field_errors
from knarr.resources.catalog import KINDS
from knarr.resources.kind import Admission, Kind, Operation, UserInfo

TEXTS = st.sampled_from(
    ["", "a", "hello", "hello-a", "A B", "x" * 70, "1", "-1", "100m", "1Gi", "9e99", "Always", "TCP",
     "latest", "queue-proxy", "2026-01-01T00:00:00Z", "None", "/", "/data", "../x", "é", "a=b",
     "autoscaling.knative.dev/min-scale", "5s", "True", "False", "ExternalName", "100%"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["", "a", "app", "cpu", "memory", "autoscaling.knative.dev/min-scale", "K S",
     "autoscaling.knative.dev/class", "autoscaling.knative.dev/window", "_example",
     "serving.knative.dev/creator", "serving.knative.dev/service",
     "queue.sidecar.serving.knative.dev/resource-percentage", "x/y/z"]
)  # fmt: skip
NUMBERS = st.sampled_from([-1, 0, 1, 3, 80, 8012, 300, 65536, 2**31, 2**40])
FREE = st.sampled_from([None, {}, {"claimName": "c"}, [], "x", True, 1, {"readOnly": True}])
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: NUMBERS,
    bool: st.booleans(),
    float: st.sampled_from([0.5, 1.0, -2.5]),
    bytes: st.sampled_from([b"", b"x"]),
    Any: FREE,
}


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    if hint in SCALARS:
        return SCALARS[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        members = [item for item in arguments if item is not type(None)]
        absent = [st.none()] if len(members) < len(arguments) else []
        return st.one_of(*absent, *(of_type(item) for item in members))
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(of_type(arguments[0]), max_size=2).map(tuple)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(KEYS, of_type(arguments[1]), max_size=2)
    return of_struct(hint)


_STRUCTS: dict[type, st.SearchStrategy[Any]] = {}


def of_struct(model: Any) -> st.SearchStrategy[Any]:
    if model not in _STRUCTS:
        hints = typing.get_type_hints(model)
        required = {
            field.name: of_type(hints[field.name])
            for field in msgspec.structs.fields(model)
            if field.required
        }
        names = [field.name for field in msgspec.structs.fields(model) if not field.required]

        @st.composite
        def build(draw: Any) -> Any:
            chosen = (
                draw(st.lists(st.sampled_from(names), unique=True, max_size=4)) if names else []
            )
            values = {name: draw(strategy) for name, strategy in required.items()}
            values |= {name: draw(of_type(hints[name])) for name in chosen}
            return model(**values)

        _STRUCTS[model] = build()
    return _STRUCTS[model]


def decoded(kind: Kind[Any]) -> st.SearchStrategy[Any]:
    def through_the_wire(subject: Any) -> Any:
        return msgspec.json.decode(msgspec.json.encode(subject), type=kind.model)

    spec = typing.get_type_hints(kind.model).get("spec")
    fields = {"metadata": of_struct(typing.get_type_hints(kind.model)["metadata"])}
    if spec is not None:
        fields["spec"] = of_type(spec)
    whole = st.fixed_dictionaries(fields).map(lambda values: kind.model(**values))
    return st.one_of(whole, of_struct(kind.model)).map(through_the_wire)


def admission(operation: Operation, old: Any = None, **config: Mapping[str, str]) -> Admission:
    return Admission(operation=operation, user=UserInfo("jane"), old=old, config=config)


CONFIGS = st.sampled_from(
    [
        {},
        {"config-features": {"secure-pod-defaults": "Enabled", "multi-container": "Disabled"}},
        {"config-features": {"kubernetes.podspec-securitycontext": "Enabled",
                             "kubernetes.podspec-init-containers": "Enabled",
                             "kubernetes.podspec-volumes-hostpath": "Allowed",
                             "multi-container-probing": "Enabled"}},
        {"config-defaults": {"revision-cpu-request": "0.1", "container-concurrency": "3"}},
        {"config-autoscaler": {"max-scale-limit": "10", "max-scale": "5"}},
    ]
)  # fmt: skip
BY_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.kind}.{kind.group}")
QUICK = settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def defaulted(kind: Kind[Any], subject: Any, given_: Admission) -> Any:
    return kind.default(subject, given_) if kind.default else subject


@BY_KIND
@QUICK
@given(data=st.data(), config=CONFIGS)
def test_whatever_decodes_is_handled(
    kind: Kind[Any], data: st.DataObject, config: dict[str, Mapping[str, str]]
) -> None:
    creating = admission("CREATE", **config)
    subject = data.draw(decoded(kind))

    stored = defaulted(kind, subject, creating)
    assert defaulted(kind, stored, creating) == stored, "defaulting twice is defaulting once"

    encoded = msgspec.json.encode(stored)
    again = msgspec.json.decode(encoded, type=kind.model)
    assert again == stored
    assert msgspec.json.encode(again) == encoded

    assert kind.validate is not None
    errors = kind.validate(stored, creating)
    assert isinstance(format_field_errors(errors), str)
    causes_of(errors)

    updating = admission("UPDATE", stored, **config)
    assert defaulted(kind, stored, updating) == stored, "an unchanged update changes nothing"
    other = defaulted(kind, data.draw(decoded(kind)), updating)
    format_field_errors(kind.validate(other, updating))

    check_row(kind, msgspec.json.decode(encoded))


def check_row(kind: Kind[Any], document: Any) -> None:
    for column in kind.columns:
        cell = column.cell(document, 1_767_225_600.0)
        assert cell is None or isinstance(cell, str | int)
    for read in kind.selectable.values():
        assert isinstance(read(document), str)
