"""Sets of paths, as FieldsV1 holds them: immutable trees with union, intersection and difference.

A node says whether the path that leads to it belongs to the set, and has one child per element. A parent
and its children are separate members: ``spec`` in a set says nothing about ``spec.replicas``. The root
itself never belongs. Nodes without members below them are not kept, so equal sets are equal trees.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from knarr.apiserver.fieldmanagement.elements import field_element, in_order, parse_element

_NONE: Final[Mapping[str, "FieldSet"]] = MappingProxyType({})
_MAX_DEPTH = 200


class FieldSet:
    """A set of paths.

    Attributes:
        member: whether the path to this node belongs.
        children: what is below, by element.
    """

    __slots__ = ("children", "member")

    def __init__(self, children: "Mapping[str, FieldSet]" = _NONE, *, member: bool = False) -> None:
        self.member = member
        self.children = children

    @staticmethod
    def node(children: "dict[str, FieldSet]", *, member: bool = False) -> "FieldSet":
        """A node of children that are known to be non-empty."""
        if children:
            return FieldSet(children, member=member)
        return MEMBER if member else EMPTY

    @staticmethod
    def of(*paths: tuple[str, ...]) -> "FieldSet":
        """The set of these paths, each a tuple of elements."""
        result = EMPTY
        for path in paths:
            branch = MEMBER
            for element in reversed(path):
                branch = FieldSet({element: branch})
            result = result | branch
        return result

    @staticmethod
    def of_fields(*paths: str) -> "FieldSet":
        """The set of dotted paths of plain field names: ``metadata.labels``."""
        return FieldSet.of(*(tuple(map(field_element, path.split("."))) for path in paths))

    def __bool__(self) -> bool:
        return self.member or bool(self.children)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldSet):
            return NotImplemented
        if self is other:
            return True
        return self.member == other.member and dict(self.children) == dict(other.children)

    def __hash__(self) -> int:
        return hash((self.member, frozenset(self.children)))

    def __or__(self, other: "FieldSet") -> "FieldSet":
        """Paths of either."""
        if not other or self is other:
            return self
        if not self:
            return other
        children = dict(self.children)
        for element, child in other.children.items():
            mine = children.get(element)
            children[element] = child if mine is None else mine | child
        return FieldSet(children, member=self.member or other.member)

    def __and__(self, other: "FieldSet") -> "FieldSet":
        """Paths of both."""
        children: dict[str, FieldSet] = {}
        for element, child in self.children.items():
            theirs = other.children.get(element)
            if theirs is not None and (common := child & theirs):
                children[element] = common
        return FieldSet.node(children, member=self.member and other.member)

    def __sub__(self, other: "FieldSet") -> "FieldSet":
        """Paths of this set that are not in the other; what lies below them stays."""
        if not other or not self:
            return self
        children: dict[str, FieldSet] = {}
        for element, child in self.children.items():
            theirs = other.children.get(element)
            rest = child if theirs is None else child - theirs
            if rest:
                children[element] = rest
        return FieldSet.node(children, member=self.member and not other.member)

    def without(self, other: "FieldSet") -> "FieldSet":
        """Paths of this set that are neither in the other nor below one of its paths."""
        if not other or not self:
            return self
        if other.member:
            return EMPTY
        children: dict[str, FieldSet] = {}
        for element, child in self.children.items():
            theirs = other.children.get(element)
            rest = child if theirs is None else child.without(theirs)
            if rest:
                children[element] = rest
        return FieldSet.node(children, member=self.member)

    def below(self, element: str) -> "FieldSet":
        """What the set says of one child."""
        return self.children.get(element, EMPTY)

    def has(self, *path: str) -> bool:
        """Whether a path belongs."""
        node = self
        for element in path:
            found = node.children.get(element)
            if found is None:
                return False
            node = found
        return node.member

    def paths(self) -> Iterator[tuple[str, ...]]:
        """The paths in order: a node's own children before what is below them."""
        ordered = in_order(self.children)
        for element in ordered:
            if self.children[element].member:
                yield (element,)
        for element in ordered:
            for path in self.children[element].paths():
                yield (element, *path)

    def __len__(self) -> int:
        return sum(child.member + len(child) for child in self.children.values())

    def __repr__(self) -> str:
        return f"FieldSet({encode_set(self)})"


EMPTY: Final = FieldSet()
MEMBER: Final = FieldSet(member=True)


def encode_set(fields: FieldSet) -> dict[str, Any]:
    """The FieldsV1 document of a set."""
    result: dict[str, Any] = {}
    for element in in_order(fields.children):
        child = fields.children[element]
        inner = encode_set(child)
        result[element] = {".": {}, **inner} if child.member and inner else inner
    return result


def decode_set(document: Any, depth: int = 0) -> FieldSet:
    """The set of a FieldsV1 document.

    Raises:
        ValueError: the document is malformed.
    """
    if not isinstance(document, dict):
        raise ValueError("fieldsV1 must consist of objects")  # noqa: TRY004 - a wrong value
    if depth > _MAX_DEPTH:
        raise ValueError(f"fieldsV1 is nested more than {_MAX_DEPTH} levels deep")
    children: dict[str, FieldSet] = {}
    for text, inner in document.items():
        if text == ".":
            continue
        element = parse_element(text)
        child = decode_set(inner, depth + 1)
        # an object without children stands for the path itself
        child = FieldSet.node(dict(child.children), member="." in inner or not child.children)
        known = children.get(element)
        children[element] = child if known is None else known | child
    return FieldSet.node(children)
