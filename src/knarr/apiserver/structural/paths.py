"""Single fields that a definition points at: replicas, label selectors, selectable fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from knarr.apiserver.structural.schema import Schema
from knarr.apiserver.structural.texts import fits_int64, invalid, number
from knarr.meta.fielderrors import FieldError

_MAX_REPLICAS: Final = (1 << 31) - 1


class BadFieldPath(ValueError):
    """A path that leads to no field of the schema."""


def read(document: Any, path: str) -> Any:
    """The value at a simple path such as ``.spec.replicas``, None when there is none.

    Raises:
        TypeError: something on the way is no object.
    """
    so_far = ""
    for name in path.removeprefix(".").split("."):
        so_far = f"{so_far}.{name}"
        if document is None:
            return None
        if not isinstance(document, Mapping):
            raise TypeError(_accessor(so_far, document, "map[string]interface{}"))
        document = document.get(name)
    return document


def _accessor(path: str, value: Any, wanted: str) -> str:
    """An access of the wrong type in Go's words."""
    return f"{path} accessor error: {_go_text(value)} is of the type {_go_type(value)}, expected {wanted}"


def _go_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() if fits_int64(value):
            return "int64"
        case int() | float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case _:
            return "map[string]interface {}"


def _go_text(value: Any) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value if isinstance(value, int) and fits_int64(value) else float(value))
        case list():
            return f"[{' '.join(map(_go_text, value))}]"
        case dict():
            entries = (f"{name}:{_go_text(item)}" for name, item in sorted(value.items()))
            return f"map[{' '.join(entries)}]"
        case _:
            return str(value)


def written(document: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The document with a value at a simple path; objects on the way are made.

    Raises:
        TypeError: something on the way is no object.
    """
    name, _, rest = path.removeprefix(".").partition(".")
    if not rest:
        return {**document, name: value}
    inner = document.get(name)
    if inner is not None and not isinstance(inner, Mapping):
        raise TypeError(_accessor(f".{name}", inner, "map[string]interface{}"))
    return {**document, name: written(inner or {}, rest, value)}


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """The subresource ``scale`` of a version.

    Attributes:
        spec_replicas, status_replicas: paths as ``.spec.replicas``.
        label_selector: path of the selector's text, empty for none.
    """

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""

    def replicas(self, document: Mapping[str, Any]) -> int:
        """The wanted number of replicas, 0 when it is not set.

        Raises:
            TypeError: it is no number, or something on the way is no object.
        """
        return _integer(document, self.spec_replicas)

    def current(self, document: Mapping[str, Any]) -> int:
        """The present number of replicas, 0 when it is not set.

        Raises:
            TypeError: it is no number, or something on the way is no object.
        """
        return _integer(document, self.status_replicas)

    def selector(self, document: Mapping[str, Any]) -> str:
        """The label selector of the replicas.

        Raises:
            TypeError: it is no text, or something on the way is no object.
        """
        value = read(document, self.label_selector) if self.label_selector else None
        if value is not None and not isinstance(value, str):
            raise TypeError(_accessor(self.label_selector, value, "string"))
        return value or ""

    def errors(self, document: Mapping[str, Any]) -> tuple[FieldError, ...]:
        """What is wrong with the fields of a document."""
        return (*_replica_errors(document, self.spec_replicas), *self.status_errors(document))

    def status_errors(self, document: Mapping[str, Any]) -> tuple[FieldError, ...]:
        """What is wrong with the fields that a controller writes."""
        found = _replica_errors(document, self.status_replicas)
        try:
            self.selector(document)
        except TypeError as error:
            found.append(invalid(self.label_selector, "", str(error)))
        return tuple(found)


def _integer(document: Mapping[str, Any], path: str) -> int:
    value = read(document, path)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not fits_int64(value):
        raise TypeError(_accessor(path, value, "int64"))
    return value


def _replica_errors(document: Mapping[str, Any], path: str) -> list[FieldError]:
    try:
        value = _integer(document, path)
    except TypeError as error:
        return [invalid(path, 0, str(error))]
    if value < 0:
        return [invalid(path, value, "should be a non-negative integer")]
    if value > _MAX_REPLICAS:
        return [invalid(path, value, f"should be less than or equal to {_MAX_REPLICAS}")]
    return []


def scale_paths(subresources: Mapping[str, Any] | None) -> ScalePaths | None:
    """The scale of a version's ``subresources``, None when it has none."""
    scale = (subresources or {}).get("scale")
    if not scale:
        return None
    return ScalePaths(
        scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath") or ""
    )


# Selectable fields


def selectable_value(document: Mapping[str, Any], path: str) -> str:
    """What a field selector compares: the field's text, empty when it is absent."""
    try:
        value = read(document, path)
    except TypeError:
        return ""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case _:
            return str(value)


def field_at(path: str, schema: Schema) -> Schema:
    """The schema of the field at a path of plain names.

    Raises:
        BadFieldPath: there is no such field.
    """
    if "[" in path:
        raise BadFieldPath("array notation is not allowed")
    if not path.startswith("."):
        raise BadFieldPath(f"expected [ or . but got: {path.partition('.')[0]}")
    for name in path[1:].split("."):
        if not name:
            raise BadFieldPath("unexpected end of JSON path")
        known = schema.properties.get(name)
        if known is None and not schema.properties and isinstance(schema.additional, Schema):
            known = schema.additional
        if known is None:
            raise BadFieldPath("does not refer to a valid field")
        schema = known
    return schema
