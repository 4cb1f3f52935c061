"""Documents against a schema, with the errors that Kubernetes' validator gives.

Order and wording follow ``kube-openapi/pkg/validation``: all keywords that apply to the value's type are
checked even when the type is wrong; of alternatives the one with the most passed checks explains itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from knarr.apiserver.structural.formats import has_format
from knarr.apiserver.structural.schema import Schema
from knarr.apiserver.structural.texts import (
    child,
    fits_int64,
    invalid,
    not_supported,
    number,
    quoted,
    required,
    too_long,
    too_many,
    type_invalid,
)
from knarr.meta.fielderrors import FieldError

_MAX_WHOLE: Final = (1 << 53) - 1
"""Beyond this a number with a fraction is no integer even when the fraction is zero."""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing()
"""There is no old value to compare with."""


def equal(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; true is not 1, 1 is 1.0."""
    if left != right:
        return False
    if isinstance(left, dict):
        return all(equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list):
        return all(map(equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool)


def validate(
    document: Any, schema: Schema, *, old: Any = MISSING, prefix: str = ""
) -> tuple[FieldError, ...]:
    """What is wrong with a document.

    Args:
        document: a JSON value, defaults included.
        schema: of the document.
        old: on update, the stored document: parts that did not change are not judged again.
        prefix: where the document is inside its resource, as ``status``.
    """
    result = _Validation(prefix).check(document, schema, "", old)
    return tuple(result.errors)


@dataclass(slots=True)
class _Result:
    errors: list[FieldError] = field(default_factory=list)
    passed: int = 0

    def add(self, error: FieldError) -> None:
        if error not in self.errors:
            self.errors.append(error)

    def merge(self, other: "_Result") -> None:
        for error in other.errors:
            self.add(error)
        self.passed += other.passed


class _Validation:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def _where(self, path: str) -> str:
        inner = path.removeprefix(".")
        return child(self._prefix, inner) if inner else self._prefix

    def check(self, value: Any, schema: Schema, path: str, old: Any) -> _Result:
        result = _Result()
        if old is not MISSING and equal(value, old):
            return result
        self._type(value, schema, path, result)
        if value is None:
            self._enum(value, schema, path, result)
            return result
        self._combinations(value, schema, path, old, result)
        if isinstance(value, str):
            self._string(value, schema, path, result)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._number(value, schema, path, result)
        elif isinstance(value, list):
            self._list(value, schema, path, old, result)
        self._enum(value, schema, path, result)
        if isinstance(value, dict):
            self._object(value, schema, path, old, result)
        result.passed += 1
        return result

    def _fail(self, result: _Result, path: str, value: Any, text: str) -> None:
        result.add(invalid(self._where(path), value, f"{path} in body {text}"))

    # Types and values

    def _type(self, value: Any, schema: Schema, path: str, result: _Result) -> None:
        if not schema.types and not schema.format:
            return
        wanted, actual = _type_problem(value, schema)
        result.passed += 1
        if wanted:
            detail = f'{path} in body must be of type {wanted}: "{actual}"'
            result.add(type_invalid(self._where(path), actual, detail))
        else:
            result.passed += 1

    def _enum(self, value: Any, schema: Schema, path: str, result: _Result) -> None:
        if schema.enum is None:
            return
        if not any(equal(value, each) for each in schema.enum):
            result.add(not_supported(self._where(path), value, schema.enum))
        result.passed += 1

    def _string(self, value: str, schema: Schema, path: str, result: _Result) -> None:
        result.passed += 1
        if schema.max_length is not None and len(value) > schema.max_length:
            result.add(too_long(self._where(path), schema.max_length))
        elif schema.min_length is not None and len(value) < schema.min_length:
            self._fail(result, path, value, f"should be at least {schema.min_length} chars long")
        elif schema.matcher is not None and schema.matcher.search(value) is None:
            self._fail(result, path, value, f"should match '{schema.pattern}'")
        name = schema.format
        if name:
            result.passed += 1
            if not has_format(value, name):
                detail = f"{path} in body must be of type {name}: {quoted(value)}"
                result.add(type_invalid(self._where(path), value, detail))

    def _number(self, value: float, schema: Schema, path: str, result: _Result) -> None:
        for text in _bound_problems(value, schema):
            self._fail(result, path, value, text)
        result.passed += 2

    # Containers

    def _list(self, value: list[Any], schema: Schema, path: str, old: Any, result: _Result) -> None:
        if schema.items is not None:
            for index, item in enumerate(value):
                before = _old_item(item, schema, old)
                result.merge(self.check(item, schema.items, f"{path}[{index}]", before))
        count = len(value)
        if schema.min_items is not None and count < schema.min_items:
            self._fail(result, path, count, f"should have at least {schema.min_items} items")
        if schema.max_items is not None and count > schema.max_items:
            result.add(too_many(self._where(path), count, schema.max_items))
        result.passed += 2

    def _object(
        self, value: dict[str, Any], schema: Schema, path: str, old: Any, result: _Result
    ) -> None:
        count = len(value)
        if schema.min_properties is not None and count < schema.min_properties:
            text = f"should have at least {schema.min_properties} properties"
            self._fail(result, path, count, text)
        if schema.max_properties is not None and count > schema.max_properties:
            result.add(too_many(self._where(path), count, schema.max_properties))
        for name, item in value.items():
            inner = schema.entry(name)
            before = old.get(name, MISSING) if isinstance(old, dict) else MISSING
            if inner is not None:
                under = f"{path}.{name}" if path or name not in schema.properties else name
                result.merge(self.check(item, inner, under, before))
            elif schema.additional is False:
                where = f"{path}.{name}"
                detail = f"{where} in body is a forbidden property"
                result.add(invalid(self._where(path), name, detail))
        for name in schema.required:
            if name not in value:
                result.add(required(self._where(f"{path}.{name}")))
        result.passed += 1

    # Combinations

    def _combinations(
        self, value: Any, schema: Schema, path: str, old: Any, result: _Result
    ) -> None:
        if schema.any_of:
            self._any_of(value, schema, path, old, result)
        if schema.one_of:
            self._one_of(value, schema, path, old, result)
        if schema.all_of:
            self._all_of(value, schema, path, old, result)
        if (
            schema.negated is not None
            and not self.check(value, schema.negated, path, MISSING).errors
        ):
            self._whole(result, path, "must not validate the schema (not)")
        result.passed += 2

    def _whole(self, result: _Result, path: str, text: str) -> None:
        result.add(invalid(self._prefix, "", f"{quoted(path)} {text}"))

    def _any_of(self, value: Any, schema: Schema, path: str, old: Any, result: _Result) -> None:
        failures: list[_Result] = []
        for alternative in schema.any_of:
            found = self.check(value, alternative, path, old)
            if not found.errors:
                result.passed += found.passed
                return
            failures.append(found)
        self._whole(result, path, "must validate at least one schema (anyOf)")
        result.merge(max(failures, key=lambda each: each.passed))

    def _one_of(self, value: Any, schema: Schema, path: str, old: Any, result: _Result) -> None:
        found = [self.check(value, alternative, path, old) for alternative in schema.one_of]
        valid = [each for each in found if not each.errors]
        if len(valid) == 1:
            result.passed += valid[0].passed
            return
        tail = f"Found {len(valid)} valid alternatives" if valid else "Found none valid"
        self._whole(result, path, f"must validate one and only one schema (oneOf). {tail}")
        if not valid:
            result.merge(max(found, key=lambda each: each.passed))

    def _all_of(self, value: Any, schema: Schema, path: str, old: Any, result: _Result) -> None:
        valid = 0
        for part in schema.all_of:
            found = self.check(value, part, path, old)
            valid += not found.errors
            result.merge(found)
        if valid != len(schema.all_of):
            tail = "" if valid else ". None validated"
            self._whole(result, path, f"must validate all the schemas (allOf){tail}")


_TYPES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
}


