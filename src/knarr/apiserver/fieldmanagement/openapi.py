"""Merge schemas from OpenAPI v3: documents with ``$ref`` and CustomResourceDefinitions' schemas alike."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from knarr.apiserver.fieldmanagement.elements import MergeProblem
from knarr.apiserver.fieldmanagement.schema import (
    ATOMIC,
    SCALAR,
    UNTYPED,
    ListRule,
    MapRule,
    MergeSchema,
)

_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"
_LIST_TYPE: Final = "x-kubernetes-list-type"
_MAP_KEYS: Final = "x-kubernetes-list-map-keys"
_MAP_TYPE: Final = "x-kubernetes-map-type"
_STRATEGY: Final = "x-kubernetes-patch-strategy"
_MERGE_KEY: Final = "x-kubernetes-patch-merge-key"

Components = Mapping[str, Mapping[str, Any]]

_OWNER: Final = MergeSchema(map=MapRule(free=True, atomic=True))
_STRINGS: Final = MergeSchema(map=MapRule(values=SCALAR))
_SCALARS: Final = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation",
    "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
OBJECT_META: Final = MergeSchema(
    map=MapRule(
        fields={
            **dict.fromkeys(_SCALARS, SCALAR),
            "labels": _STRINGS,
            "annotations": _STRINGS,
            "finalizers": MergeSchema(list=ListRule("set", items=SCALAR)),
            "ownerReferences": MergeSchema(
                list=ListRule("map", ("uid",), {"uid": ""}, items=_OWNER)
            ),
            "managedFields": MergeSchema(list=ListRule(items=UNTYPED)),
        }
    )
)
"""``metav1.ObjectMeta``, which schemas of custom resources leave out."""


def schema_from_openapi(
    schema: Mapping[str, Any], components: Components | None = None
) -> MergeSchema:
    """The merge schema of an OpenAPI v3 schema.

    Args:
        schema: a schema object; vendor extensions as in Kubernetes.
        components: what ``$ref`` names, by the last part of the reference.

    Raises:
        MergeProblem: a list type is malformed or a reference leads nowhere.
    """
    return _Builder(components or {}).build(schema, preserve=False)


def custom_resource_schema(schema: Mapping[str, Any] | None) -> MergeSchema:
    """The merge schema of a custom resource.

    Args:
        schema: ``openAPIV3Schema`` of the version, None when it has none.

    Raises:
        MergeProblem: a list type is malformed.
    """
    described = _Builder({}).build(schema or {_PRESERVE: True}, preserve=False).map
    declared = described or MapRule(free=True)
    implicit = {"apiVersion": SCALAR, "kind": SCALAR, "metadata": OBJECT_META}
    return MergeSchema(
        map=MapRule(
            fields={**declared.fields, **implicit}, values=declared.values, free=declared.free
        )
    )


class _LazyFields(Mapping[str, MergeSchema]):
    """Fields of a named schema, built when first looked at: schemas may contain themselves."""

    def __init__(self, builder: "_Builder", schema: Mapping[str, Any], *, preserve: bool) -> None:
        self._builder = builder
        self._schema = schema
        self._preserve = preserve
        self._built: dict[str, MergeSchema] = {}

    def _properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self._schema.get("properties") or {}
        return properties

    def __getitem__(self, name: str) -> MergeSchema:
        if name not in self._built:
            inner = self._properties()[name]
            self._built[name] = self._builder.build(inner, preserve=self._preserve)
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._properties()

    def __iter__(self) -> Iterator[str]:
        return iter(self._properties())

    def __len__(self) -> int:
        return len(self._properties())


class _Builder:
    def __init__(self, components: Components) -> None:
        self._components = components
        self._named: dict[tuple[str, bool, str], MergeSchema] = {}

    def build(self, schema: Mapping[str, Any], *, preserve: bool) -> MergeSchema:
        reference = _reference(schema)
        if reference:
            return self._reference(reference, str(schema.get(_MAP_TYPE) or ""), preserve=preserve)
        return self._inline(schema, preserve=preserve)

    def _reference(self, name: str, map_type: str, *, preserve: bool) -> MergeSchema:
        key = (name, preserve, map_type)
        if key not in self._named:
            if name not in self._components:
                raise MergeProblem(f"no schema is named {name!r}")
            target = dict(self._components[name])
            if map_type:
                target[_MAP_TYPE] = map_type
            self._named[key] = self._inline(target, preserve=preserve, lazy=True)
        return self._named[key]

    def _inline(
        self, schema: Mapping[str, Any], *, preserve: bool, lazy: bool = False
    ) -> MergeSchema:
        preserve = preserve or schema.get(_PRESERVE) is True
        if schema.get(_INT_OR_STRING):
            return SCALAR
        match schema.get("type") or "":
            case "object":
                return self._with_meta(schema, self._object(schema, preserve=preserve, lazy=lazy))
            case "array":
                return MergeSchema(list=self._array(schema, preserve=preserve))
            case "":
                return MergeSchema(
                    map=self._object(schema, preserve=preserve, lazy=lazy),
                    list=self._array(schema, preserve=preserve),
                    scalar=True,
                )
            case _:
                return SCALAR

    def _with_meta(self, schema: Mapping[str, Any], rule: MapRule) -> MergeSchema:
        if not schema.get(_EMBEDDED):
            return MergeSchema(map=rule)
        implicit = {"apiVersion": SCALAR, "kind": SCALAR, "metadata": OBJECT_META}
        fields = {**rule.fields, **implicit}
        return MergeSchema(map=MapRule(fields, rule.values, rule.free, rule.atomic))

    def _object(self, schema: Mapping[str, Any], *, preserve: bool, lazy: bool) -> MapRule:
        atomic = _map_type(schema) == "atomic"
        lazily = _LazyFields(self, schema, preserve=preserve)
        fields: Mapping[str, MergeSchema] = lazily if lazy else dict(lazily)
        others = schema.get("additionalProperties")
        if isinstance(others, Mapping):
            return MapRule(fields, self.build(others, preserve=preserve), atomic=atomic)
        free = others is True or (others is None and (preserve or not fields))
        return MapRule(fields, free=free, atomic=atomic)

    def _array(self, schema: Mapping[str, Any], *, preserve: bool) -> ListRule:
        items = schema.get("items")
        inner = self.build(items, preserve=preserve) if isinstance(items, Mapping) else ATOMIC
        kind, keys = _list_type(schema)
        if kind == "atomic":
            return ListRule(items=inner)
        if kind == "set":
            return ListRule("set", items=inner)
        return ListRule("map", keys, self._defaults(items, keys), inner)

    def _defaults(self, items: Any, keys: tuple[str, ...]) -> dict[str, Any]:
        if isinstance(items, Mapping) and (reference := _reference(items)):
            items = self._components.get(reference)
        properties = items.get("properties") if isinstance(items, Mapping) else None
        return {
            key: properties[key]["default"]
            for key in keys
            if properties and (properties.get(key) or {}).get("default") is not None
        }


def _reference(schema: Mapping[str, Any]) -> str:
    """The name that a schema refers to, also through an ``allOf`` of one."""
    reference = schema.get("$ref")
    combined = schema.get("allOf")
    if not reference and isinstance(combined, list) and len(combined) == 1:
        reference = combined[0].get("$ref")
    return str(reference or "").rpartition("/")[2]


def _map_type(schema: Mapping[str, Any]) -> str:
    kind = schema.get(_MAP_TYPE)
    if kind not in (None, "atomic", "granular"):
        raise MergeProblem(f"unknown map type {kind}")
    return kind or "granular"


def _list_type(schema: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    kind = schema.get(_LIST_TYPE)
    if kind is None:
        return _strategy(schema)
    if kind not in ("atomic", "set", "map"):
        raise MergeProblem(f"unknown list type {kind}")
    keys = tuple(schema.get(_MAP_KEYS) or ())
    if kind == "map" and not keys:
        raise MergeProblem("missing map keys")
    return kind, keys


def _strategy(schema: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The list type that a strategic merge patch would use, for schemas that only tell that."""
    if schema.get(_STRATEGY) not in ("merge", "merge,retainKeys"):
        return "atomic", ()
    key = schema.get(_MERGE_KEY)
    return ("map", (str(key),)) if key else ("set", ())
