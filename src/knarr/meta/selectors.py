"""Label and field selectors (Kubernetes ``apimachinery/pkg/labels``, ``pkg/fields``).

Label syntax: ``a=b a==b a!=b a in (x,y) a notin (x) a !a a>1 a<1``, comma means AND. As in Kubernetes ``!=``
and ``notin`` also match objects that lack the label. Field syntax: ``=``, ``==``, ``!=``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from knarr.meta.errors import BadRequest
from knarr.meta.qualified import label_value_problems, qualified_name_problems

Operator = Literal["in", "notin", "exists", "absent", "above", "below"]

_SET = re.compile(r"(?P<key>[^\s!=,()<>]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(r"(?P<key>[^\s!=,()<>]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=,()<>]*)")
_COMPARED = re.compile(r"(?P<key>[^\s!=,()<>]+)\s*(?P<op>[<>])\s*(?P<value>[^\s!=,()<>]*)")
_BARE = re.compile(r"(?P<not>!?)\s*(?P<key>[^\s!=,()<>]+)")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
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
            case "above" | "below":
                return present and self._is_beyond(labels[self.key])

    def _is_beyond(self, value: str) -> bool:
        if not _INTEGER.fullmatch(value):
            return False
        (bound,) = self.values
        return int(value) > int(bound) if self.operator == "above" else int(value) < int(bound)


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
    requirement = _requirement(term)
    if requirement is None:
        raise BadRequest(f"unable to parse requirement: {term!r}")
    problems = [f"key: {text}" for text in qualified_name_problems(requirement.key)]
    for value in sorted(requirement.values):
        problems += [f"values[{value}]: {text}" for text in label_value_problems(value)]
        if requirement.operator in ("above", "below") and not _INTEGER.fullmatch(value):
            problems.append("for 'Gt', 'Lt' operators, the value must be an integer")
    if problems:
        raise BadRequest(f"unable to parse requirement: {term!r}: {'; '.join(problems)}")
    return requirement


def _requirement(term: str) -> Requirement | None:
    if match := _SET.fullmatch(term):
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], "in" if match["op"] == "in" else "notin", values)
    if match := _EQUAL.fullmatch(term):
        return Requirement(
            match["key"], "notin" if match["op"] == "!=" else "in", frozenset({match["value"]})
        )
    if match := _COMPARED.fullmatch(term):
        operator: Operator = "above" if match["op"] == ">" else "below"
        return Requirement(match["key"], operator, frozenset({match["value"]}))
    if match := _BARE.fullmatch(term):
        return Requirement(match["key"], "absent" if match["not"] else "exists")
    return None


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
