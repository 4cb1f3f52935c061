"""Kubernetes' own functions: quantities, URLs, addresses, versions and formats (``pkg/cel/library``)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import total_ordering
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit

from knarr.apiserver.cel.library.conversions import Function
from knarr.apiserver.cel.library.strings import text
from knarr.apiserver.cel.values import (
    ABSENT,
    MAX_INT,
    Budget,
    EvalError,
    NoOverload,
    Opaque,
    Optional,
)
from knarr.apiserver.structural.formats import has_format, is_base64, is_date, is_date_time, is_uri
from knarr.meta.names import (
    dns1035_label_problems,
    dns1123_label_problems,
    dns1123_subdomain_problems,
)
from knarr.meta.qualified import label_value_problems, qualified_name_problems
from knarr.resources.quantity import PATTERN_TEXT, parse_quantity

_TEXT_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class QuantityValue(Opaque):
    """``kubernetes.Quantity``."""

    number: Decimal
    type_name = "kubernetes.Quantity"

    @property
    def whole(self) -> int | None:
        """The amount if it is a number of 64 bits without a fraction."""
        if self.number != self.number.to_integral_value() or abs(self.number) >= MAX_INT:
            return None
        return int(self.number)


@dataclass(frozen=True, slots=True)
class UrlValue(Opaque):
    """``kubernetes.URL``."""

    source: str
    parts: SplitResult
    type_name = "kubernetes.URL"

    @property
    def host(self) -> str:
        """With the port."""
        return self.parts.netloc.rpartition("@")[2]


@total_ordering
@dataclass(frozen=True, slots=True)
class VersionValue(Opaque):
    """``kubernetes.Semver``; build metadata counts for nothing."""

    numbers: tuple[int, int, int]
    before: tuple[str, ...]
    type_name = "kubernetes.Semver"

    def __lt__(self, other: "VersionValue") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[Any, ...]:
        identifiers = tuple(
            (0, int(each), "") if each.isdigit() else (1, 0, each) for each in self.before
        )
        return (self.numbers, not self.before, identifiers)


@dataclass(frozen=True, slots=True)
class FormatValue(Opaque):
    """``kubernetes.NamedFormat``."""

    name: str
    problems: Callable[[str], list[str]]
    type_name = "kubernetes.NamedFormat"


# Quantities


def _quantity(_: Budget, value: Any) -> QuantityValue:
    try:
        return QuantityValue(parse_quantity(text(value)[:_TEXT_LIMIT]).value)
    except ValueError:
        raise EvalError(PATTERN_TEXT) from None


def _amount(value: Any) -> QuantityValue:
    if not isinstance(value, QuantityValue):
        raise NoOverload
    return value


def _changed(sign: int) -> Function:
    def apply(_: Budget, value: Any, other: Any) -> QuantityValue:
        change = Decimal(other) if type(other) is int else _amount(other).number
        return QuantityValue(_amount(value).number + sign * change)

    return apply


def _as_integer(_: Budget, value: Any) -> int:
    whole = _amount(value).whole
    if whole is None:
        raise EvalError("cannot convert value to integer")
    return whole


def _sign(_: Budget, value: Any) -> int:
    number = _amount(value).number
    return (number > 0) - (number < 0)


# Quantities and versions


def _order(_: Budget, left: Any, right: Any) -> int:
    if isinstance(left, QuantityValue) and isinstance(right, QuantityValue):
        return (left.number > right.number) - (left.number < right.number)
    if isinstance(left, VersionValue) and isinstance(right, VersionValue):
        return (left > right) - (left < right)
    raise NoOverload


_IDENTIFIERS: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION: Final = re.compile(
    rf"(0|[1-9][0-9]{{0,18}})\.(0|[1-9][0-9]{{0,18}})\.(0|[1-9][0-9]{{0,18}})(?:-({_IDENTIFIERS}))?"
    rf"(?:\+{_IDENTIFIERS})?", re.ASCII,
)  # fmt: skip


def _version(_: Budget, value: Any, normalize: Any = False) -> VersionValue:  # noqa: FBT002 - as called
    if not isinstance(normalize, bool):
        raise NoOverload
    source = text(value)[:_TEXT_LIMIT]
    found = _VERSION.fullmatch(_normalized(source) if normalize else source)
    before = tuple((found[4] or "").split(".")) if found is not None and found[4] else ()
    if found is None or any(each.isdigit() and len(each) > 1 and each[0] == "0" for each in before):
        raise EvalError(f"Invalid semantic version {source!r}")
    return VersionValue((int(found[1]), int(found[2]), int(found[3])), before)


def _normalized(source: str) -> str:
    parts = source.removeprefix("v").split(".", 2)
    for index, part in enumerate(parts):
        if len(part) > 1:
            stripped = part.lstrip("0")
            parts[index] = stripped if stripped[:1].isdigit() else f"0{stripped}"
    if len(parts) < 3 and ("+" in parts[-1] or "-" in parts[-1]):
        raise EvalError("short version cannot contain PreRelease/Build meta data")
    return ".".join([*parts, "0", "0"][:3])


def _number_of(index: int) -> Function:
    def apply(_: Budget, value: Any) -> int:
        if not isinstance(value, VersionValue):
            raise NoOverload
        return value.numbers[index]

    return apply


# URLs


def _url(budget: Budget, value: Any) -> UrlValue:
    budget.spend(len(text(value)) // 10)
    problem = (
        f'URL parse error during conversion from string: parse "{value}": invalid URI for request'
    )
    if not is_uri(value):
        raise EvalError(problem)
    try:
        return UrlValue(value, urlsplit(value))
    except ValueError:
        raise EvalError(problem) from None


def _of_url(read: Callable[[UrlValue], Any]) -> Function:
    def apply(budget: Budget, value: Any) -> Any:
        if not isinstance(value, UrlValue):
            raise NoOverload
        budget.spend(len(value.source) // 10)
        return read(value)

    return apply


def _host_name(url: UrlValue) -> str:
    host = url.host
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _port(url: UrlValue) -> str:
    host = url.host.rpartition("]")[2]
    return host.partition(":")[2]


def _path(url: UrlValue) -> str:
    path = url.parts.path
    return (
        path
        if path == quote(path, safe="/:@!$&'()*+,;=%~")
        else quote(unquote(path), safe="/:@!$&'*+,;=~")
    )


def _query(url: UrlValue) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for pair in url.parts.query.split("&"):
        if not pair or ";" in pair:
            continue
        name, _, value = pair.partition("=")
        result.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return result


# Formats


def _prefix(problems: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    return lambda value: problems(f"{value[:-1]}a" if value.endswith("-") else value)


def _all_of(test: Callable[[str], bool], message: str) -> Callable[[str], list[str]]:
    return lambda value: [] if test(value) else [message]


_FORMATS: Final[Mapping[str, FormatValue]] = {
    key: FormatValue(name, problems)
    for key, name, problems in (
        ("dns1123Label", "DNS1123Label", dns1123_label_problems),
        ("dns1123Subdomain", "DNS1123Subdomain", dns1123_subdomain_problems),
        ("dns1035Label", "DNS1035Label", dns1035_label_problems),
        ("dns1123LabelPrefix", "DNS1123LabelPrefix", _prefix(dns1123_label_problems)),
        ("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", _prefix(dns1123_subdomain_problems)),
        ("dns1035LabelPrefix", "DNS1035LabelPrefix", _prefix(dns1035_label_problems)),
        ("qualifiedName", "QualifiedName", qualified_name_problems),
        ("labelValue", "LabelValue", label_value_problems),
        ("uri", "URI", _all_of(is_uri, "invalid URI for request")),
        (
            "uuid",
            "uuid",
            _all_of(lambda v: has_format(v, "uuid"), "does not match the UUID format"),
        ),
        ("byte", "byte", _all_of(is_base64, "invalid base64")),
        ("date", "date", _all_of(is_date, "invalid date")),
        ("datetime", "datetime", _all_of(is_date_time, "invalid datetime")),
    )
}


def _validate(budget: Budget, value: Any, subject: Any) -> Optional:
    if not isinstance(value, FormatValue):
        raise NoOverload
    budget.spend(len(text(subject)) // 10)
    problems = value.problems(subject)
    return Optional(present=True, value=problems) if problems else ABSENT


def _named(_: Budget, name: Any) -> Optional:
    found = _FORMATS.get(text(name))
    return ABSENT if found is None else Optional(present=True, value=found)


def works(function: Function) -> Function:
    """Whether a conversion succeeds, instead of its result."""

    def apply(budget: Budget, *arguments: Any) -> bool:
        try:
            function(budget, *arguments)
        except NoOverload:
            raise
        except EvalError:
            return False
        return True

    return apply


def _constant(value: FormatValue) -> Function:
    return lambda _: value


KUBERNETES: Final[dict[str, Function]] = {
    **{f"format.{name}": _constant(value) for name, value in _FORMATS.items()},
    "quantity": _quantity,
    "isQuantity": works(_quantity),
    "add": _changed(1),
    "sub": _changed(-1),
    "asApproximateFloat": lambda _, value: float(_amount(value).number),
    "asInteger": _as_integer,
    "isInteger": lambda _, value: _amount(value).whole is not None,
    "sign": _sign,
    "compareTo": _order,
    "isGreaterThan": lambda budget, left, right: _order(budget, left, right) > 0,
    "isLessThan": lambda budget, left, right: _order(budget, left, right) < 0,
    "semver": _version,
    "isSemver": works(_version),
    "major": _number_of(0),
    "minor": _number_of(1),
    "patch": _number_of(2),
    "url": _url,
    "isURL": works(_url),
    "getScheme": _of_url(lambda url: url.parts.scheme),
    "getHost": _of_url(lambda url: url.host),
    "getHostname": _of_url(_host_name),
    "getPort": _of_url(_port),
    "getEscapedPath": _of_url(_path),
    "getQuery": _of_url(_query),
    "validate": _validate,
    "format.named": _named,
}
