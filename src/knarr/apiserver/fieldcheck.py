"""Fields of a raw document that its model does not have.

The document is walked against the model's types. A field that Kubernetes itself has at that place
(its protobuf wire table says so) but Knarr's model lacks is *unsupported* and always refused; any other
unknown field is reported and dropped, as ``fieldValidation`` says. Empty values of unsupported fields
mean "absent" in Kubernetes and are dropped without a word. ``Any`` is free-form.
"""

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec


@dataclass(slots=True)
class StructShape:
    """An object with known fields; ``fields`` maps JSON names to what is inside."""

    name: str
    fields: "dict[str, Shape]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListShape:
    """An array."""

    item: "Shape"


@dataclass(frozen=True, slots=True)
class MapShape:
    """An object with free keys."""

    value: "Shape"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar or a free-form value: nothing to look into."""

    free: bool


Shape = StructShape | ListShape | MapShape | Leaf
_INT32 = range(-(1 << 31), 1 << 31)
SCALAR = Leaf(free=False)
FREE = Leaf(free=True)


Shapes = dict[type, StructShape]


def shape_of(model: type[msgspec.Struct], known: Shapes | None = None) -> StructShape:
    """The shape of a model.

    Args:
        model: of a document.
        known: shapes of other models; those made here are added, so that models share their parts.
    """
    return _struct_shape(model, {} if known is None else known)


def _struct_shape(model: type[msgspec.Struct], seen: dict[type, StructShape]) -> StructShape:
    if model in seen:
        return seen[model]
    shape = seen[model] = StructShape(model.__name__)
    for info in msgspec.structs.fields(model):
        shape.fields[info.encode_name] = _type_shape(info.type, seen)
    return shape


def _type_shape(hint: Any, seen: dict[type, StructShape]) -> Shape:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _type_shape(typing.get_args(hint)[0], seen)
    if origin in (typing.Union, types.UnionType):
        return _union_shape(typing.get_args(hint), seen)
    if hint is Any or hint is msgspec.Raw:
        return FREE
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _struct_shape(hint, seen)
    return _container_shape(origin or hint, typing.get_args(hint), seen)


def _container_shape(
    origin: Any, arguments: tuple[Any, ...], seen: dict[type, StructShape]
) -> Shape:
    if not isinstance(origin, type) or issubclass(origin, str | bytes):
        return SCALAR
    if issubclass(origin, Mapping):
        return MapShape(_type_shape(arguments[1], seen)) if arguments else FREE
    if issubclass(origin, Sequence | set | frozenset):
        return ListShape(_type_shape(arguments[0], seen)) if arguments else FREE
    return SCALAR


def _union_shape(members: tuple[Any, ...], seen: dict[type, StructShape]) -> Shape:
    shapes = [_type_shape(member, seen) for member in members if member is not type(None)]
    deep = [shape for shape in shapes if not isinstance(shape, Leaf) or shape.free]
    return deep[0] if deep else SCALAR


Step = tuple[str, str]
"""A struct's name and the JSON name of the field that was entered."""


class Large(NamedTuple):
    """A whole number beyond 32 bits, and the steps that lead to it."""

    steps: tuple[Step, ...]
    value: int


@dataclass(slots=True)
class Findings:
    """What a walk found; paths are dotted with indices, as in ``spec.containers[0].image``."""

    unknown: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    large: list[Large] = field(default_factory=list)


class FieldWalk:
    """Walks one document.

    Args:
        known_to_kubernetes: whether the steps from the root lead to a field that Kubernetes has.
    """

    def __init__(self, known_to_kubernetes: Callable[[Sequence[Step]], bool]) -> None:
        self._known = known_to_kubernetes
        self._steps: list[Step] = []
        self.findings = Findings()

    def prune(self, value: Any, shape: Shape, path: str = "") -> Any:
        """The value without unknown fields and without nulls outside free-form parts."""
        match shape:
            case StructShape() if isinstance(value, dict):
                return dict(self._prune_struct(value, shape, path))
            case ListShape() if isinstance(value, list):
                return [
                    self.prune(item, shape.item, f"{path}[{index}]")
                    for index, item in enumerate(value)
                ]
            case MapShape() if isinstance(value, dict):
                return {
                    key: self.prune(item, shape.value, f"{path}.{key}" if path else key)
                    for key, item in value.items()
                    if item is not None or (isinstance(shape.value, Leaf) and shape.value.free)
                }
            case _:
                if type(value) is int and value not in _INT32:
                    self.findings.large.append(Large(tuple(self._steps), value))
                return value

    def _prune_struct(
        self, value: dict[str, Any], shape: StructShape, path: str
    ) -> Iterator[tuple[str, Any]]:
        for name, item in value.items():
            inner = shape.fields.get(name)
            where = f"{path}.{name}" if path else name
            self._steps.append((shape.name, name))
            if inner is None:
                self._report(item, where)
            elif item is not None:
                yield name, self.prune(item, inner, where)
            self._steps.pop()

    def _report(self, item: Any, where: str) -> None:
        if not self._known(self._steps):
            self.findings.unknown.append(where)
        elif not _empty(item):
            self.findings.unsupported.append(where)


def _empty(item: Any) -> bool:
    return item is None or item is False or item in ("", {}, [])
