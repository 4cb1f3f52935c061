"""Unknown fields: what a schema does not describe is dropped and reported."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from knarr.apiserver.structural.schema import Schema
from knarr.apiserver.structural.texts import invalid
from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import ObjectMeta, OwnerReference

META_FIELDS: Final = frozenset(("apiVersion", "kind", "metadata"))


def as_root(schema: Schema) -> Schema:
    """The schema of a whole resource: apiVersion, kind and metadata are implied."""
    return schema if schema.embedded else replace(schema, embedded=True)


def prune(document: Any, schema: Schema, *, root: bool = True) -> tuple[Any, list[str]]:
    """The document without unknown fields, and their paths in order.

    Args:
        document: a JSON value; not changed.
        schema: of the document.
        root: the document is a whole resource.
    """
    walk = _Pruning()
    result = walk.prune(document, as_root(schema) if root else schema, "")
    return result, sorted(walk.unknown)


class _Pruning:
    def __init__(self) -> None:
        self.unknown: list[str] = []

    def prune(self, value: Any, schema: Schema | None, path: str) -> Any:
        if schema is not None and schema.preserve:
            return self._keep(value, schema, path)
        if isinstance(value, dict):
            return self._object(value, schema, path)
        if isinstance(value, list):
            items = schema.items if schema is not None else None
            return [self.prune(item, items, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    def _object(self, value: dict[str, Any], schema: Schema | None, path: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if schema is not None and schema.embedded and name in META_FIELDS:
                result[name] = item
            elif schema is not None and name in schema.properties:
                result[name] = self.prune(item, schema.properties[name], where)
            elif schema is not None and schema.additional is not None:
                result[name] = self.prune(item, schema.entry(name), where)
            else:
                self.unknown.append(where)
        return result

    def _keep(self, value: Any, schema: Schema | None, path: str) -> Any:
        """Where unknown fields are kept, known ones still follow their own schemas."""
        if schema is None:
            return value
        if isinstance(value, list):
            return [
                self._keep(item, schema.items, f"{path}[{index}]")
                for index, item in enumerate(value)
            ]
        if not isinstance(value, dict):
            return value
        result = dict(value)
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if schema.embedded and name in META_FIELDS:
                continue
            if name in schema.properties or schema.additional is not None:
                result[name] = self.prune(item, schema.entry(name), where)
        return result


# Metadata of embedded resources

_METADATA: Final = frozenset(info.encode_name for info in msgspec.structs.fields(ObjectMeta))
_OWNER: Final = frozenset(info.encode_name for info in msgspec.structs.fields(OwnerReference))


def coerce_metadata(
    document: Any, schema: Schema, *, root: bool = False
) -> tuple[Any, list[str], tuple[FieldError, ...]]:
    """The metadata of embedded resources without unknown fields.

    Args:
        document: a JSON value; not changed.
        schema: of the document.
        root: treat the document's own metadata alike.

    Returns:
        The document, the paths of unknown fields in order, and what is malformed.
    """
    walk = _Coercion()
    result = walk.coerce(document, as_root(schema) if root else schema, "")
    return result, sorted(walk.unknown), tuple(walk.errors)


class _Coercion:
    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.errors: list[FieldError] = []

    def coerce(self, value: Any, schema: Schema | None, path: str) -> Any:
        if schema is None:
            return value
        if isinstance(value, list):
            return [
                self.coerce(item, schema.items, f"{path}[{index}]")
                for index, item in enumerate(value)
            ]
        if not isinstance(value, dict):
            return value
        result: dict[str, Any] = {}
        for name, item in value.items():
            where = f"{path}.{name}" if path else name
            if schema.embedded and name == "metadata":
                result[name] = self._metadata(item, where)
                continue
            if schema.embedded and name in META_FIELDS and not isinstance(item, str):
                self.errors.append(invalid(where, item, "must be a string"))
            result[name] = self.coerce(item, schema.entry(name), where)
        return result

    def _metadata(self, value: Any, path: str) -> Any:
        try:
            msgspec.convert(value, ObjectMeta)
        except msgspec.ValidationError as error:
            self.errors.append(invalid(path, value, str(error)))
            return value
        result = self._known(value, _METADATA, path)
        if result.get("creationTimestamp", "") is None:
            del result["creationTimestamp"]
        owners = result.get("ownerReferences")
        if owners is not None:
            result["ownerReferences"] = [
                self._known(owner, _OWNER, f"{path}.ownerReferences[{index}]")
                for index, owner in enumerate(owners)
            ]
        return result

    def _known(self, value: Mapping[str, Any], names: frozenset[str], path: str) -> dict[str, Any]:
        self.unknown.extend(f"{path}.{name}" for name in value if name not in names)
        return {name: item for name, item in value.items() if name in names}
