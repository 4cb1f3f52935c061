"""How the parts of a document are merged: the few facts that apply and ownership need of a schema.

A node allows some of three shapes. A map is *granular* (its entries have owners of their own) or *atomic*
(owned and replaced as a whole). A list is atomic, a *set* of scalars or a *map* of objects that some of
their fields name. What a schema does not describe is *untyped*: granular maps and atomic lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from knarr.apiserver.fieldmanagement.elements import MergeProblem, key_element, value_element

Shape = Literal["map", "list", "scalar"]
ListKind = Literal["atomic", "set", "map"]


@dataclass(frozen=True, slots=True, eq=False)
class MapRule:
    """An object.

    Attributes:
        fields: the declared fields; a declared field that holds others is not itself owned.
        values: what undeclared entries are, None when there are none.
        free: undeclared entries are untyped.
        atomic: owned as a whole.
    """

    fields: "Mapping[str, MergeSchema]" = field(default_factory=dict)
    values: "MergeSchema | None" = None
    free: bool = False
    atomic: bool = False

    def child(self, name: str) -> "MergeSchema":
        """The schema of an entry; undeclared ones of a closed object are untyped."""
        found = self.fields.get(name)
        if found is not None:
            return found
        return self.values if self.values is not None else UNTYPED

    def allows(self, name: str) -> bool:
        """Whether an entry may have this name."""
        return self.free or self.values is not None or name in self.fields


@dataclass(frozen=True, slots=True, eq=False)
class ListRule:
    """An array.

    Attributes:
        kind: ``atomic``, ``set`` or ``map``.
        keys: the fields that name an item of a ``map``.
        defaults: the values of keys that an item leaves out.
        items: the schema of an item, None for untyped.
    """

    kind: ListKind = "atomic"
    keys: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    items: "MergeSchema | None" = None

    def item(self) -> "MergeSchema":
        """The schema of an item."""
        return self.items if self.items is not None else UNTYPED

    def element(self, item: Any) -> str:
        """The path element that names an item of a set or map.

        Raises:
            MergeProblem: the item cannot be named.
        """
        if self.kind == "set":
            return self._value(item)
        if not isinstance(item, dict):
            what = "null" if item is None else "non-map"
            raise MergeProblem(f"associative list with keys may not have a {what} element")
        keys = {name: item[name] for name in self.keys if name in item}
        for name in self.keys:
            if name not in keys and name in self.defaults:
                keys[name] = self.defaults[name]
        if not keys:
            names = " ".join(f'"{name}"' for name in self.keys)
            raise MergeProblem(
                f"associative list with keys has an element that omits all key fields [{names}] "
                "(and doesn't have default values for any key fields)"
            )
        return key_element(keys)

    @staticmethod
    def _value(item: Any) -> str:
        if item is None:
            raise MergeProblem(
                "associative list without keys has an element that's an explicit null"
            )
        if isinstance(item, dict):
            raise MergeProblem("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise MergeProblem("not supported: associative list with lists as elements")
        return value_element(item)


@dataclass(frozen=True, slots=True, eq=False)
class MergeSchema:
    """A node: the shapes that a value may have here, None for those it may not."""

    map: MapRule | None = None
    list: ListRule | None = None
    scalar: bool = False

    def rule_for_map(self) -> MapRule:
        """The rule of an object that stands here, declared or not."""
        return self.map or UNTYPED_MAP

    def rule_for_list(self) -> ListRule:
        """The rule of an array that stands here, declared or not."""
        return self.list or ATOMIC_LIST


UNTYPED_MAP: Final = MapRule(free=True)
ATOMIC_LIST: Final = ListRule()
SCALAR: Final = MergeSchema(scalar=True)
UNTYPED: Final = MergeSchema(map=UNTYPED_MAP, list=ATOMIC_LIST, scalar=True)
ATOMIC: Final = MergeSchema(map=MapRule(free=True, atomic=True), list=ATOMIC_LIST, scalar=True)


def shape_of(value: Any) -> Shape | None:
    """The shape of a value, None for null."""
    if value is None:
        return None
    if isinstance(value, dict):
        return "map"
    return "list" if isinstance(value, list) else "scalar"


def check_shape(schema: MergeSchema, value: Any) -> None:
    """Refuse a value whose shape the schema does not have.

    Raises:
        MergeProblem: that is so.
    """
    shape = shape_of(value)
    expected = [
        name
        for name, there in (
            ("map", schema.map is not None),
            ("scalar", schema.scalar),
            ("list", schema.list is not None),
        )
        if there
    ]
    if shape is not None and shape not in expected:
        raise MergeProblem(f"expected {' or '.join(expected)}, got {shape}")