def type_of(value: Any) -> str:
    """The JSON type of a value; integers beyond 64 bits are numbers."""
    if type(value) is int and not fits_int64(value):
        return "number"
    return _TYPES.get(type(value), "object")


def _type_problem(value: Any, schema: Schema) -> tuple[str, str]:
    """The wanted and the actual type of a value that does not fit; nothing wanted when it does."""
    actual = type_of(value)
    if value is None:
        return ("", "") if schema.nullable or not schema.types else (",".join(schema.types), actual)
    fits = any(_fits(value, actual, name) for name in schema.types)
    if fits or not schema.types:
        return "", ""
    return ",".join(schema.types), actual


def _fits(value: Any, actual: str, wanted: str) -> bool:
    if actual == wanted or (actual == "integer" and wanted == "number"):
        return True
    if actual != "number" or wanted != "integer" or isinstance(value, int):
        return False
    return abs(value) <= _MAX_WHOLE and bool(value.is_integer())


def _bound_problems(value: float, schema: Schema) -> Iterator[str]:
    if schema.multiple_of and not _is_multiple(value, schema.multiple_of):
        yield f"should be a multiple of {number(schema.multiple_of)}"
    if schema.minimum is not None:
        bound = _like(schema.minimum, value)
        if schema.exclusive_minimum and value <= bound:
            yield f"should be greater than {number(bound)}"
        elif value < bound:
            yield f"should be greater than or equal to {number(bound)}"
    if schema.maximum is not None:
        bound = _like(schema.maximum, value)
        if schema.exclusive_maximum and value >= bound:
            yield f"should be less than {number(bound)}"
        elif value > bound:
            yield f"should be less than or equal to {number(bound)}"


def _like(bound: float, value: float) -> float:
    """The bound as Kubernetes compares it: beside whole numbers without its fraction."""
    return int(bound) if isinstance(value, int) else float(bound)


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and float(factor).is_integer():
        return value % int(factor) == 0
    quotient = value / factor
    return abs(quotient - round(quotient)) < 1e-9


def _old_item(item: Any, schema: Schema, old: Any) -> Any:
    """The stored item that corresponds to one of a keyed list; other lists' items have none."""
    if schema.list_type != "map" or not isinstance(old, list) or not isinstance(item, dict):
        return MISSING
    names = schema.list_map_keys
    keys = [item.get(name) for name in names]
    for each in old:
        if isinstance(each, dict) and equal([each.get(name) for name in names], keys):
            return each
    return MISSING
