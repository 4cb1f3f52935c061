"""Label and field selectors over encoded documents, with a cheap test before any decoding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.apiserver.request import ApiRequest
from knarr.apiserver.routing import Route
from knarr.apiserver.served import Served
from knarr.meta.errors import BadRequest
from knarr.meta.selectors import (
    FieldTerm,
    LabelSelector,
    parse_field_selector,
    parse_label_selector,
)

Accept = Callable[[bytes], bool]


class _Labels(msgspec.Struct, frozen=True):
    class _Meta(msgspec.Struct, frozen=True):
        labels: Mapping[str, str] | None = None

    metadata: _Meta = _Meta()


_LABELS = msgspec.json.Decoder(_Labels)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection a request means.

    Attributes:
        namespace: empty for all.
        name: the only one, or None.
        accept: further conditions on a document, None when there are none.
        never: the conditions contradict one another.
    """

    namespace: str
    name: str | None = None
    accept: Accept | None = None
    never: bool = False


def select(route: Route, request: ApiRequest) -> Selection:
    """The selection that a URL and its selectors make.

    Raises:
        BadRequest: a selector is malformed or names a field that this kind does not offer.
    """
    labels = parse_label_selector(request.text("labelSelector"))
    fields = parse_field_selector(request.text("fieldSelector"))
    if not labels and not fields:
        return Selection(route.namespace)
    namespace, name, rest, never = route.namespace, None, [], False
    for term in fields.terms:
        if term.path == "metadata.name" and not term.negate:
            never = never or name not in (None, term.value)
            name = term.value
        elif term.path == "metadata.namespace" and not term.negate:
            never = never or namespace not in ("", term.value)
            namespace = term.value
        else:
            rest.append(term)
    tests = [*_label_tests(labels), *_field_tests(route.served, rest)]
    return Selection(namespace, name, _all_of(tests), never)


def _all_of(tests: list[Accept]) -> Accept | None:
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda data: all(test(data) for test in tests)


def _label_tests(selector: LabelSelector) -> list[Accept]:
    if not selector:
        return []
    tests: list[Accept] = []
    for requirement in selector.requirements:
        # Documents are stored in one compact form, so a label that is there can be seen as text.
        if requirement.operator == "in" and len(requirement.values) == 1:
            (value,) = requirement.values
            needle = msgspec.json.encode(requirement.key) + b":" + msgspec.json.encode(value)
        elif requirement.operator in ("in", "exists"):
            needle = msgspec.json.encode(requirement.key) + b":"
        else:
            continue
        tests.append(_contains(needle))
    tests.append(lambda data: selector.matches(_LABELS.decode(data).metadata.labels))
    return tests


def _contains(needle: bytes) -> Accept:
    return lambda data: needle in data


def _field_tests(served: Served, terms: list[FieldTerm]) -> list[Accept]:
    if not terms:
        return []
    readers = [(_field_reader(served, term.path), term) for term in terms]

    def matches(data: bytes) -> bool:
        document = msgspec.json.decode(served.shown(data))
        return all((read(document) == term.value) != term.negate for read, term in readers)

    if served.present is not None:
        # what is stored need not contain what is shown
        return [matches]
    needles = [
        _contains(msgspec.json.encode(term.value))
        for term in terms
        if not term.negate and term.value and term.value not in ("true", "false")
        and not term.value.isdigit()
    ]  # fmt: skip
    return [*needles, matches]


def _field_reader(served: Served, path: str) -> Callable[[Mapping[str, Any]], str]:
    if path in ("metadata.name", "metadata.namespace"):
        field = path.partition(".")[2]
        return lambda document: str(document["metadata"].get(field, ""))
    reader = served.kind.selectable.get(path)
    if reader is not None:
        return reader
    if served.kind.selectable:
        raise BadRequest(f"field label not supported: {path}")
    raise BadRequest(
        f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
