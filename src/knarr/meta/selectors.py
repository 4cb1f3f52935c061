"""Label and field selectors (Kubernetes ``apimachinery/pkg/labels``, ``pkg/fields``).

Label syntax: ``a=b a==b a!=b a in (x,y) a notin (x) a !a``, comma means AND. As in Kubernetes ``!=`` and
``notin`` also match objects that lack the label. Field syntax: ``=``, ``==``, ``!=``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from knarr.meta.errors import BadRequest

Operator = Literal["in", "notin", "exists", "absent"]

_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s!=,()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=,()]*)$")
_BARE = re.compile(r"^(?P<not>!?)\s*(?P<key>[^\s!=,()]+)$")
_FIELD = re.compile(r"^(?P<key>[^=!]+?)(?P<op>==|=|!=)(?P<value>.*)$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy this term."""
        present = self.key in labels
        match self.operator:
            case "in":
                return present and labels[self.key] in self.values
            case "notin":
                return not present or labels[self.key] not in self.values
            case "exists":
                return present
            case "absent":
                return not present


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A conjunction of requirements; the empty one matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object's labels satisfy every term."""
        return all(requirement.matches(labels or {}) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


def _split_terms(text: str) -> list[str]:
    terms, depth, current = [], 0, ""
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            terms.append(current)
            current = ""
        else:
            current += char
    return [term.strip() for term in [*terms, current]]


def parse_label_selector(text: str) -> LabelSelector:
    """Parse the ``labelSelector`` parameter.

    Raises:
        BadRequest: the text is no selector; the message names the part that is not understood.
    """
    if not text.strip():
        return LabelSelector()
    return LabelSelector(tuple(_parse_requirement(term) for term in _split_terms(text)))


def _parse_requirement(term: str) -> Requirement:
    if match := _SET.match(term):
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], "in" if match["op"] == "in" else "notin", values)
    if match := _EQUAL.match(term):
        return Requirement(
            match["key"], "notin" if match["op"] == "!=" else "in", frozenset({match["value"]})
        )
    if match := _BARE.match(term):
        return Requirement(match["key"], "absent" if match["not"] else "exists")
    raise BadRequest(f"unable to parse requirement: {term!r}")


def selector_from_labels(labels: Mapping[str, str]) -> LabelSelector:
    """The selector that asks for exactly these values (``matchLabels``)."""
    return LabelSelector(
        tuple(Requirement(key, "in", frozenset({value})) for key, value in sorted(labels.items()))
    )


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One term of a field selector."""

    path: str
    value: str
    negate: bool = False


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A conjunction of field terms; the empty one matches everything."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, value_of: Callable[[str], str]) -> bool:
        """Whether an object, seen through ``value_of(path)``, satisfies every term."""
        return all((value_of(term.path) == term.value) != term.negate for term in self.terms)

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_field_selector(text: str) -> FieldSelector:
    """Parse the ``fieldSelector`` parameter.

    Raises:
        BadRequest: a term has no operator.
    """
    terms = []
    for term in filter(None, (part.strip() for part in text.split(","))):
        match = _FIELD.match(term)
        if match is None:
            raise BadRequest(f"invalid selector: {term!r}; can't understand {term!r}")
        terms.append(FieldTerm(match["key"], match["value"], match["op"] == "!="))
    return FieldSelector(tuple(terms))
